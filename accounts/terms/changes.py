"""
What a change of plan, quantity or interval means for the running period.

Pure decisions: when it takes effect, which shares of which fees are credited and charged, and what becomes of the
anchor. Nothing is rounded here. Plain Python: no Django, no I/O, no clock.
Source: policies, rules 5, 7 and 9 to 12; contract chapter Plan changes; ADR 0020.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, get_args

from accounts.terms.alignment import CycleStart, IntervalChange, change_interval, open_period
from accounts.terms.boundaries import Alignment
from accounts.terms.cycles import Cycle
from accounts.terms.fees import PeriodFee, ProratedPart, Settlement, prorate_fee
from accounts.terms.proration import ProrationTerms, take_effect
from billing_site.kernel.periods import Interval, Period, local_date

Direction = Literal["upgrade", "downgrade", "equal"]
Effective = Literal["immediate", "period_end"]
ProrationBehavior = Literal["always_invoice", "create_prorations", "none"]

_SECONDS: Final = ProrationTerms("second")
_DAYS: Final = ProrationTerms("day")


@dataclass(frozen=True, slots=True)
class ChangeTiming:
    """When a change takes effect and what happens to the money."""

    when: Effective
    proration_behavior: ProrationBehavior


@dataclass(frozen=True, slots=True)
class ChangePlan:
    """
    What a change does.

    It counts from `effective_at`: the beginning of the change day (or the second), or the end of the running period.
    `parts` are the credit and the charge, in this order, each left out when it is nothing. `period` is the running
    period once the change is known; `following` says which period opens at its end, on which cycle and under which
    number. `runs_on`: the running period is used up as it was billed, and the new fee begins with the next one.
    """

    direction: Direction
    timing: ChangeTiming
    effective_at: datetime
    parts: tuple[ProratedPart, ...]
    period: Period
    following: CycleStart
    runs_on: bool = False

    @property
    def when(self) -> Effective:
        return self.timing.when

    @property
    def cycle(self) -> Cycle:
        """The boundaries from now on."""
        return self.following.cycle

    @property
    def next_index(self) -> int:
        """The number of the boundary that is billed when `period` ends."""
        return self.following.first_index

    @property
    def next_billing_at(self) -> datetime:
        return self.period.end


def compare_fees(old: PeriodFee, new: PeriodFee) -> Direction:
    """Return whether the new fee is dearer, cheaper or equal: by list price per month times quantity, exactly."""
    if new.per_month == old.per_month:
        return "equal"
    return "upgrade" if new.per_month > old.per_month else "downgrade"


def choose_timing(
    direction: Direction,
    *,
    effective: Effective | None = None,
    proration_behavior: ProrationBehavior | None = None,
) -> ChangeTiming:
    """
    Return when a change takes effect and how it is prorated; what is asked for explicitly wins.

    Dearer: at once, both lines on an invoice now. Cheaper: at period end, nothing now; asked for at once, it is
    prorated like a dearer one. Equal: at once, no lines. At period end nothing is left to prorate.
    :raises ValueError: for an unknown word.
    Source: policies, rule 11.
    """
    if effective is not None and effective not in get_args(Effective):
        raise ValueError(f"a change takes effect at once or at period end, not {effective!r}")
    if proration_behavior is not None and proration_behavior not in get_args(ProrationBehavior):
        raise ValueError(f"unknown proration behavior {proration_behavior!r}")
    when: Effective = effective or ("period_end" if direction == "downgrade" else "immediate")
    usual: ProrationBehavior = "none" if when == "period_end" or direction == "equal" else "always_invoice"
    return ChangeTiming(when, proration_behavior or usual)


def plan_change(
    *,
    at: datetime,
    cycle: Cycle,
    period: Period,
    old: PeriodFee,
    new: PeriodFee,
    effective: Effective | None = None,
    proration_behavior: ProrationBehavior | None = None,
    interval_change: IntervalChange = "keep_anchor",
    alignment: Alignment = "anniversary",
    is_trial: bool = False,
    is_paid: bool = True,
) -> ChangePlan:
    """
    Return what a change at `at` from `old` to `new` does to the running `period` (half-open, whole or a stub).

    A change of quantity is a change between the fees for the old and the new quantity. The change day is the new
    plan's; a second change on the same day takes the first charge back in full. A moment before the period counts as
    its beginning, one after it leaves nothing to prorate. In a trial (`is_trial`) nothing is credited or charged and
    the trial goes on. `is_paid`: the old fee of the period has been paid, so that what a cheaper plan that is invoiced
    at once gives back is a credit note; a dearer one has both lines on its invoice. A new interval begins with the stub
    up to the next boundary from the same anchor (on the calendar, with `alignment` calendar), or as a whole period on
    the change day; what is not prorated is used up first.
    :raises ValueError: if `old` is not billed by the cycle's interval, or for an unknown word.
    Source: policies, rules 5, 7 and 9 to 12.
    """
    if old.interval != cycle.interval:
        raise ValueError(f"the running fee is for a {old.interval}, its cycle for a {cycle.interval}")
    direction = compare_fees(old, new)
    timing = choose_timing(direction, effective=effective, proration_behavior=proration_behavior)
    restarts = interval_change == "restart" and new.interval != old.interval and not is_trial
    finest = _SECONDS if old.proration.unit == new.proration.unit == "second" and not restarts else _DAYS
    moment = min(max(take_effect(at, terms=finest, zone=cycle.zone), period.start), period.end)
    if timing.when == "period_end":
        moment = period.end
    # A period that is not divided is owed in full once begun: only a dearer plan takes it over.
    is_undivided = old.proration.unit == "none" and direction != "upgrade"
    is_free = timing.proration_behavior == "none" or is_undivided
    # A year must not begin for nothing, and a paid one must not be lost: without proration, what runs is used up.
    runs_on = is_trial or timing.when == "period_end" or (is_free and not restarts)
    policy: IntervalChange = "restart" if restarts else "keep_anchor"
    parts: tuple[ProratedPart, ...] = ()
    after, measured_by, following = _find_periods(
        moment,
        period=period,
        cycle=cycle,
        interval=new.interval,
        policy=policy,
        alignment=alignment,
        takes_over=not runs_on and new.interval != old.interval,
    )
    if not runs_on:
        parts = _prorate_sides(
            left=Period(moment, period.end),
            before=None if is_free else _Side(old, period, cycle),
            after=_Side(new, after, measured_by),
            settlement="credit_note" if is_paid and _has_note(direction, timing) else "negative_line",
        )
    return ChangePlan(
        direction=direction,
        timing=timing,
        effective_at=moment,
        parts=parts,
        period=after,
        following=following,
        runs_on=runs_on,
    )


def _has_note(direction: Direction, timing: ChangeTiming) -> bool:
    """Tell whether paid unused time gets a credit note: it is settled now, and not set off against a dearer plan."""
    return direction == "downgrade" and timing.proration_behavior == "always_invoice"


def _find_periods(
    moment: datetime,
    *,
    period: Period,
    cycle: Cycle,
    interval: Interval,
    policy: IntervalChange,
    alignment: Alignment,
    takes_over: bool,
) -> tuple[Period, Cycle, CycleStart]:
    """
    Return the running period after the change, the cycle it is measured by, and what opens at its end.

    `takes_over`: the period of another interval begins at `moment`; else the running one is used up first.
    """
    if not takes_over:
        return (
            period,
            cycle,
            change_interval(cycle=cycle, at=period.end, interval=interval, policy=policy, alignment=alignment),
        )
    begun = change_interval(cycle=cycle, at=moment, interval=interval, policy=policy, alignment=alignment)
    after = Period(moment, begun.first.end)
    return after, begun.cycle, open_period(cycle=begun.cycle, day=local_date(after.end, cycle.zone))


@dataclass(frozen=True, slots=True)
class _Side:
    """A fee and the stretch it is billed for, measured by a cycle."""

    fee: PeriodFee
    billed: Period
    cycle: Cycle


def _prorate_sides(
    *, left: Period, before: _Side | None, after: _Side, settlement: Settlement
) -> tuple[ProratedPart, ...]:
    """
    Return the credit for what is `left` of the old period and the charge for what is left of the new one.

    Without `before` nothing is credited. A plan that is not divided is credited by the unit of the dearer plan that
    takes its period over.
    """
    credit = None
    if before is not None:
        terms = before.fee.proration if before.fee.proration.unit != "none" else after.fee.proration
        credit = prorate_fee(
            "credit",
            fee=before.fee,
            part=left,
            billed=before.billed,
            cycle=before.cycle,
            terms=terms,
            settlement=settlement,
        )
    rest = Period(left.start, after.billed.end)
    charge = prorate_fee("charge", fee=after.fee, part=rest, billed=after.billed, cycle=after.cycle)
    return tuple(part for part in (credit, charge) if part is not None)
