"""
Processes of the product that do one thing each, and may die of it: copies of one that has everything loaded.

    python -m tests.faults.product_worker

Each line of its input is a JSON object: `id`, `work` (a function below), `arguments`, `settings` (those of the product
that this process sees) and `dies` (see `_arrange_death`). Each line of its output is one: `started` with the `pid`,
`told` or `failed` with what the work returned or met, and `ended` with the exit code, negative for a signal.
The other side is `tests.faults.product_processes`.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import uuid
from collections.abc import Callable
from datetime import timedelta
from importlib import import_module
from typing import Any

import django

IN, OUT = 0, 1
ELEVEN_MINUTES = timedelta(minutes=11)


def drop_job(name: str, values: dict[str, Any]) -> None:
    """A `JOBS_SENDER`: the bell rings and nobody hears it."""


# ---- what a process may be told to do -------------------------------------------------------------------------------
def collect(invoice: str) -> dict[str, Any]:
    """Try to collect an invoice now."""
    from billing_site.kernel import clock
    from billing_site.kernel.actors import SYSTEM
    from invoicing.services.collecting import collect_invoice

    found, collection = collect_invoice(invoice_id=uuid.UUID(invoice), at=clock.now(), actor=SYSTEM)
    return {"status": found.status, "error": collection.error, "charged": collection.provider_used}


def collect_due() -> int:
    """Run the sweep that collects what is due."""
    from invoicing.tasks.collecting import collect_due_invoices

    return int(collect_due_invoices())


def confirm(intent: str, method: str = "", token: str = "") -> str:
    """Confirm a payment with a stored method or a token."""
    from accounts.models import PaymentMethod
    from billing_site.kernel import clock
    from billing_site.kernel.actors import SYSTEM
    from invoicing.services.payment_intents import confirm_intent

    chosen = PaymentMethod.objects.get(pk=method) if method else None
    paid = confirm_intent(intent_id=uuid.UUID(intent), method=chosen, token=token, at=clock.now(), actor=SYSTEM)
    return str(paid.status)


def capture(intent: str, amount: int | None = None) -> str:
    """Take what was authorised, or a part of it."""
    from billing_site.kernel import clock
    from billing_site.kernel.actors import SYSTEM
    from invoicing.services.payment_intents import capture_intent

    return str(capture_intent(intent_id=uuid.UUID(intent), amount=amount, at=clock.now(), actor=SYSTEM).status)


def top_up(account: str, amount: int, method: str) -> str:
    """Charge a stored method for the prepaid balance."""
    from accounts.models import Account, PaymentMethod
    from billing_site.kernel import clock
    from billing_site.kernel.actors import SYSTEM
    from invoicing.services import topups

    intent = topups.top_up(
        account=Account.objects.get(pk=account),
        amount=amount,
        currency="usd",
        method=PaymentMethod.objects.get(pk=method),
        at=clock.now(),
        actor=SYSTEM,
    )
    return str(intent.status)


def send_refund(refund: str) -> str:
    """Ask the provider for a refund that was released."""
    from billing_site.kernel import clock
    from invoicing.services import refund_sending

    return str(refund_sending.send_refund(refund_id=uuid.UUID(refund), at=clock.now()).status)


def settle() -> dict[str, int]:
    """Run the sweeps that ask about what was never answered, as they run eleven minutes from now."""
    from billing_site.kernel import clock
    from invoicing.services.refund_sending import sweep_refunds
    from invoicing.services.settling_sweep import settle_unanswered

    at = clock.now() + ELEVEN_MINUTES
    return {"payments": settle_unanswered(at=at), "refunds": sweep_refunds(at=at)}


def handle() -> int:
    """Run the sweep of webhooks once."""
    from invoicing.tasks.webhooks import sweep_inbound_events

    return int(sweep_inbound_events())


def keep_handling() -> None:
    """Be a worker of webhooks, until killed."""
    while True:
        if not handle():
            select.select([], [], [], 0.01)


def serve() -> None:
    """Be a web server of the whole site; tells its address first."""
    from wsgiref.simple_server import WSGIRequestHandler, make_server

    from django.core.wsgi import get_wsgi_application

    class Quiet(WSGIRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            """Keep tests quiet."""

    with make_server("127.0.0.1", 0, get_wsgi_application(), handler_class=Quiet) as server:
        tell({"told": f"http://127.0.0.1:{server.server_port}"})
        server.serve_forever()


def bill() -> int:
    """Run the billing cycle, as its sweep does; tells how many documents were issued."""
    from invoicing.models import Invoice
    from tests.support import world

    before = Invoice.objects.count()
    world.run_cycle(as_of=world.DECEMBER)
    return Invoice.objects.count() - before


WORK: dict[str, Callable[..., Any]] = {
    work.__name__: work
    for work in (
        *(collect, collect_due, confirm, capture, top_up, send_refund),
        *(settle, handle, keep_handling, serve, bill),
    )
}


# ---- how it may die -------------------------------------------------------------------------------------------------
def _die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _arrange_death(dies: dict[str, Any]) -> None:
    """
    Let this process be killed `before` or `after` the call of the provider's method `call`, or while its answer is
    recorded: before statement `statement` of that, counted from 1.
    """
    from invoicing.gateways.stripe import StripeGateway
    from invoicing.services import charging, refund_sending
    from tests.faults.crashes import Statements, watched

    if not dies:
        return
    if "statement" in dies:
        module: Any = {"record_payment": charging, "record_refund": refund_sending}[dies["call"]]
        record = getattr(module, dies["call"])

        def record_a_part(*arguments: Any, **options: Any) -> Any:
            with watched(Statements(dies["statement"], _die)):
                return record(*arguments, **options)

        setattr(module, dies["call"], record_a_part)
        return
    call = getattr(StripeGateway, dies["call"])

    def call_and_die(*arguments: Any, **options: Any) -> Any:
        if dies["when"] == "before":
            _die()
        answer = call(*arguments, **options)
        _die()
        return answer

    setattr(StripeGateway, dies["call"], call_and_die)


# ---- processes ------------------------------------------------------------------------------------------------------
_speaker = {"id": 0}


def tell(said: dict[str, Any]) -> None:
    """Write one line, in one piece."""
    os.write(OUT, json.dumps({**_speaker, **said}).encode() + b"\n")


def _do(order: dict[str, Any]) -> None:
    from django.conf import settings

    from billing_site.kernel.errors import DomainError

    for name, value in order["settings"].items():
        setattr(settings, name, value)
    _arrange_death(order["dies"])
    try:
        told = WORK[order["work"]](**order["arguments"])
    except DomainError as refusal:
        tell({"told": {"refused": refusal.code}})
    else:
        tell({"told": told})


def _start(order: dict[str, Any]) -> int:
    process = os.fork()
    if process:
        return process
    _speaker["id"] = order["id"]
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    status = 1
    try:
        _do(order)
        status = 0
    except BaseException as error:
        tell({"failed": f"{type(error).__name__}: {error}"[:2000]})
    finally:
        os._exit(status)


def _reap(running: dict[int, int]) -> None:
    while running:
        process, status = os.waitpid(-1, os.WNOHANG)
        if not process:
            return
        _report(running.pop(process), {"ended": os.waitstatus_to_exitcode(status)})


def _report(id: int, said: dict[str, Any]) -> None:
    _speaker["id"] = id
    tell(said)


def main() -> None:
    """Start a copy for each line of input, and report what becomes of it."""
    django.setup()
    from django.db import connections

    from billing_site.celery import app

    # Loaded before the copies are made. A session of the database cannot be shared: loading the pages opened one.
    for module in ("billing_site.urls", "invoicing.gateways.stripe"):
        import_module(module)
    app.loader.import_default_modules()
    connections.close_all()
    running: dict[int, int] = {}
    waking, woken = os.pipe()
    for end in (waking, woken):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(woken)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    buffered = b""
    while True:
        ready, _, _ = select.select([IN, waking], [], [])
        if waking in ready:
            os.read(waking, 4096)
            _reap(running)
        if IN not in ready:
            continue
        read = os.read(IN, 65536)
        if not read:
            break
        *lines, buffered = (buffered + read).split(b"\n")
        for line in lines:
            order = json.loads(line)
            process = _start(order)
            running[process] = order["id"]
            _report(order["id"], {"started": process})
    for process in running:
        os.kill(process, signal.SIGKILL)
    for process in running:
        os.waitpid(process, 0)
    sys.exit(0)


if __name__ == "__main__":
    main()
