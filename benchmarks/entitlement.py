"""
Entitlement checks over HTTP against a bare Django view with one prepared query on the same server, in the same run.

    python benchmarks/entitlement.py [--requests 2000] [--connections 8] [--repetitions 5] [--budget 60]

It starts the real server (gunicorn with threads, as in production) on loopback, twice: once with the entitlement cache
off and once with Redis where one answers. Both stop with the benchmark. Variants:

- bare view           one prepared query, no token, no body: what this server can do at best
- entitlement, SQL    the door as it is, every check one statement
- entitlement, Redis  the door with BILLING_ENTITLEMENT_CACHE=redis
- denied, SQL         checks that a quota refuses: the plan that would help is looked up too
- by REST framework   the same door without the short way
- tier check          the tier gate of the same accounts
- status              the status view of the same accounts, a twentieth of the requests
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.harness import ROOT, Variant, measure, print_results, private_database

CHECK = "/api/internal/billing/entitlement-check"
SCOPE = "llm:proxy"
WORKERS, THREADS = 2, 8
GOAL = 0.7


def seed(accounts: int) -> list[str]:
    """Make accounts with a plan of four quotas, and some use; return their ids."""
    from accounts.services.accounts import create_account
    from billing_site.kernel.actors import SYSTEM
    from catalog.services.publishing import publish_document
    from invoicing.services.subscriptions import start_subscription
    from metering.services.ingest import NewUsageEvent, record_usage_events

    now = datetime.now(UTC)
    quotas = [
        {"feature": SCOPE, "meter_event_name": "tokens", "window": window, "limit": 10**9}
        for window in ("minute", "day", "month")
    ]
    used_up = {"feature": "used:up", "meter_event_name": "calls", "window": "month", "limit": 1}
    plans = [
        {
            "id": key,
            "product_id": "llm",
            "name": key,
            "features": [SCOPE, "used:up"],
            "prices": [{"currency": "usd", "interval": "month", "unit_amount": 1000 * (number + 1)}],
            "quotas": [*quotas, {**used_up, "limit": 10**number}],
        }
        for number, key in enumerate(("small", "large"))
    ]
    document = {
        "version": 1,
        "products": [{"id": "llm", "name": "Models"}],
        "meters": [{"name": "tokens", "unit": "tokens"}, {"name": "calls", "unit": "calls"}],
        "plans": plans,
    }
    publish_document(org_id="default", document=document, at=now - timedelta(days=40), actor=SYSTEM)
    ids = []
    for number in range(accounts):
        account = create_account(
            external_id=f"bench/{number}", name="Bench", at=now, actor=SYSTEM, with_default_plan=False
        )
        start_subscription(account=account, plan_key="small", at=now, actor=SYSTEM)
        events = [
            NewUsageEvent(account, meter, Decimal(number + 1), timestamp=now - timedelta(hours=hours))
            for hours in range(5)
            for meter in ("tokens", "calls")
        ]
        record_usage_events(events=events, at=now, actor=SYSTEM)
        ids.append(account.public_id)
    return ids


def make_token() -> str:
    import jwt
    from django.conf import settings

    now = int(time.time())
    claims = {"sub": "bench", "aud": settings.BILLING_JWT_AUDIENCE_INTERNAL, "iat": now, "exp": now + 3600}
    scope = "billing:entitlement:check billing:read"
    return jwt.encode({**claims, "scope": scope}, settings.BILLING_JWT_SECRET, algorithm="HS256")


def find_free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def run_server(url: str, **settings: str) -> Iterator[tuple[int, int]]:
    """Run the web server as production does until the block ends. Yields its port and the id of its main process."""
    port = find_free_port()
    command = [sys.executable, "-m", "gunicorn", "benchmarks.entitlement_site:application"]
    command += ["--bind", f"127.0.0.1:{port}", "--worker-class", "gthread", "--preload"]
    command += ["--workers", str(WORKERS), "--threads", str(THREADS), "--keep-alive", "30"]
    command += ["--no-control-socket", "--graceful-timeout", "2", "--log-level", "warning"]
    environment = {**os.environ, "BILLING_DATABASE_URL": url, "BILLING_DB_POOL": "true", **settings}
    process = subprocess.Popen(command, cwd=ROOT, env=environment)
    try:
        wait_for(port, process)
        yield port, process.pid
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for(port: int, process: subprocess.Popen[bytes], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit("the web server did not start")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit("the web server does not listen")


class Client:
    """Keeps connections to one server and sends the next request on each as soon as it has the last answer."""

    def __init__(self, port: int, *, connections: int) -> None:
        self.port = port
        self.latencies: list[float] = []
        self.sockets = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(connections)]
        for each in self.sockets:
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send_all(self, requests: Sequence[bytes], count: int) -> int:
        """Send `count` requests, the given ones in turn. Every answer must be 200. Returns the count."""
        self.latencies = []
        with selectors.DefaultSelector() as selector:
            begun: dict[socket.socket, float] = {}
            sent = 0
            for each in self.sockets[:count]:
                selector.register(each, selectors.EVENT_READ)
                begun[each] = time.perf_counter()
                each.sendall(requests[sent % len(requests)])
                sent += 1
            while begun:
                events = selector.select(10)
                if not events:
                    raise SystemExit("no answer within ten seconds")
                for key, _ in events:
                    ready: Any = key.fileobj
                    read_answer(ready)
                    now = time.perf_counter()
                    self.latencies.append(now - begun.pop(ready))
                    if sent < count:
                        begun[ready] = now
                        ready.sendall(requests[sent % len(requests)])
                        sent += 1
        return count

    def close(self) -> None:
        for each in self.sockets:
            each.close()


def read_answer(connection: socket.socket) -> bytes:
    """Return the body of the next answer, which must be a 200 with a length."""
    data = connection.recv(65536)
    while (end := data.find(b"\r\n\r\n")) < 0:
        data += receive(connection)
    head = data[:end].lower()
    if not head.startswith(b"http/1.1 200"):
        raise SystemExit(f"the server answered {data[:600].decode(errors='replace')}")
    start = head.index(b"content-length:") + 15
    length = int(head[start:].split(b"\r", 1)[0])
    while len(data) < end + 4 + length:
        data += receive(connection)
    return data[end + 4 :]


def receive(connection: socket.socket) -> bytes:
    if not (data := connection.recv(65536)):
        raise SystemExit("the server closed the connection")
    return data


def make_requests(token: str, accounts: Sequence[str]) -> dict[str, list[bytes]]:
    """Return the requests of every kind, one per account."""
    from accounts.models import Account

    def write(method: str, path: str, body: bytes = b"") -> bytes:
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nAccept: */*\r\n"
        if body:
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        return f"{head}\r\n".encode() + body

    def ask(account: str, scope: str, meter: str) -> bytes:
        usage = {"meter_event_name": meter, "quantity": 100}
        return json.dumps({"account_id": account, "scope": scope, "usage": usage}).encode()

    return {
        "bare": [write("GET", f"/bare/{Account.parse_id(account)}") for account in accounts],
        "check": [write("POST", CHECK, ask(account, SCOPE, "tokens")) for account in accounts],
        "denied": [write("POST", CHECK, ask(account, "used:up", "calls")) for account in accounts],
        "drf": [write("POST", "/by-rest-framework", ask(account, SCOPE, "tokens")) for account in accounts],
        "status": [write("GET", f"/api/v1/billing/status?account={account}") for account in accounts],
        "tier": [write("GET", f"/api/v1/billing/tier-check?account={account}&model=model-a") for account in accounts],
    }


def read_cpu_seconds(pid: int) -> float:
    """Return the processor time that a server's workers have used."""
    total = 0
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


