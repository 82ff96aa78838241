"""
Measuring usage for prices: each price says how much it must know, and gets no more.

Most need one number. A dimensional price needs it per set of dimension values, a price per event the events. What was
charged when it happened is no part of any of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

from billing_site.kernel.errors import DomainError
from billing_site.kernel.periods import Period
from catalog.pricing.terms import PriceTerms
from catalog.pricing.usage import Usage, UsageGroup
from metering.rating.events import EventCollector, EventPriceInvalid, parse_unit_amount
from metering.stores import GroupRequest, QuantityGroup, QuantityRequest, stream_events, sum_groups, sum_quantities

ZERO: Final = Decimal(0)
NO_USAGE: Final = Usage(ZERO)


class UsageNotPriceable(DomainError):
    code, title, status = "usage_not_priceable", "An event does not carry the price it needs", 422


@dataclass(frozen=True, slots=True)
class MeasureRequest:
    """What an account used of a meter in a half-open period, as `price` needs to know it."""

    account_id: UUID
    meter_id: UUID
    period: Period
    price: PriceTerms


@dataclass(frozen=True, slots=True)
class MeasuredUsage:
    """The usage, the number of events behind it, and the latest moment one of them was recorded."""

    usage: Usage = NO_USAGE
    event_count: int = 0
    last_recorded_at: datetime | None = None


def measure_usage(requests: Sequence[MeasureRequest]) -> list[MeasuredUsage]:
    """
    Return what each request asks for, in the same order. At most three statements.

    Quantity and detail of one request come from the same statement, so that they agree while usage comes in.
    :raises UsageNotPriceable: if an event carries a price that is none.
    """
    measured: list[MeasuredUsage] = [MeasuredUsage()] * len(requests)
    plain, divided, per_event = [], [], []
    for index, request in enumerate(requests):
        if request.price.needs_events:
            per_event.append(index)
        elif request.price.options.variants:
            divided.append(index)
        else:
            plain.append(index)
    for index, found in _measure_plain(requests, plain):
        measured[index] = found
    for index, found in _measure_divided(requests, divided):
        measured[index] = found
    for index, found in _measure_events(requests, per_event):
        measured[index] = found
    return measured


def _measure_plain(requests: Sequence[MeasureRequest], indexes: Sequence[int]) -> Iterable[tuple[int, MeasuredUsage]]:
    asked = {
        index: QuantityRequest(
            requests[index].account_id, requests[index].meter_id, requests[index].period, to_bill=True
        )
        for index in indexes
    }
    quantities = sum_quantities(list(dict.fromkeys(asked.values()))) if asked else {}
    for index, request in asked.items():
        found = quantities[request]
        yield index, MeasuredUsage(Usage(found.quantity), found.event_count, found.last_recorded_at)


def _measure_divided(requests: Sequence[MeasureRequest], indexes: Sequence[int]) -> Iterable[tuple[int, MeasuredUsage]]:
    asked = [_to_group_request(requests[index]) for index in indexes]
    for index, request, groups in zip(indexes, asked, sum_groups(asked), strict=True):
        usage = Usage(
            sum((group.quantity for group in groups), ZERO),
            groups=tuple(
                UsageGroup(tuple(_name_values(request.dimensions, group.values).items()), group.quantity)
                for group in groups
            ),
        )
        yield index, MeasuredUsage(usage, sum(group.event_count for group in groups), _find_latest(groups))


def _measure_events(requests: Sequence[MeasureRequest], indexes: Sequence[int]) -> Iterable[tuple[int, MeasuredUsage]]:
    asked = [_to_group_request(requests[index]) for index in indexes]
    collectors = [EventCollector(requests[index].price) for index in indexes]
    counts, latest = [0] * len(indexes), [None for _ in indexes]  # type: list[int], list[datetime | None]
    for event in stream_events(asked):
        place = event.position
        price = requests[indexes[place]].price
        try:
            unit_amount = parse_unit_amount(event.unit_amount) if price.model == "dynamic" else None
        except EventPriceInvalid as error:
            raise UsageNotPriceable(f"An event of {price.meter} cannot be priced: {error}.") from error
        collectors[place].add(event.value, unit_amount, _name_values(asked[place].dimensions, event.values))
        counts[place] += 1
        recorded = latest[place]
        latest[place] = event.recorded_at if recorded is None else max(recorded, event.recorded_at)
    for index, collector, count, recorded_at in zip(indexes, collectors, counts, latest, strict=True):
        yield index, MeasuredUsage(collector.collect(), count, recorded_at)


def _to_group_request(request: MeasureRequest) -> GroupRequest:
    return GroupRequest(request.account_id, request.meter_id, request.period, request.price.dimensions)


def _name_values(names: Sequence[str], values: Sequence[str | None]) -> dict[str, str]:
    return {name: value for name, value in zip(names, values, strict=True) if value is not None}


def _find_latest(groups: Sequence[QuantityGroup]) -> datetime | None:
    return max((group.last_recorded_at for group in groups), default=None)
