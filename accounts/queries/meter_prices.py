"""
Prices of meters that a plan does not price itself: the overage of its soft quotas, else pricing rules.

Source: contract chapter Pricing (rule lookup, included quantity); ADR 0016.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from accounts.models import Subscription, SubscriptionItem
from accounts.models.subscription import RUNNING_STATUSES
from billing_site.kernel.periods import Period
from catalog.models import Enforcement, Meter, QuotaRule, QuotaWindow
from catalog.models.pricing_rule import PricingRule
from catalog.pricing.terms import PriceOptions, PriceTerms
from catalog.queries.pricing_rules import get_rule_terms

# Windows whose included quantity is that of a billing period: always, or when the period is a month.
_PERIOD_WINDOWS: Final = (QuotaWindow.BILLING_PERIOD, QuotaWindow.MONTH)


@dataclass(frozen=True, slots=True)
class MeterPrices:
    """
    What meters cost outside the prices of a plan.

    `overages` is by plan version, `rules` by organization, the newest first. `bearers` are the subscriptions that carry
    the default rules of their account: the oldest running one; `spoken_for` the meters that any of its subscriptions
    prices by item or overage, `plan_rules` the rules that do for their plans, as long as they are in force.
    """

    overages: Mapping[uuid.UUID, Sequence[QuotaRule]]
    rules: Mapping[str, Sequence[PricingRule]]
    bearers: Collection[uuid.UUID]
    spoken_for: Mapping[uuid.UUID, Collection[uuid.UUID]]
    plan_rules: Mapping[uuid.UUID, Sequence[PricingRule]]

    def list_for(
        self, subscription: Subscription, period: Period, *, besides: Collection[uuid.UUID]
    ) -> Iterator[tuple[Meter, PriceTerms]]:
        """Yield the meters to bill for a period that closes, each once, besides those the plan prices itself."""
        seen = set(besides)
        for quota in self.overages.get(subscription.plan_version_id, ()):
            if quota.meter_id not in seen and _covers_period(quota, subscription):
                seen.add(quota.meter_id)
                yield quota.meter, get_overage_terms(quota, subscription)
        plan_key = subscription.plan_version.plan.key
        for named in (True, False):
            for rule in self._list_rules(subscription):
                if rule.meter_id in seen or not _was_in_force(rule, period):
                    continue
                is_default = not rule.plan_key and self._bears(subscription, rule, period)
                if rule.plan_key == plan_key if named else is_default:
                    seen.add(rule.meter_id)
                    yield rule.meter, get_rule_terms(rule)

    def _list_rules(self, subscription: Subscription) -> Iterator[PricingRule]:
        own, plans = subscription.account.org_id, subscription.plan_version.plan.org_id
        for org_id in dict.fromkeys((own, plans)):
            for rule in self.rules.get(org_id, ()):
                if rule.currency == subscription.currency:
                    yield rule

    def _bears(self, subscription: Subscription, rule: PricingRule, period: Period) -> bool:
        owner = subscription.account_id
        if subscription.id not in self.bearers or rule.meter_id in self.spoken_for.get(owner, ()):
            return False
        others = self.plan_rules.get(owner, ())
        return not any(other.meter_id == rule.meter_id and _was_in_force(other, period) for other in others)


def get_overage_terms(quota: QuotaRule, subscription: Subscription) -> PriceTerms:
    """Return the price of a soft quota: what lies above the limit, per unit. Source: contract chapter Pricing."""
    return make_overage_terms(
        quota,
        currency=subscription.currency,
        interval=subscription.interval,
        interval_count=subscription.interval_count,
        plan_key=subscription.plan_version.plan.key,
    )


def make_overage_terms(
    quota: QuotaRule, *, currency: str, interval: str, interval_count: int, plan_key: str
) -> PriceTerms:
    """
    Return the price of a soft quota for a subscription of such terms.

    :raises ValueError: if the quota has no price for what lies above it.
    """
    if quota.overage_price is None:
        raise ValueError(f"{quota} has no overage price")
    return PriceTerms(
        price_id="",
        model="per_unit",
        currency=currency,
        unit_amount=quota.overage_price,
        meter=quota.meter.event_name,
        unit=quota.meter.unit,
        interval=interval,
        interval_count=interval_count,
        billing_timing="arrears",
        lookup_key=f"{plan_key}:overage:{quota.meter.event_name}",
        options=PriceOptions(free_quantity=quota.limit),
        origin=quota.public_id,
    )


def load_meter_prices(subscriptions: Sequence[Subscription]) -> MeterPrices:
    """Return the prices outside plans for many subscriptions. Two queries, three more where default rules exist."""
    rules: dict[str, list[PricingRule]] = defaultdict(list)
    orgs = {each.account.org_id for each in subscriptions} | {each.plan_version.plan.org_id for each in subscriptions}
    found = PricingRule.objects.filter(org_id__in=orgs).select_related("meter").order_by("-valid_from", "-id")
    for rule in found:
        rules[rule.org_id].append(rule)
    versions = {each.plan_version_id for each in subscriptions}
    versions |= {each.pending_plan_version_id for each in subscriptions if each.pending_plan_version_id is not None}
    overages = list_overages(versions)
    has_defaults = any(not rule.plan_key for each in rules.values() for rule in each)
    if not has_defaults:
        return MeterPrices(overages, rules, (), {}, {})
    return MeterPrices(overages, rules, *_find_bearers(subscriptions, rules))


def is_billed_overage(quota: QuotaRule) -> bool:
    """Tell whether a quota's overage is billed at all: soft, priced, and counted by something like a billing period."""
    return quota.enforcement == Enforcement.SOFT and quota.overage_price is not None and quota.window in _PERIOD_WINDOWS


