"""
What usage costs as time goes by: each price on the cumulative usage at the end of each step, exact and not rounded.

A tier is reached when the cumulative quantity reaches it, so the cost of a step is the difference of two of these
amounts. Usage is read in steps, never event by event, however many events there are; only while a free allowance of a
price per event may last do single events come. Source: policies, rules 2 and 14.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal, localcontext
from typing import Final

from billing_site.kernel.money import EXACT
from catalog.pricing.engine import price_usage
from catalog.pricing.terms import PriceOptions, PriceTerms
from catalog.pricing.usage import Usage, UsageGroup
from metering.queries.measuring import MeasureRequest, UsageNotPriceable
from metering.rating.events import EventCollector, EventPriceInvalid, parse_unit_amount
from metering.stores import (
    EventStepRequest,
    StepEvents,
    StepQuantity,
    StepRequest,
    list_event_steps,
    sum_steps,
)

ZERO: Final = Decimal(0)
_KEPT: Final = ("sum", "count", "unique")


@dataclass(frozen=True, slots=True)
class SteppedRequest:
    """A measurement cut into steps: step k ends before `cuts[k]`, the last not before the period does."""

    measure: MeasureRequest
    aggregation: str
    cuts: tuple[datetime, ...]


@dataclass(frozen=True, slots=True)
class RatedStep:
    """
    Where the cost stands when a step ends: the exact amount in minor units, without what a minimum adds.

    `event_count` is the number of events of this step alone.
    """

    amount: Decimal
    event_count: int


def rate_steps(requests: Sequence[SteppedRequest]) -> list[list[RatedStep]]:
    """
    Return the cumulative cost of each request at the end of each of its steps. At most three statements.

    :raises UsageNotPriceable: if an event carries a price that is none.
    """
    rated: list[list[RatedStep]] = [[] for _ in requests]
    per_event = [index for index, each in enumerate(requests) if each.measure.price.needs_events]
    counted = [index for index, each in enumerate(requests) if not each.measure.price.needs_events]
    sums = sum_steps([_to_step_request(requests[index]) for index in counted])
    for index, steps in zip(counted, sums, strict=True):
        rated[index] = list(_rate_quantities(requests[index], steps))
    listed = list_event_steps([_to_event_request(requests[index]) for index in per_event])
    for index, events in zip(per_event, listed, strict=True):
        rated[index] = list(_rate_events(requests[index], events))
    return rated


def _to_step_request(each: SteppedRequest) -> StepRequest:
    measure = each.measure
    return StepRequest(measure.account_id, measure.meter_id, measure.period, each.cuts, measure.price.dimensions)


def _to_event_request(each: SteppedRequest) -> EventStepRequest:
    """Return the request with an allowance that ends no sooner than that of any part of the price."""
    options = (each.measure.price.options, *(variant.options for variant in each.measure.price.options.variants))
    free = [part for part in options if part.free_events is not None or part.free_amount is not None]
    if each.measure.price.model == "dynamic" or not free:
        return EventStepRequest(_to_step_request(each))
    events = [part.free_events for part in free if part.free_events is not None]
    amounts = [part.free_amount for part in free if part.free_amount is not None]
    return EventStepRequest(
        _to_step_request(each),
        free_events=max(events) if len(events) == len(free) else None,
        free_amount=max(amounts) if len(amounts) == len(free) else None,
    )


def _rate_quantities(request: SteppedRequest, steps: Sequence[StepQuantity]) -> Iterator[RatedStep]:
    price = request.measure.price
    waiting, place = list(steps), 0
    reading, groups = ZERO, {}  # type: Decimal, dict[tuple[tuple[str, str], ...], Decimal]
    amount = _price(price, Usage(ZERO))
    for number in range(len(request.cuts)):
        events, first = 0, place
        while place < len(waiting) and waiting[place].step == number:
            step = waiting[place]
            reading = _read_on(request.aggregation, reading, step.quantity)
            if price.dimensions:
                named = _name_values(price, step.values)
                groups[named] = groups.get(named, ZERO) + step.quantity
            events += step.event_count
            place += 1
        if place > first:
            amount = _price(price, Usage(reading, groups=tuple(UsageGroup(*each) for each in sorted(groups.items()))))
        yield RatedStep(amount, events)


def _read_on(aggregation: str, reading: Decimal, step: Decimal) -> Decimal:
    if aggregation in _KEPT:
        return reading + step
    return max(reading, step) if aggregation == "max" else step


def _price(price: PriceTerms, usage: Usage) -> Decimal:
    return price_usage(price, usage).amount_decimal


def _name_values(price: PriceTerms, values: Sequence[str | None]) -> tuple[tuple[str, str], ...]:
    pairs = zip(price.dimensions, values, strict=True)
    return tuple((name, value) for name, value in pairs if value is not None)


def _rate_events(request: SteppedRequest, found: Sequence[StepEvents]) -> Iterator[RatedStep]:
    """
    Yield the cost of what may be free, priced together, plus what later events cost, priced step by step.

    Past its allowance an event costs the same whatever came before it, so that the sum is exact.
    """
    price = request.measure.price
    first, later = _without_bounds(price, keep_free=True), _without_bounds(price, keep_free=False)
    begun = EventCollector(first)
    place, begun_amount, later_amount = 0, ZERO, ZERO
    for number in range(len(request.cuts)):
        events, has_begun = 0, False
        step = EventCollector(later)
        while place < len(found) and found[place].step == number:
            event = found[place]
            target = begun if event.place is not None else step
            has_begun = has_begun or target is begun
            target.add(event.value, _read_price(price, event), dict(_name_values(price, event.values)), event.times)
            events += event.times
            place += 1
        if has_begun:
            begun_amount = _price(first, begun.collect())
        if events:
            with localcontext(EXACT):
                later_amount += _price(later, step.collect())
        maximum = price.options.maximum_amount
        with localcontext(EXACT):
            amount = begun_amount + later_amount
        yield RatedStep(amount if maximum is None else min(amount, maximum), events)


def _read_price(price: PriceTerms, event: StepEvents) -> Decimal | None:
    if price.model != "dynamic":
        return None
    try:
        return parse_unit_amount(event.unit_amount)
    except EventPriceInvalid as error:
        raise UsageNotPriceable(f"An event of {price.meter} cannot be priced: {error}.") from error


def _without_bounds(price: PriceTerms, *, keep_free: bool) -> PriceTerms:
    """Return the price without minimum and maximum, which hold for the sum, and perhaps without what is free."""
    variants = tuple(
        replace(variant, options=_strip(variant.options, keep_free=keep_free)) for variant in price.options.variants
    )
    return replace(price, options=replace(_strip(price.options, keep_free=keep_free), variants=variants))


def _strip(options: PriceOptions, *, keep_free: bool) -> PriceOptions:
    options = replace(options, minimum_amount=None, maximum_amount=None)
    return options if keep_free else replace(options, free_events=None, free_amount=None)
