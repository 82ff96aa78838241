"""
Usage ingest into a small and a large store: the same batches with few and with many events and keys present.

    python benchmarks/ingest_at_size.py [--small 1000000] [--large 10000000] [--batches 100]

Fills the last 35 days of 1,000 accounts with made-up events, their keys as generations that were merged, and totals of
the number that they would have, then sends batches of today's events, each of another account, through
`record_usage_events`; then fills up to the large size and does it again. Beside each, a COPY into a bare table tells
what the machine gives at that moment: the ratio printed last is of rates divided by theirs. 10 million rows need about
5 GB and some minutes, 100 million ten times that.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.harness import private_database

DAYS = 35
BATCH = 1000
ACCOUNTS = 1000
PLACES = 2 * ACCOUNTS  # an account and a meter
WARMING = 20  # batches that fill caches
TIERS = (32_000_000, 8_000_000, 2_000_000)
_EVENTS = """
    INSERT INTO {table} (id, account_id, meter_id, idempotency_key, value, timestamp, recorded_at, resource_id,
                              resource_type, actor_id, dimensions, metadata)
    SELECT gen_random_uuid(), a.id, m.id, md5(n::text || %(day)s), n %% 4096, t.at, t.at, 'model-' || n %% 7, '', '',
           '{{}}', jsonb_build_object('request', n)
    FROM generate_series(1, %(count)s) n
    JOIN LATERAL (SELECT %(start)s::timestamptz + (n - 1) * (interval '1 day' / %(count)s) AS at) t ON true
    JOIN present_accounts a ON a.number = n %% 1000
    JOIN present_meters m ON m.number = n %% 2
"""
_TOTALS = """
    INSERT INTO usage_counters (account_id, meter_id, span, starts_at, shard, total, events, charged_total,
                                charged_events, highest, last_event_at, last_recorded_at)
    SELECT a.id, m.id, s.span, s.at, 0, 1, 1, 0, 0, 1, s.at, s.at
    FROM present_accounts a CROSS JOIN present_meters m CROSS JOIN (
        SELECT 'hour', at FROM generate_series(%(first)s::timestamptz, %(today)s, '1 hour') at
        UNION ALL SELECT 'day', at FROM generate_series(%(first)s::timestamptz, %(today)s, '1 day') at
    ) s (span, at);
    INSERT INTO usage_rollups (account_id, meter_id, span, starts_at, dimension_set, cost_center_id, charged, shard,
                               dimensions, total, events, highest, last_event_at, last_recorded_at)
    SELECT account_id, meter_id, span, starts_at, md5('{}')::uuid, '00000000-0000-0000-0000-000000000000', false, 0,
           '{}', 1, 1, 1, starts_at, starts_at
    FROM usage_counters WHERE span IN ('hour', 'day')
