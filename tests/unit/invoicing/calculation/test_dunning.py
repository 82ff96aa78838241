"""Terms of dunning: the table of attempts by day, which mail follows which attempt, and what terms cannot be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from invoicing.calculation.dunning import Terms, check_terms, read_terms

DAY_0 = datetime(2024, 3, 1, tzinfo=UTC)


def list_days(terms: Terms) -> list[int]:
    """Return the days after the first attempt on which an invoice is tried, the first one included."""
    at, days = DAY_0, [0]
    for step in range(1, terms.attempts):
        due = terms.find_next(step, at)
        assert due is not None
        at = due
        days.append((at - DAY_0).days)
    assert terms.find_next(terms.attempts, at) is None
    return days


class TestTheTable:
    @pytest.mark.parametrize(
        ("delays", "days"),
        [
            ((24, 72, 168), [0, 1, 4, 11]),  # the usual ones
            ((72, 48, 48), [0, 3, 5, 7]),
            ((48,), [0, 2]),
            ((), [0]),
        ],
    )
    def test_of_attempts_by_day(self, delays: tuple[int, ...], days: list[int]) -> None:
        assert list_days(Terms(delays)) == days

    def test_counts_from_when_an_attempt_was_really_made(self) -> None:
        late = DAY_0 + timedelta(hours=5)
        assert Terms((24,)).find_next(1, late) == late + timedelta(hours=24)

    def test_an_hour_is_an_hour_when_clocks_change(self) -> None:
        # Paris, 30 March 2024: the next day has 23 hours, so a day later it is an hour later on the wall.
        at = datetime(2024, 3, 30, 9, tzinfo=UTC)
        assert Terms((24,)).find_next(1, at) == datetime(2024, 3, 31, 9, tzinfo=UTC)


class TestMessages:
    @pytest.mark.parametrize(
        ("delays", "expected"),
        [
            ((24, 72, 168), ["failed", "retry", "last_notice", "ended"]),
            ((24, 24, 24, 24), ["failed", "retry", "retry", "last_notice", "ended"]),
            ((24, 24), ["failed", "last_notice", "ended"]),
            ((24,), ["failed", "ended"]),
            ((), ["ended"]),
        ],
    )
    def test_the_usual_ones(self, delays: tuple[int, ...], expected: list[str]) -> None:
        terms = Terms(delays)
        assert [terms.choose_message(step) for step in range(1, terms.attempts + 1)] == expected

    def test_those_of_a_campaign(self) -> None:
        terms = Terms((24, 24), messages=("none", "last_notice", "none"))
        assert [terms.choose_message(step) for step in (1, 2, 3)] == ["none", "last_notice", "none"]


class TestCheck:
    @pytest.mark.parametrize(
        ("delays", "end", "messages", "field", "code"),
        [
            ([0], "unpaid", [], "delays_hours", "out_of_range"),
            ([24, 1441], "unpaid", [], "delays_hours", "out_of_range"),
            ([1440, 1440, 1440, 1], "unpaid", [], "delays_hours", "out_of_range"),
            ([24] * 11, "unpaid", [], "delays_hours", "too_many"),
            ([24], "forgive", [], "end_state", "choice_unknown"),
            ([24], "unpaid", ["shout", "ended"], "messages", "choice_unknown"),
            ([24], "unpaid", ["failed"], "messages", "wrong_length"),
            ([24], "unpaid", ["ended", "ended"], "messages", "wrong_order"),
            ([24], "unpaid", ["failed", "retry"], "messages", "wrong_order"),
        ],
    )
    def test_names_what_is_wrong(self, delays: list[int], end: str, messages: list[str], field: str, code: str) -> None:
        faults = check_terms(delays_hours=delays, end_state=end, messages=messages)
        assert [(fault.field, fault.code) for fault in faults] == [(field, code)]
        with pytest.raises(ValueError, match=field):
            read_terms(delays_hours=delays, end_state=end, messages=messages)

    def test_finds_nothing_wrong_with_usual_terms(self) -> None:
        assert check_terms(delays_hours=[24, 72, 168], end_state="free_plan", messages=[]) == []
