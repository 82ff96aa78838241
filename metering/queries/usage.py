"""Usage of an account, per meter: quantities, costs under the running subscriptions' prices, buckets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final, Literal
from uuid import UUID

from accounts.models import Account, Subscription, SubscriptionItem
from accounts.queries.meter_prices import load_meter_prices
from accounts.queries.price_overrides import load_overrides
from billing_site.kernel.periods import Period
from catalog.models import Meter
from catalog.pricing.terms import PriceTerms
from catalog.pricing.usage import Usage
from catalog.queries.prices import get_price_terms
from metering.queries.measuring import MeasureRequest, measure_usage
from metering.queries.meters import CHARGED_METER, get_meter, list_meters
from metering.queries.periods import choose_period, get_default_period, list_running_subscriptions
from metering.rating import rate_usage
from metering.stores import BucketQuantity, Quantity, QuantityRequest, sum_buckets, sum_over_accounts, sum_quantities

GroupBy = Literal["none", "day", "hour"]
ZERO: Final = Decimal(0)


@dataclass(frozen=True, slots=True)
class MetricUsage:
    """
    One meter's usage: quantity in the meter's unit, cost in minor units, rounded once.

    `included` is what the price leaves free, None where it leaves nothing; `overage` is what lies above it.
    """

    meter: Meter
    quantity: Decimal
    event_count: int
    included: Decimal | None
    overage: Decimal
    cost: int
    buckets: tuple[BucketQuantity, ...] = ()


@dataclass(frozen=True, slots=True)
class UsageSummary:
    """Usage of one account in a half-open period. Costs are in `currency`."""

    account: Account
    period: Period
    metrics: tuple[MetricUsage, ...]
    currency: str

    @property
    def total_cost(self) -> int:
        return sum(metric.cost for metric in self.metrics)


def summarize_usage(
    *,
    account: Account,
    at: datetime,
    start: datetime | None = None,
    end: datetime | None = None,
    metric: str | None = None,
    group_by: GroupBy = "none",
) -> UsageSummary:
    """
    Return the usage of an account; only of `metric` when given. Meters without events are left out.

    The period defaults to the current billing period, else the calendar month. The number of queries is fixed.
    :raises MeterNotFound: if there is no such metric.
    :raises PeriodNotValid: if the period is reversed or longer than 400 days.
    """
    subscriptions = list_running_subscriptions(account)
    default = get_default_period(account, subscriptions[0] if subscriptions else None, at=at)
    period = choose_period(start, end, default=default)
    meters = (
        list_meters(org_id=account.org_id) if metric is None else [get_meter(org_id=account.org_id, reference=metric)]
    )
    quantities = _sum_used(account, meters, period)
    used = [meter for meter in meters if meter.id in quantities]
    buckets: Mapping[UUID, Sequence[BucketQuantity]] = {}
    if group_by != "none" and used:
        buckets = _group(sum_buckets(account_id=account.id, meter_ids=quantities, period=period, bucket=group_by))
    currency = subscriptions[0].currency if subscriptions else account.currency
    prices = list_usage_prices(subscriptions, currency=currency)
    costs = _rate_used(account, [meter for meter in used if meter.id in prices], period, prices, quantities)
    return UsageSummary(
        account=account,
        period=period,
        metrics=tuple(
            _summarize(meter, quantities[meter.id], prices.get(meter.id), costs.get(meter.id, 0), buckets)
            for meter in used
        ),
        currency=currency,
    )


def list_usage_prices(subscriptions: Sequence[Subscription], *, currency: str) -> dict[UUID, PriceTerms]:
    """
    Return the usage prices in force in `currency`, by meter: those that billing would use now.

    Of two subscriptions that price one meter the older one's. Subscriptions come with `account` and `plan_version.plan`
    loaded. A fixed number of queries.
    """
    own = [each for each in subscriptions if each.currency == currency and each.is_billed_here]
    if not own:
        return {}
    items: dict[UUID, list[SubscriptionItem]] = defaultdict(list)
    found = SubscriptionItem.objects.filter(
        subscription__in=own, meter__isnull=False, price__isnull=False, ended_at__isnull=True
    )
    for item in found.select_related("price__meter").order_by("subscription_id", "id"):
        items[item.subscription_id].append(item)
    overrides = load_overrides({each.account_id for each in own})
    outside = load_meter_prices(own)
    prices: dict[UUID, PriceTerms] = {}
    for subscription in own:
        start = subscription.current_period_start
        planned: dict[UUID, PriceTerms] = {}
        for item in items[subscription.id]:
            if item.price is not None and item.meter_id is not None:
                terms = overrides.apply(subscription.account_id, get_price_terms(item.price), at=start)
                planned[item.meter_id] = terms
        for meter, terms in outside.list_for(subscription, subscription.current_period, besides=planned):
            planned[meter.id] = terms
        prices = {**planned, **prices}
    return prices


def summarize_meter(
    *, meter: Meter, period: Period, account: Account | None = None, org_id: str | None = None
) -> Quantity:
    """Return one meter's quantity for an account, or over all accounts (of one organization) together."""
    if account is not None:
        request = QuantityRequest(account.id, meter.id, period)
        return sum_quantities([request])[request]
    total = sum_over_accounts(meter_id=meter.id, period=period, org_id=org_id)
    return Quantity(total.quantity, total.event_count)


def _sum_used(account: Account, meters: Sequence[Meter], period: Period) -> dict[UUID, Quantity]:
    quantities = sum_quantities([QuantityRequest(account.id, meter.id, period) for meter in meters])
    return {request.meter_id: found for request, found in quantities.items() if found.event_count}


def _group(buckets: Sequence[BucketQuantity]) -> dict[UUID, list[BucketQuantity]]:
    grouped: dict[UUID, list[BucketQuantity]] = defaultdict(list)
    for bucket in buckets:
        grouped[bucket.meter_id].append(bucket)
    return grouped


def _rate_used(
    account: Account,
    meters: Sequence[Meter],
    period: Period,
    prices: Mapping[UUID, PriceTerms],
    quantities: Mapping[UUID, Quantity],
) -> dict[UUID, int]:
    """
    Return what each priced meter costs, minimum included. A meter without a price costs nothing and still shows.

    What was charged when it happened shows in the quantity and costs nothing here.
    """
    usage = {meter.id: Usage(quantities[meter.id].quantity) for meter in meters}
    closer = [
        meter
        for meter in meters
        if prices[meter.id].needs_events or prices[meter.id].options.variants or meter.event_name == CHARGED_METER
    ]
    requests = [MeasureRequest(account.id, meter.id, period, prices[meter.id]) for meter in closer]
    usage |= {meter.id: found.usage for meter, found in zip(closer, measure_usage(requests), strict=True)}
    rated = {meter.id: rate_usage(price=prices[meter.id], usage=usage[meter.id]) for meter in meters}
    return {meter_id: each.amount + each.true_up for meter_id, each in rated.items()}


def _summarize(
    meter: Meter,
    found: Quantity,
    price: PriceTerms | None,
    cost: int,
    buckets: Mapping[UUID, Sequence[BucketQuantity]],
) -> MetricUsage:
    included = price.options.free_quantity if price is not None else None
    return MetricUsage(
        meter=meter,
        quantity=found.quantity,
        event_count=found.event_count,
        included=included,
        overage=ZERO if included is None else max(ZERO, found.quantity - included),
        cost=cost,
        buckets=tuple(buckets.get(meter.id, ())),
    )
