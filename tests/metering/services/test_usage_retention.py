"""Old days leave for files, prove what they were, and come back."""

from __future__ import annotations

import gzip
import io
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from accounts.models import Account
from billing_site.kernel import clock
from billing_site.kernel.periods import Period
from catalog.models import Meter
from invoicing.queries.unbilled_usage import find_first_unbilled_use
from metering.models import ArchivedUsageDay, ArchivedUsageTotal
from metering.services.usage_proof import prove_usage
from metering.services.usage_retention import archive_days
from metering.stores import (
    EventRow,
    QuantityRequest,
    insert_events,
    insert_voiding,
    make_voiding,
    project_dimensions,
    sum_quantities,
)
from metering.stores.archive import ArchiveUnreadable, DayChanged, drop_day, read_day_file, restore_day, write_day_file
from metering.stores.partitions import add_day, list_days, list_stray_days
from metering.stores.proof import ProofScope
from tests.factories.metering import make_account, make_meter, make_row, make_subscription
from tests.faults.crashes import Crash, Statements, crash, watched
from tests.support.stored import hash_database
from tests.support.usage_storage import tampering

pytestmark = pytest.mark.django_db
DAY = date(2026, 1, 10)
MOMENT = datetime(2026, 1, 10, 8, 30, 0, 123456, tzinfo=UTC)
# 35 days of keys and 62 in which late usage is billed: the first day on which 10 January may leave.
LEAVES = datetime(2026, 4, 18, 4, 10, tzinfo=UTC)


@pytest.fixture(autouse=True)
def folder(settings: Any, tmp_path: Path) -> Path:
    settings.BILLING_USAGE_RETENTION_DAYS = 30
    settings.BILLING_USAGE_ARCHIVE_DIR = tmp_path / "usage"
    return tmp_path / "usage"


@pytest.fixture
def account() -> Account:
    return make_account()


@pytest.fixture
def meter() -> Meter:
    return make_meter(dimensions=["model"])


@pytest.fixture
def rows(account: Account, meter: Meter) -> list[EventRow]:
    """A day with a partition and events of every kind: 2.5 + 4 - 4 and a maximum of 3."""
    peak = make_meter("peak", aggregation="max")
    odd = {"dimensions": {"model": 'ü "\\ \n'}, "metadata": {"n": 1.50}, "actor_id": "ann", "resource_id": "r"}
    rows = [
        store(account, meter, "2.500000000001", **odd),
        store(account, meter, 4, charged=True),
        store(account, peak, 3),
    ]
    voiding = make_voiding(rows[1], declared=["model"], recorded_at=MOMENT)
    insert_voiding(voiding, aggregation="sum", at=MOMENT)
    store(account, meter, 7, timestamp=MOMENT + timedelta(days=1))
    add_day(DAY)
    return [*rows, voiding]


def store(account: Account, meter: Meter, value: str | int, **values: Any) -> EventRow:
    values = {"timestamp": MOMENT, "recorded_at": MOMENT, **values}
    rolled = project_dimensions(meter.dimensions, values.get("dimensions", {}))
    row = make_row(account, meter, value, rolled_dimensions=rolled, **values)
    assert insert_events([row]) == [True]
    return row


def read_rows() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT e::text FROM usage_events e ORDER BY e::text")
        return [text for (text,) in cursor.fetchall()]


def count_differences() -> dict[str, int]:
    return prove_usage(ProofScope(at=LEAVES)).kinds


