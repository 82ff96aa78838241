"""
Usage ingest against plain COPY of the same rows into a bare table, in the same run.

    python benchmarks/ingest.py [--rows 10000] [--repetitions 5] [--batch 1000] [--budget 40]

Variants, all but COPY with duplicate detection, roll-ups and quota counters, acknowledged after commit:

- bare COPY        one COPY of all rows into a table without index, key, trigger or total: the ceiling
- SQL by psycopg   the product's statement per batch (keys, events, roll-ups, counters), without the product
- service          `record_usage_events` per batch: resolving, checking, inserting
- HTTP             the same batches through the whole web application in this process, without a network
- HTTP, repeated   the batches of the variant before once more: nothing is written
"""

from __future__ import annotations

import argparse
import gc
import io
import json
import sys
import time
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.harness import Variant, measure, print_results, private_database

if TYPE_CHECKING:
    from metering.services.ingest import NewUsageEvent
    from metering.stores import EventRow

START = datetime(2026, 3, 1, tzinfo=UTC)


def make_events(repetition: int, variant: str, rows: int) -> list[dict[str, Any]]:
    """Return events as a client sends them: two meters, hashed keys, a resource and a little metadata."""
    return [
        {
            "metric_type": "tokens.input" if number % 2 else "tokens.output",
            "quantity": f"{number % 4096}.25",
            "timestamp": (START + timedelta(milliseconds=130 * number)).isoformat(),
            "idempotency_key": uuid.uuid5(uuid.NAMESPACE_OID, f"{variant}-{repetition}-{number}").hex,
            "resource_id": f"model-{number % 7}",
            "metadata": {"request": number},
        }
        for number in range(rows)
    ]


class Bench:
    """The world of the benchmark: one account, two meters, the rows, and each way to write them."""

    def __init__(self, url: str, *, rows: int, batch: int, repetitions: int) -> None:
        from accounts.models import Account
        from catalog.models import Meter
        from metering.stores.rows import EventRow

        self.batch = batch
        self.columns = ", ".join(EventRow._fields[:-1])
        self.account = Account.objects.create(name="Bench", external_id="bench")
        self.meters = {
            name: Meter.objects.create(
                org_id="default", event_name=name, display_name=name, unit="tokens", lookup_key=f"default:{name}"
            )
            for name in ("tokens.input", "tokens.output")
        }
        self.raw = psycopg.connect(url)
        self.raw.execute("CREATE TABLE bare_events AS SELECT * FROM usage_events WITH NO DATA")
        self.raw.commit()
        self.prepared_copy: dict[int, bytes] = {}
        self.prepared_sql: dict[int, list[tuple[str, list[Any]]]] = {}
        self.prepared_service: dict[int, list[list[NewUsageEvent]]] = {}
        names = ("copy", "sql", "service", "http")
        # Everything a client would have at hand is made before the clock starts.
        self.events = {
            (name, repetition): make_events(repetition, name, rows if repetition else batch)  # 0 only warms up
            for name in names
            for repetition in range(repetitions + 1)
        }
        self.bodies = {
            repetition: [json.dumps(batch).encode() for batch in self.batches("http", repetition)]
            for repetition in range(repetitions + 1)
        }
        self.application, self.token = make_application(), make_token()

    def batches(self, name: str, repetition: int) -> list[list[dict[str, Any]]]:
        events = self.events[name, repetition]
        return [events[start : start + self.batch] for start in range(0, len(events), self.batch)]

    def make_rows(self, events: list[dict[str, Any]]) -> list[EventRow]:
        """Return complete rows of the table for events."""
        from metering.stores import EventRow

        return [
            EventRow(
                account_id=self.account.id,
                meter_id=self.meters[event["metric_type"]].id,
                idempotency_key=event["idempotency_key"],
                value=Decimal(event["quantity"]),
                timestamp=datetime.fromisoformat(event["timestamp"]),
                recorded_at=START,
                resource_id=event["resource_id"],
                metadata=event["metadata"],
            )
            for event in events
        ]

    def copy(self, repetition: int) -> int:
        """COPY text made in advance: the time is PostgreSQL's."""
        text = self.prepared_copy[repetition]
        with self.raw.cursor() as cursor, cursor.copy(f"COPY bare_events (id, {self.columns}) FROM STDIN") as copy:
            copy.write(text)
        self.raw.commit()
        return len(self.events["copy", repetition])

    def sql(self, repetition: int) -> int:
        """The product's own statement on bare psycopg, batch by batch, rows made in advance."""
        for statement, values in self.prepared_sql[repetition]:
            with self.raw.cursor() as cursor:
                cursor.execute(statement, values, prepare=True)
            self.raw.commit()
        return len(self.events["sql", repetition])

    def service(self, repetition: int) -> int:
        from billing_site.kernel.actors import SYSTEM
        from metering.services.ingest import record_usage_events

        for events in self.prepared_service[repetition]:
            record_usage_events(events=events, at=datetime.now(UTC), actor=SYSTEM)
        return len(self.events["service", repetition])

    def http(self, repetition: int) -> int:
        for body in self.bodies[repetition]:
            call(self.application, self.token, "/api/v1/billing/tenants/bench/usage/batch", body)
        return len(self.events["http", repetition])

    def prepare(self, repetitions: int) -> None:
        from metering.services.ingest import NewUsageEvent
        from metering.stores.writing import write_batch

        for repetition in range(repetitions + 1):
            rows = self.make_rows(self.events["copy", repetition])
            lines = [
                "\t".join(map(str, (row.id, *row[:9], "{}", json.dumps(row.metadata), r"\N", "f", 1, r"\N")))
                for row in rows
            ]
            self.prepared_copy[repetition] = "\n".join([*lines, ""]).encode()
            self.prepared_sql[repetition] = []
            for events in self.batches("sql", repetition):
                ordered = sorted(self.make_rows(events), key=lambda row: row.id)
                self.prepared_sql[repetition].append(write_batch(ordered, [row.id.hex for row in ordered], at=START))
            self.prepared_service[repetition] = [
                [
                    NewUsageEvent(
                        account=self.account,
                        meter=event["metric_type"],
                        quantity=Decimal(event["quantity"]),
                        timestamp=datetime.fromisoformat(event["timestamp"]),
                        idempotency_key=event["idempotency_key"],
                        resource_id=event["resource_id"],
                        metadata=event["metadata"],
                    )
                    for event in events
                ]
                for events in self.batches("service", repetition)
            ]


