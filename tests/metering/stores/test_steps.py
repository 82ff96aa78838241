"""Periods made of whole days, whole hours and single events, none of the first two cut by a step."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from billing_site.kernel.periods import Period
from metering.stores.steps import StepRequest, divide

NOBODY = UUID(int=1)


def at(day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(2026, 3, day, hour, minute, tzinfo=UTC)


@pytest.mark.parametrize(
    ("start", "cuts", "end", "spans"),
    [
        (at(1), [], at(4), ["day 1-4"]),
        (at(1), [at(2), at(3)], at(4), ["day 1-4"]),
        (at(1), [at(2, 5)], at(4), ["day 1-2", "hour 2-3", "day 3-4"]),
        (at(1, 22), [at(2, 22), at(3, 22)], at(4, 22), ["hour 1-4"]),
        (at(1, 5, 30), [], at(1, 8, 10), ["event 1-1", "hour 1-1", "event 1-1"]),
        (at(1, 5, 10), [at(1, 5, 20)], at(1, 5, 50), ["event 1-1"]),
        (at(1), [at(1, 0, 30), at(1, 1, 30)], at(1, 3), ["event 1-1", "hour 1-1"]),
        (at(1), [at(1, 3)], at(2), ["hour 1-2"]),
    ],
)
def test_divides_steps(start: datetime, cuts: list[datetime], end: datetime, spans: list[str]) -> None:
    found = divide(StepRequest(NOBODY, NOBODY, Period(start, end), (*cuts, end)))
    assert [f"{span} {first.day}-{last.day}" for span, first, last in found] == spans
    assert [found[0][1], *(last for _, _, last in found)] == [*(first for _, first, _ in found), end]
    for span, first, last in found:
        inner = [cut for cut in cuts if first < cut < last]
        if span == "day":
            assert all(moment.hour == moment.minute == 0 for moment in (first, last, *inner))
        if span == "hour":
            assert all(moment.minute == 0 for moment in (first, last, *inner))