class TestArchiveDays:
    def test_leaves_totals_and_a_file(self, rows: list[EventRow], meter: Meter, folder: Path) -> None:
        request = QuantityRequest(
            rows[0].account_id, meter.pk, Period(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC))
        )
        before = sum_quantities([request])
        assert archive_days(at=LEAVES, unbilled_from=None).archived == [DAY]
        assert list_days() == []
        assert len(read_rows()) == 1
        assert sum_quantities([request]) == before
        [archived] = ArchivedUsageDay.objects.all()
        file = read_day_file(folder / archived.file)
        assert (file.day, file.events, file.checksum) == (DAY, 4, archived.checksum)
        totals = ArchivedUsageTotal.objects.get(meter_id=meter.pk)
        # 2.500000000001 + 4 - 4 of three rows; charged 4 - 4
        assert (str(totals.total), totals.rows, totals.events) == ("2.500000000001", 3, 1)
        assert (int(totals.charged_total), totals.charged_events) == (0, 0)
        assert [path.name for path in folder.iterdir()] == ["usage-events-2026-01-10.jsonl.gz"]
        assert (folder / archived.file).stat().st_mode & 0o077 == 0

    def test_the_proof_knows_of_days_that_have_left(self, rows: list[EventRow], account: Account, meter: Meter) -> None:
        archive_days(at=LEAVES, unbilled_from=None)
        assert count_differences() == {}
        store(account, meter, 1, recorded_at=LEAVES)  # late
        assert count_differences() == {}
        for table in ("usage_rollups", "usage_counters"):
            change = f"UPDATE {table} SET total = total {{}} 1 WHERE span = 'hour' AND starts_at < '2026-01-11'"
            with tampering() as cursor:
                cursor.execute(change.format("+"))
            found = prove_usage(ProofScope(at=LEAVES)).first
            assert {(each.kind, each.span) for each in found} == {("archive", "day")}
            with tampering() as cursor:
                cursor.execute(change.format("-"))
        with tampering() as cursor:
            cursor.execute(
                "UPDATE usage_counters SET total = total + 1 WHERE span = 'month' AND meter_id = %s", [meter.pk]
            )
        assert count_differences() == {"counter": 1}

    def test_nothing_leaves_unless_it_is_asked_for(self, rows: list[EventRow], settings: Any) -> None:
        settings.BILLING_USAGE_RETENTION_DAYS = 0
        assert archive_days(at=LEAVES, unbilled_from=None).archived == []
        settings.BILLING_USAGE_RETENTION_DAYS = 200
        assert archive_days(at=LEAVES + timedelta(days=102), unbilled_from=None).archived == []
        assert archive_days(at=LEAVES + timedelta(days=103), unbilled_from=None).archived == [DAY]

    def test_a_day_that_late_usage_may_be_billed_with_stays(self, rows: list[EventRow]) -> None:
        assert archive_days(at=LEAVES - timedelta(days=1), unbilled_from=None).archived == []

    def test_a_day_that_is_not_invoiced_stays(self, rows: list[EventRow]) -> None:
        evening, midnight = datetime(2026, 1, 10, 23, tzinfo=UTC), datetime(2026, 1, 11, tzinfo=UTC)
        retention = archive_days(at=LEAVES, unbilled_from=evening)
        assert retention.kept == {DAY: "usage since 2026-01-10 is not invoiced everywhere"}
        assert archive_days(at=LEAVES, unbilled_from=midnight).archived == [DAY]

    def test_a_day_with_late_events_whose_keys_are_known_stays(
        self, rows: list[EventRow], account: Account, meter: Meter
    ) -> None:
        store(account, meter, 1, recorded_at=LEAVES - timedelta(days=34))
        assert archive_days(at=LEAVES, unbilled_from=None).kept == {DAY: "usage came in at 2026-03-15"}
        assert archive_days(at=LEAVES + timedelta(days=1), unbilled_from=None).archived == [DAY]

    def test_a_crash_before_any_statement_loses_nothing(self, rows: list[EventRow]) -> None:
        before, stored = hash_database(), read_rows()
        with transaction.atomic():
            with watched(Statements()) as statements:
                archive_days(at=LEAVES, unbilled_from=None)
            transaction.set_rollback(True)
        for number in range(1, len(statements.sent) + 1):
            with transaction.atomic():
                with pytest.raises(Crash), watched(Statements(number, crash)):
                    archive_days(at=LEAVES, unbilled_from=None)
                assert hash_database() == before, number
                assert read_rows() == stored
                assert archive_days(at=LEAVES, unbilled_from=None).archived == [DAY], number
                assert count_differences() == {}
                transaction.set_rollback(True)

    def test_a_file_that_cannot_be_written_keeps_the_day(self, rows: list[EventRow], folder: Path) -> None:
        folder.write_text("no folder")
        with pytest.raises(OSError, match="exists"):
            archive_days(at=LEAVES, unbilled_from=None)
        assert list_days() == [DAY]

    def test_an_event_that_comes_in_between_keeps_the_day(
        self, rows: list[EventRow], account: Account, meter: Meter, tmp_path: Path
    ) -> None:
        file = write_day_file(DAY, tmp_path / "day.gz")
        store(account, meter, 1)
        with pytest.raises(DayChanged, match="4 events are in the file, 5 in the database"):
            drop_day(file, path=tmp_path / "day.gz", at=LEAVES)
        assert list_days() == [DAY]
        assert not ArchivedUsageTotal.objects.exists()


