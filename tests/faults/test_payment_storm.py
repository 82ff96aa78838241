"""
Twenty accounts are charged by several processes while the provider fails at random, webhooks come twice and in the
wrong order, and processes are killed: in the end both sides have the same money, to the cent.

`BILLING_TEST_SEED` repeats the faults of an earlier run; the order in which processes meet them is not repeated.
"""

from __future__ import annotations

import os
import random
import threading
from datetime import timedelta

import pytest

from billing_site.kernel import clock
from invoicing.models import Invoice, PaymentIntent
from invoicing.services.collecting import ask_for_collection, collect_due
from invoicing.services.settling_sweep import settle_unanswered
from invoicing.webhooks.inbox import sweep_events
from tests.faults.paying import PAYMENTS, list_charged, make_due, open_payer, require_same_money
from tests.faults.product_processes import Processes
from tests.stripe_server import StripeServer
from tests.stripe_server.faults import Fault, Faults
from tests.support import world
from tests.support.webhooks import DOOR

pytestmark = pytest.mark.django_db(transaction=True)
ACCOUNTS = 20
MOST = 60  # faults of a storm, so that it ends
TROUBLE = (
    Fault(drop=True),
    Fault(drop=True, moment="after"),
    Fault(status=500),
    Fault(status=500, moment="after"),
    Fault(status=503),
    Fault(delay=0.05),
)


class Storm(Faults):
    """Half of the calls about payments meet trouble."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._chance, self._turn = random.Random(seed), threading.Lock()
        self.struck = 0

    def strike(self, method: str, path: str) -> Fault | None:
        with self._turn:
            if not path.startswith(PAYMENTS) or self.struck >= MOST or self._chance.random() < 0.5:
                return None
            self.struck += 1
            return self._chance.choice(TROUBLE)


def test_after_a_storm_both_sides_have_the_same_money(stripe: StripeServer, processes: Processes) -> None:
    seed = int(os.environ.get("BILLING_TEST_SEED") or random.randrange(1_000_000))
    note = f"seed {seed}"
    world.publish()
    sites = [processes.start("serve") for _ in range(2)]
    invoices = [make_due(f"acme-{number}") for number in range(ACCOUNTS)]
    savers = [open_payer(f"saver-{number}") for number in range(3)]
    for invoice in invoices:
        ask_for_collection(invoice_id=invoice.pk, at=clock.now())
    for site in sites:
        stripe.add_endpoint(site.wait_word() + DOOR)
    stripe.reverse_webhooks(9, "payment_intent.*")
    stripe.duplicate_webhooks("payment_intent.*", times=None, copies=2)
    calm, storm = stripe.api.faults, Storm(seed)
    stripe.api.faults = storm

    handling = [processes.start("keep_handling") for _ in range(2)]
    deadly = [processes.start("collect_due", dies={"call": "pay", "when": when}) for when in ("before", "after")]
    collecting = [processes.start("collect_due") for _ in range(2)]
    saving = [
        processes.start("top_up", account=str(account.pk), amount=1500, method=str(method.pk))
        for account, method in savers
    ]
    for process in [*collecting, *saving]:
        process.wait()
    for process in deadly:
        process.kill()
    begun = clock.now()
    for number in range(1, 4):
        settle_unanswered(at=begun + timedelta(minutes=11 * number))
    stripe.api.faults = calm
    stripe.heal()
    for number in range(4, 7):
        settle_unanswered(at=begun + timedelta(minutes=11 * number))
    stripe.deliver_all()
    for process in handling:
        process.kill()
    sweep_events(limit=1000)
    assert storm.struck > 5, note
    require_same_money(stripe, note=note)

    # What failed for good is tried again by dunning, and then everybody has paid.
    for days in range(1, 9):
        collect_due(at=begun + timedelta(days=days))
    require_same_money(stripe, note=note)
    assert set(Invoice.objects.values_list("status", flat=True)) == {"paid"}, note
    paid = PaymentIntent.objects.filter(purpose="invoice", status="succeeded")
    assert paid.count() == ACCOUNTS, note
    assert sum(list_charged(stripe).values()) >= ACCOUNTS * 1000, note
