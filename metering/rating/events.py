"""
Events on their way into a price that counts event by event, kept as short as the price allows.

Plain Python: no Django, no I/O, no clock. Source: policies, rule 14.
"""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal, InvalidOperation

from billing_site.kernel.money import EXACT
from catalog.pricing.engine import find_variant
from catalog.pricing.terms import PriceOptions, PriceTerms, Variant
from catalog.pricing.usage import EventGroup, Usage, UsageGroup, merge_events

ZERO = Decimal(0)


class EventPriceInvalid(ValueError):
    """The unit price that an event carries is not a decimal of zero or more."""


def parse_unit_amount(text: str | None) -> Decimal | None:
    """Return the unit price an event carries. :raises EventPriceInvalid: if it cannot be one."""
    if text is None:
        return None
    try:
        amount = Decimal(text)
    except InvalidOperation:
        raise EventPriceInvalid(f"“{text[:40]}” is not a unit price") from None
    if not amount.is_finite() or amount < 0:
        raise EventPriceInvalid(f"{text[:40]} is not a unit price")
    return amount


class EventCollector:
    """
    Collects the events of one price, in order of time, into the usage that prices them.

    While a free allowance lasts the order counts and is kept; after it, and where there is none, equal events are only
    counted. So a million events at a hundred prices are a hundred groups.
    """

    def __init__(self, price: PriceTerms) -> None:
        self._price = price
        self._parts: dict[Variant | None, _Part] = {}

    def add(self, value: Decimal, unit_amount: Decimal | None, dimensions: dict[str, str], times: int = 1) -> None:
        """Take the next event, or the next `times` equal ones."""
        variant = find_variant(self._price, dimensions) if dimensions else None
        part = self._parts.get(variant)
        if part is None:
            options = self._price.options if variant is None else variant.options
            part = self._parts[variant] = _Part(options)
        part.add(value, unit_amount if self._price.model == "dynamic" else None, times)

    def collect(self) -> Usage:
        """Return everything taken so far. Groups are named by the variant that prices them."""
        quantity = sum((part.quantity for part in self._parts.values()), ZERO)
        if not self._price.options.variants:
            events = next((part.collect() for part in self._parts.values()), ())
            return Usage(quantity, events=events)
        groups = [
            UsageGroup(() if variant is None else variant.when, part.quantity, part.collect())
            for variant, part in self._parts.items()
        ]
        return Usage(quantity, groups=tuple(sorted(groups, key=lambda group: group.dimensions)))


class _Part:
    def __init__(self, options: PriceOptions) -> None:
        self.quantity = ZERO
        self._events_left = options.free_events
        self._money_left = options.free_amount
        self._is_free = options.free_events is not None or options.free_amount is not None
        self._ordered: list[EventGroup] = []
        self._counted: dict[tuple[Decimal, Decimal | None], int] = defaultdict(int)

    def add(self, value: Decimal, unit_amount: Decimal | None, times: int) -> None:
        while times and self._is_free:
            self._take_free(value, unit_amount)
            times -= 1
        if times:
            self.quantity = EXACT.add(self.quantity, EXACT.multiply(value, Decimal(times)))
            self._counted[value, unit_amount] += times

    def _take_free(self, value: Decimal, unit_amount: Decimal | None) -> None:
        self.quantity = EXACT.add(self.quantity, value)
        self._ordered.append(EventGroup(value, 1, unit_amount))
        if self._events_left is not None:
            self._events_left -= 1
        if self._money_left is not None:
            self._money_left -= value
        self._is_free = self._events_left != 0 and (self._money_left is None or self._money_left > 0)

    def collect(self) -> tuple[EventGroup, ...]:
        counted = sorted(self._counted.items(), key=lambda entry: (entry[0][0], entry[0][1] or ZERO))
        return merge_events(self._ordered) + tuple(
            EventGroup(value, times, unit_amount) for (value, unit_amount), times in counted
        )
