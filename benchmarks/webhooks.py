"""
Webhooks that come in, and invoices that are collected: both beside the bare speed of the provider they speak with.

    python benchmarks/webhooks.py [--invoices 10000] [--processes 2] [--clients 16] [--seconds 3] [--repetitions 3]

The provider is the Stripe-speaking server of the tests, a process of its own on loopback; its bare speed is payments
made and confirmed per second by plain HTTP requests over kept connections, from as many processes as collect.

- Webhooks: signed events, each another one, sent over kept connections to the web server as it runs in production
  (gunicorn, gthread, one process). Each is acknowledged after it is stored. They are not handled here.
- Collection: invoices of as many accounts, each with a card, are billed by the product's own run and then collected by
  the product's own function, in chunks, by several processes. In the end the provider's charges and our payments are
  compared, to the cent, and the ledger is proven.

Everything it starts ends with it.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import http.client
import json
import multiprocessing
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.pool import Pool
from pathlib import Path
from urllib.parse import urlencode, urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.harness import ROOT, Variant, print_results, private_database, set_up_django
from benchmarks.single_events import find_port, wait_for

KEY = "sk_" + "test_" + "0" * 24
SECRET = "whsec_" + "benchmark" * 4
DOOR = "/api/v1/billing/webhooks/stripe"
CHUNK = 50


# ---- the provider ---------------------------------------------------------------------------------------------------
@contextmanager
def run_provider() -> Iterator[str]:
    """Run the Stripe-speaking server for a block and yield its address."""
    port = find_port()
    command = [sys.executable, "-m", "tests.stripe_server", "--port", str(port), "--key", KEY, "--still"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as server:
        try:
            wait_for(port, server)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


class Speaker:
    """Plain requests to the provider over one kept connection."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=120)

    def post(self, path: str, **values: str) -> str:
        """Return the id of what was made. :raises RuntimeError: when it was refused."""
        headers = {
            "Authorization": f"Bearer {KEY}",
            "Content-Type": "application/x-www-form-urlencoded",
            "Idempotency-Key": uuid.uuid4().hex,
        }
        self._connection.request("POST", path, urlencode(values), headers)
        response = self._connection.getresponse()
        answer = json.loads(response.read())
        if response.status != 200:
            raise RuntimeError(f"{path}: {response.status} {answer}")
        return str(answer["id"])


def make_customers(url: str, count: int) -> list[tuple[str, str]]:
    """Make customers with a card and return the ids of both."""
    speaker, made = Speaker(url), []
    for _ in range(count):
        customer = speaker.post("/v1/customers", name="Bench")
        made.append((customer, speaker.post("/v1/payment_methods/pm_card_visa/attach", customer=customer)))
    return made


def pay_plainly(url: str, payers: Sequence[tuple[str, str]]) -> int:
    """Make a payment of each payer, as the adapter asks for it, and return how many."""
    speaker = Speaker(url)
    for customer, method in payers:
        speaker.post(
            "/v1/payment_intents",
            amount="1999",
            currency="usd",
            customer=customer,
            payment_method=method,
            confirm="true",
            off_session="true",
            **{"payment_method_types[0]": "card"},
        )
    return len(payers)


