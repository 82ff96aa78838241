"""Reservations: room is taken, used, given back, and free again by itself."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from accounts.models import Account, TestClock
from accounts.services.cost_centers import create_cost_center
from billing_site.kernel.errors import InvalidState, NotFound, ValidationFailed
from billing_site.kernel.ids import new_uuid
from metering.models import QuotaReservation, UsageEvent
from metering.queries.meters import MeterNotFound
from metering.queries.quotas import QuotaUse, list_quota_uses
from metering.services.ingest import NewUsageEvent, record_usage_events
from metering.services.reservations import (
    MeterNotReservable,
    QuotaExceeded,
    ReservationExpired,
    UsedFor,
    commit_reservation,
    expire_reservations,
    release_reservation,
    reserve_quota,
)
from tests.factories.quotas import make_quota, publish_limits
from tests.support import world

pytestmark = pytest.mark.django_db

NOW = world.NOVEMBER + timedelta(days=10, hours=5, minutes=30)
SOON = NOW + timedelta(minutes=5)
LATER = NOW + timedelta(minutes=20)  # a reservation lasts 15


@pytest.fixture
def account() -> Account:
    publish_limits()
    account = world.open_account()
    make_quota(account, "tokens", 100)
    return account


def reserve(account: Account, quantity: str | int, **more: Any) -> QuotaReservation:
    return reserve_quota(**{"account": account, "resource": "tokens", "quantity": Decimal(quantity), "at": NOW, **more})


def commit(row: QuotaReservation, quantity: str | int | None = None, **more: Any) -> QuotaReservation:
    used = None if quantity is None else Decimal(quantity)
    given = {"reservation_id": row.pk, "quantity": used, "at": SOON, "actor": world.TESTER, **more}
    return commit_reservation(**given)


def look(account: Account, at: Any = SOON) -> tuple[Any, ...]:
    [use] = list_quota_uses(account=account, at=at)
    return use.used, use.reserved, use.remaining


def record(account: Account, quantity: int, *, at: Any = NOW) -> None:
    record_usage_events(
        events=[NewUsageEvent(account, "tokens", Decimal(quantity), timestamp=at)], at=at, actor=world.TESTER
    )


class TestReserve:
    def test_takes_room_until_its_end(self, account: Account) -> None:
        row = reserve(account, 60, metadata={"job": "7"})
        assert (row.status, row.quantity, row.metadata) == ("open", Decimal(60), {"job": "7"})
        assert row.expires_at == NOW + timedelta(minutes=15)
        assert look(account) == (0, 60, 40)
        assert look(account, row.expires_at - timedelta(microseconds=1)) == (0, 60, 40)
        assert look(account, row.expires_at) == (0, 0, 100)

    def test_is_refused_past_use_and_other_reservations(self, account: Account) -> None:
        record(account, 30)
        reserve(account, 50)
        with pytest.raises(QuotaExceeded) as refusal:
            reserve(account, "20.000000000001")  # 30 + 50 + 20.000000000001 > 100
        assert refusal.value.members["quota"] == {
            "id": list_quota_uses(account=account, at=NOW)[0].quota.public_id,
            "meter_event_name": "tokens",
            "window": "month",
            "limit": "100",
            "used": "30",
            "reserved": "50",
            "requested": "20.000000000001",
            "remaining": "20",
            "resets_at": "2023-12-01T00:00:00Z",
            "upgrade_plan_id": "",
        }
        reserve(account, 20)
        assert look(account) == (30, 70, 0)

    def test_looks_at_all_windows_and_names_the_one_that_resets_last(self, account: Account) -> None:
        make_quota(account, "tokens", 10, "minute")
        make_quota(account, "tokens", 40, "total")
        make_quota(account, "tokens", 5, "hour", is_hard=False)
        record(account, 35, at=NOW - timedelta(days=60))
        with pytest.raises(QuotaExceeded) as refusal:
            reserve(account, 11)
        assert refusal.value.members["quota"]["window"] == "total"
        assert reserve(account, 5).status == "open"  # above the soft limit of the hour from now on
        with pytest.raises(QuotaExceeded):
            reserve(account, 1)

    def test_needs_no_limit(self, account: Account) -> None:
        assert reserve(account, 1000, resource="calls").meter.event_name == "calls"

    def test_measures_in_the_unit_of_the_meter(self, account: Account) -> None:
        account_quota = account.quotas.get()
        type(account_quota.meter).objects.filter(pk=account_quota.meter_id).update(unit="seconds")
        assert reserve(account, "1.5", unit="minutes").quantity == 90
        with pytest.raises(ValidationFailed):
            reserve(account, 1, unit="GB")

    @pytest.mark.parametrize(
        ("quantity", "given", "error"),
        [
            ("0", {}, ValidationFailed),
            ("-1", {}, ValidationFailed),
            ("1e26", {}, ValidationFailed),
            ("1", {"lifetime": timedelta(0)}, ValidationFailed),
            ("1", {"lifetime": timedelta(days=1, seconds=1)}, ValidationFailed),
            ("1.5", {"resource": "calls"}, ValidationFailed),
            ("1001", {"resource": "calls"}, ValidationFailed),
            ("1", {"resource": "nonsense"}, MeterNotFound),
            ("1", {"resource": "gpu_units"}, MeterNotFound),
            ("1", {"resource": "seats"}, MeterNotReservable),
            ("1", {"resource": "people"}, MeterNotReservable),
            ("1", {"resource": "peak"}, MeterNotReservable),
        ],
    )
    def test_of_what_will_not_do_is_refused(
        self, account: Account, quantity: str, given: Any, error: type[Exception]
    ) -> None:
        with pytest.raises(error):
            reserve(account, quantity, **given)
        assert not QuotaReservation.objects.exists()

    def test_is_refused_to_a_closed_account(self, account: Account) -> None:
        account.status = "closed"
        with pytest.raises(InvalidState):
            reserve(account, 1)


class TestCommit:
    def test_counts_what_was_used_and_frees_the_rest(self, account: Account) -> None:
        center = create_cost_center(account=account, name="Lab", code="lab", at=NOW, actor=world.TESTER)
        row = reserve(account, 60)
        used_for = UsedFor("job-7", "ada", "lab", {"model": "a"}, {"note": "x"})
        done = commit(row, "42.5", used_for=used_for)
        assert (done.status, done.committed_quantity, done.ended_at) == ("committed", Decimal("42.5"), SOON)
        event = UsageEvent.objects.get()
        assert done.event_id == event.pk
        assert (event.value, event.timestamp, event.cost_center_id) == (Decimal("42.5"), SOON, center.pk)
        assert (event.resource_id, event.actor_id, event.dimensions) == ("job-7", "ada", {"model": "a"})
        assert event.metadata == {"note": "x", "quota_reservation": row.public_id}
        assert event.idempotency_key == f"reservation:{row.public_id}"
        assert look(account) == (Decimal("42.5"), 0, Decimal("57.5"))

    def test_again_changes_nothing_and_with_another_quantity_is_refused(self, account: Account) -> None:
        row = reserve(account, 60)
        first = commit(row)
        assert first.committed_quantity == 60
        again = commit(row, 60, at=LATER)
        assert (again.ended_at, again.event_id) == (first.ended_at, first.event_id)
        with pytest.raises(InvalidState):
            commit(row, 59)
        assert UsageEvent.objects.count() == 1

    def test_of_more_than_was_reserved_needs_room(self, account: Account) -> None:
        row = reserve(account, 60)
        other = reserve(account, 30)
        with pytest.raises(QuotaExceeded) as refusal:
            commit(row, 71)  # 11 more beside 60 + 30
        assert refusal.value.members["quota"]["requested"] == "11"
        assert look(account) == (0, 90, 10)
        assert commit(row, 70).committed_quantity == 70
        assert look(account) == (70, 30, 0)
        release_reservation(reservation_id=other.pk, at=SOON)
        assert look(account) == (70, 0, 30)

    def test_up_to_what_was_reserved_counts_whatever_happened_since(self, account: Account) -> None:
        row = reserve(account, 60)
        record(account, 95)  # work that asked nobody
        account.quotas.update(limit=1, stated_limit=1)
        assert commit(row).status == "committed"
        assert look(account) == (155, 0, 0)

    @pytest.mark.parametrize("is_noted", [True, False])
    def test_after_the_end_counts_while_it_fits(self, account: Account, is_noted: bool) -> None:
        row, other = reserve(account, 60), reserve(account, 40)
        if is_noted:
            assert expire_reservations(at=LATER) == 2
        assert commit(row, at=LATER).status == "committed"
        record(account, 20, at=LATER)
        with pytest.raises(ReservationExpired) as refusal:
            commit(other, 21, at=LATER)  # 60 + 20 + 21 > 100
        assert refusal.value.code == "quota_reservation_expired"
        assert QuotaReservation.objects.get(pk=other.pk).get_status(LATER) == "expired"
        assert commit(other, 20, at=LATER).committed_quantity == 20
        assert look(account, LATER) == (100, 0, 0)

    def test_by_a_holder_whose_clock_is_behind_cannot_take_what_was_given_on(self, account: Account) -> None:
        row = reserve(account, 60)
        reserve(account, 100, at=LATER)
        with pytest.raises(ReservationExpired):
            commit(row, at=SOON)

    def test_of_nothing_counts_nothing(self, account: Account) -> None:
        row = reserve(account, 60)
        assert commit(row, 0).committed_quantity == 0
        assert look(account) == (0, 0, 100)

    def test_on_a_meter_that_counts_writes_an_event_for_each(self, account: Account) -> None:
        row = reserve(account, 5, resource="calls")
        commit(row, 3)
        assert UsageEvent.objects.filter(value=1).count() == 3
        empty = reserve(account, 1, resource="calls")
        assert commit(empty, 0).event_id is None

    def test_that_cannot_be_recorded_leaves_it_as_it_was(self, account: Account) -> None:
        row = reserve(account, 60)
        with pytest.raises(ValidationFailed) as refusal:
            commit(row, used_for=UsedFor(cost_center="nowhere"))
        assert [finding.pointer for finding in refusal.value.errors] == ["/cost_center"]
        with pytest.raises(ValidationFailed):
            commit(row, "1.0000000000001")
        assert look(account) == (0, 60, 40)
        assert commit(row).status == "committed"

    def test_is_refused_where_somebody_used_its_key(self, account: Account) -> None:
        row = reserve(account, 60)
        event = NewUsageEvent(account, "tokens", Decimal(1), idempotency_key=f"reservation:{row.public_id}")
        record_usage_events(events=[event], at=NOW, actor=world.TESTER)
        with pytest.raises(InvalidState):
            commit(row)

    def test_of_nothing_there_is_refused(self) -> None:
        with pytest.raises(NotFound):
            commit_reservation(reservation_id=new_uuid(), at=NOW, actor=world.TESTER)
        with pytest.raises(NotFound):
            release_reservation(reservation_id=new_uuid(), at=NOW)


class TestRelease:
    def test_frees_and_is_final(self, account: Account) -> None:
        row = reserve(account, 100)
        released = release_reservation(reservation_id=row.pk, at=SOON)
        assert (released.status, released.ended_at) == ("released", SOON)
        assert release_reservation(reservation_id=row.pk, at=LATER).ended_at == SOON
        with pytest.raises(InvalidState):
            commit(row)
        assert look(account) == (0, 0, 100)


class TestExpire:
    def test_notes_what_is_over_by_the_clock_of_each_account(self, account: Account) -> None:
        ahead = world.open_account("ahead")
        ahead.test_clock = TestClock.objects.create(name="ahead", now_at=LATER)
        ahead.save()
        mine, theirs = reserve(account, 1), reserve(ahead, 1)
        assert expire_reservations(at=SOON) == 1
        assert (QuotaReservation.objects.get(pk=theirs.pk).ended_at, mine.status) == (LATER, "open")
        assert expire_reservations(at=LATER) == 1
        assert expire_reservations(at=LATER) == 0

    def test_goes_on_until_all_is_done(self, account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("metering.services.reservations.SWEEP_CHUNK", 3)
        for _ in range(7):
            reserve(account, 1)
        assert expire_reservations(at=LATER) == 7


class TestDatabase:
    def test_keeps_what_is_held(self, account: Account) -> None:
        row = reserve(account, 5)
        for change in ({"quantity": 6}, {"expires_at": LATER}, {"status": "committed"}, {"ended_at": NOW}):
            with pytest.raises(IntegrityError), transaction.atomic():
                QuotaReservation.objects.filter(pk=row.pk).update(**change)


class TestQueries:
    def test_are_as_many_for_a_busy_account(self, account: Account) -> None:
        counts = []
        for _ in range(3):
            with CaptureQueriesContext(connection) as asked:
                row = reserve(account, 1)
            with CaptureQueriesContext(connection) as asked_again:
                commit(row)
            counts.append((len(asked), len(asked_again)))
            for _ in range(5):
                reserve(account, 1)
        assert len(set(counts)) == 1


class TestUse:
    def test_counts_in_every_window_of_the_meter_and_in_no_other(self, account: Account) -> None:
        make_quota(account, "tokens", 50, "hour")
        make_quota(account, "calls", 50, "hour")
        reserve(account, 7)
        held: dict[Any, tuple[Any, ...]] = {
            (use.quota.meter_event_name, use.quota.window): (use.reserved, use.level, use.percent)
            for use in list_quota_uses(account=account, at=SOON)
        }
        assert held == {
            ("tokens", "month"): (7, "ok", 0),
            ("tokens", "hour"): (7, "ok", 0),
            ("calls", "hour"): (0, "ok", 0),
        }
        assert isinstance(list_quota_uses(account=account, at=SOON)[0], QuotaUse)
