"""Two who want to charge the same invoice at the same moment: one charge."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

import pytest

from billing_site.kernel import clock
from invoicing.models import Invoice
from invoicing.services.collecting import ask_for_collection
from invoicing.services.payment_intents import NewIntent, create_intent
from tests.faults.paying import PAYMENTS, list_charged, make_due, require_same_money
from tests.faults.product_processes import Processes
from tests.stripe_server import StripeServer
from tests.stripe_server.holding import holding
from tests.support import world
from tests.support.tokens import make_token
from tests.support.world import TESTER

pytestmark = pytest.mark.django_db(transaction=True)
PAID = {"status": "paid", "error": None, "charged": 1000}
REFUSED = ({"refused": "collection_in_progress"}, {"refused": "invalid_state"})


@pytest.fixture(autouse=True)
def catalog(stripe: StripeServer) -> None:
    world.publish()


def require_paid_once(stripe: StripeServer, invoice: Invoice) -> None:
    invoice.refresh_from_db()
    assert (invoice.status, invoice.amount_paid) == ("paid", 1000)
    assert len(list_charged(stripe)) == 1
    require_same_money(stripe)


@pytest.mark.parametrize("attempt", range(3))
def test_two_processes_collect(stripe: StripeServer, processes: Processes, attempt: int) -> None:
    invoice = make_due(f"acme-{attempt}")
    both = [processes.start("collect", invoice=str(invoice.pk)) for _ in range(2)]
    ends = [process.wait() for process in both]
    assert [end for end in ends if end == PAID] == [PAID]
    assert [end for end in ends if end in REFUSED], ends
    require_paid_once(stripe, invoice)


def test_the_sweep_collects_while_somebody_pays_over_the_api(stripe: StripeServer, processes: Processes) -> None:
    site = urlsplit(processes.start("serve").wait_word()).netloc
    invoice = make_due()
    ask_for_collection(invoice_id=invoice.pk, at=clock.now())

    def pay() -> tuple[int, Any]:
        connection = http.client.HTTPConnection(site, timeout=60)
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {make_token()}"}
        path = f"/api/v1/billing/invoices/{invoice.public_id}/pay"
        connection.request("POST", path, body=b"{}", headers={**headers, "Idempotency-Key": "pay-once"})
        answer = connection.getresponse()
        body = json.loads(answer.read())
        connection.close()
        return answer.status, body

    with holding(stripe, path=PAYMENTS) as held:
        sweeping = processes.start("collect_due")
        held.wait()
        status, problem = pay()
        assert (status, problem["code"]) == (409, "collection_in_progress")
    assert sweeping.wait() == 1
    require_paid_once(stripe, invoice)


@pytest.mark.parametrize("first", ["collect", "confirm"])
def test_a_confirmation_against_the_collection(stripe: StripeServer, processes: Processes, first: str) -> None:
    invoice = make_due()
    method = invoice.account.payment_methods.get()
    new = NewIntent(amount=1000, currency="usd", method=method, invoice_ids=[invoice.pk])
    intent = create_intent(account=invoice.account, new=new, at=clock.now(), actor=TESTER)
    works: dict[str, dict[str, Any]] = {
        "collect": {"invoice": str(invoice.pk)},
        "confirm": {"intent": str(intent.pk), "method": str(method.pk)},
    }
    second = "confirm" if first == "collect" else "collect"
    with holding(stripe, path=PAYMENTS) as held:
        charging = processes.start(first, **works[first])
        held.wait()
        assert processes.run(second, **works[second]) == {"refused": "collection_in_progress"}
    charging.wait()
    require_paid_once(stripe, invoice)
