"""`alert`: a cost alert or spend alert is asked for, changed, or put to rest."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from billing_site.kernel.money import CURRENCIES, format_decimal
from invoicing.rehearsal.fields import Fields
from invoicing.rehearsal.scope import Scope
from invoicing.rehearsal.world import World
from metering.models import ThresholdType
from metering.services.cost_alerts import (
    create_cost_alert,
    create_spend_alert,
    dismiss_cost_alert,
    update_spend_alert,
)

SPEND: Final = "spend"


@dataclass(frozen=True, slots=True)
class AlertStep:
    """
    Ask for an alert of `kind` and call it `name`; or give the one called `change` another amount, or dismiss one.

    `amount` is minor units of `currency`.
    """

    account: str
    kind: str
    amount: int | None
    percent: Decimal | None
    currency: str
    title: str
    name: str
    change: str
    dismiss: str

    @classmethod
    def read(cls, fields: Fields, scope: Scope) -> AlertStep:
        account = scope.read_account(fields)
        default = scope.accounts[account].currency if account else "usd"
        currency = fields.choice("currency", CURRENCIES, default=default)
        found = cls(
            account=account,
            kind=fields.choice("type", [SPEND, *ThresholdType.values], default=ThresholdType.ABSOLUTE.value),
            amount=fields.money("amount", currency) if fields.has("amount") else None,
            percent=fields.decimal("percent"),
            currency=currency,
            title=fields.text("title"),
            name=scope.name_alert(fields),
            change=scope.read_alert(fields, "change"),
            dismiss=scope.read_alert(fields, "dismiss"),
        )
        if found.change and found.amount is None:
            fields.mistakes.add(fields.line, "`change` needs the new `amount`")
        if found.kind == SPEND and not found.change and found.amount is None:
            fields.mistakes.add(fields.line, "a spend alert needs an `amount`")
        fields.finish()
        return found

    def describe(self) -> str:
        if self.dismiss:
            return f"dismiss the alert {self.dismiss} of {self.account}"
        amount = "" if self.amount is None else f" {format_decimal(self.amount, self.currency)} {self.currency.upper()}"
        if self.change:
            return f"change the alert {self.change} of {self.account} to{amount}"
        share = "" if self.percent is None else f" {self.percent} %"
        return f"alert of {self.account}: {self.kind}{amount}{share}{f' as {self.name}' if self.name else ''}"

    def play(self, world: World) -> list[str]:
        if self.dismiss:
            dismiss_cost_alert(alert_id=world.get_alert(self.dismiss), at=world.now, actor=world.actor)
        elif self.change:
            changes = {"threshold": self.amount}
            update_spend_alert(alert_id=world.get_alert(self.change), changes=changes, at=world.now, actor=world.actor)
        else:
            self._ask(world)
        return []

    def _ask(self, world: World) -> None:
        account = world.get_account(self.account)
        if self.kind == SPEND and self.amount is not None:
            alert = create_spend_alert(
                account=account,
                threshold=self.amount,
                currency=self.currency,
                title=self.title,
                at=world.now,
                actor=world.actor,
            )
        else:
            alert = create_cost_alert(
                account=account,
                threshold_type=self.kind,
                threshold_amount=self.amount,
                threshold_percent=self.percent,
                currency=self.currency,
                title=self.title,
                at=world.now,
                actor=world.actor,
            )
        if self.name:
            world.alerts[self.name] = alert.pk
