"""Payments recorded by hand: what they pay, what is refused, and the cheque that bounces."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from accounts.models import Account, LedgerAccount, LedgerEntry
from accounts.queries.invoice_credit import get_invoice_credit
from accounts.queries.proof import prove_ledger
from accounts.services.adjustments import adjust_invoice_credit
from accounts.services.prepaid import InsufficientBalance
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import AmountNotPositive, DomainError, InvalidState, NotFound, ValidationFailed
from billing_site.platform.models import Approval, Event
from billing_site.platform.services.approvals import ApprovalSelfDecision, approve
from invoicing.models import Invoice, ManualPayment
from invoicing.services.invoices import void_invoice
from invoicing.services.manual_payment_approvals import record_or_request, reverse_or_request
from invoicing.services.manual_payments import AmountExceedsRemaining
from invoicing.services.uncollectible import mark_uncollectible
from tests.support import world
from tests.support.manual_payments import AT, bounce, describe, record

pytestmark = pytest.mark.django_db
ADA, BOB = Actor("staff", "ada"), Actor("staff", "bob")
BY: dict[str, Any] = {"at": AT, "actor": world.TESTER}


def make_two() -> tuple[Account, Invoice, Invoice]:
    """Return an account with two open invoices of 1000."""
    world.publish()
    account = world.open_account()
    world.subscribe(account, "pro")
    world.run_cycle(as_of=world.DECEMBER)
    november, december = Invoice.objects.order_by("id")
    return account, november, december


def get_pot(kind: str) -> int:
    return LedgerAccount.objects.get(kind=kind).balance


class TestRecording:
    def test_pays_several_invoices_and_keeps_the_rest_as_credit(self) -> None:
        account, november, december = make_two()
        payment = record(account, 1500, (november, 1000), (december, 300), reference=" 000 471 ")
        november.refresh_from_db()
        december.refresh_from_db()
        assert (november.status, november.payment_method, november.amount_paid) == ("paid", "cheque", 1000)
        assert (december.status, december.amount_remaining) == ("open", 700)
        assert (payment.amount_credited, payment.reference) == (200, "000 471")
        assert get_invoice_credit(account_id=account.pk, currency="usd") == 200
        legs = {leg.ledger_account.kind: leg.amount for leg in payment.entry.postings.select_related("ledger_account")}
        # 15.00 came: 13.00 of what is owed, 2.00 of credit
        assert legs == {"cash": 1500, "receivable": -1300, "invoice_credit": -200}
        event = Event.objects.get(type="manual_payment.recorded")
        assert event.data["invoices"] == {november.public_id: 1000, december.public_id: 300}
        assert list(payment.parts.values_list("invoice", "amount")) == [(november.pk, 1000), (december.pk, 300)]
        assert prove_ledger().holds

    def test_turns_a_subscription_on_that_waited(self) -> None:
        world.publish()
        account = world.open_account()
        subscription = world.subscribe(account, "pro", payment_gated=True)
        record(account, 1000, (Invoice.objects.get(), 1000))
        subscription.refresh_from_db()
        assert subscription.status == "active"

    def test_of_what_was_given_up_takes_bad_debt_back(self) -> None:
        account, november, _ = make_two()
        mark_uncollectible(invoice_id=november.pk, **BY)
        record(account, 400, (november, 400))
        assert get_pot("bad_debt") == 600
        assert prove_ledger().holds

    def test_by_a_closed_account_is_taken(self) -> None:
        account, november, _ = make_two()
        Account.objects.filter(pk=account.pk).update(status="closed")
        account.refresh_from_db()
        assert record(account, 1000, (november, 1000)).amount_credited == 0

    @pytest.mark.parametrize(
        ("amount", "shares", "further", "error"),
        [
            (1000, (1001, 0), {}, ValidationFailed),
            (1500, (1001, 0), {}, AmountExceedsRemaining),
            (0, (), {}, AmountNotPositive),
            (1000, (1000, -1), {}, AmountNotPositive),
            (1000, (), {"method": "barter"}, ValidationFailed),
            (1000, (), {"received_on": AT.date() + timedelta(days=2)}, ValidationFailed),
            (1000, (1000,), {"currency": "eur"}, ValidationFailed),
        ],
    )
    def test_is_refused_for_what_cannot_be(
        self, amount: int, shares: tuple[int, ...], further: dict[str, Any], error: type[DomainError]
    ) -> None:
        account, *invoices = make_two()
        parts = [(invoice, share) for invoice, share in zip(invoices, shares, strict=False) if share]
        with pytest.raises(error):
            record(account, amount, *parts, **further)
        assert not ManualPayment.objects.exists()
        assert not LedgerEntry.objects.filter(type="payment").exists()

    def test_is_refused_for_invoices_that_are_not_there_to_pay(self) -> None:
        account, november, december = make_two()
        with pytest.raises(NotFound):
            record(world.open_account("other"), 1000, (november, 1000))
        void_invoice(invoice_id=december.pk, **BY)
        with pytest.raises(InvalidState):
            record(account, 1000, (december, 1000))
        with pytest.raises(ValidationFailed):
            record(account, 1000, (november, 500), (november, 500))


class TestReversing:
    def test_books_the_opposite_and_opens_what_was_paid(self) -> None:
        account, november, december = make_two()
        payment = bounce(record(account, 1500, (november, 1000), (december, 300)))
        november.refresh_from_db()
        december.refresh_from_db()
        assert (november.status, november.paid_at, november.payment_method) == ("open", None, "")
        assert (december.status, december.amount_paid) == ("open", 0)
        assert (get_pot("cash"), get_pot("receivable"), get_pot("invoice_credit")) == (0, 2000, 0)
        assert (payment.status, payment.reverse_reason) == ("reversed", "bounced")
        assert Event.objects.filter(type="invoice.reopened").count() == 1
        assert Event.objects.get(type="manual_payment.reversed").reason == "bounced"
        assert prove_ledger().holds
        record(account, 2000, (november, 1000), (december, 1000))
        assert get_pot("receivable") == 0

    def test_keeps_what_others_paid(self) -> None:
        account, november, _ = make_two()
        first = record(account, 400, (november, 400))
        record(account, 600, (november, 600), method="cash")
        bounce(first)
        november.refresh_from_db()
        assert (november.status, november.amount_paid, november.amount_remaining) == ("open", 600, 400)

    def test_of_what_was_given_up_makes_it_bad_debt_again(self) -> None:
        account, november, _ = make_two()
        mark_uncollectible(invoice_id=november.pk, **BY)
        for _ in range(2):  # paid again with the same amount, it is recovered again
            payment = record(account, 400, (november, 400))
            assert (get_pot("bad_debt"), get_pot("receivable")) == (600, 1000)
            bounce(payment)
            assert (get_pot("bad_debt"), get_pot("receivable")) == (1000, 1000)
        november.refresh_from_db()
        assert (november.status, november.amount_paid) == ("uncollectible", 0)
        record(account, 1000, (november, 1000))
        assert (get_pot("bad_debt"), get_pot("receivable")) == (0, 1000)
        assert prove_ledger().holds

    def test_needs_the_credit_it_gave_unless_it_may_be_owed(self) -> None:
        account = world.open_account()
        payment = record(account, 700)
        adjust_invoice_credit(account=account, amount=-300, currency="usd", description="spent", **BY)
        with pytest.raises(InsufficientBalance) as refused:
            bounce(payment)
        assert refused.value.members == {"available": 400, "required": 700}
        bounce(payment, allow_negative=True)
        assert get_invoice_credit(account_id=account.pk, currency="usd") == -300
        assert prove_ledger().holds

    def test_happens_once(self) -> None:
        payment = bounce(record(world.open_account(), 700))
        with pytest.raises(InvalidState):
            bounce(payment)


class TestAboveTheLimit:
    @pytest.fixture(autouse=True)
    def _low_limit(self, settings: Any) -> None:
        settings.BILLING_APPROVAL_LIMIT = 999

    def test_another_person_records_it(self) -> None:
        account, november, _ = make_two()
        asked = record_or_request(
            account=account, new=describe(1000, (november, 1000)), at=AT, actor=ADA, reason="came by post"
        )
        assert isinstance(asked, Approval)
        november.refresh_from_db()
        assert (november.status, ManualPayment.objects.count()) == ("open", 0)
        with pytest.raises(ApprovalSelfDecision):
            approve(approval_id=asked.pk, at=AT, actor=ADA)
        approve(approval_id=asked.pk, at=AT, actor=BOB)
        november.refresh_from_db()
        payment = ManualPayment.objects.get()
        assert (november.status, payment.recorded_by, payment.approval_id) == ("paid", "staff:ada", asked.pk)
        again = reverse_or_request(payment_id=payment.pk, at=AT, actor=BOB, reason="bounced")
        assert isinstance(again, Approval)
        approve(approval_id=again.pk, at=AT, actor=ADA)
        november.refresh_from_db()
        assert november.status == "open"
        assert prove_ledger().holds

    def test_what_cannot_be_is_refused_before_anybody_is_asked(self) -> None:
        account, november, _ = make_two()
        with pytest.raises(AmountExceedsRemaining):
            record_or_request(account=account, new=describe(1500, (november, 1001)), at=AT, actor=ADA, reason="post")
        assert not Approval.objects.exists()
        assert not Event.objects.filter(type="manual_payment.recorded").exists()

    def test_small_ones_are_recorded_at_once(self) -> None:
        done = record_or_request(
            account=world.open_account(), new=describe(999), at=AT, actor=ADA, reason="came by post"
        )
        assert isinstance(done, ManualPayment)
