"""
Schedules: which phase holds, which steps are due, which edits are allowed.

A phase is half-open `[start, end)`; instants are aware. Plain Python: no Django, no I/O, no clock.
Source: contract chapter Schedules; ADR 0020.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

EndBehavior = Literal["release", "cancel"]
Standing = Literal["not_started", "active", "completed"]
StepKind = Literal["enter", "release", "cancel"]


@dataclass(frozen=True, slots=True)
class PhaseTerms:
    """When a phase begins and ends (None: open-ended), and until when it is free of charge."""

    start: datetime
    end: datetime | None = None
    trial_end: datetime | None = None

    def holds_at(self, at: datetime) -> bool:
        return self.start <= at and (self.end is None or at < self.end)


@dataclass(frozen=True, slots=True)
class PhaseMistake:
    """What is wrong with phase number `index`: the field, a stable code and a sentence."""

    index: int
    field: Literal["start_date", "end_date", "trial_end"]
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Step:
    """Something to do at `at`: enter phase `index`, or end the schedule after it."""

    kind: StepKind
    index: int
    at: datetime


class PhasesEmpty(ValueError):
    """A schedule has at least one phase."""


def chain_phases(
    *,
    start: datetime,
    phases: Sequence[tuple[datetime | None, datetime | None, datetime | None]],
) -> tuple[PhaseTerms, ...]:
    """
    Return phases of which some starts and ends were left out, as (start, end, trial end) in order.

    A missing start is the end of the phase before (of the first: `start`), a missing end the start of the one after.
    Nothing is checked here; a phase whose start can be told from neither begins where the one before began.
    """
    chained: list[PhaseTerms] = []
    for number, (begins, ends, trial_end) in enumerate(phases):
        following = phases[number + 1][0] if number + 1 < len(phases) else None
        before = (chained[-1].end or chained[-1].start) if chained else start
        chained.append(PhaseTerms(begins or before, ends or following, trial_end))
    return tuple(chained)


def check_phases(phases: Sequence[PhaseTerms]) -> list[PhaseMistake]:
    """
    Return everything that is wrong with `phases`: backwards, empty, gaps, overlaps, an open end before the last.

    A trial must end after its phase begins and not after it ends.
    :raises PhasesEmpty: without a phase.
    """
    if not phases:
        raise PhasesEmpty("a schedule has at least one phase")
    found: list[PhaseMistake] = []
    for index, phase in enumerate(phases):
        if phase.end is not None and phase.end <= phase.start:
            found.append(PhaseMistake(index, "end_date", "out_of_range", "A phase ends after it starts."))
        if phase.end is None and index < len(phases) - 1:
            found.append(PhaseMistake(index, "end_date", "required", "Only the last phase may be open-ended."))
        if index and (gap := _compare_ends(phases[index - 1], phase)):
            found.append(PhaseMistake(index, "start_date", *gap))
        trial_end = phase.trial_end
        if trial_end is not None and (trial_end <= phase.start or (phase.end is not None and trial_end > phase.end)):
            found.append(PhaseMistake(index, "trial_end", "out_of_range", "A trial ends within its phase."))
    return found


def phase_at(phases: Sequence[PhaseTerms], at: datetime) -> int | None:
    """Return the number of the phase that holds at `at`; None before the first and after the last."""
    return next((index for index, phase in enumerate(phases) if phase.holds_at(at)), None)


def standing_at(phases: Sequence[PhaseTerms], at: datetime) -> Standing:
    """Return whether the schedule has not started, is active, or is completed at `at`."""
    if at < phases[0].start:
        return "not_started"
    return "active" if phase_at(phases, at) is not None else "completed"


def list_due_steps(
    phases: Sequence[PhaseTerms],
    *,
    entered: int | None,
    end_behavior: EndBehavior,
    at: datetime,
) -> list[Step]:
    """
    Return what is due by `at`, in order, each with the moment it belongs to.

    `entered` is the phase entered last, None for none. Starts that were skipped come first, one by one, so that each
    phase is billed as if it had been entered in time; the end of the last phase is the last step. Once that is done,
    the caller keeps the schedule from being asked again.
    Source: contract chapter Schedules (a skipped start is caught up in order).
    """
    first = 0 if entered is None else entered + 1
    steps = [Step("enter", index, phases[index].start) for index in range(first, len(phases))]
    last = phases[-1]
    if last.end is not None:
        steps.append(Step(end_behavior, len(phases) - 1, last.end))
    return [step for step in steps if step.at <= at]


def next_step_at(phases: Sequence[PhaseTerms], *, entered: int | None) -> datetime | None:
    """Return when the schedule has something to do next; None when its last phase is open-ended and entered."""
    upcoming = 0 if entered is None else entered + 1
    return phases[upcoming].start if upcoming < len(phases) else phases[-1].end


def check_edit(before: Sequence[PhaseTerms], after: Sequence[PhaseTerms], *, at: datetime) -> list[PhaseMistake]:
    """
    Return what an edit at `at` must not do: change a past phase, move the start of the running one, end it in the past.

    Phases that have not begun may be changed, added and dropped.
    """
    found: list[PhaseMistake] = []
    for index, phase in enumerate(before):
        if phase.start > at:
            break
        is_past = phase.end is not None and phase.end <= at
        if index >= len(after) or after[index].start != phase.start:
            found.append(PhaseMistake(index, "start_date", "immutable", "The start of a phase that began stays."))
        elif is_past and after[index] != phase:
            found.append(PhaseMistake(index, "end_date", "immutable", "A past phase cannot be changed."))
        elif not is_past and _ends_by(after[index], at):
            found.append(PhaseMistake(index, "end_date", "out_of_range", "A running phase cannot end in the past."))
    return found


def _compare_ends(before: PhaseTerms, phase: PhaseTerms) -> tuple[str, str] | None:
    """Return the code and sentence for a phase that does not begin where the one before ends."""
    if before.end is None or phase.start == before.end:
        return None
    if phase.start > before.end:
        return "gap", "A phase starts where the one before ends; this leaves a gap."
    return "overlap", "A phase starts where the one before ends; this one overlaps it."


def _ends_by(phase: PhaseTerms, at: datetime) -> bool:
    return phase.end is not None and phase.end < at
