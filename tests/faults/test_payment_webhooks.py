"""Answers and webhooks that race: whoever comes first settles a payment, and the others find it settled."""

from __future__ import annotations

import http.client
import json
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from billing_site.kernel import clock
from invoicing.models import InboundEvent, PaymentIntent
from invoicing.services.charging import record_payment
from invoicing.services.payment_intents import NewIntent, create_intent
from tests.faults.paying import PAYMENTS, count_events, list_charged, make_due, open_payer, require_same_money
from tests.faults.product_processes import Processes
from tests.stripe_server import StripeServer
from tests.stripe_server.holding import holding
from tests.support import world
from tests.support.webhooks import DOOR
from tests.support.world import TESTER

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def catalog(stripe: StripeServer) -> None:
    world.publish()


def test_the_webhook_is_handled_before_the_answer_comes(stripe: StripeServer, processes: Processes) -> None:
    site = processes.start("serve").wait_word()
    invoice = make_due()
    stripe.add_endpoint(site + DOOR)
    with holding(stripe, path=PAYMENTS, moment="after") as held:
        collecting = processes.start("collect", invoice=str(invoice.pk))
        held.wait()
        assert all(delivery.is_accepted for delivery in stripe.deliver_all())
        assert processes.run("handle") > 0
        invoice.refresh_from_db()
        assert invoice.status == "paid"
    assert collecting.wait() == {"status": "paid", "error": None, "charged": 1000}
    require_same_money(stripe)
    assert count_events()["invoice.paid"] == 1
    assert not InboundEvent.objects.filter(status="pending").exists()


def test_an_authorisation_that_is_told_late_does_not_end_the_capture(
    stripe: StripeServer, processes: Processes
) -> None:
    """The process dies with the capture made: the sweep must still know that it was asked for."""
    account, method = open_payer()
    new = NewIntent(amount=3000, currency="usd", method=method, capture_method="manual")
    intent = create_intent(account=account, new=new, at=clock.now(), actor=TESTER)
    processes.run("confirm", intent=str(intent.pk), method=str(method.pk))
    intent.refresh_from_db()
    from invoicing.gateways.registry import get_gateway

    with holding(stripe, path="/capture") as held:
        capturing = processes.start("capture", intent=str(intent.pk))
        held.wait()
        state = get_gateway("stripe", livemode=False).fetch_payment(payment_ref=intent.provider_ref)
        record_payment(intent_id=intent.pk, state=state, at=clock.now(), actor=TESTER)
        intent.refresh_from_db()
        assert (intent.status, intent.pending_call) == ("requires_capture", "capture")
        capturing.kill()
    assert processes.run("settle")["payments"] == 1
    intent.refresh_from_db()
    assert intent.status == "succeeded"
    require_same_money(stripe)


def test_the_same_webhook_five_times_in_three_processes_has_its_effect_once(
    stripe: StripeServer, processes: Processes
) -> None:
    sites = [processes.start("serve") for _ in range(3)]
    invoice = make_due()
    processes.die("collect", invoice=str(invoice.pk), dies={"call": "pay", "when": "after"})
    body = json.dumps(stripe.events("payment_intent.succeeded")[-1]).encode()

    def post(site: str) -> int:
        connection = http.client.HTTPConnection(urlsplit(site).netloc, timeout=60)
        headers = {"Content-Type": "application/json", **stripe.sign(body)}
        connection.request("POST", DOOR, body=body, headers=headers)
        status = connection.getresponse().status
        connection.close()
        return status

    addresses = [site.wait_word() for site in sites]
    with ThreadPoolExecutor(5) as pool:
        assert list(pool.map(post, [addresses[number % 3] for number in range(5)])) == [200] * 5
    workers = [processes.start("handle") for _ in range(3)]
    assert sum(worker.wait() for worker in workers) == 1
    assert InboundEvent.objects.get(type="payment_intent.succeeded").status == "handled"
    require_same_money(stripe)
    assert (count_events()["invoice.paid"], count_events()["payment_intent.succeeded"]) == (1, 1)
    assert PaymentIntent.objects.get(purpose="invoice").status == "succeeded"


def test_without_any_webhook_the_sweep_settles(stripe: StripeServer, processes: Processes) -> None:
    site = processes.start("serve").wait_word()
    invoice = make_due()
    stripe.add_endpoint(site + DOOR)
    stripe.lose_webhooks()
    processes.die("collect", invoice=str(invoice.pk), dies={"call": "pay", "when": "after"})
    stripe.deliver_all()
    assert processes.run("handle") == 0
    assert not InboundEvent.objects.exists()
    assert len(list_charged(stripe)) == 1
    assert processes.run("settle")["payments"] == 1
    invoice.refresh_from_db()
    assert invoice.status == "paid"
    require_same_money(stripe)
