"""Billing by several real processes at once, and by processes that are killed in the middle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection

from accounts.models import Account
from billing_site.kernel.periods import add_months
from invoicing.models import BillingRun, Invoice, InvoiceLine, RunOutcome
from invoicing.services.runs import RunRequest, plan_run
from invoicing.services.verification import verify_invoice
from tests.support import world
from tests.support.processes import product_environment

pytestmark = pytest.mark.django_db(transaction=True)

ACCOUNTS = 32
PATIENCE = 60  # seconds a process may take before the test gives up on it


@pytest.fixture
def due() -> list[Account]:
    """Accounts on a monthly plan with usage, all due since the first of this month."""
    today = datetime.now(UTC).date()
    start = datetime.combine(add_months(today.replace(day=1), -1), datetime.min.time(), UTC)
    world.publish(at=start - timedelta(days=1))
    accounts = [world.open_account(f"customer-{number}", at=start) for number in range(ACCOUNTS)]
    for number, account in enumerate(accounts):
        world.subscribe(account, "payg", at=start)
        world.use(account, "input_tokens", [1_000_000 + number], at=start + timedelta(days=3))
    return accounts


def start(*command: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *command],
        cwd=settings.BASE_DIR,
        env=product_environment(BILLING_RUN_CHUNK_SIZE="2", **environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def start_cycle() -> subprocess.Popen[str]:
    return start("manage.py", "billing_cycle")


def finish(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output
    return output


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str] | None = None) -> None:
    """Look again and again until `condition` holds; a database that never gets there fails the test."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "the processes did not get there in time"
        if process is not None and process.poll() is not None:
            raise AssertionError(f"the process ended early: {process.communicate()[0]}")
        time.sleep(0.01)


def count_invoices() -> int:
    return Invoice.objects.count()


def assert_each_billed_once(accounts: list[Account]) -> None:
    """One invoice per account, numbers 1 to n without gap, every amount recomputed, ledger equal to the documents."""
    invoices = world.list_invoices()
    assert sorted(invoice.account_id for invoice in invoices) == sorted(account.pk for account in accounts)
    assert sorted(invoice.number or 0 for invoice in invoices) == list(range(1, len(accounts) + 1))
    assert InvoiceLine.objects.count() == len(accounts)
    assert [str(found) for invoice in invoices for found in verify_invoice(invoice).differences] == []
    with connection.cursor() as cursor:
        cursor.execute("SELECT sum(balance) FROM ledger_accounts WHERE kind = 'receivable'")
        assert cursor.fetchone()[0] == sum(invoice.total for invoice in invoices)
        cursor.execute("SELECT count(*) FROM ledger_entries WHERE type = 'invoice'")
        assert cursor.fetchone()[0] == len(accounts)
    assert not BillingRun.objects.exclude(status="completed").exists()


class TestTwoProcesses:
    def test_that_start_at_the_same_moment_bill_each_subscription_once(self, due: list[Account]) -> None:
        processes = [start_cycle() for _ in range(2)]
        output = [finish(process) for process in processes]
        assert_each_billed_once(due)
        assert any(f"{ACCOUNTS} issued" in text for text in output), output

    def test_that_share_one_run_bill_each_subscription_once(self, due: list[Account]) -> None:
        run = plan_run(org_id="default", as_of=datetime.now(UTC), request=RunRequest(world.TESTER), livemode=False)
        for process in [start_cycle() for _ in range(2)]:
            finish(process)
        assert_each_billed_once(due)
        outcomes = RunOutcome.objects.filter(run=run)
        assert {(row.status, row.invoice_count, row.attempts) for row in outcomes} == {("issued", 1, 1)}


class TestAKilledProcess:
    def test_leaves_a_run_that_the_next_one_finishes(self, due: list[Account]) -> None:
        victim = start_cycle()
        wait_for(lambda: count_invoices() >= 2, victim)
        os.killpg(victim.pid, signal.SIGKILL)
        victim.communicate(timeout=PATIENCE)
        billed = count_invoices()
        assert 0 < billed < ACCOUNTS
        assert BillingRun.objects.get().status == "running"
        finish(start_cycle())
        assert_each_billed_once(due)

    def test_worker_is_replaced_without_loss(self, due: list[Account], tmp_path: Path) -> None:
        run = plan_run(org_id="default", as_of=datetime.now(UTC), request=RunRequest(world.TESTER), livemode=False)
        with celery_worker(tmp_path) as send:
            send("invoicing.work_billing_run", run_id=str(run.id))
            wait_for(lambda: count_invoices() >= 2)
            # The block ends here: the worker and its children are killed with SIGKILL.
        assert 0 < count_invoices() < ACCOUNTS
        with celery_worker(tmp_path) as send:
            send("invoicing.sweep_billing_runs")
            wait_for(lambda: BillingRun.objects.get(id=run.id).status == "completed")
        assert_each_billed_once(due)


@contextmanager
def celery_worker(folder: Path) -> Iterator[Callable[..., Any]]:
    """A real worker on a filesystem broker; at the end it is killed, as a machine that loses power would do it."""
    from celery import Celery

    messages = folder / "broker" / "messages"
    messages.mkdir(parents=True, exist_ok=True)
    (folder / "broker" / "control").mkdir(exist_ok=True)
    environment = {"BILLING_SERVER_DATA_DIR": str(folder), "BILLING_REDIS_URL": "", "REDIS_URL": ""}
    worker = start(
        "-m", "celery", "-A", "billing_site.celery", "worker", "-c", "1", "--loglevel", "warning", **environment
    )
    sender = Celery("sender", broker="filesystem://")
    sender.conf.broker_transport_options = {
        "data_folder_in": str(messages),
        "data_folder_out": str(messages),
        "control_folder": str(folder / "broker" / "control"),
    }
    try:
        yield lambda name, **arguments: sender.send_task(name, kwargs=arguments, ignore_result=True)
    finally:
        os.killpg(worker.pid, signal.SIGKILL)
        worker.communicate(timeout=PATIENCE)