# ---- webhooks -------------------------------------------------------------------------------------------------------
@contextmanager
def serve(threads: int) -> Iterator[int]:
    """Run the web server for a block and yield its port."""
    port = find_port()
    command = [sys.executable, "-m", "gunicorn", "billing_site.wsgi:application", "--bind", f"127.0.0.1:{port}"]
    command += ["--worker-class", "gthread", "--workers", "1", "--threads", str(threads), "--log-level", "error"]
    command += ["--no-control-socket"]
    environment = os.environ | {
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


def send_webhooks(port: int, seconds: float) -> int:
    """Send signed events one after the other and return how many were acknowledged."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    sent, until = 0, time.perf_counter() + seconds
    while time.perf_counter() < until:
        body, now = make_event(), int(time.time())
        digest = hmac.new(SECRET.encode(), f"{now}.".encode() + body, hashlib.sha256).hexdigest()
        headers = {
            "Content-Type": "application/json",
            "Host": "localhost",
            "Stripe-Signature": f"t={now},v1={digest}",
        }
        connection.request("POST", DOOR, body, headers)
        response = connection.getresponse()
        answer = response.read()
        if response.status != 200:
            raise RuntimeError(f"{response.status}: {answer[:300].decode()}")
        sent += 1
    connection.close()
    return sent


def make_event() -> bytes:
    """Return an event of a payment that nobody here knows, of a usual size."""
    payment = {
        "id": f"pi_{uuid.uuid4().hex}",
        "object": "payment_intent",
        "amount": 1999,
        "currency": "usd",
        "status": "succeeded",
        "metadata": {"order": "x" * 1500},
    }
    event = {
        "id": f"evt_{uuid.uuid4().hex}",
        "object": "event",
        "type": "payment_intent.succeeded",
        "created": int(time.time()),
        "livemode": False,
        "api_version": "2026-04-22.dahlia",
        "data": {"object": payment},
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
    }
    return json.dumps(event).encode()


# ---- collection -----------------------------------------------------------------------------------------------------
def bill(count: int) -> list[uuid.UUID]:
    """Issue an invoice to each of `count` accounts and return the accounts' keys."""
    from benchmarks.billing_run import fill
    from billing_site.kernel.actors import SYSTEM
    from invoicing.models import Invoice, InvoiceStatus
    from invoicing.services.run_work import work_run

    run = fill(count)
    work_run(run_id=run.id, actor=SYSTEM)
    rows = Invoice.objects.filter(run=run, status=InvoiceStatus.OPEN).order_by("account_id")
    return list(rows.values_list("account_id", flat=True).distinct())


def give_cards(accounts: Sequence[uuid.UUID], payers: Sequence[tuple[str, str]]) -> list[uuid.UUID]:
    """Give each account its customer and card, let its invoice be due, and return the invoices' keys."""
    from django.utils import timezone

    from accounts.models import PaymentMethod
    from invoicing.models import Invoice, InvoiceStatus, ProviderCustomer

    now = timezone.now()
    ProviderCustomer.objects.bulk_create(
        ProviderCustomer(account_id=account, provider_type="stripe", ref=customer)
        for account, (customer, _) in zip(accounts, payers, strict=True)
    )
    PaymentMethod.objects.bulk_create(
        PaymentMethod(
            account_id=account,
            status="attached",
            provider_type="stripe",
            provider_ref=method,
            is_default=True,
            verified_at=now,
            attached_at=now,
        )
        for account, (_, method) in zip(accounts, payers, strict=True)
    )
    due = Invoice.objects.filter(account__in=accounts, status=InvoiceStatus.OPEN)
    due.update(next_attempt_at=now)
    return list(due.order_by("id").values_list("pk", flat=True))


def join(url: str) -> None:
    """Set a process up that collects."""
    set_up_django(url, migrate=False)
    drop_jobs()


def drop_jobs() -> None:
    """Mails and documents are made by jobs, which are no part of collecting."""
    from django.conf import settings

    settings.JOBS_SENDER = "benchmarks.billing_run.drop_job"


def collect(invoice_ids: Sequence[uuid.UUID]) -> int:
    """Collect a chunk of invoices and return how many were tried."""
    from billing_site.kernel import clock
    from invoicing.services.collecting import collect_these

    return collect_these(invoice_ids=invoice_ids, at=clock.now())


def check(count: int, url: str) -> None:
    """:raises SystemExit: unless the provider's charges are our payments, to the cent, and the ledger is proven."""
    from datetime import timedelta

    from accounts.queries.proof import prove_ledger
    from billing_site.kernel import clock
    from invoicing.gateways.registry import get_gateway
    from invoicing.models import Invoice, PaymentIntent

    ours = dict(PaymentIntent.objects.filter(status="succeeded").values_list("provider_ref", "amount_received"))
    now = clock.now()
    listed = get_gateway("stripe", livemode=False).list_payments(
        since=now - timedelta(days=1), until=now + timedelta(hours=1)
    )
    theirs = {each.ref: each.amount_received for each in listed if each.reference}
    paid = Invoice.objects.filter(status="paid", payment_method="stripe").count()
    if ours != theirs or len(ours) != paid or paid < count or prove_ledger().fault is not None:
        raise SystemExit(f"{paid} invoices paid, {len(ours)} payments here, {len(theirs)} at {url}: they differ")
    print(
        f"  {paid:,} invoices paid once each, {sum(ours.values()):,} minor units here and there; the ledger is proven"
    )


def split(rows: Sequence[object], parts: int) -> list[list[object]]:
    """Return `rows` in as many lists of nearly one size."""
    return [list(rows[start::parts]) for start in range(parts)]


def measure_collection(pool: Pool, url: str, invoices: int, processes: int) -> None:
    """Measure collection beside the provider's bare speed, and print both."""
    made = pool.starmap(make_customers, [(url, invoices // processes + 1)] * processes, chunksize=1)
    payers = [each for part in made for each in part][:invoices]
    sample = payers[: max(processes, min(len(payers), 2_000))]
    parts = [(url, part) for part in split(sample, processes)]
    bare = Variant("provider, bare", lambda _: sum(pool.starmap(pay_plainly, parts)))
    accounts = bill(invoices)
    keys = give_cards(accounts, payers[: len(accounts)])
    chunks = [keys[start : start + CHUNK] for start in range(0, len(keys), CHUNK)]
    bare.run(0)
    for _ in range(3):
        begun = time.perf_counter()
        done = bare.run(1)
        bare.rates.append(done / (time.perf_counter() - begun))
    ours = Variant(f"collection, {processes} processes", lambda _: sum(pool.map(collect, chunks, chunksize=1)))
    begun = time.perf_counter()
    done = ours.run(1)
    ours.rates.append(done / (time.perf_counter() - begun))
    print_results(f"Collection of {len(keys):,} invoices", [bare, ours], unit="payments", baseline="provider, bare")
    check(len(keys), url)


def measure_webhooks(pool: Pool, url: str, clients: int, seconds: float, repetitions: int) -> None:
    """Measure accepted webhooks beside the provider's bare speed with as many clients, and print both."""
    payers = make_customers(url, 200)
    bare = Variant("provider, bare", lambda _: 0)
    ours = Variant("signed webhooks accepted", lambda _: 0)
    with serve(clients) as port:
        pool.starmap(send_webhooks, [(port, 0.5)] * clients, chunksize=1)
        for _ in range(repetitions):
            begun = time.perf_counter()
            done = sum(pool.starmap(pay_plainly, [(url, part) for part in split(payers, clients)], chunksize=1))
            bare.rates.append(done / (time.perf_counter() - begun))
            begun = time.perf_counter()
            done = sum(pool.starmap(send_webhooks, [(port, seconds)] * clients, chunksize=1))
            ours.rates.append(done / (time.perf_counter() - begun))
    print_results(f"Webhooks from {clients} clients", [bare, ours], unit="requests", baseline="provider, bare")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--invoices", type=int, default=10_000)
    parser.add_argument("--processes", type=int, default=2, help="that collect")
    parser.add_argument("--clients", type=int, default=16, help="connections that send webhooks, one at a time each")
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--repetitions", type=int, default=3)
    arguments = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    with run_provider() as provider:
        os.environ |= {
            "BILLING_PAYMENT_PROVIDER": "stripe",
            "BILLING_STRIPE_SECRET_KEY": KEY,
            "BILLING_STRIPE_API_BASE": provider,
            "BILLING_STRIPE_WEBHOOK_SECRETS": SECRET,
            "BILLING_RUN_CHUNK_SIZE": "500",
        }
        with private_database() as url:
            drop_jobs()
            with spawn.Pool(arguments.clients) as pool:
                measure_webhooks(pool, provider, arguments.clients, arguments.seconds, arguments.repetitions)
            with spawn.Pool(arguments.processes, initializer=join, initargs=(url,)) as pool:
                measure_collection(pool, provider, arguments.invoices, arguments.processes)


if __name__ == "__main__":
    main()
