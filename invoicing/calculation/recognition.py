"""
Revenue by day: how much of a line belongs to the days before a date.

Plain Python: no Django, no I/O, no clock. The days of a service weigh the same, so that the largest remainder gives
the first days one minor unit more, and the sum up to any day has a closed form. Source: policies, rule 3; ADR 0044.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True)
class ServicePeriod:
    """Half-open local days `[first_day, end_day)` in which a service is supplied; one day at least."""

    first_day: date
    end_day: date

    def __post_init__(self) -> None:
        if self.end_day <= self.first_day:
            raise ValueError(f"a service of {self.first_day} to {self.end_day} has no day")

    @property
    def days(self) -> int:
        return (self.end_day - self.first_day).days


def recognize_until(amount: int, service: ServicePeriod, day: date) -> int:
    """
    Return how many of `amount` minor units belong to the days before `day`; an amount below zero mirrors one above.

    All of it from the end on, nothing up to the first day. Two days apart, the difference is what falls on the days
    between: the parts of all days sum to `amount`.
    """
    passed = max(0, min((day - service.first_day).days, service.days))
    each, rest = divmod(abs(amount), service.days)
    part = passed * each + min(passed, rest)
    return -part if amount < 0 else part
