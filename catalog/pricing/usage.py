"""What is priced: a quantity, and where the price asks for it the events or the dimensions behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, NamedTuple

from catalog.pricing.breakdown import to_text

ZERO: Final = Decimal(0)


class EventGroup(NamedTuple):
    """
    `times` events in a row with the same `value`, and with the same `unit_amount` where events carry their price.

    `value` is the metered value of one event; for percentages it is money in minor units.
    """

    value: Decimal
    times: int = 1
    unit_amount: Decimal | None = None


@dataclass(frozen=True, slots=True)
class UsageGroup:
    """The usage with one set of dimension values. The quantity is aggregated as the meter says."""

    dimensions: tuple[tuple[str, str], ...]
    quantity: Decimal
    events: tuple[EventGroup, ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """
    The usage of one price in one period.

    `quantity` is the meter's reading. `events`, in order of time, come with prices that count event by event; `groups`
    with dimensional prices, and then carry the events themselves.
    """

    quantity: Decimal
    events: tuple[EventGroup, ...] = ()
    groups: tuple[UsageGroup, ...] = field(default=())

    def as_dict(self) -> dict[str, Any]:
        """Return the detail behind the quantity as text, as traces store it; nothing when there is none."""
        shown: dict[str, Any] = {}
        if self.events:
            shown["events"] = _show_events(self.events)
        if self.groups:
            shown["groups"] = [
                {
                    "dimensions": dict(group.dimensions),
                    "quantity": to_text(group.quantity),
                    **({"events": _show_events(group.events)} if group.events else {}),
                }
                for group in self.groups
            ]
        return shown

    @classmethod
    def from_dict(cls, quantity: Decimal, stored: Mapping[str, Any]) -> Usage:
        """Return the usage whose detail `as_dict` wrote."""
        return cls(
            quantity,
            _read_events(stored.get("events") or ()),
            tuple(
                UsageGroup(
                    tuple(sorted((str(key), str(value)) for key, value in group["dimensions"].items())),
                    Decimal(group["quantity"]),
                    _read_events(group.get("events") or ()),
                )
                for group in stored.get("groups") or ()
            ),
        )


def merge_events(events: list[EventGroup]) -> tuple[EventGroup, ...]:
    """Return the same events with neighbours that say the same put together."""
    merged: list[EventGroup] = []
    for event in events:
        if merged and merged[-1].value == event.value and merged[-1].unit_amount == event.unit_amount:
            merged[-1] = merged[-1]._replace(times=merged[-1].times + event.times)
        else:
            merged.append(event)
    return tuple(merged)


def _show_events(events: tuple[EventGroup, ...]) -> list[list[Any]]:
    return [
        [to_text(event.value), event.times] + ([] if event.unit_amount is None else [to_text(event.unit_amount)])
        for event in events
    ]


def _read_events(stored: Any) -> tuple[EventGroup, ...]:
    return tuple(
        EventGroup(Decimal(each[0]), int(each[1]), Decimal(each[2]) if len(each) > 2 else None) for each in stored
    )
