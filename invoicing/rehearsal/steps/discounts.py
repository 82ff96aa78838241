"""`redeem` and `discount`: taking something off the invoices of a subscription."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from accounts.models import RUNNING_STATUSES, Subscription
from accounts.services.coupons import redeem_coupon
from accounts.services.discounts import give_discount, remove_discount
from billing_site.kernel.money import CURRENCIES, format_decimal
from catalog.pricing.terms import to_text
from invoicing.rehearsal.fields import Fields
from invoicing.rehearsal.scope import Scope
from invoicing.rehearsal.world import StepRefused, World


def _read_target(fields: Fields, scope: Scope) -> tuple[str, str]:
    """Read `subscription`, or `account` alone when it has only one; return account and subscription."""
    if fields.has("account") and not fields.has("subscription"):
        return scope.read_account(fields), ""
    subscription = scope.read_subscription(fields)
    account = scope.read_account(fields, required=False)
    return account or scope.subscriptions.get(subscription, ""), subscription


def _find(world: World, account: str, subscription: str) -> Subscription:
    if subscription:
        return world.get_subscription(subscription)
    running = Subscription.objects.filter(account_id=world.accounts[account], status__in=RUNNING_STATUSES)
    found = list(running[:2])
    if len(found) != 1:
        raise StepRefused(f"{account} has {'no' if not found else 'more than one'} subscription: name one.")
    return found[0]


@dataclass(frozen=True, slots=True)
class Redeem:
    """Use a coupon on a subscription; its next invoice has the discount."""

    account: str
    subscription: str
    code: str

    @classmethod
    def read(cls, fields: Fields, scope: Scope) -> Redeem:
        account, subscription = _read_target(fields, scope)
        found = cls(account, subscription, fields.text("code" if fields.has("code") else "coupon", required=True))
        fields.finish()
        return found

    def describe(self) -> str:
        return f"redeem {self.code} for {self.subscription or self.account}"

    def play(self, world: World) -> list[str]:
        redeem_coupon(
            subscription_id=_find(world, self.account, self.subscription).id,
            code=self.code,
            at=world.now,
            actor=world.actor,
            reason="Rehearsal",
        )
        return []


@dataclass(frozen=True, slots=True)
class Discount:
    """Give a subscription a discount in place of the one it has, or take that away."""

    account: str
    subscription: str
    percent_off: Decimal | None
    amount_off: int | None
    currency: str
    duration_months: int | None
    name: str
    meters: tuple[str, ...]
    plans: tuple[str, ...]
    remove: bool

    @classmethod
    def read(cls, fields: Fields, scope: Scope) -> Discount:
        account, subscription = _read_target(fields, scope)
        currency = fields.choice("currency", CURRENCIES, default=scope.accounts[account].currency if account else "usd")
        found = cls(
            account=account,
            subscription=subscription,
            percent_off=fields.decimal("percent_off"),
            amount_off=fields.money("amount_off", currency) if fields.has("amount_off") else None,
            currency=currency,
            duration_months=fields.integer("duration_months", least=1),
            name=fields.text("name"),
            meters=tuple(fields.texts("meters")),
            plans=tuple(fields.texts("plans")),
            remove=fields.flag("remove") is True,
        )
        if not found.remove and (found.percent_off is None) == (found.amount_off is None):
            fields.report("percent_off", "`discount` has `percent_off` or `amount_off`, or `remove: true`")
        fields.finish()
        return found

    def describe(self) -> str:
        if self.remove:
            return f"remove the discount of {self.subscription or self.account}"
        if self.percent_off is not None:
            value = f"{to_text(self.percent_off)} %"
        else:
            value = f"{format_decimal(self.amount_off or 0, self.currency)} {self.currency.upper()}"
        months = "" if self.duration_months is None else f" for {self.duration_months} months"
        return f"take {value} off {self.subscription or self.account}{months}"

    def play(self, world: World) -> list[str]:
        subscription = _find(world, self.account, self.subscription)
        if self.remove:
            remove_discount(subscription_id=subscription.id, at=world.now, actor=world.actor, reason="Rehearsal")
            return []
        if self.amount_off is not None and self.currency != subscription.currency:
            raise StepRefused(f"It is billed in {subscription.currency.upper()}: give its `currency`.")
        give_discount(
            subscription_id=subscription.id,
            percent_off=self.percent_off,
            amount_off=self.amount_off,
            duration_months=self.duration_months,
            name=self.name,
            meters=self.meters,
            plans=self.plans,
            at=world.now,
            actor=world.actor,
            reason="Rehearsal",
        )
        return []
