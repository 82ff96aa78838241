"""Schedules: contiguous phases, the one that holds, steps that were missed, the end, and edits."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.terms.phases import (
    PhasesEmpty,
    PhaseTerms,
    Step,
    chain_phases,
    check_edit,
    check_phases,
    list_due_steps,
    next_step_at,
    phase_at,
    standing_at,
)
from tests.unit.accounts.terms.calendars import utc

JANUARY, FEBRUARY, MARCH, APRIL = (utc(2026, month, 1) for month in range(1, 5))
CLOSED = (PhaseTerms(JANUARY, FEBRUARY), PhaseTerms(FEBRUARY, MARCH), PhaseTerms(MARCH, APRIL))
OPEN = (*CLOSED[:2], PhaseTerms(MARCH))


class TestCheckPhases:
    @pytest.mark.parametrize("phases", [CLOSED, OPEN, CLOSED[:1], OPEN[2:]])
    def test_accepts_contiguous_ascending_phases(self, phases: tuple[PhaseTerms, ...]) -> None:
        assert check_phases(phases) == []

    @pytest.mark.parametrize(
        ("phases", "mistake"),
        [
            ((PhaseTerms(JANUARY, FEBRUARY), PhaseTerms(MARCH, APRIL)), (1, "start_date", "gap")),
            ((PhaseTerms(JANUARY, MARCH), PhaseTerms(FEBRUARY, APRIL)), (1, "start_date", "overlap")),
            ((PhaseTerms(FEBRUARY, JANUARY),), (0, "end_date", "out_of_range")),
            ((PhaseTerms(JANUARY, JANUARY),), (0, "end_date", "out_of_range")),
            ((PhaseTerms(JANUARY), PhaseTerms(FEBRUARY)), (0, "end_date", "required")),
            ((PhaseTerms(FEBRUARY, MARCH, trial_end=APRIL),), (0, "trial_end", "out_of_range")),
            ((PhaseTerms(FEBRUARY, trial_end=FEBRUARY),), (0, "trial_end", "out_of_range")),
        ],
    )
    def test_names_the_phase_the_field_and_the_mistake(
        self, phases: tuple[PhaseTerms, ...], mistake: tuple[int, str, str]
    ) -> None:
        (found,) = check_phases(phases)
        assert (found.index, found.field, found.code) == mistake
        assert found.message.endswith(".")

    def test_allows_a_trial_to_the_very_end(self) -> None:
        assert check_phases([PhaseTerms(JANUARY, FEBRUARY, trial_end=FEBRUARY)]) == []

    def test_finds_every_mistake(self) -> None:
        found = check_phases([PhaseTerms(MARCH, FEBRUARY), PhaseTerms(APRIL, JANUARY)])
        assert [(mistake.index, mistake.code) for mistake in found] == [
            (0, "out_of_range"),
            (1, "out_of_range"),
            (1, "gap"),
        ]

    def test_refuses_a_schedule_without_phases(self) -> None:
        with pytest.raises(PhasesEmpty):
            check_phases([])


class TestChainPhases:
    def test_fills_in_what_the_neighbours_say(self) -> None:
        chained = chain_phases(start=JANUARY, phases=[(None, FEBRUARY, None), (None, None, None), (MARCH, None, APRIL)])
        assert chained == (*CLOSED[:2], PhaseTerms(MARCH, trial_end=APRIL))
        assert check_phases(chained) == []

    def test_leaves_what_nobody_said_to_be_refused(self) -> None:
        chained = chain_phases(start=JANUARY, phases=[(None, None, None), (None, MARCH, None)])
        assert [mistake.code for mistake in check_phases(chained)] == ["required"]


class TestPhaseAt:
    @pytest.mark.parametrize(
        ("at", "index", "standing"),
        [
            (JANUARY - timedelta(seconds=1), None, "not_started"),
            (JANUARY, 0, "active"),
            (FEBRUARY - timedelta(microseconds=1), 0, "active"),
            (FEBRUARY, 1, "active"),
            (APRIL - timedelta(seconds=1), 2, "active"),
            (APRIL, None, "completed"),
        ],
    )
    def test_is_half_open(self, at: datetime, index: int | None, standing: str) -> None:
        assert phase_at(CLOSED, at) == index
        assert standing_at(CLOSED, at) == standing

    def test_of_an_open_end_holds_for_ever(self) -> None:
        assert phase_at(OPEN, utc(2099, 1, 1)) == 2
        assert standing_at(OPEN, utc(2099, 1, 1)) == "active"


class TestListDueSteps:
    def test_before_the_start_is_nothing(self) -> None:
        assert list_due_steps(CLOSED, entered=None, end_behavior="release", at=utc(2025, 12, 31)) == []

    def test_at_a_start_enters_that_phase_once(self) -> None:
        assert list_due_steps(CLOSED, entered=0, end_behavior="release", at=FEBRUARY) == [Step("enter", 1, FEBRUARY)]
        assert list_due_steps(CLOSED, entered=1, end_behavior="release", at=FEBRUARY) == []

    def test_catches_up_with_skipped_starts_in_order(self) -> None:
        assert list_due_steps(OPEN, entered=None, end_behavior="release", at=utc(2026, 3, 20)) == [
            Step("enter", 0, JANUARY),
            Step("enter", 1, FEBRUARY),
            Step("enter", 2, MARCH),
        ]

    @pytest.mark.parametrize("end_behavior", ["release", "cancel"])
    def test_ends_after_the_last_phase_as_it_was_told(self, end_behavior: str) -> None:
        steps = list_due_steps(CLOSED, entered=1, end_behavior=end_behavior, at=APRIL)  # type: ignore[arg-type]
        assert steps == [Step("enter", 2, MARCH), Step(end_behavior, 2, APRIL)]  # type: ignore[arg-type]

    def test_of_an_open_end_never_ends(self) -> None:
        assert list_due_steps(OPEN, entered=2, end_behavior="cancel", at=utc(2099, 1, 1)) == []

    @given(
        lengths=st.lists(st.integers(1, 90), min_size=1, max_size=8),
        is_open=...,
        visits=st.lists(st.integers(0, 800), max_size=6),
    )
    def test_takes_every_step_once_however_often_it_is_asked(
        self, lengths: list[int], is_open: bool, visits: list[int]
    ) -> None:
        moments = [JANUARY]
        for length in lengths:
            moments.append(moments[-1] + timedelta(days=length))
        phases = chain_phases(start=JANUARY, phases=[(None, moment, None) for moment in moments[1:]])
        if is_open:
            phases = (*phases[:-1], PhaseTerms(phases[-1].start))
        taken: list[Step] = []
        entered, has_ended = None, False
        for visit in [*sorted(visits), 1000]:
            if has_ended:
                break
            for step in list_due_steps(
                phases, entered=entered, end_behavior="release", at=JANUARY + timedelta(days=visit)
            ):
                assert step.at == (next_step_at(phases, entered=entered))
                taken.append(step)
                has_ended = step.kind == "release"
                entered = step.index
        assert [step.at for step in taken] == (moments[:-1] if is_open else moments)
        assert check_phases(phases) == []


class TestNextStepAt:
    def test_is_the_next_start_then_the_end(self) -> None:
        assert [next_step_at(CLOSED, entered=entered) for entered in (None, 0, 1, 2)] == [
            JANUARY,
            FEBRUARY,
            MARCH,
            APRIL,
        ]

    def test_of_an_open_end_is_never(self) -> None:
        assert next_step_at(OPEN, entered=2) is None


class TestCheckEdit:
    AT = utc(2026, 2, 10)

    def test_allows_what_has_not_begun(self) -> None:
        later = (*CLOSED[:1], PhaseTerms(FEBRUARY, APRIL), PhaseTerms(APRIL))
        assert check_edit(CLOSED, later, at=self.AT) == []
        assert check_edit(CLOSED, CLOSED[:2], at=self.AT) == []

    @pytest.mark.parametrize(
        ("edited", "mistake"),
        [
            ((PhaseTerms(JANUARY, FEBRUARY, trial_end=FEBRUARY), *CLOSED[1:]), (0, "end_date", "immutable")),
            ((PhaseTerms(JANUARY, utc(2026, 2, 3)), *CLOSED[1:]), (0, "end_date", "immutable")),
            ((CLOSED[0], PhaseTerms(utc(2026, 2, 3), MARCH), CLOSED[2]), (1, "start_date", "immutable")),
            ((CLOSED[0],), (1, "start_date", "immutable")),
            ((CLOSED[0], PhaseTerms(FEBRUARY, utc(2026, 2, 9))), (1, "end_date", "out_of_range")),
        ],
    )
    def test_refuses_to_rewrite_the_past(self, edited: tuple[PhaseTerms, ...], mistake: tuple[int, str, str]) -> None:
        (found,) = check_edit(CLOSED, edited, at=self.AT)
        assert (found.index, found.field, found.code) == mistake

    def test_takes_a_phase_that_begins_now_as_begun(self) -> None:
        (found,) = check_edit(CLOSED, CLOSED[:1], at=FEBRUARY)
        assert (found.index, found.field) == (1, "start_date")

    def test_may_end_the_running_phase_now(self) -> None:
        assert check_edit(CLOSED, (CLOSED[0], PhaseTerms(FEBRUARY, self.AT)), at=self.AT) == []
