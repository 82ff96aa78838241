"""Days of events: made, attached, filled with what strayed into the default partition."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from unittest import mock

import psycopg
import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction

from billing_site.kernel.locks import lock_key
from billing_site.kernel.periods import Period
from metering.services import usage_partitions
from metering.services.usage_partitions import keep_partitions
from metering.stores import EventRow, find_events, insert_events, sum_quantities
from metering.stores.brief_locks import StorageBusy
from metering.stores.partitions import add_day, list_days, list_stray_days, name_day
from metering.stores.quantities import QuantityRequest
from tests.factories.metering import AT, make_account, make_meter, make_row
from tests.support.processes import database_url
from tests.support.usage_storage import drop_day_partitions, list_partitions_of

TODAY = AT.date()


def insert_on(day: date, count: int = 3, **values: Any) -> list[EventRow]:
    account, meter = make_account(), make_meter(f"m{day:%Y%m%d}")
    moment = datetime(day.year, day.month, day.day, tzinfo=UTC)
    rows = [
        make_row(account, meter, number, timestamp=moment + timedelta(hours=number), **values)
        for number in range(count)
    ]
    assert insert_events(rows) == [True] * count
    return rows


@pytest.mark.django_db
class TestAddDay:
    def test_takes_the_events_of_exactly_that_day_out_of_the_default_partition(self) -> None:
        rows = insert_on(TODAY, 24)
        before, after = insert_on(TODAY - timedelta(days=1), 24), insert_on(TODAY + timedelta(days=1), 1)
        assert add_day(TODAY) == 24
        assert list_partitions_of(rows) == {name_day(TODAY)}
        assert list_partitions_of([*before, *after]) == {"usage_events_default"}
        assert find_events([row.claim for row in rows]) == {row.claim: row for row in rows}
        assert list_days() == [TODAY]

    def test_new_events_go_there_and_a_repeat_is_still_known(self) -> None:
        rows = insert_on(TODAY)
        add_day(TODAY)
        assert insert_events(rows) == [False] * 3
        fresh = rows[0]._replace(idempotency_key="fresh")
        assert insert_events([fresh]) == [True]
        assert list_partitions_of([fresh]) == {name_day(TODAY)}
        request = QuantityRequest(
            fresh.account_id, fresh.meter_id, Period(AT - timedelta(days=2), AT + timedelta(days=2))
        )
        assert sum_quantities([request])[request].quantity == 3  # 0 + 1 + 2, and 0

    @pytest.mark.parametrize("statement", ["UPDATE {} SET value = 2", "DELETE FROM {}", "TRUNCATE {}"])
    @pytest.mark.parametrize("table", [name_day(TODAY), "usage_events_default", "usage_events"])
    def test_events_can_be_changed_nowhere_afterwards(self, statement: str, table: str) -> None:
        insert_on(TODAY)
        insert_on(TODAY - timedelta(days=9))
        add_day(TODAY)
        with pytest.raises(IntegrityError, match="is append-only"), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement.format(table))

    def test_has_the_indexes_and_checks_of_the_whole_table(self) -> None:
        add_day(TODAY)
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT (SELECT count(*) FROM pg_index WHERE indrelid = c.oid), "
                "(SELECT count(*) FROM pg_constraint WHERE conrelid = c.oid AND contype = 'c') "
                "FROM pg_class c WHERE c.relname = ANY(%s)",
                [["usage_events", "usage_events_default", name_day(TODAY)]],
            )
            assert cursor.fetchall() == [(4, 2)] * 3


@pytest.mark.django_db
class TestKeepPartitions:
    def test_makes_days_back_and_ahead_once(self) -> None:
        wanted = [TODAY + timedelta(days=offset) for offset in range(-2, 8)]
        assert keep_partitions(at=AT).added == wanted == list_days()
        assert keep_partitions(at=AT).added == []
        assert keep_partitions(at=AT + timedelta(days=1)).added == [TODAY + timedelta(days=8)]

    def test_moves_what_strayed_and_leaves_odd_days(self, caplog: pytest.LogCaptureFixture) -> None:
        insert_on(TODAY, 5)
        insert_on(date(1999, 1, 1), 2)
        upkeep = keep_partitions(at=AT)
        assert (upkeep.moved, upkeep.strays) == (5, 2)
        assert [(stray.day, stray.events) for stray in list_stray_days()] == [(date(1999, 1, 1), 2)]
        assert "5 moved, 2 left" in caplog.text

    def test_gives_an_old_day_with_many_events_a_partition(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(usage_partitions, "WORTH_A_DAY", 4)
        insert_on(date(2025, 7, 1), 4)
        insert_on(date(2025, 7, 2), 3)
        keep_partitions(at=AT)
        assert date(2025, 7, 1) in list_days()
        assert date(2025, 7, 2) not in list_days()

    def test_moves_a_bounded_number_in_a_run(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(usage_partitions, "_MOVED_IN_A_RUN", 4)
        for offset in (-2, -1, 0):
            insert_on(TODAY + timedelta(days=offset), 3)
        first = keep_partitions(at=AT)
        # Two days of three events reach four; the days ahead came first.
        assert (first.moved, first.waiting, len(first.added)) == (6, [TODAY], 9)
        assert keep_partitions(at=AT).added == [TODAY]

    def test_is_done_before_the_sample_is_loaded(self) -> None:
        with mock.patch("billing_site.platform.management.commands.bootstrap.Command.load_sample") as load:
            load.side_effect = lambda: list_days() or pytest.fail("no day had a partition")
            call_command("bootstrap")
        load.assert_called_once()


@pytest.mark.django_db(transaction=True)
class TestBesideOthers:
    @pytest.fixture(autouse=True)
    def _drop_partitions(self) -> Iterator[None]:
        yield
        drop_day_partitions()

    def test_gives_way_to_a_writer_and_changes_nothing(self) -> None:
        rows = insert_on(TODAY)
        with psycopg.connect(database_url()) as other:
            other.execute("LOCK TABLE usage_events_default IN ROW EXCLUSIVE MODE")
            with pytest.raises(StorageBusy):
                add_day(TODAY)
            upkeep = keep_partitions(at=AT)
            assert upkeep.added == []
            assert TODAY in upkeep.waiting
        assert list_days() == []
        assert list_partitions_of(rows) == {"usage_events_default"}
        assert keep_partitions(at=AT).moved == 3

    def test_does_nothing_while_other_upkeep_runs(self) -> None:
        with psycopg.connect(database_url()) as other:
            other.execute("SELECT pg_advisory_xact_lock(%s)", [lock_key("usage-storage")])
            with pytest.raises(StorageBusy):
                add_day(TODAY)
        assert add_day(TODAY) == 0