class TestRestoreUsageDay:
    def restore(self, path: Path) -> str:
        out = io.StringIO()
        with clock.travel(LEAVES):
            call_command("restore_usage_day", str(path), stdout=out)
        return out.getvalue()

    def test_brings_back_every_column(self, rows: list[EventRow], folder: Path, account: Account, meter: Meter) -> None:
        before = read_rows()
        archive_days(at=LEAVES, unbilled_from=None)
        path = folder / "usage-events-2026-01-10.jsonl.gz"
        assert self.restore(path) == "4 events of 2026-01-10 are back.\n"
        assert read_rows() == before
        assert list_days() == [DAY]
        assert count_differences() == {}
        with pytest.raises(CommandError, match="is not away"):
            self.restore(path)
        kept = archive_days(at=LEAVES + timedelta(days=1), unbilled_from=None).kept
        assert kept == {DAY: "restored at 2026-04-18"}
        assert archive_days(at=LEAVES + timedelta(days=31), unbilled_from=None).archived == [DAY]
        assert count_differences() == {}

    def test_takes_what_came_late_along(
        self, rows: list[EventRow], folder: Path, account: Account, meter: Meter
    ) -> None:
        archive_days(at=LEAVES, unbilled_from=None)
        store(account, meter, 1, recorded_at=LEAVES)
        assert [stray.day for stray in list_stray_days()] == [DAY, DAY + timedelta(days=1)]
        self.restore(folder / "usage-events-2026-01-10.jsonl.gz")
        assert [stray.day for stray in list_stray_days()] == [DAY + timedelta(days=1)]
        assert len(read_rows()) == 6
        assert count_differences() == {}

    def test_refuses_what_is_not_the_file_of_the_day(self, rows: list[EventRow], folder: Path) -> None:
        archive_days(at=LEAVES, unbilled_from=None)
        path = folder / "usage-events-2026-01-10.jsonl.gz"
        content = gzip.decompress(path.read_bytes())
        lines = content.splitlines(keepends=True)
        for wrong in (
            path.read_bytes()[:-20],
            gzip.compress(content.replace(b"2.500000000001", b"2.500000000002")),
            gzip.compress(b"".join([*lines[:2], *lines[3:]])),
            gzip.compress(b"".join(lines[:-1])),
            b"",
            b"nonsense",
        ):
            path.write_bytes(wrong)
            with pytest.raises(CommandError):
                self.restore(path)
            assert list_days() == []
        path.write_bytes(gzip.compress(content))
        with tampering() as cursor:
            cursor.execute("UPDATE archived_usage_days SET checksum = 'another'")
        with pytest.raises(ArchiveUnreadable, match="is not the file"):
            restore_day(path, at=LEAVES)


class TestFindFirstUnbilledUse:
    def test_is_the_earliest_open_period(self, account: Account, meter: Meter) -> None:
        assert find_first_unbilled_use() is None
        make_subscription(account, {meter: "1"})
        assert find_first_unbilled_use() == datetime(2026, 3, 1, tzinfo=UTC)
        earlier = make_subscription(make_account(), {}, usage_from=datetime(2026, 2, 20, tzinfo=UTC))
        assert find_first_unbilled_use() == datetime(2026, 2, 20, tzinfo=UTC)
        item = make_subscription(make_account(), {make_meter("other"): "1"}).items.get()
        item.ended_at, item.unbilled_from = datetime(2026, 2, 15, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
        item.save()
        assert find_first_unbilled_use() == datetime(2026, 2, 1, tzinfo=UTC)
        for row in (item.subscription, earlier):
            row.status, row.ended_at = "canceled", datetime(2026, 3, 2, tzinfo=UTC)
            row.save()
        assert find_first_unbilled_use() == datetime(2026, 3, 1, tzinfo=UTC)

    def test_leaves_out_what_a_provider_bills(self, account: Account, meter: Meter) -> None:
        make_subscription(account, {meter: "1"}, billed_by_provider=True)
        make_subscription(make_account(), {}, provider_type="manual_grant")
        assert find_first_unbilled_use() is None
