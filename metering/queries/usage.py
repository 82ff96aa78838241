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
from billing_site.kernel.periods import Period
from catalog.models import Meter
from catalog.pricing.terms import PriceTerms
from catalog.queries.prices import get_price_terms
from metering.queries.meters import get_meter, list_meters
from metering.queries.periods import choose_period, get_default_period, list_running_subscriptions
from metering.rating import rate_usage
from metering.stores import BucketQuantity, Quantity, QuantityRequest, sum_buckets, sum_over_accounts, sum_quantities

GroupBy = Literal["none", "day", "hour"]
ZERO: Final = Decimal(0)


@dataclass(frozen=True, slots=True)
class MetricUsage:
    """
    One meter's usage: quantity in the meter's unit, cost in minor units, rounded once.

    `included` is None while no quota covers the meter; `overage` is what lies above it.
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
    return UsageSummary(
        account=account,
        period=period,
        metrics=tuple(
            MetricUsage(
                meter=meter,
                quantity=quantities[meter.id].quantity,
                event_count=quantities[meter.id].event_count,
                included=None,
                overage=ZERO,
                cost=_rate(prices.get(meter.id), quantities[meter.id].quantity),
                buckets=tuple(buckets.get(meter.id, ())),
            )
            for meter in used
        ),
        currency=currency,
    )


def list_usage_prices(subscriptions: Sequence[Subscription], *, currency: str) -> dict[UUID, PriceTerms]:
    """Return the usage prices in force in `currency`, by meter; of two subscriptions the older one's."""
    items = SubscriptionItem.objects.filter(
        subscription__in=subscriptions, meter__isnull=False, ended_at__isnull=True, price__currency=currency
    ).select_related("price__meter")
    prices: dict[UUID, PriceTerms] = {}
    for item in items.order_by("subscription_id", "id") if subscriptions else ():
        if item.price.meter is not None:
            prices.setdefault(item.price.meter.id, get_price_terms(item.price))
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


def _rate(price: PriceTerms | None, quantity: Decimal) -> int:
    # A meter without a price costs nothing and still shows.
    return rate_usage(price=price, quantity=quantity).amount if price is not None else 0
