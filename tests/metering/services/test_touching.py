"""Touched accounts are looked at soon, rarely, and never for a transaction that failed."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import transaction

from metering.services import touching
from metering.services.touching import BETWEEN_JOBS, BETWEEN_LOOKS, JOB_SIZE, TouchedAccounts, touch_accounts
from tests.support.jobs import SentJobs

A, B = uuid4(), uuid4()


class Clock:
    """Nanoseconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 10**12

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def ticks() -> Clock:
    return Clock()


@pytest.fixture
def touched(ticks: Clock) -> TouchedAccounts:
    return TouchedAccounts(now=ticks)


class TestAdd:
    def test_gives_out_the_first_at_once(self, touched: TouchedAccounts) -> None:
        assert touched.add([A]) == [A]

    def test_gives_out_one_lot_a_second_with_everybody_in_it(self, touched: TouchedAccounts, ticks: Clock) -> None:
        touched.add([A])
        others = [uuid4() for _ in range(3)]
        ticks.now += BETWEEN_JOBS - 1
        assert [touched.add([other]) for other in others] == [[], [], []]
        ticks.now += 1
        assert set(touched.add([B])) == {B, *others}

    def test_gives_out_an_account_once_in_five_seconds_and_loses_none(
        self, touched: TouchedAccounts, ticks: Clock
    ) -> None:
        assert touched.add([A]) == [A]
        assert touched.add([A]) == []
        ticks.now += BETWEEN_LOOKS - 1
        assert touched.add([B]) == [B]
        ticks.now += BETWEEN_JOBS
        # A was touched after it had been looked at; the next one who comes takes it along.
        assert touched.add([B]) == [A]

    def test_splits_large_lots(self, touched: TouchedAccounts, ticks: Clock) -> None:
        many = [UUID(int=number) for number in range(JOB_SIZE + 1)]
        first = touched.add(many)
        ticks.now += BETWEEN_JOBS
        assert (len(first), len(touched.add([]))) == (JOB_SIZE, 1)

    def test_keeps_only_what_holds_somebody_back(self, touched: TouchedAccounts, ticks: Clock) -> None:
        for _ in range(20):
            touched.add([uuid4() for _ in range(JOB_SIZE)])
            ticks.now += BETWEEN_JOBS
        assert len(touched._next_look) <= 7 * JOB_SIZE


@pytest.mark.django_db
class TestTouchAccounts:
    def test_sends_one_job_after_the_commit(
        self,
        sent_jobs: SentJobs,
        django_capture_on_commit_callbacks: Any,
        monkeypatch: pytest.MonkeyPatch,
        ticks: Clock,
    ) -> None:
        monkeypatch.setattr(touching, "_touched", TouchedAccounts(now=ticks))
        with django_capture_on_commit_callbacks(execute=True), transaction.atomic():
            touch_accounts([A, B])
            touch_accounts([A])
            assert sent_jobs == []
        [job] = sent_jobs
        assert (job.name, set(job.arguments["account_ids"])) == ("metering.evaluate_alerts", {str(A), str(B)})

    def test_forgets_what_was_rolled_back(self, sent_jobs: SentJobs, django_capture_on_commit_callbacks: Any) -> None:
        with django_capture_on_commit_callbacks(execute=True), transaction.atomic():
            touch_accounts([A])
            transaction.set_rollback(True)
        assert sent_jobs == []

    def test_asks_the_database_nothing(self, django_assert_num_queries: Any) -> None:
        with django_assert_num_queries(0):
            touch_accounts([A])