def list_overages(version_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, list[QuotaRule]]:
    """Return the quotas of plan versions whose overage is billed, with their meters. One query."""
    quotas = QuotaRule.objects.filter(
        plan_version_id__in=list(version_ids),
        enforcement=Enforcement.SOFT,
        overage_price__isnull=False,
        window__in=_PERIOD_WINDOWS,
    )
    found: dict[uuid.UUID, list[QuotaRule]] = defaultdict(list)
    # A quota by billing period wins over one by month; both come before what is made later.
    for quota in quotas.select_related("meter").order_by("window", "id"):
        found[quota.plan_version_id].append(quota)
    return found


def _find_bearers(
    subscriptions: Sequence[Subscription], rules: Mapping[str, Sequence[PricingRule]]
) -> tuple[set[uuid.UUID], dict[uuid.UUID, set[uuid.UUID]], dict[uuid.UUID, list[PricingRule]]]:
    """Return each account's oldest running subscription, what its subscriptions price themselves, and what by rule."""
    accounts = {each.account_id for each in subscriptions}
    oldest: dict[uuid.UUID, uuid.UUID] = {}
    spoken_for: dict[uuid.UUID, set[uuid.UUID]] = defaultdict(set)
    running = Subscription.objects.filter(account_id__in=accounts, status__in=RUNNING_STATUSES)
    columns = ("id", "account_id", "plan_version_id", "plan_version__plan__key", "currency")
    rows = list(running.order_by("id").values_list(*columns))
    overages = list_overages({row[2] for row in rows})
    by_plan: dict[tuple[str, str], list[PricingRule]] = defaultdict(list)
    for rule in (rule for each in rules.values() for rule in each if rule.plan_key):
        by_plan[rule.plan_key, rule.currency].append(rule)
    plan_rules: dict[uuid.UUID, list[PricingRule]] = defaultdict(list)
    for subscription_id, account_id, version_id, plan_key, currency in rows:
        oldest.setdefault(account_id, subscription_id)
        spoken_for[account_id] |= {quota.meter_id for quota in overages.get(version_id, ())}
        plan_rules[account_id] += by_plan.get((plan_key, currency), ())
    priced = SubscriptionItem.objects.filter(
        subscription_id__in=[row[0] for row in rows], ended_at__isnull=True, price__isnull=False, meter__isnull=False
    )
    for account_id, meter_id in priced.values_list("subscription__account_id", "meter_id"):
        if meter_id is not None:
            spoken_for[account_id].add(meter_id)
    return set(oldest.values()), spoken_for, plan_rules


def _covers_period(quota: QuotaRule, subscription: Subscription) -> bool:
    if quota.window == QuotaWindow.BILLING_PERIOD:
        return True
    return (subscription.interval, subscription.interval_count) == ("month", 1)


def _was_in_force(rule: PricingRule, period: Period) -> bool:
    """Tell whether the rule held at some moment of the period; callers take the newest that did."""
    return rule.valid_from < period.end and (rule.closed_at is None or rule.closed_at > period.start)
