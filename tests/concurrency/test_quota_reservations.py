"""Many holders take room under one hard limit at the same moment."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction

from accounts.models import Account
from metering.models import QuotaReservation, UsageEvent
from metering.queries.quotas import list_quota_uses
from metering.services.ingest import NewUsageEvent, record_usage_events
from metering.services.reservations import (
    QuotaExceeded,
    ReservationExpired,
    commit_reservation,
    expire_reservations,
    release_reservation,
    reserve_quota,
)
from tests.factories.quotas import make_quota, publish_limits
from tests.support import world
from tests.support.api import make_client
from tests.support.parallel import race

pytestmark = pytest.mark.django_db(transaction=True)

NOW = world.NOVEMBER + timedelta(days=10, hours=5)
END = NOW + timedelta(minutes=15)
LIMIT = 1000


@pytest.fixture
def account() -> Account:
    publish_limits()
    account = world.open_account()
    make_quota(account, "tokens", LIMIT)
    return account


def reserve(account: Account, quantity: int, *, at: Any = NOW) -> QuotaReservation:
    return reserve_quota(account=account, resource="tokens", quantity=Decimal(quantity), at=at)


def commit(row: QuotaReservation, quantity: int | None = None, *, at: Any = NOW) -> QuotaReservation:
    used = None if quantity is None else Decimal(quantity)
    return commit_reservation(reservation_id=row.pk, quantity=used, at=at, actor=world.TESTER)


def sum_used() -> Decimal:
    return sum(UsageEvent.objects.values_list("value", flat=True), Decimal(0))


def look(account: Account, at: Any = NOW) -> tuple[Any, Any, Any]:
    [use] = list_quota_uses(account=account, at=at)
    return use.used, use.reserved, use.remaining


class TestParallelReservations:
    def test_of_64_holders_never_commit_more_than_the_limit(self, account: Account) -> None:
        dice = random.Random(7)

        def hold(quantity: int, really: int, ends: str) -> Callable[[], Any]:
            def work() -> str:
                row = reserve(account, quantity)
                if ends == "release":
                    release_reservation(reservation_id=row.pk, at=NOW)
                elif ends == "more":
                    try:
                        commit(row, quantity + really)
                    except QuotaExceeded:
                        commit(row)
                else:
                    commit(row, really)
                return ends

            return work

        tasks = [
            hold(quantity, dice.randint(0, quantity), dice.choice(("commit", "commit", "more", "release")))
            for quantity in (dice.randint(1, 40) for _ in range(64 * 3))
        ]
        ends = race(*tasks, connections=64)
        assert all(isinstance(end, str | QuotaExceeded) for end in ends)
        assert {"commit", "more", "release"} <= {end for end in ends if isinstance(end, str)}
        assert sum_used() <= LIMIT
        used, reserved, remaining = look(account)
        assert (used, reserved) == (sum_used(), 0)
        # What is left is free for use to the last unit, and not one more.
        if remaining:
            commit(reserve(account, int(remaining)))
        with pytest.raises(QuotaExceeded):
            reserve(account, 1)
        assert sum_used() == LIMIT

    def test_of_one_unit_each_fill_the_limit_exactly(self, account: Account) -> None:
        account.quotas.update(limit=40, stated_limit=40)
        ends = race(*[lambda: commit(reserve(account, 1)) for _ in range(64)], connections=64)
        assert sum(isinstance(end, QuotaExceeded) for end in ends) == 24  # 64 - 40
        assert sum_used() == 40

    def test_beside_use_that_asks_nobody_leave_room_for_what_is_seen(self, account: Account) -> None:
        def record() -> None:
            event = NewUsageEvent(account, "tokens", Decimal(5), timestamp=NOW)
            record_usage_events(events=[event], at=NOW, actor=world.TESTER)

        tasks: list[Callable[[], Any]] = [
            record if number % 2 else lambda: reserve(account, 20) for number in range(80)
        ]
        race(*tasks, connections=32)
        used, reserved, _ = look(account)
        assert used == 200  # 40 x 5
        assert reserved == 20 * QuotaReservation.objects.count()
        with pytest.raises(QuotaExceeded):
            reserve(account, 1 + max(0, LIMIT - int(used + reserved)))

    def test_of_other_accounts_and_meters_do_not_wait_for_each_other(self, account: Account) -> None:
        other = world.open_account("other")
        with transaction.atomic():
            reserve(account, 1)  # its lock is held until the block ends
            ends = race(lambda: reserve(other, 1), lambda: reserve_calls(account), connections=2)
        assert [end.status for end in ends] == ["open", "open"]

    def test_over_http_with_keys_happen_once_each(self, account: Account) -> None:
        door = "/api/internal/billing/quota-reservations"

        def send(number: int) -> Callable[[], Any]:
            body = {"account": "acme", "resource_type": "tokens", "quantity": 100}
            return lambda: make_client().post(door, body, headers={"Idempotency-Key": f"key-{number % 8}"})

        answers = race(*[send(number) for number in range(32)], connections=16)
        assert {answer.status_code for answer in answers} <= {201, 409}  # 409: the first one is still under way
        assert QuotaReservation.objects.count() == 8


def reserve_calls(account: Account) -> QuotaReservation:
    return reserve_quota(account=account, resource="calls", quantity=Decimal(1), at=NOW)


class TestCrashedHolders:
    def test_free_exactly_what_they_held_when_their_end_comes(self, account: Account) -> None:
        def hold(number: int) -> Callable[[], Any]:
            def work() -> None:
                row = reserve(account, 15)
                if number % 3 == 0:
                    commit(row)
                # the others die here: nobody commits or releases

            return work

        race(*[hold(number) for number in range(64)], connections=64)
        held = QuotaReservation.objects.filter(status="open").count()
        assert sum_used() + 15 * held <= LIMIT
        with pytest.raises(QuotaExceeded):
            reserve(account, LIMIT - int(sum_used()))
        # At the end all of it is free, noted or not, and no more than that.
        assert look(account, END) == (sum_used(), 0, LIMIT - sum_used())
        ends = race(*[lambda: commit(reserve(account, 7, at=END), at=END) for _ in range(160)], connections=64)
        assert sum_used() <= LIMIT
        assert LIMIT - sum_used() < 7
        assert any(isinstance(end, QuotaExceeded) for end in ends)

    def test_in_the_middle_of_a_transaction_leave_nothing_behind(self, account: Account) -> None:
        class Crash(Exception):
            pass

        def work() -> None:
            with transaction.atomic():
                commit(reserve(account, LIMIT))
                raise Crash

        with pytest.raises(Crash):
            race(work)
        assert look(account) == (0, 0, LIMIT)
        assert not UsageEvent.objects.exists()


class TestCommitAndSweep:
    def test_at_the_same_moment_count_once_or_not_at_all(self, account: Account) -> None:
        rows = [reserve(account, 50) for _ in range(20)]  # all 1,000
        commits = [lambda row=row: commit(row, at=END) for row in rows]
        takers = [lambda: commit(reserve(account, 50, at=END), at=END) for _ in range(20)]
        sweeps = [lambda: expire_reservations(at=END) for _ in range(8)]
        tasks: list[Callable[[], Any]] = [*commits, *takers, *sweeps]
        random.Random(3).shuffle(tasks)
        ends = race(*tasks, connections=48)
        refusals = [end for end in ends if isinstance(end, ReservationExpired | QuotaExceeded)]
        assert len(refusals) == 20  # 40 wanted 50 each of 1,000
        assert sum_used() == LIMIT
        assert not QuotaReservation.objects.filter(status="open").exists()

    def test_of_holders_whose_clocks_are_behind_never_pass_the_limit(self, account: Account) -> None:
        rows = [reserve(account, 100) for _ in range(10)]
        before = END - timedelta(microseconds=1)
        commits = [lambda row=row: commit(row, at=before) for row in rows]
        takers = [lambda: commit(reserve(account, 100, at=END), at=END) for _ in range(10)]
        race(*commits, *takers, lambda: expire_reservations(at=END), connections=21)
        assert sum_used() == LIMIT

    def test_of_one_reservation_by_many_writes_one_event(self, account: Account) -> None:
        row = reserve(account, 50)
        race(*[lambda: commit(row, 30) for _ in range(20)], lambda: release_reservation(reservation_id=row.pk, at=NOW))
        assert UsageEvent.objects.count() == (1 if QuotaReservation.objects.get().status == "committed" else 0)