def make_application() -> Any:
    """The web application as gunicorn gets it."""
    from django.core.wsgi import get_wsgi_application

    return get_wsgi_application()


def make_token() -> str:
    import jwt
    from django.conf import settings

    now = int(time.time())
    claims = {"sub": "bench", "aud": settings.BILLING_JWT_AUDIENCE_INTERNAL, "iat": now, "exp": now + 3600}
    return jwt.encode({**claims, "scope": "billing:usage:write"}, settings.BILLING_JWT_SECRET, algorithm="HS256")


def call(application: Any, token: str, path: str, body: bytes) -> bytes:
    """POST `body` to the application by the WSGI protocol and return the answer. It must be a success."""
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "localhost",
        "HTTP_AUTHORIZATION": f"Bearer {token}",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    statuses: list[str] = []
    response = application(environ, lambda status, *_: statuses.append(status))
    try:
        answer = b"".join(response)
    finally:
        response.close()
    if not statuses[0].startswith("2"):
        raise SystemExit(f"{path} answered {statuses[0]}: {answer[:500].decode()}")
    return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000, help="events per repetition and variant")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--batch", type=int, default=1000, help="events per request, at most 1000")
    parser.add_argument("--budget", type=float, default=40, help="seconds after which no further round begins")
    arguments = parser.parse_args()
    with private_database() as url:
        bench = Bench(url, rows=arguments.rows, batch=arguments.batch, repetitions=arguments.repetitions)
        bench.prepare(arguments.repetitions)
        # The prepared events are not the product's: its garbage collector shall not walk through them.
        gc.collect()
        gc.freeze()
        variants = [
            Variant("bare COPY", bench.copy),
            Variant("SQL by psycopg", bench.sql),
            Variant("service", bench.service),
            Variant("HTTP", bench.http),
            Variant("HTTP, repeated", bench.http),
        ]
        measure(variants, repetitions=arguments.repetitions, budget=arguments.budget)
        print_results(
            f"Usage ingest, {arguments.rows:,} rows in batches of {arguments.batch:,}",
            variants,
            unit="rows",
            baseline="bare COPY",
        )
        bench.raw.close()


if __name__ == "__main__":
    main()
