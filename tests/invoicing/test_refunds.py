"""Refunds: what goes back which way, what is never passed, and what the provider says of them."""

from __future__ import annotations

import pytest

from accounts.models import LedgerKind
from accounts.queries.invoice_credit import get_invoice_credit
from accounts.queries.proof import prove_ledger
from invoicing.models import CreditNote, Refund
from invoicing.services.refund_sending import send_refunds
from invoicing.services.refunds import AskedRefund, RefundOutcome, create_refund
from tests.invoicing.test_credit_notes import balance, platform
from tests.support import world
from tests.support.card_payments import BY, make_card_paid, pay_by_card

pytestmark = pytest.mark.django_db


def ask(**options: object) -> RefundOutcome:
    """Ask for a refund and let the provider answer, as the API does."""
    targets = {name: options.pop(name) for name in ("invoice_id", "intent_id") if name in options}
    outcome = create_refund(asked=AskedRefund(**options), **targets, **BY)  # type: ignore[arg-type]
    send_refunds(outcome.refunds, **BY)
    return outcome


class TestInvoices:
    def test_get_a_credit_note_and_the_money_goes_the_way_it_came(self) -> None:
        invoice, intent = make_card_paid()
        ask(invoice_id=invoice.pk, amount=400, reason="requested_by_customer")
        refund, note = Refund.objects.get(), CreditNote.objects.get()
        assert (refund.status, refund.amount, refund.destination) == ("succeeded", 400, "provider")
        assert (note.total, note.amount_refunded, note.amount_credited) == (400, 400, 0)
        assert (refund.credit_note, refund.payment_intent, refund.invoice) == (note, intent, invoice)
        assert refund.receipt_number.startswith("L-")
        intent.refresh_from_db()
        assert (intent.amount_refunded, intent.amount_refund_pending, intent.amount_refundable) == (400, 0, 600)
        assert platform(LedgerKind.CASH) == 1000 - 400
        assert balance(invoice.account, LedgerKind.REFUNDS_PENDING) == 0
        assert prove_ledger().holds


class TestPayments:
    def test_of_no_invoice_take_it_from_invoice_credit(self) -> None:
        account = world.open_account()
        intent = pay_by_card(account, 1000)
        ask(intent_id=intent.pk, amount=300)
        assert (get_invoice_credit(account_id=account.pk, currency="usd"), platform(LedgerKind.CASH)) == (700, 700)
        assert not CreditNote.objects.exists()
        assert prove_ledger().holds
