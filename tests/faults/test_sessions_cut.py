"""A session of the database that ends in the middle: the caller hears of it, and the repeat ends it right."""

from __future__ import annotations

import json
from typing import Any
from unittest import mock

import pytest
from django.db import connection
from django.db.utils import InterfaceError, OperationalError
from django.test import Client

from billing_site.kernel import clock
from invoicing.models import InboundEvent
from invoicing.services import charging
from invoicing.services.collecting import collect_invoice
from invoicing.webhooks.inbox import sweep_events
from tests.faults.crashes import Statements, terminate_session, watched
from tests.faults.paying import list_charged, make_due, require_same_money, sweep
from tests.stripe_server import StripeServer
from tests.support import world
from tests.support.webhooks import DOOR
from tests.support.world import TESTER

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("number", [1, 15, 28])
def test_while_a_payment_is_recorded(stripe: StripeServer, number: int) -> None:
    world.publish()
    invoice = make_due()
    record = charging.record_payment

    def record_a_part(**options: Any) -> object:
        with watched(Statements(number, terminate_session, is_gone=False)):
            return record(**options)

    with (
        mock.patch.object(charging, "record_payment", record_a_part),
        pytest.raises((OperationalError, InterfaceError)),
    ):
        collect_invoice(invoice_id=invoice.pk, at=clock.now(), actor=TESTER)
    connection.close()
    invoice.refresh_from_db()
    assert (invoice.status, len(list_charged(stripe))) == ("open", 1)
    assert sweep() == 1
    invoice.refresh_from_db()
    assert invoice.status == "paid"
    require_same_money(stripe)


def test_while_a_webhook_is_stored(stripe: StripeServer) -> None:
    """The provider gets a failure and sends it again, as often as it takes."""
    world.publish()
    invoice = make_due()
    stripe.drop_next(path="/v1/payment_intents", method="POST", moment="after")
    collect_invoice(invoice_id=invoice.pk, at=clock.now(), actor=TESTER)
    body = json.dumps(stripe.events("payment_intent.succeeded")[-1]).encode()
    site, answers = Client(raise_request_exception=False), []
    for number in range(1, 20):
        with watched(Statements(number, terminate_session, is_gone=False)) as statements:
            answer = site.post(DOOR, body, content_type="application/json", headers=stripe.sign(body))
        answers.append(answer.status_code)
        if not statements.has_stopped:
            break
        connection.close()
        assert answer.status_code >= 500
    assert answers[-1] == 200
    assert len(answers) > 1
    assert sweep_events() == 1
    assert InboundEvent.objects.get().status == "handled"
    invoice.refresh_from_db()
    assert invoice.status == "paid"
    require_same_money(stripe)
