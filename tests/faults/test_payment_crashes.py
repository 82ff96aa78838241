"""A process that is killed anywhere around a call to the provider: the sweep finds out, and nobody pays twice."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.queries.ledger import get_balance
from billing_site.kernel import clock
from invoicing.models import PaymentAllocation, PaymentIntent
from invoicing.services.payment_intents import NewIntent, create_intent, prepare_at_provider
from tests.faults.paying import (
    PAYMENTS,
    count_events,
    list_charged,
    make_due,
    open_payer,
    require_same_money,
)
from tests.faults.product_processes import Processes
from tests.stripe_server import StripeServer
from tests.stripe_server.holding import holding
from tests.support import world
from tests.support.world import TESTER

pytestmark = pytest.mark.django_db(transaction=True)
BEFORE: dict[str, Any] = {"call": "pay", "when": "before"}
AFTER: dict[str, Any] = {"call": "pay", "when": "after"}
RECORDING = [{"call": "record_payment", "statement": number} for number in (1, 15, 28)]


@pytest.fixture(autouse=True)
def catalog(stripe: StripeServer) -> None:
    world.publish()


class TestCollectingAnInvoice:
    @pytest.mark.parametrize(
        ("dies", "charges"),
        [(BEFORE, 0), (AFTER, 1), *((dies, 1) for dies in RECORDING)],
        ids=lambda value: "-".join(str(part) for part in value.values()) if isinstance(value, dict) else str(value),
    )
    def test_is_settled_by_the_sweep(
        self, stripe: StripeServer, processes: Processes, dies: dict[str, Any], charges: int
    ) -> None:
        invoice = make_due()
        processes.die("collect", invoice=str(invoice.pk), dies=dies)
        left = PaymentIntent.objects.get(purpose="invoice")
        assert (left.status, left.pending_call, left.amount_received) == ("processing", "pay", 0)
        assert len(list_charged(stripe)) == charges
        assert processes.run("collect", invoice=str(invoice.pk)) == {"refused": "collection_in_progress"}
        assert processes.run("settle")["payments"] == 1
        invoice.refresh_from_db()
        assert (invoice.status, invoice.amount_paid) == ("paid", 1000)
        assert len(list_charged(stripe)) == 1
        require_same_money(stripe)
        assert count_events()["invoice.paid"] == 1
        assert processes.run("settle")["payments"] == 0

    @pytest.mark.parametrize("moment", ["before", "after"])
    def test_killed_while_the_provider_works(self, stripe: StripeServer, processes: Processes, moment: Any) -> None:
        invoice = make_due()
        with holding(stripe, path=PAYMENTS, moment=moment) as held:
            collecting = processes.start("collect", invoice=str(invoice.pk))
            held.wait()
            collecting.kill()
            assert len(list_charged(stripe)) == (0 if moment == "before" else 1)
            processes.run("settle")  # may come while the provider still works
        processes.run("settle")
        invoice.refresh_from_db()
        assert invoice.status == "paid"
        require_same_money(stripe)


class TestTopUps:
    @pytest.mark.parametrize("dies", [BEFORE, AFTER, RECORDING[1]], ids=str)
    def test_are_deposited_once(self, stripe: StripeServer, processes: Processes, dies: dict[str, Any]) -> None:
        account, method = open_payer()
        processes.die("top_up", account=str(account.pk), amount=2500, method=str(method.pk), dies=dies)
        assert get_balance(account_id=account.pk, currency="usd").balance == 0
        assert processes.run("settle")["payments"] == 1
        processes.run("settle")
        assert get_balance(account_id=account.pk, currency="usd").balance == 2500
        assert count_events()["topup.succeeded"] == 1
        require_same_money(stripe)


class TestCaptures:
    @pytest.mark.parametrize("when", ["before", "after"])
    def test_are_taken_once(self, stripe: StripeServer, processes: Processes, when: str) -> None:
        account, method = open_payer()
        new = NewIntent(amount=3000, currency="usd", method=method, capture_method="manual")
        intent = create_intent(account=account, new=new, at=clock.now(), actor=TESTER)
        assert processes.run("confirm", intent=str(intent.pk), method=str(method.pk)) == "requires_capture"
        processes.die("capture", intent=str(intent.pk), amount=2000, dies={"call": "capture", "when": when})
        assert list_charged(stripe) == ({} if when == "before" else {intent.public_id: 2000})
        assert processes.run("capture", intent=str(intent.pk)) == {"refused": "invalid_state"}
        processes.run("settle")
        intent.refresh_from_db()
        assert (intent.status, intent.amount_received) == ("succeeded", 2000)
        require_same_money(stripe)


class TestTokens:
    """A token is kept nowhere, so nobody can ask again: what the provider knows is looked up."""

    @pytest.mark.parametrize("is_prepared", [False, True], ids=["unknown there", "known there"])
    @pytest.mark.parametrize("when", ["before", "after"])
    def test_paid_once_or_not_at_all(
        self, stripe: StripeServer, processes: Processes, when: str, is_prepared: bool
    ) -> None:
        invoice = make_due()
        new = NewIntent(amount=1000, currency="usd", invoice_ids=[invoice.pk])
        intent = create_intent(account=invoice.account, new=new, at=clock.now(), actor=TESTER)
        if is_prepared:
            prepare_at_provider(intent_id=intent.pk, at=clock.now(), actor=TESTER)
        processes.die("confirm", intent=str(intent.pk), token="tok_visa", dies={"call": "pay", "when": when})
        processes.run("settle")
        intent.refresh_from_db()
        assert intent.status == ("requires_payment_method" if when == "before" else "succeeded")
        require_same_money(stripe)
        # The invoice is free again, or paid.
        again = processes.run("collect", invoice=str(invoice.pk))
        assert again in ({"status": "paid", "error": None, "charged": 1000}, {"refused": "invalid_state"})
        require_same_money(stripe)
        assert PaymentAllocation.objects.filter(applied=1000).count() == 1
