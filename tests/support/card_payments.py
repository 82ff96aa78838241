"""Invoices and payments that a card of the local provider paid, made as the product makes them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from accounts.models import Account
from invoicing.models import Invoice, PaymentIntent
from invoicing.services.collecting import collect_invoice
from invoicing.services.payment_intents import NewIntent, confirm_intent, create_intent
from tests.support import world
from tests.support.payments import attach, bill
from tests.support.world import NOVEMBER, TESTER

PAID: datetime = NOVEMBER + timedelta(hours=1)
LATER: datetime = NOVEMBER + timedelta(days=3)
BY: dict[str, Any] = {"at": LATER, "actor": TESTER}


def pay_by_card(
    account: Account, amount: int, *, card: str = "visa", invoices: tuple[Invoice, ...] = ()
) -> PaymentIntent:
    """Take a payment from a test card: for invoices, or into the invoice credit."""
    new = NewIntent(amount=amount, currency="usd", invoice_ids=[invoice.pk for invoice in invoices])
    intent = create_intent(account=account, new=new, at=PAID, actor=TESTER)
    method = attach(account, card, at=PAID)
    intent = confirm_intent(intent_id=intent.pk, method=method, at=PAID, actor=TESTER)
    assert intent.status == "succeeded"
    return intent


def make_card_paid(*, handle: str = "acme", card: str = "visa") -> tuple[Invoice, PaymentIntent]:
    """Return an invoice of 10.00 that a test card paid."""
    world.publish()
    account = world.open_account(handle)
    invoice = bill(account)
    attach(account, card)
    collect_invoice(invoice_id=invoice.pk, at=PAID, actor=TESTER)
    invoice.refresh_from_db()
    assert invoice.status == "paid"
    return invoice, PaymentIntent.objects.get(account=account)
