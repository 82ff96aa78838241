"""
Invoices per second of a billing run, and queries per invoice.

    python benchmarks/billing_run.py [--subscriptions 10000] [--chunk 500]

Each subscription has a fee and two usage meters. The run is the product's own (`plan_run`, `work_run`), in one process.
The limit it is compared with is measured in the same run: a plain COPY of exactly the rows that the run wrote, into
empty copies of the same tables with their constraints and indexes, but without triggers and foreign keys.
"""

from __future__ import annotations

import argparse
import io
import resource
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.harness import private_database

START = datetime(2024, 3, 1, tzinfo=UTC)
END = datetime(2024, 4, 1, tzinfo=UTC)
EVENTS_PER_METER = 3
BATCH = 2_000
WRITTEN = (
    "invoices",
    "invoice_lines",
    "ledger_entries",
    "ledger_postings",
    "billing_events",
    "billing_run_outcomes",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--subscriptions", type=int, default=10_000)
    parser.add_argument("--chunk", type=int, default=500)
    arguments = parser.parse_args()
    with private_database():
        from django.conf import settings

        settings.BILLING_RUN_CHUNK_SIZE = arguments.chunk
        settings.JOBS_SENDER = "benchmarks.billing_run.drop_job"
        seconds = timed(lambda: seed(arguments.subscriptions))
        print(f"seeded {arguments.subscriptions:,} subscriptions in {seconds:.1f} s")
        report(*measure_run())


def drop_job(name: str, values: dict[str, Any]) -> None:
    """No broker here: documents are rendered by jobs, which are no part of the run."""


def timed(action: Any) -> float:
    """Return the seconds that `action` takes."""
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


def seed(count: int) -> None:
    """Write accounts, subscriptions that are due on 1 April 2024, and their usage of March."""
    from accounts.models import Account, BillingMode, Subscription, SubscriptionItem
    from catalog.models import Plan
    from tests.support import world

    world.publish(at=START - timedelta(days=1))
    plan = Plan.objects.select_related("current_version").get(key="pro")
    version = plan.current_version
    assert version is not None
    prices = list(version.prices.order_by("id"))
    accounts = [Account(name=f"Customer {number}", external_id=f"customer-{number}") for number in range(count)]
    Account.objects.bulk_create(accounts, batch_size=BATCH)
    subscriptions = [
        Subscription(
            account=account,
            product_id=plan.product_id,
            plan_version=version,
            status="active",
            currency="usd",
            interval="month",
            timezone="UTC",
            anchor_date=START.date(),
            current_period_start=START,
            current_period_end=END,
            next_boundary=1,
            next_billing_at=END,
            started_at=START,
        )
        for account in accounts
    ]
    Subscription.objects.bulk_create(subscriptions, batch_size=BATCH)
    items = [
        SubscriptionItem(
            subscription=subscription,
            price=price,
            meter_id=price.meter_id,
            billing_mode=BillingMode.METERED if price.is_metered else BillingMode.LICENSED,
            quantity=0 if price.is_metered else 1,
            started_at=START,
        )
        for subscription in subscriptions
        for price in prices
    ]
    SubscriptionItem.objects.bulk_create(items, batch_size=BATCH)
    seed_usage(accounts, [price.meter_id for price in prices if price.meter_id is not None])


def seed_usage(accounts: list[Any], meter_ids: list[Any]) -> None:
    """Write a few events per account and meter."""
    from metering.stores import EventRow, insert_events

    rows = [
        EventRow(
            account_id=account.pk,
            meter_id=meter_id,
            idempotency_key=f"event-{number}",
            value=Decimal(100_000 + index * 7 + number),
            timestamp=START + timedelta(days=3 * number + 1),
            recorded_at=START + timedelta(days=3 * number + 1),
        )
        for index, account in enumerate(accounts)
        for meter_id in meter_ids
        for number in range(EVENTS_PER_METER)
    ]
    for first in range(0, len(rows), BATCH):
        insert_events(rows[first : first + BATCH])


def measure_run() -> tuple[float, int, Counter[str], float]:
    """Run the cycle and return its seconds, queries, the rows in each table, and the seconds of the plain COPY."""
    from django.db import connection

    from billing_site.kernel.actors import SYSTEM
    from invoicing.services.run_work import work_run
    from invoicing.services.runs import RunRequest, count_outcomes, plan_run

    queries = 0

    def count_query(execute: Any, sql: Any, parameters: Any, many: Any, context: Any) -> Any:
        nonlocal queries
        queries += 1
        return execute(sql, parameters, many, context)

    with connection.cursor() as cursor:
        cursor.execute("ANALYZE accounts, subscriptions, subscription_items, prices, usage_events")
        before = {table: count_rows(cursor, table) for table in WRITTEN}
    begun = time.perf_counter()
    with connection.execute_wrapper(count_query):
        run = plan_run(org_id="default", as_of=END, request=RunRequest(SYSTEM), livemode=False)
        work_run(run_id=run.id, actor=SYSTEM)
    seconds = time.perf_counter() - begun
    outcomes = count_outcomes(run)
    if outcomes["failed"] or outcomes["pending"]:
        raise SystemExit(f"the run did not bill everything: {outcomes}")
    with connection.cursor() as cursor:
        rows = Counter({table: count_rows(cursor, table) - before[table] for table in WRITTEN})
        return seconds, queries, rows, copy_again(cursor)


def count_rows(cursor: Any, table: str) -> int:
    """Return the number of rows of one table."""
    cursor.execute(f"SELECT count(*) FROM {table}")
    return int(cursor.fetchone()[0])


def copy_again(cursor: Any) -> float:
    """COPY the same rows into empty twins of the tables and return the seconds, without the time to read them."""
    seconds = 0.0
    for table in WRITTEN:
        buffer = io.BytesIO()
        with cursor.copy(f"COPY {table} TO STDOUT (FORMAT binary)") as source:
            for block in source:
                buffer.write(block)
        cursor.execute(f"CREATE TABLE twin_{table} (LIKE {table} INCLUDING CONSTRAINTS INCLUDING INDEXES)")
        begun = time.perf_counter()
        with cursor.copy(f"COPY twin_{table} FROM STDIN (FORMAT binary)") as target:
            target.write(buffer.getvalue())
        seconds += time.perf_counter() - begun
    return seconds


def report(seconds: float, queries: int, rows: Counter[str], copy_seconds: float) -> None:
    """Print the figures."""
    invoices = rows["invoices"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"issued {invoices:,} invoices with {rows['invoice_lines']:,} lines in {seconds:.2f} s")
    print(f"invoices per second        {invoices / seconds:10,.0f}")
    print(f"queries per invoice        {queries / invoices:10.3f}   ({queries:,} in all)")
    print(f"plain COPY of these rows   {invoices / copy_seconds:10,.0f} invoices per second")
    print(f"ratio to plain COPY        {copy_seconds / seconds:10.3f}")
    print(f"peak memory                {peak:10,} MiB")


if __name__ == "__main__":
    main()
