"""A broker that is gone while invoices are issued and webhooks come: nothing fails, and the sweeps find everything."""

from __future__ import annotations

import socket

import pytest

from invoicing.models import InboundEvent, Invoice
from tests.faults.conftest import name_provider
from tests.faults.paying import list_charged, make_due, require_same_money
from tests.faults.product_processes import Processes, launched
from tests.stripe_server import StripeServer
from tests.support import world
from tests.support.webhooks import DOOR

pytestmark = pytest.mark.django_db(transaction=True)


def test_everything_is_found_without_it(stripe: StripeServer) -> None:
    world.publish()
    first = make_due()
    with socket.socket() as closed:  # bound and not listening: whoever rings is refused at once
        closed.bind(("127.0.0.1", 0))
        address = f"redis://127.0.0.1:{closed.getsockname()[1]}/0"
        with launched(BILLING_BROKER_URL=address, BILLING_REDIS_URL=address) as launcher:
            processes = Processes(launcher, {"JOBS_SENDER": "billing_site.celery.send_job", **name_provider(stripe)})
            try:
                stripe.add_endpoint(processes.start("serve").wait_word() + DOOR)
                assert processes.run("bill") == 1
                # A charge whose answer nobody hears: its webhook comes in, and its bell does not ring.
                processes.die("collect", invoice=str(first.pk), dies={"call": "pay", "when": "after"})
                assert all(delivery.is_accepted for delivery in stripe.deliver_all())
                assert InboundEvent.objects.filter(status="pending").exists()
                assert processes.run("handle") > 0
                first.refresh_from_db()
                assert first.status == "paid"
                assert processes.run("collect_due") == 1
            finally:
                processes.stop()
    assert set(Invoice.objects.values_list("status", flat=True)) == {"paid"}
    assert len(list_charged(stripe)) == 2
    require_same_money(stripe)
