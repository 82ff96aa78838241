"""`deposit`: money on the prepaid balance."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from accounts.services.deposits import deposit
from billing_site.kernel.money import CURRENCIES, format_decimal
from invoicing.rehearsal.fields import Fields
from invoicing.rehearsal.scope import Scope
from invoicing.rehearsal.world import World


@dataclass(frozen=True, slots=True)
class Deposit:
    """Put `amount` minor units on an account's prepaid balance."""

    account: str
    amount: int
    currency: str
    notes: str
    tags: str
    expires_in: int | None
    expires_at: datetime | None

    @classmethod
    def read(cls, fields: Fields, scope: Scope) -> Deposit:
        account = scope.read_account(fields)
        default = scope.accounts[account].currency if account else "usd"
        currency = fields.choice("currency", CURRENCIES, default=default)
        found = cls(
            account=account,
            amount=fields.money("amount", currency, required=True),
            currency=currency,
            notes=fields.text("notes"),
            tags=" ".join(fields.texts("tags")),
            expires_in=fields.integer("expires_in", least=0),
            expires_at=fields.instant("expires_at"),
        )
        fields.finish()
        return found

    def describe(self) -> str:
        return f"deposit {format_decimal(self.amount, self.currency)} {self.currency.upper()} for {self.account}"

    def play(self, world: World) -> list[str]:
        deposit(
            account=world.get_account(self.account),
            amount=self.amount,
            currency=self.currency,
            at=world.now,
            actor=world.actor,
            notes=self.notes,
            tags=self.tags,
            expires_in=self.expires_in,
            expires_at=self.expires_at,
        )
        return []
