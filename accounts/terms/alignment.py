"""
How a subscription's paid cycle begins, and what becomes of it when its interval or its trial changes.

Plain Python: no Django, no I/O, no clock; a start may lie in the past or in the future. Periods are half-open, at local
midnights of the account's zone. Source: policies, rules 5 to 8; ADR 0020.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from accounts.terms.boundaries import Alignment, align_anchor
from accounts.terms.cycles import Cycle
from accounts.terms.proration import ProrationTerms, Share, measure_whole
from billing_site.kernel.periods import Interval, Period, boundary_index, local_date, local_midnight

IntervalChange = Literal["keep_anchor", "restart"]
Standing = Literal["not_started", "trialing", "active"]


class TrialInvalid(ValueError):
    """A trial has a negative length, or would end before it ends already."""


@dataclass(frozen=True, slots=True)
class PeriodNumber:
    """A period as it is billed: the number of the boundary at which it begins, and the stretch itself."""

    index: int
    period: Period


@dataclass(frozen=True, slots=True)
class CycleStart:
    """
    The beginning of a paid cycle: `first` is its first period, a whole one or a stub, billed under number
    `first_index`; the periods after it are the whole ones of `cycle`, from `first_index + 1`.

    `trial` is the stretch before it that costs nothing, from the local midnight of the start.
    """

    cycle: Cycle
    first: Period
    first_index: int
    trial: Period | None = None

    @property
    def is_stub(self) -> bool:
        """Tell whether the first period is shorter or longer than a whole one."""
        return self.first != self.cycle.period(self.first_index)

    @property
    def trial_end(self) -> datetime | None:
        return None if self.trial is None else self.trial.end

    def share_of_first(self, terms: ProrationTerms) -> Share:
        """Return which share of a period's price the first period costs (14/28, 17/31, 1 + 14/28)."""
        return measure_whole(billed=self.first, cycle=self.cycle, terms=terms)

    def period_number(self, index: int) -> PeriodNumber:
        """
        Return the period that is billed under `index`: the first one as it is, later ones whole.

        :raises ValueError: for a number before the first.
        """
        if index < self.first_index:
            raise ValueError(f"the first period has number {self.first_index}")
        return PeriodNumber(index, self.first if index == self.first_index else self.cycle.period(index))

    def standing_at(self, at: datetime) -> Standing:
        """Return what the subscription is at `at`: not started yet, on trial, or in its paid cycle."""
        if at < (self.trial or self.first).start:
            return "not_started"
        return "trialing" if self.trial is not None and at < self.trial.end else "active"

    def list_begun(self, *, until: datetime) -> list[PeriodNumber]:
        """Return the periods that begin by `until`, oldest first: what a backdated start has to catch up with."""
        found: list[PeriodNumber] = []
        number = self.period_number(self.first_index)
        while number.period.start <= until:
            found.append(number)
            number = self.period_number(number.index + 1)
        return found


def start_cycle(
    *,
    start: datetime,
    zone: ZoneInfo,
    interval: Interval,
    alignment: Alignment = "anniversary",
    trial_days: int = 0,
    billing_cycle_anchor: date | None = None,
) -> CycleStart:
    """
    Return how a subscription that starts at `start` begins.

    A trial lasts from the local midnight of the start for `trial_days` local days; the paid cycle begins at its end.
    Anniversary: that day is the anchor. Calendar: boundaries lie at the start of the calendar unit, and the first
    period is the stub up to the next one. `billing_cycle_anchor`: boundaries are counted from that day; one that
    lies ahead is the first of them, so that the stub before it may be longer than a period.
    :raises TrialInvalid: for negative trial days.
    Source: policies, rules 6 to 8.
    """
    if trial_days < 0:
        raise TrialInvalid("a trial has zero or more days")
    first_day = local_date(start, zone)
    paid_from = first_day + timedelta(days=trial_days)
    return open_period(
        trial=Period(local_midnight(first_day, zone), local_midnight(paid_from, zone)) if trial_days else None,
        day=paid_from,
        cycle=Cycle(billing_cycle_anchor or align_anchor(paid_from, interval, alignment), interval, zone),
    )


def extend_trial(
    *,
    trial: Period,
    cycle: Cycle,
    days: int,
    alignment: Alignment = "anniversary",
    billing_cycle_anchor: date | None = None,
) -> CycleStart:
    """
    Return how the subscription begins when its running `trial` lasts `days` local days longer.

    The paid cycle is anchored at the new end; calendar boundaries and an explicit anchor stay where they are.
    :raises TrialInvalid: for less than one day.
    Source: policies, rule 8.
    """
    if days < 1:
        raise TrialInvalid("a trial is extended by one day or more")
    return move_trial_end(
        trial=trial,
        cycle=cycle,
        last_day=local_date(trial.end, cycle.zone) + timedelta(days=days),
        alignment=alignment,
        billing_cycle_anchor=billing_cycle_anchor,
    )


def move_trial_end(
    *,
    trial: Period,
    cycle: Cycle,
    last_day: date,
    alignment: Alignment = "anniversary",
    billing_cycle_anchor: date | None = None,
) -> CycleStart:
    """
    Return how the subscription begins when its trial ends at the local midnight that begins `last_day`.

    An end on the first day of the trial leaves no trial.
    :raises TrialInvalid: for an end before the trial began.
    """
    end = local_midnight(last_day, cycle.zone)
    if end < trial.start:
        raise TrialInvalid(f"the trial began on {local_date(trial.start, cycle.zone)}, after {last_day}")
    anchor = billing_cycle_anchor or align_anchor(last_day, cycle.interval, alignment)
    return open_period(
        trial=Period(trial.start, end) if end > trial.start else None,
        day=last_day,
        cycle=Cycle(anchor, cycle.interval, cycle.zone),
    )


def change_interval(
    *,
    cycle: Cycle,
    at: datetime,
    interval: Interval,
    policy: IntervalChange = "keep_anchor",
    alignment: Alignment = "anniversary",
) -> CycleStart:
    """
    Return the cycle after the interval changes at `at`, and its first period, which begins at that day's midnight.

    Keeping the anchor, boundaries are still computed from the original anchor date, by the new interval; the first
    period is the stub up to the next of them; on the calendar (`alignment`) they are the new interval's calendar
    boundaries. Restarting, the day of the change is the new anchor and the first
    period is whole. The same interval, kept, gives the rest of the running period.
    Source: policies, rule 7.
    """
    day = local_date(at, cycle.zone)
    if policy == "restart":
        changed = Cycle(day, interval, cycle.zone)
    elif interval == cycle.interval:
        changed = cycle
    else:
        changed = Cycle(align_anchor(cycle.anchor, interval, alignment), interval, cycle.zone)
    return open_period(cycle=changed, day=day)


def open_period(*, cycle: Cycle, day: date, trial: Period | None = None) -> CycleStart:
    """
    Return the paid period that opens at the local midnight of `day`, up to the next boundary of `cycle`.

    On a boundary it is a whole one, elsewhere a stub. Before an anchor that lies ahead there is one period, however
    long; its number is the one before zero.
    """
    index = max(-1, boundary_index(cycle.anchor, cycle.interval, day))
    first = Period(local_midnight(day, cycle.zone), cycle.boundary(index + 1))
    return CycleStart(cycle=cycle, first=first, first_index=index, trial=trial)