"""


class Store:
    """A database with events of the last days; `present` is how many."""

    def __init__(self, url: str) -> None:
        from accounts.models import Account
        from catalog.models import Meter
        from metering.stores.partitions import add_day

        self.raw = psycopg.connect(url, autocommit=True)
        self.now = datetime.now(UTC)
        self.today = self.now.replace(hour=0, minute=0, second=0, microsecond=0)
        self.accounts = Account.objects.bulk_create(
            Account(name=f"Bench {number}", external_id=f"bench/{number}") for number in range(ACCOUNTS)
        )
        for name in ("input", "output"):
            Meter.objects.create(
                org_id="default", event_name=name, display_name=name, unit="tokens", lookup_key=f"default:{name}"
            )
        self.raw.execute("CREATE TABLE bare_events AS SELECT * FROM usage_events WITH NO DATA")
        self.raw.execute(
            "CREATE TABLE present_accounts AS SELECT row_number() OVER (ORDER BY id) - 1 AS number, id FROM accounts"
        )
        self.raw.execute("CREATE TABLE present_meters AS SELECT row_number() OVER () - 1 AS number, id FROM meters")
        # How the ids of events begin, see metering.stores.make_event_id.
        self.raw.execute(
            "CREATE TABLE present_places AS "
            "SELECT encode(substring(sha256(uuid_send(a.id) || uuid_send(m.id)) for 4), 'hex') AS place "
            "FROM present_accounts a CROSS JOIN present_meters m"
        )
        add_day(self.today.date())
        self.raw.execute(*_bind(_TOTALS, {"first": self.today - timedelta(days=DAYS), "today": self.today}, self.raw))
        self.present = self.number = 0
        self.generation = 1

    def fill(self, rows: int) -> None:
        """Make the last days anew with so many events, and add the keys that are missing."""
        from metering.stores.partitions import name_day

        for back in range(1, DAYS + 1):
            start = self.today - timedelta(days=back)
            table = name_day(start.date())
            self.raw.execute(f"DROP TABLE IF EXISTS {table}")
            self.raw.execute(f"CREATE TABLE {table} (LIKE usage_events INCLUDING DEFAULTS INCLUDING CONSTRAINTS)")
            self.raw.execute(
                _EVENTS.format(table=table), {"day": f"{start:%j}-{rows}", "start": start, "count": rows // DAYS}
            )
            self.raw.execute(
                f"ALTER TABLE usage_events ATTACH PARTITION {table} "
                f"FOR VALUES FROM ('{start.isoformat()}') TO ('{(start + timedelta(days=1)).isoformat()}')"
            )
        left = rows - self.present
        for tier in TIERS:
            while left >= tier:
                self.add_keys(tier)
                left -= tier
        if left:
            self.add_keys(left)
        self.present = rows
        self.raw.execute("VACUUM ANALYZE usage_events")
        self.raw.execute("VACUUM ANALYZE usage_keys")
        self.raw.execute("CHECKPOINT")

    def add_keys(self, count: int) -> None:
        """Add a closed generation, as merging leaves it."""
        from metering.models import UsageKeyGeneration

        self.generation += 1
        number = self.generation
        UsageKeyGeneration.objects.get_or_create(number=1, defaults={"is_open": True, "opened_at": self.now})
        self.raw.execute(
            f"CREATE TABLE usage_keys_{number} (LIKE usage_keys);"
            f"INSERT INTO usage_keys_{number} "
            f"SELECT (place || substr(md5(gen_random_uuid()::text), 1, 24))::uuid, {number}, now(), "
            f"current_date - n % 34 "
            f"FROM (SELECT place FROM present_places ORDER BY 1) p CROSS JOIN generate_series(1, {count // PLACES}) n;"
            f"ALTER TABLE usage_keys_{number} ADD PRIMARY KEY (id, generation);"
            f"ALTER TABLE usage_keys ATTACH PARTITION usage_keys_{number} FOR VALUES IN ({number})"
        )
        UsageKeyGeneration.objects.create(
            number=number, is_open=False, keys=count, opened_at=self.now, closed_at=self.now
        )

    def measure(self, batches: int) -> tuple[float, float]:
        """Return events per second through the product, and rows per second of COPY, medians of the batches."""
        from billing_site.kernel.actors import SYSTEM
        from metering.services.ingest import NewUsageEvent, record_usage_events

        rates, plain = [], []
        for batch in range(batches + WARMING):
            account = self.accounts[batch % ACCOUNTS]
            events = []
            for _ in range(BATCH):
                self.number += 1
                moment = self.today + timedelta(milliseconds=10 * self.number)
                events.append(
                    NewUsageEvent(
                        account,
                        "input" if self.number % 2 else "output",
                        Decimal(self.number % 4096),
                        timestamp=min(moment, self.now),
                        idempotency_key=f"event-{self.number}",
                        resource_id=f"model-{self.number % 7}",
                        metadata={"request": self.number},
                    )
                )
            begun = time.perf_counter()
            record_usage_events(events=events, at=datetime.now(UTC), actor=SYSTEM)
            took = time.perf_counter() - begun
            copied = self.copy()
            if batch >= WARMING:
                rates.append(BATCH / took)
                plain.append(BATCH / copied)
        return statistics.median(rates), statistics.median(plain)

    def copy(self) -> float:
        ids, moments = [str(UUID(int=0))] * 3, [self.now.isoformat()] * 2
        line = "\t".join(
            [*ids, "key", "1", *moments, "model-1", "", "", "{}", '{"request": 1}', r"\N", "f", "1", r"\N"]
        )
        text = "\n".join([line] * BATCH + [""])
        begun = time.perf_counter()
        with self.raw.cursor() as cursor, cursor.copy("COPY bare_events FROM STDIN") as copy:
            copy.write(text)
        return time.perf_counter() - begun


def _bind(statement: str, values: dict[str, Any], connection: psycopg.Connection[Any]) -> tuple[str]:
    """Write values into a text of several statements, which cannot take them apart."""
    return (psycopg.ClientCursor(connection).mogrify(statement, values),)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", type=int, default=1_000_000, help="events and keys present first")
    parser.add_argument("--large", type=int, default=10_000_000, help="events and keys present then")
    parser.add_argument("--batches", type=int, default=100)
    arguments = parser.parse_args()
    with private_database() as url:
        store = Store(url)
        found = []
        for rows in (arguments.small, arguments.large):
            begun = time.perf_counter()
            store.fill(rows)
            print(f"{rows:,} events present (filled in {time.perf_counter() - begun:,.0f} s)", flush=True)
            rate, plain = store.measure(arguments.batches)
            share = rate / plain
            found.append((rate, share))
            print(f"  {rate:,.0f} events/s, {share:.3f} of COPY at that moment ({plain:,.0f} rows/s)", flush=True)
        (small, small_share), (large, large_share) = found
        print(f"  large to small: {large / small:.3f}, both as shares of COPY: {large_share / small_share:.3f}")
        store.raw.close()


if __name__ == "__main__":
    main()
