"""Credit notes above the limit: asked for by one person, issued when another approves, never otherwise."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from accounts.queries.proof import prove_ledger
from accounts.services.approval_limits import SecondPersonNeeded
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import AmountNotPositive, InvalidState, ValidationFailed
from billing_site.platform.models import Approval
from billing_site.platform.services.approvals import (
    ApprovalAlreadyPending,
    ApprovalChanged,
    ApprovalSelfDecision,
    approve,
    reject,
)
from invoicing.calculation.credit_facts import Wish
from invoicing.models import CreditNote, Invoice
from invoicing.services.credit_note_approvals import credit_or_request, read_request
from invoicing.services.credit_note_verification import verify_credit_note
from invoicing.services.credit_notes import issue_credit_note
from invoicing.services.credit_requests import AmountExceedsCreditable, CreditRequest
from invoicing.services.invoices import void_invoice
from tests.invoicing.test_credit_notes import BY, LATER, issue, make_open, make_payment

pytestmark = pytest.mark.django_db
ANN, BOB = Actor("staff", "ann"), Actor("staff", "bob")


@pytest.fixture(autouse=True)
def _limit(settings: Any) -> None:
    settings.BILLING_APPROVAL_LIMIT = 500


def ask(invoice: Invoice, *, actor: Actor = ANN, reason: str = "promised on Monday", **wish: Any) -> Any:
    """Return what came of asking for a credit note: the note or the request."""
    request = CreditRequest(Wish(**wish), cause="order_change", memo="As agreed", metadata={"ticket": "7"})
    return credit_or_request(invoice_id=invoice.pk, request=request, at=LATER, actor=actor, reason=reason).done


def decide(asked: Approval, actor: Actor = BOB) -> CreditNote:
    approve(approval_id=asked.pk, at=LATER, actor=actor)
    return CreditNote.objects.get(approval=asked)


class TestAsking:
    def test_up_to_the_limit_issues_at_once(self) -> None:
        note = ask(make_open(), amount=500)
        assert (note.number_text, note.total, note.approval) == ("CN-0001", 500, None)
        assert not Approval.objects.exists()

    def test_above_it_only_asks(self) -> None:
        invoice = make_open()
        asked = ask(invoice, amount=501)
        assert (asked.status, asked.amount, asked.currency, asked.requested_by) == ("pending", 501, "usd", "staff:ann")
        assert asked.title == "Credit note over 5.01 USD for INV-0001 of Acme"
        assert read_request(asked).memo == "As agreed"
        invoice.refresh_from_db()
        assert (CreditNote.objects.count(), invoice.amount_remaining) == (0, 1000)

    def test_services_are_not_asked(self) -> None:
        assert ask(make_open(), amount=501, actor=Actor("token", "shop")).total == 501

    def test_what_cannot_be_credited_is_refused_before_anybody_is_asked(self) -> None:
        invoice = make_open()
        with pytest.raises(AmountExceedsCreditable, match=r"at most 10\.00 USD can be credited there"):
            ask(invoice, amount=1001)
        with pytest.raises(ValidationFailed):
            ask(invoice, amount=600, reason=" ")
        void_invoice(invoice_id=invoice.pk, **BY)
        with pytest.raises(InvalidState):
            ask(invoice, amount=600)
        assert not Approval.objects.exists()

    def test_twice_is_refused_while_the_first_waits(self) -> None:
        invoice = make_open()
        asked = ask(invoice, amount=600)
        with pytest.raises(ApprovalAlreadyPending):
            ask(invoice, amount=700, actor=BOB)
        reject(approval_id=asked.pk, at=LATER, actor=BOB, comment="too much")
        assert ask(invoice, amount=700, actor=BOB).amount == 700
        assert not CreditNote.objects.exists()


class TestApproving:
    def test_issues_what_was_asked_for(self) -> None:
        invoice = make_open()
        asked = ask(invoice, amount=600)
        note = decide(asked)
        asked.refresh_from_db()
        assert asked.result == {"credit_note_id": note.public_id, "number": "CN-0001"}
        assert (note.total, note.reason, note.memo) == (600, "order_change", "As agreed")
        assert note.metadata == {"ticket": "7"}
        invoice.refresh_from_db()
        assert invoice.amount_remaining == 400
        assert verify_credit_note(note).holds
        assert prove_ledger().holds

    def test_is_not_for_the_person_who_asked(self) -> None:
        asked = ask(make_open(), amount=600)
        for door in (ANN, Actor("token", "Ann")):
            with pytest.raises(ApprovalSelfDecision):
                decide(asked, door)
        assert not CreditNote.objects.exists()

    def test_computes_anew_and_refuses_what_is_no_longer_left(self) -> None:
        invoice = make_open()
        asked = ask(invoice, amount=600)
        issue(invoice, amount=450)
        with pytest.raises(AmountExceedsCreditable, match=r"at most 5\.50 USD"):
            decide(asked)
        asked.refresh_from_db()
        assert (asked.status, CreditNote.objects.count()) == ("pending", 1)

    def test_refuses_another_amount_than_was_asked_for(self) -> None:
        invoice = make_open()
        asked = ask(invoice, everything=True)
        issue(invoice, amount=1)
        with pytest.raises(ApprovalChanged, match=r"It comes to 9\.99 USD now, not to the 10\.00 USD"):
            decide(asked)
        asked.refresh_from_db()
        assert asked.is_pending

    def test_refuses_when_nothing_is_left(self) -> None:
        invoice = make_open()
        asked = ask(invoice, everything=True)
        note = issue(invoice, amount=400)
        rest = issue_credit_note(
            invoice_id=invoice.pk, request=CreditRequest(Wish(everything=True)), at=LATER, actor=Actor("token", "shop")
        )
        assert (note.total, rest.total) == (400, 600)
        with pytest.raises(AmountNotPositive, match="There is nothing to credit"):
            decide(asked)

    def test_gives_credit_for_what_was_paid_meanwhile(self) -> None:
        invoice = make_open()
        asked = ask(invoice, amount=600)
        make_payment(invoice, 500)
        note = decide(asked)
        assert (note.amount_applied, note.amount_credited) == (500, 100)

    def test_of_one_request_is_no_leave_for_another(self) -> None:
        invoice = make_open()
        asked = ask(invoice, amount=600)
        decide(asked)
        asked.refresh_from_db()
        with pytest.raises(SecondPersonNeeded):
            issue_credit_note(
                invoice_id=invoice.pk, request=CreditRequest(Wish(amount=300)), at=LATER, actor=BOB, approval=asked
            )


class TestTheDatabase:
    def write(self, asked: Approval, constraint: str) -> None:
        request = read_request(asked)
        asked.status = "approved"
        invoice = Invoice.objects.get()
        with pytest.raises(IntegrityError) as refused, transaction.atomic():
            issue_credit_note(invoice_id=invoice.pk, request=request, at=LATER, actor=BOB, approval=asked)
            with connection.cursor() as cursor:
                cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        assert refused.value.__cause__.diag.constraint_name == constraint  # type: ignore[union-attr]

    def test_takes_no_note_that_waits_for_its_approval(self) -> None:
        self.write(ask(make_open(), amount=600), "credit_notes_approved")

    def test_takes_one_note_of_an_approval(self, settings: Any) -> None:
        settings.BILLING_APPROVAL_LIMIT = 100
        asked = ask(make_open(), amount=300)
        decide(asked)
        self.write(asked, "credit_notes_approval_once")

    def test_takes_no_decision_of_the_person_who_asked(self) -> None:
        asked = ask(make_open(), amount=600)
        with pytest.raises(IntegrityError) as refused, transaction.atomic():
            Approval.objects.filter(pk=asked.pk).update(
                status="approved", decided_by="staff:ann", decided_at=LATER, executed_at=LATER
            )
        assert refused.value.__cause__.diag.constraint_name == "approvals_second_person"  # type: ignore[union-attr]
