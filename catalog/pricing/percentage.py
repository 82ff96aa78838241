"""Models `percentage` and `dynamic`: money that was counted, event by event. Source: policies, rule 14."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Final

from catalog.pricing.breakdown import PricedQuantity, PricedTier
from catalog.pricing.terms import Part, PriceOptions
from catalog.pricing.usage import EventGroup

ZERO: Final = Decimal(0)
HUNDRED: Final = Decimal(100)
MAX_STEPS: Final = 50


class EventsNeeded(ValueError):
    """This price counts event by event; a quantity alone does not tell what it comes to."""


def price_percentage(part: Part) -> PricedQuantity:
    """
    Return the percentage of the money, plus what each event adds.

    The free allowance covers the first events, until either its number or its amount is used up; of the event that
    passes the amount the rest is charged. Each charged event costs percent and fixed amount, within its bounds.
    :raises EventsNeeded: if something counts per event and only a quantity is given.
    """
    quantity, options, events = part.quantity, part.options, part.events
    rate = (options.percent or ZERO) / HUNDRED
    if not options.is_per_event:
        amount = quantity * rate
        return PricedQuantity(amount, (PricedTier(quantity, rate, amount, kind="percentage"),))
    if quantity and not events:
        raise EventsNeeded("a percentage with amounts per event is priced from events, not from a quantity")
    charged = [each for each in _skip_free(events, options) if each[1]]
    counted = sum((value * count for value, count in charged), ZERO)
    number = Decimal(sum(count for _, count in charged))
    fixed = options.fixed_amount or ZERO
    bounded = sum((_bound(value * rate + fixed, options) * count for value, count in charged), ZERO)
    steps = [PricedTier(counted, rate, counted * rate, kind="percentage")]
    if free := quantity - counted:
        steps.insert(0, PricedTier(free, ZERO, ZERO, kind="free"))
    if fixed:
        steps.append(PricedTier(number, fixed, number * fixed, kind="per_event"))
    if change := bounded - counted * rate - number * fixed:
        steps.append(PricedTier(number, ZERO, change, kind="event_bounds"))
    return PricedQuantity(bounded, tuple(steps))


def _skip_free(events: Sequence[EventGroup], options: PriceOptions) -> Iterator[tuple[Decimal, int]]:
    """Yield the chargeable money of each event, and how many such events follow each other."""
    is_free = options.free_events is not None or options.free_amount is not None
    events_left, money_left = options.free_events, options.free_amount
    for event in events:
        rest = event.times
        while rest and is_free:
            if events_left == 0 or (money_left is not None and money_left <= 0):
                is_free = False
            elif money_left is not None and event.value > money_left:
                yield event.value - money_left, 1
                rest, is_free = rest - 1, False
            else:
                taken = _count_free(event.value, rest, events_left, money_left)
                rest -= taken
                events_left = None if events_left is None else events_left - taken
                money_left = None if money_left is None else money_left - taken * event.value
        yield event.value, rest


def _count_free(value: Decimal, count: int, events_left: int | None, money_left: Decimal | None) -> int:
    """Return how many of `count` equal events are wholly free: at least one, as the caller made sure."""
    if events_left is not None:
        count = min(count, events_left)
    if money_left is not None and value > 0:
        count = min(count, int(money_left // value))
    return count


def _bound(amount: Decimal, options: PriceOptions) -> Decimal:
    if options.event_minimum is not None and amount < options.event_minimum:
        return options.event_minimum
    if options.event_maximum is not None and amount > options.event_maximum:
        return options.event_maximum
    return amount


def price_dynamic(part: Part) -> PricedQuantity:
    """
    Return the sum of what the events say they cost: value times the unit price each carries.

    An event that carries none costs nothing. The breakdown has a step per price, the dearest first, at most 50.
    :raises EventsNeeded: if only a quantity is given.
    """
    if part.quantity and not part.events:
        raise EventsNeeded("a dynamic price is carried by the events; a quantity alone has none")
    by_price: dict[Decimal, Decimal] = defaultdict(Decimal)
    for event in part.events:
        by_price[event.unit_amount or ZERO] += event.value * event.times
    steps = [PricedTier(sold, price, sold * price) for price, sold in sorted(by_price.items(), reverse=True)]
    total = sum((step.amount for step in steps), ZERO)
    if len(steps) > MAX_STEPS:
        rest = steps[MAX_STEPS - 1 :]
        sold = sum((step.quantity for step in rest), ZERO)
        amount = sum((step.amount for step in rest), ZERO)
        steps = [*steps[: MAX_STEPS - 1], PricedTier(sold, ZERO, amount, kind="other_prices")]
    return PricedQuantity(total, tuple(steps))
