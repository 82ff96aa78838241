"""
The cost so far of an account with many subscriptions and a month of usage: answers per second, and queries.

    python benchmarks/realtime.py [--events 120000] [--accounts 200] [--repetitions 5] [--budget 60]

One account has every price of a quantity (tiers, dimensions, included units, gauges, minimum and maximum), one the
prices that look at each event. What the answers are compared with takes turns with them: the sums of the same meters
that plain SQL reads from the counters of days, and from the events. `cost_so_far` is asked for many accounts too.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.harness import Variant, measure, print_results, private_database

COUNTERS, EVENTS = "plain sums of counters", "plain sums of events"
PER_EVENT = ("per_event", "free_events", "free_amount", "free_by_model", "dynamic")
BATCH = 5_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--events", type=int, default=120_000)
    parser.add_argument("--accounts", type=int, default=200)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--budget", type=float, default=60)
    arguments = parser.parse_args()
    with private_database():
        from django.conf import settings

        settings.JOBS_SENDER = "benchmarks.billing_run.drop_job"
        from tests.support import costs

        costs.publish_plans()
        quantities = [plan for plan in costs.PRICES if plan not in PER_EVENT]
        for title, plans in (("prices of a quantity", quantities), ("prices per event", [*PER_EVENT])):
            account = prepare(title, plans, events=arguments.events)
            variants = list_variants(account)
            for variant in variants:
                count_queries(variant)
            measure(variants, repetitions=arguments.repetitions, budget=arguments.budget / 2)
            heading = f"{arguments.events:,} events, {len(plans)} subscriptions, {title}"
            print_results(heading, variants, unit="answers", baseline=EVENTS)
        watch_many(arguments.accounts)


def prepare(title: str, plans: list[str], *, events: int) -> Any:
    """Return an account that subscribes to the plans, with usage of all meters spread over the running month."""
    from django.db import connection

    from metering.services.ingest import NewUsageEvent, record_usage_events
    from tests.support import costs, world

    account = world.open_account(title.replace(" ", "-"))
    for plan in plans:
        world.subscribe(account, plan)
    rng = random.Random(1)
    month = world.DECEMBER - world.NOVEMBER
    for first in range(0, events, BATCH):
        record_usage_events(
            events=[
                NewUsageEvent(
                    account,
                    costs.METERS[number % len(costs.METERS)]["name"],
                    Decimal(rng.randint(1, 500)),
                    timestamp=world.NOVEMBER + month * rng.random(),
                    idempotency_key=f"{title}-{number}",
                    actor_id=f"actor-{rng.randint(1, 2000)}",
                    dimensions=rng.choice(costs.NAMES),
                    metadata={"unit_amount": str(rng.randint(1, 9))},
                )
                for number in range(first, min(events, first + BATCH))
            ],
            at=world.DECEMBER,
            actor=world.TESTER,
        )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    return account


def list_variants(account: Any) -> list[Variant]:
    """Return the answers and what they are compared with, by name."""
    from invoicing.queries.cost_so_far import cost_so_far
    from invoicing.queries.realtime import get_realtime_cost, get_realtime_resources, get_timeline
    from tests.support import world

    at = world.DECEMBER - timedelta(hours=1, minutes=17)

    def once(ask: Callable[[], object]) -> Callable[[int], int]:
        def run(_: int) -> int:
            ask()
            return 1

        return run

    return [
        Variant("current", once(lambda: get_realtime_cost(account=account, at=at))),
        Variant("by-resource", once(lambda: get_realtime_resources(account=account, at=at))),
        Variant("timeline by day", once(lambda: get_timeline(account=account, at=at))),
        Variant("timeline by hour", once(lambda: get_timeline(account=account, at=at, granularity="hour"))),
        Variant("cost_so_far", once(lambda: cost_so_far(accounts=[account], at=at))),
        Variant(COUNTERS, once(lambda: sum_plainly(account, _COUNTERS))),
        Variant(EVENTS, once(lambda: sum_plainly(account, _EVENTS))),
    ]


_COUNTERS = """
    SELECT meter_id, sum(total), sum(events) FROM usage_counters
    WHERE account_id = %s AND span = 'day' AND starts_at >= %s AND starts_at < %s GROUP BY meter_id
"""
_EVENTS = """
    SELECT meter_id, sum(value), sum(weight) FROM usage_events
    WHERE account_id = %s AND timestamp >= %s AND timestamp < %s GROUP BY meter_id
"""


def sum_plainly(account: Any, statement: str) -> list[Any]:
    """Return the sums of all meters of the account in its running month."""
    from django.db import connection

    from tests.support import world

    with connection.cursor() as cursor:
        cursor.execute(statement, [account.pk, world.NOVEMBER, world.DECEMBER])
        return list(cursor.fetchall())


def count_queries(variant: Variant) -> None:
    """Run the variant once and print its queries and milliseconds."""
    from django.db import connection

    queries = 0

    def count(execute: Any, sql: Any, parameters: Any, many: Any, context: Any) -> Any:
        nonlocal queries
        queries += 1
        return execute(sql, parameters, many, context)

    begun = time.perf_counter()
    with connection.execute_wrapper(count):
        variant.run(0)
    print(f"{variant.name:24}  {queries:3} queries, {(time.perf_counter() - begun) * 1000:8.1f} ms the first time")


def watch_many(count: int) -> None:
    """Print what `cost_so_far` takes for many accounts at once."""
    from invoicing.queries.cost_so_far import cost_so_far
    from tests.support import world

    accounts = [world.open_account(f"small-{number}") for number in range(count)]
    for account in accounts:
        world.subscribe(account, "graduated")
        for day in (3, 15, 27):
            world.use(account, "calls", [7] * 10, at=world.NOVEMBER.replace(day=day), key=f"day-{day}")
    at = world.DECEMBER - timedelta(hours=1)
    variant = Variant("many accounts", lambda _: len(cost_so_far(accounts=accounts, at=at)))
    count_queries(variant)
    begun = time.perf_counter()
    variant.run(1)
    seconds = time.perf_counter() - begun
    print(f"\ncost_so_far of {count:,} accounts: {count / seconds:,.0f} accounts/s in {seconds * 1000:,.0f} ms")


if __name__ == "__main__":
    main()
