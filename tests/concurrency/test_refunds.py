"""Refunds of one payment asked for at once, and one refund settled by two at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
from django.db import connection
from django.db.models import Sum

from accounts.queries.proof import prove_ledger
from billing_site.platform.models import Event
from invoicing.gateways.local import LocalGateway
from invoicing.models import PaymentIntent, Refund
from invoicing.services.disputes import record_dispute
from invoicing.services.refund_sending import send_refund
from invoicing.services.refund_settling import record_refund
from invoicing.services.refunds import AskedRefund, create_refund
from tests.concurrency.test_balance_payments import run_together
from tests.support import world
from tests.support.card_payments import BY, LATER, make_card_paid, pay_by_card

pytestmark = pytest.mark.django_db(transaction=True)


def count_refunded() -> int:
    return int(Refund.objects.filter(status__in=["pending", "succeeded"]).aggregate(all=Sum("amount"))["all"] or 0)


def test_ten_refunds_of_an_invoice_stay_within_it() -> None:
    invoice, _ = make_card_paid()
    ask = partial(create_refund, invoice_id=invoice.pk, asked=AskedRefund(amount=300), **BY)
    assert run_together([ask] * 10) == 3
    assert count_refunded() == 900
    assert prove_ledger().fault is None


def test_refunds_by_invoice_and_by_payment_stay_within_what_was_received() -> None:
    invoice, intent = make_card_paid()
    by_invoice = partial(create_refund, invoice_id=invoice.pk, asked=AskedRefund(amount=400), **BY)
    by_payment = partial(create_refund, intent_id=intent.pk, asked=AskedRefund(amount=400), **BY)
    assert run_together([by_invoice, by_payment] * 3) == 2
    intent.refresh_from_db()
    assert (count_refunded(), intent.amount_refund_pending) == (800, 800)
    assert prove_ledger().fault is None


def test_the_answer_and_the_webhook_settle_it_once() -> None:
    intent = pay_by_card(world.open_account(), 1000)
    for number in range(5):
        refund = create_refund(intent_id=intent.pk, asked=AskedRefund(amount=100), **BY).refunds[0]
        state = LocalGateway().fetch_payment(payment_ref=intent.provider_ref)
        assert state.amount_refunded == number * 100

        def tell(refund: Refund = refund) -> None:
            found = None
            while found is None:  # the webhook comes as soon as the provider has made it
                found = LocalGateway().find_refund(reference=refund.public_id, payment_ref=intent.provider_ref)
            record_refund(state=found, provider_type="local", **BY)

        work: list[Callable[[], object]] = [partial(send_refund, refund_id=refund.pk, at=LATER), tell, tell]
        assert run_together(work) == 3
    assert Event.objects.filter(type="refund.succeeded").count() == 5
    assert PaymentIntent.objects.get().amount_refunded == 500
    assert prove_ledger().fault is None


def test_a_dispute_told_by_many_is_held_once() -> None:
    intent = pay_by_card(world.open_account(), 1000)
    state = LocalGateway().open_dispute(payment_ref=intent.provider_ref)
    connection.close()
    opened = partial(record_dispute, state=state, provider_type="local", **BY)
    lost = partial(record_dispute, state=replace(state, status="lost"), provider_type="local", **BY)
    run_together([opened, lost] * 4)
    assert Event.objects.filter(type="dispute.created").count() == 1
    assert Event.objects.filter(type="dispute.lost").count() == 1
    assert prove_ledger().fault is None
