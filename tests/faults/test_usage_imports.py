"""A worker that dies anywhere in a usage import loses nothing and doubles nothing: the next one goes on."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import Any, Final

import psycopg
import pytest
from django.db import transaction
from django.db.utils import InterfaceError, OperationalError
from pytest import MonkeyPatch

from billing_site.kernel import clock
from billing_site.kernel.actors import SYSTEM
from metering.models import UsageEvent, UsageImport, UsageImportChunk
from metering.services.usage_imports import NewUsageImport, start_import, work_import, working
from tests.factories.metering import AT, make_account, make_meter
from tests.faults.crashes import Crash, Statements, crash, terminate_session, watched
from tests.support.processes import database_url, product_environment
from tests.support.stored import describe_rows

LINES: Final = 7
TOTAL: Final = 28  # 1 + 2 + … + 7
BATCH: Final = 3
# Bookkeeping that tells how often an import was taken up, not what it came to.
RUN_TABLES: Final = ("event_chains",)


def take_in() -> UsageImport:
    make_meter("api")
    account = make_account("acme/alice")
    content = "timestamp,service,quantity\n" + "".join(f"2026-03-0{1 + n},api,{n}\n" for n in range(1, LINES + 1))
    new = NewUsageImport("usage.csv", account=account)
    return start_import(new=new, content=[content.encode()], at=AT, actor=SYSTEM)


def work(usage_import: UsageImport) -> UsageImport:
    return work_import(import_id=usage_import.pk, now=clock.now, actor=SYSTEM)


def require_consistent(usage_import: UsageImport) -> None:
    """What the import says it wrote is what is there."""
    usage_import.refresh_from_db()
    assert UsageEvent.objects.count() == usage_import.created_count
    assert usage_import.duplicate_count == 0


def require_complete(usage_import: UsageImport) -> None:
    require_consistent(usage_import)
    assert (usage_import.status, usage_import.created_count, usage_import.lines_total) == ("succeeded", LINES, LINES)
    assert sum(UsageEvent.objects.values_list("value", flat=True)) == TOTAL
    assert not UsageImportChunk.objects.exists()


def count_effects() -> dict[str, int]:
    return {table: len(rows) for table, rows in describe_rows(without=RUN_TABLES).items() if rows}


@pytest.fixture(autouse=True)
def _small_batches_at_noon(monkeypatch: MonkeyPatch) -> Any:
    monkeypatch.setattr(working, "BATCH", BATCH)
    with clock.travel(AT):
        yield


@pytest.mark.django_db
def test_stopped_before_any_statement_it_goes_on() -> None:
    usage_import = take_in()
    with transaction.atomic():
        with watched(Statements()) as statements:
            work(usage_import)
        require_complete(usage_import)
        everything = count_effects()
        transaction.set_rollback(True)
    # Three batches checked and three written, each of many statements.
    assert len(statements.list_points()) > 20
    phases = set()
    for number in statements.list_points():
        with transaction.atomic():
            with pytest.raises(Crash), watched(Statements(number, crash)):
                work(usage_import)
            require_consistent(usage_import)
            phases.add((usage_import.phase, usage_import.lines_done))
            work(usage_import)
            require_complete(usage_import)
            assert count_effects() == everything, number
            transaction.set_rollback(True)
    assert phases >= {("check", 0), ("check", 3), ("check", 6), ("write", 0), ("write", 3), ("write", 6)}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("share", [1, 2, 4, 6, 8])
def test_whose_session_is_ended_it_goes_on(share: int) -> None:
    usage_import = take_in()
    with transaction.atomic():
        with watched(Statements()) as statements:
            work(usage_import)
        transaction.set_rollback(True)
    number = len(statements.sent) * share // 10  # without the savepoints, which are transactions here, there are fewer
    with (
        pytest.raises((OperationalError, InterfaceError)),
        watched(Statements(number, terminate_session, is_gone=False)),
    ):
        work(usage_import)
    require_consistent(usage_import)
    assert work(usage_import).is_finished
    require_complete(usage_import)


@pytest.mark.django_db(transaction=True)
def test_killed_in_the_middle_of_a_batch_it_goes_on() -> None:
    usage_import = take_in()
    times = [AT] * 4  # three batches are checked and one is written

    def now() -> Any:
        if not times:
            raise OperationalError("gone")
        return times.pop()

    with pytest.raises(OperationalError):
        work_import(import_id=usage_import.pk, now=now, actor=SYSTEM)
    with psycopg.connect(database_url()) as other:
        other.execute("LOCK TABLE usage_events IN SHARE ROW EXCLUSIVE MODE")
        worker = start_worker(usage_import)
        try:
            wait_until_blocked(worker)
            # Whoever comes meanwhile leaves it alone.
            assert work(usage_import).lines_done == BATCH
        finally:
            worker.send_signal(signal.SIGKILL)
            worker.wait()
        wait_until_gone()
    require_consistent(usage_import)
    assert (usage_import.status, usage_import.lines_done) == ("running", BATCH)
    work(usage_import)
    require_complete(usage_import)


def start_worker(usage_import: UsageImport) -> subprocess.Popen[bytes]:
    code = (
        "from metering.services.usage_imports import working; from metering.tasks import work_usage_import; "
        f"working.BATCH = {BATCH}; work_usage_import('{usage_import.pk}')"
    )
    environment = product_environment(PGAPPNAME="doomed-worker")
    return subprocess.Popen([sys.executable, "manage.py", "shell", "-c", code], env=environment)


def count_sessions(condition: str) -> int:
    with psycopg.connect(database_url(), autocommit=True) as other:
        query = f"SELECT count(*) FROM pg_stat_activity WHERE application_name = 'doomed-worker' AND {condition}"
        row = other.execute(query).fetchone()
        return int(row[0]) if row else 0


def wait_until_blocked(worker: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while not count_sessions("wait_event_type = 'Lock'"):
        assert worker.poll() is None, "the worker ended by itself"
        assert time.monotonic() < deadline, "the worker never came to the lock"
        time.sleep(0.02)


def wait_until_gone() -> None:
    """The server notices at the end of the lock wait at the latest; ask it to look now."""
    with psycopg.connect(database_url(), autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'doomed-worker'")
    deadline = time.monotonic() + 30
    while count_sessions("true"):
        assert time.monotonic() < deadline, "the session of the dead worker does not end"
        time.sleep(0.02)