class Door(Variant):
    """A kind of request to one server, with the latencies and the server's processor time of all its requests."""

    def __init__(self, name: str, client: Client, pid: int, requests: Sequence[bytes], count: int) -> None:
        super().__init__(name, self.send)
        self.client, self.pid, self.requests, self.count = client, pid, requests, count
        self.latencies: list[float] = []
        self.cpu = 0.0

    def send(self, repetition: int) -> int:
        before = read_cpu_seconds(self.pid)
        done = self.client.send_all(self.requests, self.count if repetition else max(8, self.count // 5))
        if repetition:
            self.cpu += read_cpu_seconds(self.pid) - before
            self.latencies += self.client.latencies
        return done

    def describe(self) -> str:
        ordered = sorted(self.latencies)
        half, most = (1000 * ordered[int(len(ordered) * share)] for share in (0.5, 0.99))
        cpu = 1000 * self.cpu / len(ordered)
        return f"p50 {half:6.2f} ms   p99 {most:6.2f} ms   web processor time {cpu:.2f} ms"


def answers_redis(url: str) -> bool:
    import redis

    try:
        with redis.Redis.from_url(url, socket_connect_timeout=1, socket_timeout=1) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2000, help="requests per repetition and variant")
    parser.add_argument("--connections", type=int, default=8, help="requests that are under way at once")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--accounts", type=int, default=20)
    parser.add_argument("--budget", type=float, default=60, help="seconds after which no further round begins")
    parser.add_argument("--redis", default="redis://127.0.0.1:6379/0", help="where to look for a Redis")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # so that servers and database go too
    with private_database() as url, ExitStack() as stack:
        requests = make_requests(make_token(), seed(arguments.accounts))

        def start(**settings: str) -> tuple[Client, int]:
            port, pid = stack.enter_context(run_server(url, **settings))
            client = Client(port, connections=arguments.connections)
            stack.callback(client.close)
            return client, pid

        plain = start(BILLING_ENTITLEMENT_CACHE="off")
        kinds = [
            ("bare view", plain, "bare", 1),
            ("entitlement, SQL", plain, "check", 1),
            ("denied, SQL", plain, "denied", 1),
            ("by REST framework", plain, "drf", 1),
            ("tier check", plain, "tier", 2),
            ("status", plain, "status", 20),
        ]
        if answers_redis(arguments.redis):
            cached = start(BILLING_ENTITLEMENT_CACHE="redis", BILLING_REDIS_URL=arguments.redis)
            kinds.insert(2, ("entitlement, Redis", cached, "check", 1))
        # Those that take long are sent a share of the requests.
        doors = [
            Door(name, *server, requests[kind], arguments.requests // share) for name, server, kind, share in kinds
        ]
        measure(doors, repetitions=arguments.repetitions, budget=arguments.budget)
        title = f"Entitlement checks, {WORKERS} processes of {THREADS} threads, {arguments.connections} connections"
        print_results(title, doors, unit="requests", baseline="bare view")
        for door in doors:
            print(f"  {door.name:20} {door.describe()}")
        ratio = doors[1].median / doors[0].median
        print(f"  goal: {GOAL} x the bare view; {doors[1].name}: {ratio:.2f} x")


if __name__ == "__main__":
    main()
