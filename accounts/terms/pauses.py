"""
What a pause means for the periods it touches.

Plain Python: no Django, no I/O, no clock. Nothing is rounded here. Source: policies, rules 5, 8 and 13; ADR 0020.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal

from accounts.terms.alignment import CycleStart, move_trial_end, open_period
from accounts.terms.boundaries import Alignment
from accounts.terms.cycles import Cycle
from accounts.terms.fees import PeriodFee, ProratedPart, prorate_fee, prorate_unused
from accounts.terms.proration import count_local_days, take_effect
from billing_site.kernel.periods import Period, local_date

PauseCredit = Literal["unused_days", "none"]


@dataclass(frozen=True, slots=True)
class ResumePlan:
    """
    What resuming does.

    `paused` is the pause as it counts, half-open: the day of the pause belongs to it, the day of resuming does not.
    `parts` are for the invoice of resuming, credits first. `period` is the running period from now on and `following`
    the one that opens at its end, with its number.
    """

    paused: Period
    parts: tuple[ProratedPart, ...]
    period: Period
    following: CycleStart

    @property
    def next_index(self) -> int:
        """The number of the boundary that is billed when `period` ends."""
        return self.following.first_index

    @property
    def next_billing_at(self) -> datetime:
        return self.period.end


class ResumeInvalid(ValueError):
    """Resumed before it was paused, or the pause does not begin in the period."""


def plan_resume(
    *,
    paused_at: datetime,
    at: datetime,
    cycle: Cycle,
    period: Period,
    fee: PeriodFee,
    credit: PauseCredit = "unused_days",
    bills_in_advance: bool = True,
) -> ResumePlan:
    """
    Return what resuming at `at` does after a pause that began at `paused_at`, in the billed `period` (half-open).

    In advance: the days of `period` from the pause on are credited, and from resuming to the next boundary the rest is
    charged, whichever period that is in; periods slept through cost nothing. In arrears, within one period: the same
    two lines wait for the closing invoice; in a later one the days before the pause are charged, and what is resumed
    is billed when it closes. Without credit, what is paid is used up: within the period no line at all, in a later one
    only the rest charged. The anchor stays, so boundaries are where they would have been. A pause that begins and ends
    on one day changes nothing.
    :raises ResumeInvalid: for a pause that ends before it began or does not begin in `period`.
    Source: policies, rule 13.
    """
    if at < paused_at or paused_at not in period:
        raise ResumeInvalid("a pause begins in the running period and ends after its beginning")
    zone, terms = cycle.zone, fee.proration
    paused = Period(
        max(period.start, take_effect(paused_at, terms=terms, zone=zone)),
        max(period.start, take_effect(at, terms=terms, zone=zone)),
    )
    is_same_period = paused.end < period.end
    after = period if is_same_period else Period(paused.end, _next_boundary(cycle, paused.end))
    following = open_period(cycle=cycle, day=local_date(after.end, zone))
    unused, rest = Period(paused.start, period.end), Period(paused.end, after.end)
    back = again = None
    if not paused.duration:
        pass
    elif bills_in_advance or is_same_period:
        if credit == "unused_days":
            back = prorate_unused(fee=fee, part=unused, billed=period, cycle=cycle)
        if back is not None or not is_same_period:
            again = prorate_fee("charge", fee=fee, part=rest, billed=after, cycle=cycle)
    else:
        used = period if credit == "none" else Period(period.start, paused.start)
        again = prorate_fee("charge", fee=fee, part=used, billed=period, cycle=cycle)
    return ResumePlan(
        paused=paused,
        parts=tuple(part for part in (back, again) if part is not None),
        period=after,
        following=following,
    )


def plan_trial_resume(
    *,
    paused_at: datetime,
    at: datetime,
    trial: Period,
    cycle: Cycle,
    alignment: Alignment = "anniversary",
    billing_cycle_anchor: date | None = None,
) -> CycleStart:
    """
    Return how the paid cycle begins after a pause during the trial: the trial ends as many local days later.

    The cycle is anchored at the new end; calendar boundaries and an explicit anchor stay where they are.
    :raises ResumeInvalid: for a pause that ends before it began or does not begin in the trial.
    Source: policies, rule 8; contract chapter Subscriptions.
    """
    if at < paused_at or paused_at not in trial:
        raise ResumeInvalid("a pause begins in the trial and ends after its beginning")
    days = count_local_days(Period(paused_at, at), cycle.zone)
    return move_trial_end(
        trial=trial,
        cycle=cycle,
        last_day=local_date(trial.end, cycle.zone) + timedelta(days=days),
        alignment=alignment,
        billing_cycle_anchor=billing_cycle_anchor,
    )


def _next_boundary(cycle: Cycle, instant: datetime) -> datetime:
    """Return the end of the period that is billed from `instant` on."""
    return open_period(cycle=cycle, day=local_date(instant, cycle.zone)).first.end
