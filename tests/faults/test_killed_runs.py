"""
A billing run whose workers are killed at random moments makes the documents of a run that nobody disturbs.

`BILLING_TEST_KILLED_RUN` sets the number of subscriptions (300 unless told, 2,000 for a thorough run),
`BILLING_TEST_SEED` repeats the moments of an earlier run.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.conf import settings
from django.db import connection, transaction

from accounts.queries.proof import prove_ledger
from billing_site.platform.services.events import verify_all
from invoicing.models import BillingRun, Invoice, RunOutcome
from invoicing.services.run_work import work_run
from invoicing.services.runs import RunRequest, plan_run
from invoicing.services.verification import verify_invoice
from tests.support import world
from tests.support.cloning import END, clone_subscriptions
from tests.support.processes import product_environment

SUBSCRIPTIONS = int(os.environ.get("BILLING_TEST_KILLED_RUN", "300"))
CHUNK = max(5, SUBSCRIPTIONS // 40)
KILLS = 20
VERIFIED = 60

_CONTENT = {
    # Numbers as well: a chunk that is lost leaves its numbers to the one that is billed after it.
    "invoices": "SELECT (to_jsonb(i) - '{id,created_at,updated_at}'::text[])::text FROM invoices i",
    "lines": """
        SELECT i.number || ' ' || (to_jsonb(l) - '{id,invoice_id}'::text[])::text
        FROM invoice_lines l JOIN invoices i ON i.id = l.invoice_id
    """,
    "movements": """
        SELECT concat_ws(' ', a.account_id, a.kind, e.type, e.created_at, p.currency, p.amount)
        FROM ledger_postings p JOIN ledger_entries e ON e.id = p.entry_id
        JOIN ledger_accounts a ON a.id = p.ledger_account_id
    """,
    "balances": "SELECT concat_ws(' ', account_id, kind, currency, balance) FROM ledger_accounts",
    "events": """
        SELECT concat_ws(' ', chain, sequence, type, created_at, data - 'id') FROM billing_events
        WHERE account_id IS NOT NULL
    """,
    "subscriptions": "SELECT (to_jsonb(s) - 'updated_at')::text FROM subscriptions s",
    "outcomes": "SELECT concat_ws(' ', id, status, invoice_count, attempts, error_code) FROM billing_run_outcomes",
    "counters": "SELECT (to_jsonb(c) - 'id')::text FROM number_counters c",
}


def describe() -> dict[str, list[str]]:
    """Return what a run leaves, without the ids that it made."""
    found = {}
    with connection.cursor() as cursor:
        for name, query in _CONTENT.items():
            cursor.execute(query)
            found[name] = sorted(row for (row,) in cursor.fetchall())
    return found


def rehearse(run: BillingRun) -> tuple[dict[str, list[str]], float]:
    """Work the run off undisturbed, take it back, and return what it left and the seconds it took."""
    with transaction.atomic():
        begun = time.perf_counter()
        work_run(run_id=run.id, actor=world.TESTER)
        seconds = time.perf_counter() - begun
        left = describe()
        transaction.set_rollback(True)
    return left, seconds


@contextmanager
def workers(run: BillingRun) -> Iterator[Any]:
    """Yield a function that lets a worker live for some milliseconds (0: to its end) and tells what became of it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.run_worker", str(run.id)],
        cwd=settings.BASE_DIR,
        env=product_environment(BILLING_RUN_CHUNK_SIZE=str(CHUNK)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    stdin, stdout = process.stdin, process.stdout

    def let_live(milliseconds: int) -> str:
        print(milliseconds, file=stdin, flush=True)
        return str(stdout.readline().strip())

    try:
        yield let_live
    finally:
        stdin.close()
        process.wait(timeout=60)
        stdout.close()


@pytest.mark.django_db(transaction=True)
def test_workers_killed_at_random_moments_bill_everything_once(settings: Any) -> None:
    settings.BILLING_RUN_CHUNK_SIZE = CHUNK
    seed = int(os.environ.get("BILLING_TEST_SEED") or random.randrange(1_000_000))
    moments = random.Random(seed)
    clone_subscriptions(SUBSCRIPTIONS)
    run = plan_run(org_id="default", as_of=END, request=RunRequest(world.TESTER), livemode=False)
    undisturbed, seconds = rehearse(run)
    assert not RunOutcome.objects.filter(run=run).exclude(status="pending").exists()

    ends: list[str] = []
    billed: list[int] = []
    with workers(run) as let_live:
        while ends.count("killed") < KILLS and "ended" not in ends:
            ends.append(let_live(1 + int(moments.random() * seconds * 1000 / 6)))
            billed.append(RunOutcome.objects.filter(run=run, status="issued").count())
        if "ended" not in ends:
            ends.append(let_live(0))
    assert ends[-1] == "ended", f"seed {seed}: {ends}"
    assert set(ends[:-1]) == {"killed"}, f"seed {seed}: {ends}"
    assert all(count % CHUNK == 0 or count == SUBSCRIPTIONS for count in billed), f"seed {seed}: {billed}"

    assert_same(describe(), undisturbed, seed)
    numbers = Invoice.objects.order_by("number").values_list("number", flat=True)
    assert list(numbers) == list(range(1, SUBSCRIPTIONS + 2))  # the first account has its first invoice from its start
    assert BillingRun.objects.get(id=run.id).status == "completed"
    assert prove_ledger().fault is None
    assert [report.fault for report in verify_all() if report.fault is not None] == []
    some = moments.sample(list(Invoice.objects.all()), min(VERIFIED, SUBSCRIPTIONS))
    assert [str(each) for invoice in some for each in verify_invoice(invoice, check_usage=True).differences] == []


def assert_same(left: dict[str, list[str]], undisturbed: dict[str, list[str]], seed: int) -> None:
    for name, rows in undisturbed.items():
        different = [pair for pair in zip(rows, left[name], strict=False) if pair[0] != pair[1]]
        assert len(left[name]) == len(rows), f"seed {seed}: {name}"
        assert different[:1] == [], f"seed {seed}: {name}"
