"""
A real trace from eight clients at once, in random order, overlapping and repeated, while the server is killed twice.

With `COUNTINGHOUSE_DATA` the trace is the one of language-model requests that lies there; else one made up for this.
"""

from __future__ import annotations

import csv
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command

from accounts.models import Account
from billing_site.kernel.periods import Period
from metering.models import UsageCounter, UsageEvent, UsageRollup
from metering.stores import QuantityRequest, sum_buckets, sum_quantities
from tests.factories.metering import make_account, make_meter
from tests.support.processes import product_environment
from tests.support.tokens import make_token

pytestmark = pytest.mark.django_db(transaction=True)

DATA = os.environ.get("COUNTINGHOUSE_DATA", "")
CLIENTS, BATCH, OVERLAP = 8, 500, 0.3
PATIENCE = 300
PATH = "/api/v1/billing/tenants/llm/usage/batch"


@dataclass(frozen=True)
class Sent:
    """One event of the trace: a meter, tokens, and when."""

    key: str
    meter: str
    tokens: int
    moment: datetime
    source: str

    def to_json(self) -> dict[str, Any]:
        return {
            "metric_type": self.meter,
            "quantity": self.tokens,
            "timestamp": self.moment.isoformat(),
            "idempotency_key": self.key,
            "resource_id": self.source,
        }


def read_trace() -> list[Sent]:
    """Return two events for each request of the trace: what went in, and what came out."""
    if not DATA:
        chance = random.Random(20231116)
        start = datetime(2023, 11, 16, 18, tzinfo=UTC)
        rows = [
            (
                "made-up",
                number,
                start + timedelta(seconds=chance.randrange(40 * 86_400)),
                chance.randrange(9_000),
                number,
            )
            for number in range(3_000)
        ]
    else:
        rows = []
        for source in ("llm_trace_conv", "llm_trace_code"):
            with (Path(DATA) / f"{source}.csv").open() as lines:
                for number, row in enumerate(csv.DictReader(lines)):
                    moment = datetime.fromisoformat(row["TIMESTAMP"][:26]).replace(tzinfo=UTC)
                    rows.append((source, number, moment, int(row["ContextTokens"]), int(row["GeneratedTokens"])))
    return [
        Sent(f"{source}-{number}-{meter}", meter, tokens, moment, source)
        for source, number, moment, given, made in rows
        for meter, tokens in (("tokens.input", given), ("tokens.output", made))
    ]


def make_batches(events: list[Sent], chance: random.Random) -> list[bytes]:
    """Return every event in batches of random order, 30 % of each also in another, and every third batch twice."""
    shuffled = chance.sample(events, k=len(events))
    batches = []
    for start in range(0, len(shuffled), BATCH):
        again = chance.sample(events, k=int(BATCH * OVERLAP))
        batch = [*shuffled[start : start + BATCH], *again]
        chance.shuffle(batch)
        batches.append(json.dumps({"events": [event.to_json() for event in batch]}).encode())
    batches += batches[::3]
    chance.shuffle(batches)
    return batches


class Server:
    """The web server as it runs in production, which can be killed and started again on the same port."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [
            sys.executable,
            "-m",
            "gunicorn",
            "billing_site.wsgi:application",
            "--bind",
            f"127.0.0.1:{self.port}",
        ]
        command += ["--worker-class", "gthread", "--workers", "2", "--threads", "4", "--no-control-socket"]
        command += ["--log-level", "critical"]
        self.process = subprocess.Popen(
            command, cwd=settings.BASE_DIR, env=product_environment(), start_new_session=True
        )

    def kill(self) -> None:
        """End it and its workers as a power cut would."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(PATIENCE)


@dataclass
class Storm:
    """The batches that are still to be acknowledged, and those that were."""

    server: Server
    token: str
    waiting: list[bytes]
    acknowledged: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def send_all(self) -> None:
        """Send batches until none is left; one without an answer is sent again, unchanged."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=PATIENCE)) as connection:
            self._send_all(connection)

    def _send_all(self, connection: http.client.HTTPConnection) -> None:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            with self.changed:
                if not self.waiting:
                    return
                batch = self.waiting.pop()
            try:
                connection.request("POST", PATH, batch, headers | {"Prefer": "return=minimal"})
                response = connection.getresponse()
                status, answer = response.status, response.read()
            except OSError as error:
                self.put_back(batch, type(error).__name__)
            except http.client.HTTPException as error:
                self.put_back(batch, type(error).__name__)
            else:
                if status == 201:
                    with self.changed:
                        self.acknowledged += 1
                        self.changed.notify_all()
                    continue
                self.put_back(batch, f"{status} {answer[:200]!r}")
            connection.close()
            with self.changed:
                self.changed.wait(0.05)

    def put_back(self, batch: bytes, reason: str) -> None:
        with self.changed:
            self.failures[reason] += 1
            self.waiting.append(batch)

    def wait_for(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.acknowledged >= count, PATIENCE), self.failures


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    found.start()
    yield found
    found.kill()


def total_by(events: list[Sent], pattern: str) -> Counter[tuple[str, str]]:
    totals: Counter[tuple[str, str]] = Counter()
    for event in events:
        totals[event.meter, event.moment.strftime(pattern)] += event.tokens
    return totals


def test_every_token_counts_once(server: Server) -> None:
    chance = random.Random(1)
    account: Account = make_account("llm")
    meters = {name: make_meter(name, unit="tokens") for name in ("tokens.input", "tokens.output")}
    events = read_trace()
    batches = make_batches(events, chance)
    storm = Storm(server, make_token(), list(batches))
    clients = [threading.Thread(target=storm.send_all) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    for part in (1, 2):
        storm.wait_for(len(batches) * part // 3)
        server.kill()
        server.start()
    for client in clients:
        client.join(PATIENCE)
    assert storm.acknowledged == len(batches), storm.failures
    assert sum(storm.failures.values()) > 0  # it was killed while they were sending

    assert UsageEvent.objects.count() == len(events)
    names = {meter.pk: name for name, meter in meters.items()}
    everything = Period(
        min(event.moment for event in events).replace(hour=0, minute=0, second=0, microsecond=0),
        max(event.moment for event in events).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1),
    )
    for bucket, pattern in (("hour", "%Y-%m-%d %H"), ("day", "%Y-%m-%d")):
        found = sum_buckets(account_id=account.pk, meter_ids=names, period=everything, bucket=bucket)  # type: ignore[arg-type]
        assert {(names[each.meter_id], each.start.strftime(pattern)): each.quantity for each in found} == total_by(
            events, pattern
        )
        rolled: Counter[tuple[str, str]] = Counter()
        for row in UsageRollup.objects.filter(span=bucket):
            rolled[names[row.meter_id], row.starts_at.strftime(pattern)] += int(row.total)
        assert rolled == total_by(events, pattern)
    months: Counter[tuple[str, str]] = Counter()
    for counter in UsageCounter.objects.filter(span="month"):
        months[names[counter.meter_id], counter.starts_at.strftime("%Y-%m")] += int(counter.total)
    assert months == total_by(events, "%Y-%m")
    requests = {name: QuantityRequest(account.pk, meter.pk, everything) for name, meter in meters.items()}
    for name, quantity in sum_quantities(list(requests.values())).items():
        assert quantity.quantity == sum(event.tokens for event in events if event.meter == names[name.meter_id])
    call_command("prove_usage")
