"""
Invoices per second of a billing run, by one process and by two, and what they are spent on.

    python benchmarks/billing_run.py [--subscriptions 4000] [--chunk 500] [--small 1000] [--two 4000] [--budget 600]
                                      [--checked 100]

Each subscription has a fee and three usage meters, whose totals are there as ingest leaves them. The run is the
product's own (`plan_run`, `work_run`). The database is filled inside the server, so `--subscriptions 100000` needs a
minute for it. Three runs are measured, each over subscriptions that are due for the first time: a small one, and two
over the full number, by one process and by two.

Before the larger run by one process comes a dry run of the same subscriptions: its sum is what the run then issues.

The limit they are compared with is measured in the same minute: a plain COPY of exactly the rows that a run wrote, into
empty copies of the same tables with their constraints and indexes, but without triggers and foreign keys.
"""

from __future__ import annotations

import argparse
import io
import os
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.harness import private_database, set_up_django

WRITTEN = (
    "invoices",
    "invoice_lines",
    "ledger_entries",
    "ledger_postings",
    "revenue_schedules",
    "billing_events",
    "billing_run_outcomes",
)


@dataclass(slots=True)
class Work:
    """What one process did: seconds, its own processor time, the server's, queries, and memory after each chunk."""

    seconds: float = 0.0
    processor: float = 0.0
    server: float = 0.0
    queries: Counter[int] = field(default_factory=Counter)
    phases: Counter[str] = field(default_factory=Counter)
    memory: list[int] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subscriptions", type=int, default=4_000)
    parser.add_argument("--two", type=int, help="the size of the run by two processes; by default as for one")
    parser.add_argument("--small", type=int, default=1_000, help="the size that growth is counted from")
    parser.add_argument("--chunk", type=int, default=500)
    parser.add_argument("--budget", type=int, default=600, help="seconds after which a run of processes is given up")
    parser.add_argument("--checked", type=int, default=100, help="invoices that are verified at the end")
    parser.add_argument("--worker", nargs=2, metavar=("URL", "RUN"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work_alone(*arguments.worker, chunk=arguments.chunk)
        return
    with private_database() as url:
        configure(arguments.chunk)
        small = measure_one(arguments.small)
        report_one("one process, small", arguments.small, *small)
        large = measure_one(arguments.subscriptions, is_rehearsed=True)
        report_one("one process", arguments.subscriptions, *large)
        growth = (large[0].seconds / arguments.subscriptions) / (small[0].seconds / arguments.small)
        print(f"  time per invoice, large to small   {growth:8.2f}")
        count = arguments.two or arguments.subscriptions
        two = count / measure_two(url, count, chunk=arguments.chunk, budget=arguments.budget)
        one = arguments.subscriptions / large[0].seconds
        print(f"two processes: {count:,} invoices, {two:,.0f} a second, {two / one:.2f} x one")
        check(arguments.checked)


def configure(chunk: int) -> None:
    """Set the size of a chunk, and send jobs nowhere: documents are rendered by jobs, which are no part of the run."""
    from django.conf import settings

    settings.BILLING_RUN_CHUNK_SIZE = chunk
    settings.JOBS_SENDER = "benchmarks.billing_run.drop_job"


def drop_job(name: str, values: dict[str, Any]) -> None:
    """No broker here."""


def fill(count: int) -> Any:
    """Make `count` subscriptions that are due and plan their run."""
    from billing_site.kernel.actors import SYSTEM
    from invoicing.services.runs import RunRequest, plan_run
    from tests.support.cloning import END, clone_more

    begun = time.perf_counter()
    clone_more(count)
    filled = time.perf_counter()
    run = plan_run(org_id="default", as_of=END, request=RunRequest(SYSTEM), livemode=False)
    planned = time.perf_counter() - filled
    print(f"{count:,} subscriptions made in {filled - begun:.1f} s, their run planned in {planned:.1f} s", flush=True)
    return run


def measure_one(count: int, *, is_rehearsed: bool = False) -> tuple[Work, Counter[str], float]:
    """
    Work a run off in this process; return what it took, the rows it wrote, and the seconds of their COPY.

    `is_rehearsed`: a dry run comes first, and what it says is what is issued.
    """
    from django.db import connection
    from django.db.models import Sum

    from billing_site.kernel.actors import SYSTEM
    from invoicing.models import Invoice
    from invoicing.services.run_work import work_run
    from invoicing.services.runs import count_outcomes

    run = fill(count)
    expected = measure_dry(count) if is_rehearsed else None
    with connection.cursor() as cursor:
        before = {table: count_rows(cursor, table) for table in WRITTEN}
        marks = {table: find_last(cursor, table) for table in WRITTEN}
    work = Work()
    server, processor, begun = read_server_time(), time.process_time(), time.perf_counter()
    with watched(work):
        work_run(run_id=run.id, actor=SYSTEM)
    work.seconds = time.perf_counter() - begun
    work.processor, work.server = time.process_time() - processor, read_server_time() - server
    outcomes = count_outcomes(run)
    if outcomes["issued"] != count:
        raise SystemExit(f"the run did not bill everything: {outcomes}")
    issued = Invoice.objects.filter(run=run).aggregate(sum=Sum("total"))["sum"]
    if expected not in (None, issued):
        raise SystemExit(f"the dry run said {expected}, the run issued {issued}")
    with connection.cursor() as cursor:
        rows = Counter({table: count_rows(cursor, table) - before[table] for table in WRITTEN})
        return work, rows, copy_again(cursor, marks)


def measure_dry(count: int) -> int:
    """Compute what the run will issue, written nowhere; print how fast, and return the sum in minor units."""
    from invoicing.queries.dry_runs import dry_run
    from tests.support.cloning import END

    begun, found, total, memory = time.perf_counter(), 0, 0, []
    for batch in dry_run(org_id="default", as_of=END):
        found += len(batch.invoices)
        total += sum(each.invoice.draft.total for each in batch.invoices)
        memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
    seconds = time.perf_counter() - begun
    if found != count:
        raise SystemExit(f"the dry run found {found} invoices")
    print(
        f"dry run: {count / seconds:,.0f} invoices/s, memory {memory[0]:,} MiB, at the end {memory[-1]:,} MiB",
        flush=True,
    )
    return total


@contextmanager
def watched(work: Work) -> Iterator[None]:
    """Count the queries and the memory of each chunk, and the time it reads, computes and writes."""
    from unittest import mock

    from django.db import connection

    from invoicing.services import billing, run_work

    current: Counter[str] = Counter()

    def count_query(execute: Any, sql: Any, parameters: Any, many: Any, context: Any) -> Any:
        current["queries"] += 1
        return execute(sql, parameters, many, context)

    def timed(name: str, action: Any) -> Any:
        def run(*arguments: Any, **options: Any) -> Any:
            begun = time.perf_counter()
            try:
                return action(*arguments, **options)
            finally:
                work.phases[name] += time.perf_counter() - begun  # type: ignore[assignment]

        return run

    chunk = run_work._bill_rows

    def bill_rows(*arguments: Any) -> None:
        current["queries"] = 0
        begun = time.perf_counter()
        chunk(*arguments)
        work.phases["chunk"] += time.perf_counter() - begun  # type: ignore[assignment]
        work.queries[current["queries"]] += 1
        work.memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)

    with (
        mock.patch.object(run_work, "_bill_rows", bill_rows),
        mock.patch.object(billing, "_start", timed("read", vars(billing)["_start"])),
        mock.patch.object(billing, "gather_facts", timed("usage and facts", vars(billing)["gather_facts"])),
        mock.patch.object(billing, "draft_documents", timed("compute", vars(billing)["draft_documents"])),
        mock.patch.object(billing, "write_lines", timed("write lines", vars(billing)["write_lines"])),
        mock.patch.object(billing, "issue_invoices", timed("issue: ledger, numbers", vars(billing)["issue_invoices"])),
        mock.patch.object(billing, "pass_on", timed("settle", vars(billing)["pass_on"])),
        connection.execute_wrapper(count_query),
    ):
        yield


def read_server_time() -> float:
    """Return the processor seconds of the server's process for this session; zero where it is elsewhere."""
    from django.db import connection

    connection.ensure_connection()
    raw: Any = connection.connection
    try:
        text = Path(f"/proc/{raw.info.backend_pid}/stat").read_text()
    except OSError:
        return 0.0
    values = text.rpartition(")")[2].split()
    return (int(values[11]) + int(values[12])) / os.sysconf("SC_CLK_TCK")


def count_rows(cursor: Any, table: str) -> int:
    """Return the number of rows of one table."""
    cursor.execute(f"SELECT count(*) FROM {table}")
    return int(cursor.fetchone()[0])


def find_last(cursor: Any, table: str) -> str:
    """Return the newest id of a table: what a run writes comes after it."""
    cursor.execute(f"SELECT id FROM {table} ORDER BY id DESC LIMIT 1")
    row = cursor.fetchone()
    return str(row[0]) if row else "00000000-0000-0000-0000-000000000000"


def copy_again(cursor: Any, marks: dict[str, str]) -> float:
    """COPY the rows after `marks` into empty twins of the tables and return the seconds, without the time to read."""
    seconds = 0.0
    for table, mark in marks.items():
        buffer = io.BytesIO()
        query = f"COPY (SELECT * FROM {table} WHERE id > '{mark}') TO STDOUT (FORMAT binary)"
        with cursor.copy(query) as source:
            for block in source:
                buffer.write(block)
        cursor.execute(f"CREATE TABLE twin_{table} (LIKE {table} INCLUDING CONSTRAINTS INCLUDING INDEXES)")
        begun = time.perf_counter()
        with cursor.copy(f"COPY twin_{table} FROM STDIN (FORMAT binary)") as target:
            target.write(buffer.getvalue())
        seconds += time.perf_counter() - begun
        cursor.execute(f"DROP TABLE twin_{table}")
    return seconds


def report_one(title: str, count: int, work: Work, rows: Counter[str], copy_seconds: float) -> None:
    """Print the figures of a run by one process."""
    print(f"{title}: {count:,} invoices with {rows['invoice_lines']:,} lines in {work.seconds:.2f} s")
    print(f"  invoices per second                {count / work.seconds:8,.0f}")
    print(f"  plain COPY of these rows           {count / copy_seconds:8,.0f} invoices per second")
    print(f"  ratio to plain COPY                {copy_seconds / work.seconds:8.3f}")
    print(f"  processor time per invoice         {work.processor / count * 1e6:8,.0f} us, server ", end="")
    print(f"{work.server / count * 1e6:,.0f} us")
    print(f"  queries per chunk                  {', '.join(f'{n} ({times} x)' for n, times in work.queries.items())}")
    if work.memory:
        print(f"  memory after first and last chunk  {work.memory[0]:8,} MiB, {work.memory[-1]:,} MiB")
    whole = work.phases.pop("chunk", 0) or 1
    for name, seconds in work.phases.items():
        print(f"    {name:32} {seconds / whole:8.1%}")
    print(f"    {'the rest, without the commit':32} {1 - sum(work.phases.values()) / whole:8.1%}", flush=True)


def measure_two(url: str, count: int, *, chunk: int, budget: int) -> float:
    """Work a run off by two processes and return the seconds from when both have loaded the product to the end."""
    from billing_site.kernel.actors import SYSTEM
    from invoicing.services.runs import count_outcomes, finish_run

    run = fill(count)
    command = [sys.executable, __file__, "--chunk", str(chunk), "--worker", url, str(run.id)]
    workers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent)
        for _ in range(2)
    ]
    try:
        for worker in workers:
            if worker.stdout is None or worker.stdout.readline().strip() != "ready":
                raise SystemExit("a worker did not start")
        begun = time.perf_counter()
        for worker in workers:
            if worker.stdin is not None:
                worker.stdin.close()
        for worker in workers:
            worker.wait(timeout=budget)
        seconds = time.perf_counter() - begun
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
            if worker.stdout is not None:
                worker.stdout.close()
    finish_run(run_id=run.id, actor=SYSTEM)
    outcomes = count_outcomes(run)
    if outcomes["issued"] != count:
        raise SystemExit(f"the run did not bill everything: {outcomes}")
    return seconds


