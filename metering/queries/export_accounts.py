"""Whose usage the payment provider bills, of which meters and since when. Source: ADR 0035."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from django.db.models import Q, QuerySet

from accounts.models import Subscription
from accounts.models.subscription import ProviderType
from catalog.models import Aggregation, Meter
from catalog.queries.prices import list_prices_of_versions
from metering.models import ExportSource, UsageExport
from metering.queries.meters import CHARGED_METER

_STRIPE: Final = "stripe"
_ADDED_UP: Final = (Aggregation.SUM, Aggregation.COUNT)


@dataclass(frozen=True, slots=True)
class ExportedMeter:
    """A meter whose usage the provider bills, from `start` on, up to `end` where that has ended (half-open)."""

    meter: Meter
    provider: str
    start: datetime
    end: datetime | None


def list_provider_billed(account_ids: Iterable[UUID] | None = None) -> QuerySet[Subscription]:
    """Return the subscriptions whose usage the provider bills, ended ones too: not ours, and not given away."""
    found = Subscription.objects.filter(Q(billed_by_provider=True) | Q(provider_type=ProviderType.STRIPE))
    found = found.exclude(provider_type=ProviderType.MANUAL_GRANT)
    return found if account_ids is None else found.filter(account_id__in=list(account_ids))


def find_provider(account_id: UUID) -> str:
    """Return the provider that bills the account's usage, of several the newest's; nothing if none does."""
    newest = list_provider_billed([account_id]).order_by("-id").first()
    return "" if newest is None else _name_provider(newest)


def list_exported_meters(account_id: UUID) -> list[ExportedMeter]:
    """
    Return the meters of an account whose usage its provider bills: those its plans there price.

    Only what adds up over hours: meters that sum or count. A meter of several plans counts from the first to the last
    of them. What was charged when it happened is nobody's to bill.
    """
    subscriptions = list(list_provider_billed([account_id]).order_by("id"))
    prices = list_prices_of_versions({each.plan_version_id for each in subscriptions})
    found: dict[UUID, ExportedMeter] = {}
    for subscription in subscriptions:
        for price in prices[subscription.plan_version_id]:
            meter = price.meter
            if meter is None or meter.event_name == CHARGED_METER or not is_additive(meter):
                continue
            known = found.get(meter.pk)
            start, end = subscription.started_at, subscription.ended_at
            if known is not None:
                start = min(start, known.start)
                end = None if end is None or known.end is None else max(end, known.end)
            found[meter.pk] = ExportedMeter(meter, _name_provider(subscription), start, end)
    return [*found.values(), *_list_former(account_id, subscriptions, found)]


def _list_former(
    account_id: UUID, subscriptions: list[Subscription], found: Mapping[UUID, ExportedMeter]
) -> Iterator[ExportedMeter]:
    """Yield meters that an earlier plan there priced: the last hours before the change are to be told as well."""
    if not subscriptions:
        return
    told = UsageExport.objects.filter(account_id=account_id, source=ExportSource.TOTAL).order_by()
    former = Meter.objects.filter(pk__in=told.values("meter_id")).exclude(pk__in=found)
    ends = [each.ended_at for each in subscriptions if each.ended_at is not None]
    for meter in former.order_by("event_name"):
        yield ExportedMeter(
            meter,
            _name_provider(subscriptions[-1]),
            min(each.started_at for each in subscriptions),
            max(ends) if len(ends) == len(subscriptions) else None,
        )


def is_additive(meter: Meter) -> bool:
    """Tell whether the hours of a meter add up, here and at the provider."""
    formula = meter.provider_settings.get("aggregation_formula", "sum")
    return meter.aggregation in _ADDED_UP and formula == "sum"


def _name_provider(subscription: Subscription) -> str:
    return subscription.provider or _STRIPE
