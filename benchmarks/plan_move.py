"""
Previewing and moving subscriptions to another version of their plan: per second, and queries.

    python benchmarks/plan_move.py [--subscriptions 1000] [--repetitions 5] [--budget 60]

Subscriptions with a fee, two usage meters and usage are spread over two of three versions. They are previewed, then
moved at once to the third by the product (`start_move`, `work_move`: rows, items, events), in one process. The limit it
is compared with takes turns with it: plain SQL that selects the same subscriptions and items and updates the same
columns, taking them back to the versions they had.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.billing_run import drop_job
from benchmarks.harness import Variant, measure, print_results, private_database

__all__ = ["drop_job"]
PLAIN, PREVIEW, MOVE = "plain SELECT + UPDATE", "preview", "move"
START = datetime(2024, 3, 1, tzinfo=UTC)
END = datetime(2024, 4, 1, tzinfo=UTC)
EVENTS_PER_METER = 3
BATCH = 2_000
MIDDLE = START + timedelta(days=14)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--subscriptions", type=int, default=1_000)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--budget", type=float, default=60)
    arguments = parser.parse_args()
    with private_database():
        from django.conf import settings

        settings.JOBS_SENDER = "benchmarks.plan_move.drop_job"
        prepare(arguments.subscriptions)
        plain = PlainUpdate()
        variants = [
            Variant(PREVIEW, lambda _: preview()),
            Variant(MOVE, lambda _: move()),
            Variant(PLAIN, lambda _: plain.take_back()),
        ]
        count_queries(PREVIEW, preview)
        count_queries(MOVE, move)
        count_queries(PLAIN, plain.take_back)
        measure(variants, repetitions=arguments.repetitions, budget=arguments.budget)
        print_results(f"{arguments.subscriptions:,} subscriptions", variants, unit="subscriptions", baseline=PLAIN)


def prepare(count: int) -> None:
    """Write subscriptions on version 1, publish two more versions, and take every third subscription to the second."""
    from accounts.models import Subscription
    from billing_site.kernel.actors import SYSTEM
    from invoicing.services.plan_moves import MoveRequest, start_move, work_move
    from tests.support import world

    seed(count)
    world.publish(at=MIDDLE, fee=1200)
    ids = list(Subscription.objects.order_by("id").values_list("id", flat=True))[::3]
    request = MoveRequest("default", "pro", "now", version=2, subscription_ids=ids)
    move_id = start_move(request=request, at=MIDDLE, actor=SYSTEM, reason="spread over versions").id
    work_move(move_id=move_id, at=MIDDLE, actor=SYSTEM)
    world.publish(at=MIDDLE, fee=1500, input_price="0.0001")


def count_queries(name: str, action: Callable[[], int]) -> None:
    """Run `action` once and print its queries and seconds."""
    from django.db import connection

    queries = 0

    def count(execute: Any, sql: Any, parameters: Any, many: Any, context: Any) -> Any:
        nonlocal queries
        queries += 1
        return execute(sql, parameters, many, context)

    begun = time.perf_counter()
    with connection.execute_wrapper(count):
        subscriptions = action()
    seconds = time.perf_counter() - begun
    each = queries / subscriptions
    print(f"{name:22}  {queries:5} queries, {each:.3f} per subscription, {seconds:.2f} s the first time")


def preview() -> int:
    """Preview the move for every subscription and return how many can be moved."""
    from invoicing.queries.plan_moves import get_target, preview_move
    from invoicing.services.plan_moves import MoveRequest, resolve_move

    version, subscriptions = resolve_move(MoveRequest("default", "pro", "now"))
    return preview_move(subscriptions, target=get_target(version), timing="now").movable


def move() -> int:
    """Move every subscription and return how many were moved."""
    from billing_site.kernel.actors import SYSTEM
    from invoicing.services.plan_moves import MoveRequest, count_items, start_move, work_move

    started = start_move(request=MoveRequest("default", "pro", "now"), at=MIDDLE, actor=SYSTEM, reason="benchmark")
    moved = work_move(move_id=started.id, at=MIDDLE, actor=SYSTEM)
    counts = count_items(moved)
    if counts["failed"] or counts["pending"]:
        raise SystemExit(f"the move did not take everyone: {counts}")
    return counts["applied"]


class PlainUpdate:
    """What the database alone needs for the same rows. Knows the versions and prices they had."""

    def __init__(self) -> None:
        from django.db import connection

        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
            cursor.execute("SELECT id, plan_version_id FROM subscriptions")
            self.versions = cursor.fetchall()
            cursor.execute("SELECT id, price_id FROM subscription_items WHERE ended_at IS NULL")
            self.prices = cursor.fetchall()

    def take_back(self) -> int:
        """Select all subscriptions and items for update, set their old values, and return the subscriptions."""
        from django.db import connection, transaction

        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT * FROM subscriptions ORDER BY id FOR UPDATE")
            rows = cursor.fetchall()
            cursor.execute("SELECT * FROM subscription_items WHERE ended_at IS NULL ORDER BY id")
            cursor.fetchall()
            for table, column, values in (
                ("subscriptions", "plan_version_id", self.versions),
                ("subscription_items", "price_id", self.prices),
            ):
                cursor.execute(
                    f"UPDATE {table} SET {column} = given.value, updated_at = now() "
                    f"FROM unnest(%s::uuid[], %s::uuid[]) AS given (id, value) WHERE {table}.id = given.id",
                    [[row[0] for row in values], [row[1] for row in values]],
                )
        return len(rows)


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


if __name__ == "__main__":
    main()
