"""The clock: real time, a travelled process, an account on a clock of its own."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

import pytest

from billing_site.kernel import clock

THEN = datetime(2024, 2, 29, 12, tzinfo=UTC)
LATER = THEN + timedelta(days=30)


@dataclass
class Owner:
    clock_time: datetime | None = None


class TestNow:
    def test_is_the_present_in_utc(self) -> None:
        before = datetime.now(UTC)
        assert before <= clock.now() <= datetime.now(UTC)
        assert clock.now().tzinfo is UTC

    def test_is_the_present_for_an_owner_without_a_clock(self) -> None:
        assert clock.now(Owner()) - datetime.now(UTC) < timedelta(seconds=5)

    def test_is_the_frozen_instant_of_an_owner_on_a_clock(self) -> None:
        assert clock.now(Owner(THEN)) == THEN
        assert clock.now() != THEN


class TestTravel:
    def test_moves_the_block_and_comes_back(self) -> None:
        with clock.travel(THEN):
            assert clock.now() == THEN
            with clock.travel(LATER):
                assert clock.now(Owner()) == LATER
            assert clock.now() == THEN
        assert clock.now() > LATER

    def test_comes_back_after_an_error(self) -> None:
        with pytest.raises(RuntimeError), clock.travel(THEN):
            raise RuntimeError
        assert clock.now() > LATER

    def test_does_not_move_an_owner_on_a_clock_of_its_own(self) -> None:
        with clock.travel(LATER):
            assert clock.now(Owner(THEN)) == THEN

    def test_leaves_other_threads_alone(self) -> None:
        seen: list[datetime] = []
        with clock.travel(THEN):
            thread = threading.Thread(target=lambda: seen.append(clock.now()))
            thread.start()
            thread.join()
        assert seen[0] > LATER

    def test_answers_in_utc_whatever_zone_it_was_given(self) -> None:
        with clock.travel(THEN.astimezone(timezone(timedelta(hours=5)))):
            assert clock.now() == THEN
            assert clock.now().tzinfo is UTC

    def test_refuses_a_naive_instant(self) -> None:
        with pytest.raises(ValueError, match="aware"), clock.travel(datetime(2024, 1, 1)):  # noqa: DTZ001
            pass