def work_alone(url: str, run_id: str, *, chunk: int) -> None:
    """Be one of several processes that work on a run: load everything, say so, and begin when the others have."""
    set_up_django(url, migrate=False)
    configure(chunk)
    from uuid import UUID

    from django.db import connection

    from billing_site.kernel.actors import SYSTEM
    from invoicing.services.run_work import work_run

    connection.ensure_connection()
    print("ready", flush=True)
    sys.stdin.read()
    work_run(run_id=UUID(run_id), actor=SYSTEM)


def check(count: int) -> None:
    """Verify some invoices to the cent, the numbers of all, and the ledger."""
    from accounts.queries.proof import prove_ledger
    from invoicing.models import Invoice
    from invoicing.services.verification import verify_invoice

    numbers = list(Invoice.objects.order_by("number").values_list("number", flat=True))
    if numbers != list(range(1, len(numbers) + 1)):
        raise SystemExit("the numbers have gaps")
    wrong = [
        str(found)
        for invoice in Invoice.objects.order_by("-trace__charges__1__quantity", "id")[:count]
        for found in verify_invoice(invoice, check_usage=True).differences
    ]
    fault = prove_ledger().fault
    if wrong or fault is not None:
        raise SystemExit(f"what was billed does not hold: {wrong[:3]} {fault}")
    print(f"{len(numbers):,} numbers without a gap, {count} invoices recomputed to the cent, ledger proven")


if __name__ == "__main__":
    main()
