"""
Single usage events over HTTP: grouped into shared transactions, against one transaction for each, in the same run.

    python benchmarks/single_events.py [--clients 32] [--seconds 3] [--repetitions 3]

Starts the web server as it runs in production (gunicorn, gthread, one process, as many threads as clients), once with
and once without grouping, on a free port of the loopback address, and sends events over kept connections from other
processes. Every event is acknowledged after its commit. Everything it starts ends with it.
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from multiprocessing.pool import Pool
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.harness import ROOT, Variant, print_results, private_database

PATH = "/api/v1/billing/tenants/bench/usage"


def find_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def serve(*, grouped: bool, threads: int) -> Iterator[int]:
    """Run the web server for a block and yield its port."""
    port = find_port()
    command = [sys.executable, "-m", "gunicorn", "billing_site.wsgi:application", "--bind", f"127.0.0.1:{port}"]
    command += ["--worker-class", "gthread", "--workers", "1", "--threads", str(threads), "--log-level", "error"]
    command += ["--no-control-socket"]
    environment = os.environ | {
        "BILLING_USAGE_GROUP_COMMIT": str(grouped),
        "BILLING_DB_POOL": "true",
        "BILLING_DB_POOL_SIZE": str(threads),
        "BILLING_STATIC_FROM_SOURCE": "true",
    }
    with subprocess.Popen(command, env=environment, cwd=ROOT) as server:
        try:
            wait_for(port, server)
            yield port
        finally:
            server.terminate()


def wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        if server.poll() is not None:
            raise SystemExit("the server ended before it answered")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit("the server does not answer")


def send_for(port: int, token: str, seconds: float) -> int:
    """Send events one after the other over one connection and return how many were acknowledged."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Host": "localhost"}
    sent, until = 0, time.perf_counter() + seconds
    while time.perf_counter() < until:
        body = {
            "metric_type": "tokens",
            "quantity": "12.25",
            "idempotency_key": uuid.uuid4().hex,
            "timestamp": datetime.now(UTC).isoformat(),
        }
        connection.request("POST", PATH, json.dumps(body), headers)
        response = connection.getresponse()
        answer = response.read()
        if response.status != 201:
            raise SystemExit(f"{response.status}: {answer[:300].decode()}")
        sent += 1
    connection.close()
    return sent


def measure_server(pool: Pool, *, grouped: bool, clients: int, seconds: float, token: str) -> float:
    """Return acknowledged events per second."""
    with serve(grouped=grouped, threads=clients) as port:
        # Every thread has its connection and its plans.
        pool.starmap(send_for, [(port, token, 0.5)] * clients, chunksize=1)
        begun = time.perf_counter()
        sent = sum(pool.starmap(send_for, [(port, token, seconds)] * clients, chunksize=1))
        return sent / (time.perf_counter() - begun)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=32, help="connections, each with an event at a time")
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--repetitions", type=int, default=3)
    arguments = parser.parse_args()
    with private_database(), multiprocessing.get_context("spawn").Pool(arguments.clients) as pool:
        from accounts.models import Account
        from benchmarks.ingest import make_token
        from catalog.models import Meter

        Account.objects.create(name="Bench", external_id="bench")
        Meter.objects.create(
            org_id="default", event_name="tokens", display_name="Tokens", unit="tokens", lookup_key="default:tokens"
        )
        token = make_token()
        alone = Variant("one transaction each", lambda _: 0)
        grouped = Variant("grouped", lambda _: 0)
        for _ in range(arguments.repetitions):
            for variant, together in ((alone, False), (grouped, True)):
                rate = measure_server(
                    pool, grouped=together, clients=arguments.clients, seconds=arguments.seconds, token=token
                )
                variant.rates.append(rate)
        print_results(
            f"Single events over HTTP from {arguments.clients} clients",
            [alone, grouped],
            unit="events",
            baseline="one transaction each",
        )


if __name__ == "__main__":
    main()
