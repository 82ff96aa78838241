"""
What charges would be made of today, as far as that can be known: prices outside plans, seats, and shares of periods.

For the shadow re-run. What may have been other then is left as it was stored: seats of subscriptions whose terms were
ever changed, shares that a cycle of today does not explain. Source: ADR 0043.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from accounts.models import Subscription, SubscriptionItem
from accounts.queries.meter_prices import make_overage_terms
from accounts.terms.cycles import Cycle
from accounts.terms.proration import ProrationBasis, ProrationTerms, ProrationUnit, Share, measure_share
from billing_site.kernel.periods import local_date
from billing_site.platform.models import Event
from catalog.models import QuotaRule
from catalog.models.pricing_rule import PricingRule
from catalog.pricing.terms import PriceTerms
from catalog.pricing.usage import Usage
from catalog.queries.pricing_rules import get_rule_terms
from invoicing.calculation.facts import ChargeFacts
from invoicing.calculation.shares import ShareFacts

_PART: Final = re.compile(r"\d+/\d+ (?P<unit>day|second)s")
_BASES: Final[tuple[ProrationBasis, ...]] = ("actual", "fixed_30")
_CHANGES: Final = ("subscription.updated", "subscription_item.updated")
_Outside = PricingRule | QuotaRule


@dataclass(frozen=True, slots=True)
class ChargesAnew:
    """What is known today of the charges of a batch: rules and quotas that priced them, items, and what was changed."""

    outside: Mapping[str, _Outside] = field(default_factory=dict)
    items: Mapping[str, SubscriptionItem] = field(default_factory=dict)
    changed: frozenset[uuid.UUID] = frozenset()

    def find_meter(self, charge: ChargeFacts) -> uuid.UUID | None:
        """Return the meter of a charge that a rule or a quota priced."""
        found = self.outside.get(charge.price.origin)
        return None if found is None else found.meter_id

    def find_terms(self, charge: ChargeFacts) -> PriceTerms | None:
        """Return the price of a charge that a rule or a quota priced, which never change; None for any other."""
        found, price = self.outside.get(charge.price.origin), charge.price
        if isinstance(found, PricingRule):
            return get_rule_terms(found)
        if found is None:
            return None
        return make_overage_terms(
            found,
            currency=price.currency,
            interval=price.interval,
            interval_count=price.interval_count,
            plan_key=charge.plan_id,
        )

    def count_seats(self, charge: ChargeFacts) -> ChargeFacts:
        """Return a fee with the quantity of its item, where nobody has ever changed one of its subscription."""
        item = self.items.get(charge.item_id)
        if charge.type != "subscription" or item is None or item.subscription_id in self.changed:
            return charge
        return replace(charge, usage=Usage(Decimal(item.quantity)))

    def measure(self, charge: ChargeFacts, *, timezone: str) -> ChargeFacts:
        """Return a fee with its share of a period, counted in the account's zone by the cycle of its subscription."""
        item = self.items.get(charge.item_id)
        if charge.type != "subscription" or item is None:
            return charge
        unit = _read_unit(charge)
        cycle = _find_cycle(item.subscription, charge, ZoneInfo(timezone))
        if unit is None or cycle is None:
            return charge
        found = [_measure(charge, cycle, unit, basis) for basis in _BASES]
        return charge if charge.share in found else replace(charge, share=found[0])


def load_charges_anew(charges: Iterable[ChargeFacts]) -> ChargesAnew:
    """Return what is known today of charges. At most five queries."""
    known = list(charges)
    origins = [charge.price.origin for charge in known if charge.price.origin]
    rules = PricingRule.objects.filter(pk__in=_parse(PricingRule, origins)).select_related("meter")
    quotas = QuotaRule.objects.filter(pk__in=_parse(QuotaRule, origins)).select_related("meter")
    keys = _parse(SubscriptionItem, (charge.item_id for charge in known if charge.type == "subscription"))
    items = list(SubscriptionItem.objects.filter(pk__in=keys).select_related("subscription"))
    return ChargesAnew(
        {rule.public_id: rule for rule in rules} | {quota.public_id: quota for quota in quotas},
        {item.public_id: item for item in items},
        _find_changed({item.subscription_id: item.subscription for item in items}),
    )


def _find_changed(subscriptions: Mapping[uuid.UUID, Subscription]) -> frozenset[uuid.UUID]:
    """Return the subscriptions of which terms or parts were ever changed, or wait to be."""
    owners = SubscriptionItem.objects.filter(subscription__in=list(subscriptions))
    names = {each.public_id: key for key, each in subscriptions.items()}
    names |= {item.public_id: item.subscription_id for item in owners.only("id", "subscription_id")}
    accounts = {each.account_id for each in subscriptions.values()}
    events = Event.objects.filter(account_id__in=accounts, type__in=_CHANGES, object_id__in=list(names))
    return frozenset(names[key] for key in events.values_list("object_id", flat=True))


def _parse(model: type[PricingRule | QuotaRule | SubscriptionItem], ids: Iterable[str]) -> list[uuid.UUID]:
    return [key for each in ids if (key := model.parse_id(each)) is not None]


def _read_unit(charge: ChargeFacts) -> ProrationUnit | None:
    """Return in what a share was counted: one fraction of one period; None for whole periods and several parts."""
    found = None if charge.share is None else _PART.fullmatch(charge.share.text)
    if found is None:
        return None
    return "second" if found["unit"] == "second" else "day"


def _find_cycle(subscription: Subscription, charge: ChargeFacts, zone: ZoneInfo) -> Cycle | None:
    """Return the cycle of a subscription, when it is the one on which the period of a charge ends."""
    cycle = replace(subscription.cycle, zone=zone)
    price = charge.price
    is_own = (cycle.interval.unit, cycle.interval.count) == (price.interval, price.interval_count)
    return cycle if is_own and cycle.is_boundary(local_date(charge.period.end, zone)) else None


def _measure(charge: ChargeFacts, cycle: Cycle, unit: ProrationUnit, basis: ProrationBasis) -> ShareFacts:
    share: Share = measure_share(
        part=charge.period, billed=charge.period, cycle=cycle, terms=ProrationTerms(unit, basis)
    )
    return ShareFacts(share.numerator, share.denominator, share.describe())
