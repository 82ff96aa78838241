"""
Seconds and queries of publishing a large catalog, against writing the same rows and nothing else.

Publishes 500 plans with 8 prices each (fees, graduated and dimensional usage prices in two currencies by month and
year) into an empty organization, then the same document with every tenth plan changed. The baseline is a plain COPY of
exactly the rows that the first publication wrote, into empty copies of the same tables with their constraints and
indexes, but without triggers and foreign keys.

    python benchmarks/catalog_publish.py [--plans 500] [--repetitions 3] [--profile]
"""

from __future__ import annotations

import argparse
import cProfile
import io
import pstats
import statistics
import sys
import time
from collections.abc import Sequence
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.harness import private_database

AT = datetime(2026, 1, 1, tzinfo=UTC)
TABLES = ("products", "meters", "features", "plans", "plan_versions", "plan_version_features", "prices", "quota_rules")
TIERS = [{"up_to": 1000, "unit_amount": "1"}, {"up_to": 10_000, "unit_amount": "0.8"}, {"unit_amount": "0.5"}]
VARIANTS = [{"when": {"model": name}, "unit_amount": "0.7"} for name in ("large", "medium", "small")]


def make_document(plans: int) -> dict[str, Any]:
    """A catalog of so many plans with eight prices and two quotas each."""
    prices = [
        {"currency": currency, "interval": interval, **terms}
        for currency in ("usd", "eur")
        for interval in ("month", "year")
        for terms in (
            {"unit_amount": 2900},
            {"meter": "api", "model": "graduated", "tiers": TIERS, "minimum_amount": 500},
        )
    ]
    prices[-1] = {**prices[-1], "model": "per_unit", "unit_amount": "0.5", "variants": VARIANTS}
    del prices[-1]["tiers"]
    quota = {"feature": "service:api", "meter_event_name": "api", "limit": 1000, "enforcement": "soft"}
    return {
        "version": 1,
        "products": [{"id": f"product-{number}", "name": f"Product {number}"} for number in range(10)],
        "meters": [{"name": "api", "unit": "requests", "dimensions": ["model"]}],
        "plans": [
            {
                "id": f"plan-{number}",
                "product_id": f"product-{number % 10}",
                "name": f"Plan {number}",
                "features": ["service:api", f"feature:{number % 50}"],
                "prices": deepcopy(prices),
                "quotas": [{**quota, "window": "billing_period"}, {**quota, "window": "day"}],
            }
            for number in range(plans)
        ],
    }


def change_some(document: dict[str, Any]) -> dict[str, Any]:
    """The same with another amount in every tenth plan."""
    changed = deepcopy(document)
    for plan in changed["plans"][::10]:
        plan["prices"][0]["unit_amount"] += 100
    return changed


def publish(document: dict[str, Any], org_id: str) -> tuple[float, int]:
    """Return the seconds and queries of publishing."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from billing_site.kernel.actors import Actor
    from catalog.services.publishing import publish_document

    with CaptureQueriesContext(connection) as queries:
        started = time.perf_counter()
        publish_document(org_id=org_id, document=document, at=AT, actor=Actor("system", "benchmark"))
        seconds = time.perf_counter() - started
    return seconds, len(queries)


def read_and_check(document: dict[str, Any]) -> float:
    """Return the seconds of reading alone: every check, and the content with its hash."""
    from catalog.documents.normalising import normalise_document

    started = time.perf_counter()
    normalise_document(document).compute_hash()
    return time.perf_counter() - started


def copy_rows() -> tuple[float, int]:
    """Return the seconds that a plain COPY of all rows of the catalog takes, and how many rows they are."""
    from django.db import connection

    with connection.cursor() as cursor:
        dumps: dict[str, bytes] = {}
        for table in TABLES:
            cursor.execute(f"CREATE TABLE copied_{table} (LIKE {table} INCLUDING ALL)")
            buffer = io.BytesIO()
            with cursor.copy(f"COPY {table} TO STDOUT") as stream:
                for block in stream:
                    buffer.write(block)
            dumps[table] = buffer.getvalue()
        started = time.perf_counter()
        for table, dump in dumps.items():
            with cursor.copy(f"COPY copied_{table} FROM STDIN") as stream:
                stream.write(dump)
        seconds = time.perf_counter() - started
        for table in TABLES:
            cursor.execute(f"DROP TABLE copied_{table}")
    return seconds, sum(dump.count(b"\n") for dump in dumps.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0] if __doc__ else "")
    parser.add_argument("--plans", type=int, default=500)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--profile", action="store_true", help="show where the first publication spends its time")
    options = parser.parse_args()
    document, changed = make_document(options.plans), change_some(make_document(options.plans))
    with private_database():
        publish(make_document(1), "warm-up")
        if options.profile:
            with cProfile.Profile() as profile:
                publish(document, "profiled")
            pstats.Stats(profile).sort_stats("tottime").print_stats(25)
            return
        first, again, reading = [], [], []
        copies: list[tuple[float, int]] = []
        for repetition in range(options.repetitions):
            reading.append(read_and_check(document))
            first.append(publish(document, f"org-{repetition}"))
            if repetition == 0:
                copies = [copy_rows() for _ in range(options.repetitions)]
            again.append(publish(changed, f"org-{repetition}"))
        copying = [seconds for seconds, _ in copies]
        print(f"{options.plans:,} plans with 8 prices, {copies[0][1]:,} rows; medians of {options.repetitions}")
        show("read, check and hash", reading)
        show("first publication", [seconds for seconds, _ in first], queries=first[-1][1])
        show("every tenth plan changed", [seconds for seconds, _ in again], queries=again[-1][1])
        show("plain COPY of the rows", copying)
        ratio = statistics.median(seconds for seconds, _ in first) / statistics.median(copying)
        print(f"  first publication: {ratio:.1f} x the plain COPY")


def show(name: str, seconds: Sequence[float], *, queries: int | None = None) -> None:
    """Print one line."""
    counted = "" if queries is None else f"   {queries} queries"
    print(f"  {name:26} {statistics.median(seconds):7.3f} s   ({min(seconds):.3f} to {max(seconds):.3f}){counted}")


if __name__ == "__main__":
    main()
