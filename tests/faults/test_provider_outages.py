"""A provider that times out or fails, with and without the charge behind it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from billing_site.kernel import clock
from invoicing.models import Invoice, PaymentIntent
from invoicing.services.collecting import collect_due, collect_invoice
from invoicing.services.payment_intents import NewIntent, capture_intent, confirm_intent, create_intent
from invoicing.services.settling_sweep import settle_unanswered
from tests.faults.paying import PAYMENTS, list_charged, make_due, open_payer, require_same_money, sweep
from tests.stripe_server import StripeServer
from tests.support import world
from tests.support.world import TESTER

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def catalog(stripe: StripeServer) -> None:
    world.publish()


def collect(invoice: Invoice) -> Any:
    return collect_invoice(invoice_id=invoice.pk, at=clock.now(), actor=TESTER)


@pytest.mark.parametrize(("moment", "charges"), [("after", 1), ("before", 0)])
def test_a_connection_that_breaks_charges_once(stripe: StripeServer, moment: Any, charges: int) -> None:
    invoice = make_due()
    stripe.drop_next(path=PAYMENTS, method="POST", moment=moment)
    invoice, collection = collect(invoice)
    assert (invoice.status, collection.provider_used, collection.success) == ("open", 0, False)
    assert len(list_charged(stripe)) == charges
    assert settle_unanswered(at=clock.now()) == 0  # too early
    assert sweep() == 1
    invoice.refresh_from_db()
    assert invoice.status == "paid"
    require_same_money(stripe)
    assert sweep() == 0


def test_an_outage_of_several_sweeps_ends_in_one_charge(stripe: StripeServer) -> None:
    invoice = make_due()
    stripe.drop_next(path=PAYMENTS, times=3)
    collect(invoice)
    assert [settle_unanswered(at=clock.now() + timedelta(minutes=11 * n)) for n in (1, 2, 3, 4)] == [0, 0, 1, 0]
    assert Invoice.objects.get().status == "paid"
    require_same_money(stripe)


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_provider_is_asked_again(stripe: StripeServer, status: int) -> None:
    invoice = make_due()
    stripe.fail_next(status, path=PAYMENTS, method="POST")
    collect(invoice)
    assert sweep() == 1
    invoice.refresh_from_db()
    assert invoice.status == "paid"
    require_same_money(stripe)


def test_a_failure_after_the_charge_is_found(stripe: StripeServer) -> None:
    """Stripe keeps a failure with its key: the same call never tells of the charge."""
    invoice = make_due()
    stripe.fail_next(500, path=PAYMENTS, method="POST", moment="after")
    collect(invoice)
    assert sweep() == 1
    invoice.refresh_from_db()
    assert invoice.status == "paid"
    require_same_money(stripe)


def test_a_failure_without_a_charge_lets_the_invoice_go_within_minutes(stripe: StripeServer) -> None:
    """The key is spent: the attempt failed, and the next one has a key of its own."""
    invoice = make_due()
    stripe.fail_next(500, path=PAYMENTS, method="POST")
    collect(invoice)
    assert sweep() == 1
    intent = PaymentIntent.objects.get(purpose="invoice")
    assert (intent.status, intent.decline_reason) == ("requires_payment_method", "rejected")
    require_same_money(stripe)
    invoice.refresh_from_db()
    assert invoice.next_attempt_at is not None
    assert collect_due(at=invoice.next_attempt_at) == 1
    invoice.refresh_from_db()
    assert (invoice.status, invoice.attempt_count) == ("paid", 2)
    require_same_money(stripe)


@pytest.mark.parametrize("trouble", ["drop", 500])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_capture_is_made_once(stripe: StripeServer, trouble: Any, moment: Any) -> None:
    account, method = open_payer()
    new = NewIntent(amount=3000, currency="usd", method=method, capture_method="manual")
    intent = create_intent(account=account, new=new, at=clock.now(), actor=TESTER)
    confirm_intent(intent_id=intent.pk, at=clock.now(), actor=TESTER)
    if trouble == "drop":
        stripe.drop_next(path="/capture", moment=moment)
    else:
        stripe.fail_next(500, path="/capture", moment=moment)
    with pytest.raises(Exception, match="Stripe failed or did not answer"):
        capture_intent(intent_id=intent.pk, amount=2000, at=clock.now(), actor=TESTER)
    assert sweep() == 1
    intent.refresh_from_db()
    is_spent = (trouble, moment) == (500, "before")
    assert intent.status == ("requires_capture" if is_spent else "succeeded")
    if is_spent:
        capture_intent(intent_id=intent.pk, amount=2000, at=clock.now(), actor=TESTER)
    require_same_money(stripe)
    assert list_charged(stripe) == {intent.public_id: 2000}
