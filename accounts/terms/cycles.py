"""
A billing cycle: the row of boundaries that an anchor date, an interval and a zone make.

Plain Python: no Django, no I/O, no clock. Source: policies, rules 5 to 7.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from accounts.terms.boundaries import boundary_at, period_at
from billing_site.kernel.periods import Interval, Period, boundary_date, boundary_index, local_date


@dataclass(frozen=True, slots=True)
class Cycle:
    """
    Where boundaries lie: number k at local midnight of `anchor` plus k intervals, negative numbers before it.

    Two cycles with the same three values have the same boundaries, whatever happened in between.
    """

    anchor: date
    interval: Interval
    zone: ZoneInfo

    def boundary(self, index: int) -> datetime:
        """Return the instant of boundary number `index`, UTC."""
        return boundary_at(index, anchor=self.anchor, interval=self.interval, zone=self.zone)

    def period(self, index: int) -> Period:
        """Return the whole period number `index`, from boundary `index` to the next, half-open."""
        return period_at(index, anchor=self.anchor, interval=self.interval, zone=self.zone)

    def index_at(self, instant: datetime) -> int:
        """Return the number of the whole period that `instant` falls into."""
        return boundary_index(self.anchor, self.interval, local_date(instant, self.zone))

    def whole_period_at(self, instant: datetime) -> Period:
        """Return the whole period that `instant` falls into, whether or not all of it is billed."""
        return self.period(self.index_at(instant))

    def is_boundary(self, day: date) -> bool:
        """Tell whether a period begins on the local date `day`."""
        return boundary_date(self.anchor, self.interval, boundary_index(self.anchor, self.interval, day)) == day
