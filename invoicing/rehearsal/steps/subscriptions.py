"""`subscribe`: starting a subscription."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from accounts.models import Alignment, CollectionMethod
from billing_site.kernel.money import CURRENCIES
from catalog.models import PriceInterval
from catalog.queries.plans import get_sellable_plan
from invoicing.rehearsal.fields import Fields
from invoicing.rehearsal.scope import Scope
from invoicing.rehearsal.world import World
from invoicing.services.subscriptions import start_subscription

_NOT_YET: Final = ("items",)


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Start a subscription and bill its first fee in advance. `options` go to the service as they are."""

    account: str
    plan: str
    name: str
    interval: str
    backdate_to: datetime | None
    options: dict[str, Any]

    @classmethod
    def read(cls, fields: Fields, scope: Scope) -> Subscribe:
        account = scope.read_account(fields)
        options = {
            "quantity": fields.integer("quantity", least=1),
            "currency": fields.choice("currency", CURRENCIES) or None,
            "trial_period_days": fields.integer("trial_days", least=0),
            "coupon_code": fields.text("coupon") or None,
            "collection_method": fields.choice("collection_method", CollectionMethod.values) or None,
            "alignment": fields.choice("alignment", Alignment.values) or None,
            "billing_cycle_anchor": fields.day("billing_cycle_anchor"),
            "payment_gated": fields.flag("payment_gated"),
            "billing_threshold": fields.integer("billing_threshold", least=1),
        }
        found = cls(
            account=account,
            plan=fields.text("plan", required=True),
            name=scope.name_subscription(fields, account),
            interval=fields.choice("interval", PriceInterval.values),
            backdate_to=scope.read_moment(fields, "backdate_to", account),
            options={name: value for name, value in options.items() if value is not None},
        )
        fields.finish(not_yet=_NOT_YET)
        return found

    def describe(self) -> str:
        shown = [f"subscribe {self.account} to {self.plan}"]
        if "quantity" in self.options:
            shown.append(f"× {self.options['quantity']}")
        if "trial_period_days" in self.options:
            shown.append(f"after {self.options['trial_period_days']} days of trial")
        if "coupon_code" in self.options:
            shown.append(f"with coupon {self.options['coupon_code']}")
        if "alignment" in self.options:
            shown.append(f"by {self.options['alignment']}")
        if "billing_cycle_anchor" in self.options:
            shown.append(f"anchored on {self.options['billing_cycle_anchor']}")
        if self.options.get("payment_gated"):
            shown.append("once paid")
        if "billing_threshold" in self.options:
            shown.append(f"invoiced early at {self.options['billing_threshold']}")
        if self.backdate_to is not None:
            shown.append(f"since {self.backdate_to:%Y-%m-%dT%H:%M:%SZ}")
        if self.name:
            shown.append(f"as {self.name}")
        return " ".join(shown)

    def play(self, world: World) -> list[str]:
        account = world.get_account(self.account)
        subscription, _ = start_subscription(
            account=account,
            plan_key=self.plan,
            at=world.now,
            actor=world.actor,
            interval=self.interval or self._choose_interval(world, self.options.get("currency") or account.currency),
            start_at=self.backdate_to,
            default_trial_days=world.story.settings.trial_days,
            **self.options,
        )
        if self.name:
            world.subscriptions[self.name] = subscription.id
        return []

    def _choose_interval(self, world: World, currency: str) -> str:
        """Return the interval a story means when it names none: the plan's only one, else the month."""
        prices = [
            price
            for price in get_sellable_plan(org_id=world.org_id, key=self.plan).prices.all()
            if price.currency == currency
        ]
        sold = {price.interval for price in prices if not price.is_metered} or {price.interval for price in prices}
        return sold.pop() if len(sold) == 1 else PriceInterval.MONTH.value
