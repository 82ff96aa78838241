"""`grant_credit` and `adjust_balance`: credit that is given, and the invoice credit set right."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from accounts.services.adjustments import adjust_invoice_credit
from accounts.services.credit_grants import Recurring, grant_credit
from billing_site.kernel.money import CURRENCIES, format_decimal
from billing_site.kernel.periods import Interval
from invoicing.rehearsal.fields import Fields
from invoicing.rehearsal.scope import Scope
from invoicing.rehearsal.world import World

_EVERY: Final = ("day", "week", "month", "year")


@dataclass(frozen=True, slots=True)
class GrantCredit:
    """Give an account `amount` minor units of credit, once or every period."""

    account: str
    amount: int
    currency: str
    name: str
    tags: str
    priority: int
    meters: tuple[str, ...]
    subscription: str
    effective_at: datetime | None
    expires_at: datetime | None
    every: str
    rollover: int

    @classmethod
    def read(cls, fields: Fields, scope: Scope) -> GrantCredit:
        account = scope.read_account(fields)
        currency = fields.choice("currency", CURRENCIES, default=scope.accounts[account].currency if account else "usd")
        found = cls(
            account=account,
            amount=fields.money("amount", currency, required=True),
            currency=currency,
            name=fields.text("name"),
            tags=" ".join(fields.texts("tags")),
            priority=fields.integer("priority", least=-1_000) or 0,
            meters=tuple(fields.texts("meters")),
            subscription=scope.read_subscription(fields) if fields.has("subscription") else "",
            effective_at=fields.instant("effective_at"),
            expires_at=fields.instant("expires_at"),
            every=fields.choice("every", _EVERY),
            rollover=fields.money("rollover", currency),
        )
        if found.rollover and not found.every:
            fields.report("rollover", "`rollover` goes with `every`")
        fields.finish()
        return found

    def describe(self) -> str:
        every = f" every {self.every}" if self.every else ""
        return f"grant {format_decimal(self.amount, self.currency)} {self.currency.upper()} to {self.account}{every}"

    def play(self, world: World) -> list[str]:
        grant_credit(
            account=world.get_account(self.account),
            amount=self.amount,
            currency=self.currency,
            at=world.now,
            actor=world.actor,
            name=self.name,
            tags=self.tags,
            priority=self.priority,
            eligibility=self.meters,
            subscription=world.get_subscription(self.subscription) if self.subscription else None,
            effective_at=self.effective_at,
            expires_at=self.expires_at,
            recurring=Recurring(Interval.parse(self.every, 1), rollover_maximum=self.rollover) if self.every else None,
            reason="Rehearsal",
        )
        return []


@dataclass(frozen=True, slots=True)
class AdjustBalance:
    """Add `amount` minor units to the invoice credit, or take them when it is below zero."""

    account: str
    amount: int
    currency: str
    description: str
    allow_negative: bool

    @classmethod
    def read(cls, fields: Fields, scope: Scope) -> AdjustBalance:
        account = scope.read_account(fields)
        currency = fields.choice("currency", CURRENCIES, default=scope.accounts[account].currency if account else "usd")
        found = cls(
            account=account,
            amount=fields.money("amount", currency, required=True),
            currency=currency,
            description=fields.text("description", default="Rehearsal"),
            allow_negative=fields.flag("allow_negative") is True,
        )
        fields.finish()
        return found

    def describe(self) -> str:
        amount = format_decimal(self.amount, self.currency)
        return f"adjust the invoice credit of {self.account} by {amount} {self.currency.upper()}"

    def play(self, world: World) -> list[str]:
        adjust_invoice_credit(
            account=world.get_account(self.account),
            amount=self.amount,
            currency=self.currency,
            description=self.description,
            at=world.now,
            actor=world.actor,
            allow_negative=self.allow_negative,
        )
        return []
