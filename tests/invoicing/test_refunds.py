"""Refunds: what goes back which way, what is never passed, and what the provider says of them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import IntegrityError, transaction

from accounts.models import Account, LedgerKind
from accounts.queries.invoice_credit import get_invoice_credit
from accounts.queries.ledger import get_balance
from accounts.queries.proof import prove_ledger
from accounts.services.adjustments import adjust_invoice_credit
from accounts.services.corrections import AmountExceedsRefundable
from accounts.services.deposits import deposit
from accounts.services.prepaid import InsufficientBalance
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import InvalidState
from billing_site.kernel.money import Money
from billing_site.platform.models import Approval, Event, Notice, WorkItem
from billing_site.platform.services.approvals import ApprovalSelfDecision, approve, expire_due, reject
from billing_site.platform.services.notices import send_notice
from billing_site.platform.services.work_items import act_on_work_item
from invoicing.calculation.credit_facts import WantedLine
from invoicing.gateways.local import LocalGateway
from invoicing.gateways.orders import RefundOrder, RefundState
from invoicing.models import CreditNote, Invoice, PaymentIntent, Refund
from invoicing.services.balance_payments import pay_from_balance
from invoicing.services.credit_notes import void_credit_note
from invoicing.services.refund_sending import send_refund, send_refunds, sweep_refunds
from invoicing.services.refund_settling import record_refund, retry_refund
from invoicing.services.refunds import AskedRefund, RefundOutcome, create_refund
from tests.invoicing.test_credit_notes import balance, issue, platform
from tests.support import world
from tests.support.card_payments import BY, LATER, make_card_paid, pay_by_card
from tests.support.payments import attach, bill
from tests.support.world import NOVEMBER, TESTER

pytestmark = pytest.mark.django_db
BOB = Actor("staff", "bob")
SERVICE = Actor("token", "svc")


def ask(
    invoice: Invoice | None = None, *, intent: PaymentIntent | None = None, actor: Actor = TESTER, **options: Any
) -> RefundOutcome:
    """Ask for a refund and let the provider answer, as the API does."""
    outcome = create_refund(
        invoice_id=invoice.pk if invoice else None,
        intent_id=intent.pk if intent else None,
        asked=AskedRefund(**options),
        at=LATER,
        actor=actor,
        reason="As agreed",
    )
    send_refunds(outcome.refunds, at=LATER, actor=actor)
    return outcome


def shown() -> list[tuple[str, int, str]]:
    """Return status, amount and destination of all refunds, oldest first."""
    return list(Refund.objects.order_by("id").values_list("status", "amount", "destination"))


def credit_of(account: Account) -> int:
    return get_invoice_credit(account_id=account.pk, currency="usd")


def make_mixed() -> tuple[Invoice, PaymentIntent]:
    """Return an invoice of 10.00 of which prepaid money paid 3.00 and a card the rest."""
    world.publish()
    account = world.open_account()
    deposit(account=account, amount=300, currency="usd", at=NOVEMBER, actor=TESTER)
    invoice = bill(account)
    intent = pay_by_card(account, invoice.amount_remaining, invoices=(invoice,))
    invoice.refresh_from_db()
    assert (invoice.status, intent.amount) == ("paid", 700)
    return invoice, intent


class TestInvoices:
    def test_get_a_credit_note_and_the_money_goes_the_way_it_came(self) -> None:
        invoice, intent = make_card_paid()
        ask(invoice, amount=400, reason="requested_by_customer")
        refund, note = Refund.objects.get(), CreditNote.objects.get()
        assert (refund.status, refund.amount, refund.destination) == ("succeeded", 400, "provider")
        assert (note.total, note.amount_refunded, note.amount_credited) == (400, 400, 0)
        assert (refund.credit_note, refund.payment_intent, refund.invoice) == (note, intent, invoice)
        assert refund.receipt_number.startswith("L-")
        intent.refresh_from_db()
        assert (intent.amount_refunded, intent.amount_refund_pending, intent.amount_refundable) == (400, 0, 600)
        assert platform(LedgerKind.CASH) == 1000 - 400
        assert balance(invoice.account, LedgerKind.REFUNDS_PENDING) == 0
        assert LocalGateway().fetch_payment(payment_ref=intent.provider_ref).amount_refunded == 400
        assert prove_ledger().holds

    def test_tell_of_it_in_order(self) -> None:
        invoice, _ = make_card_paid()
        ask(invoice, amount=400)
        found = Event.objects.filter(created_at=LATER).order_by("id").values_list("type", flat=True)
        assert list(found) == ["credit_note.created", "refund.created", "refund.succeeded"]

    def test_without_an_amount_give_back_all_that_is_left(self) -> None:
        invoice, intent = make_card_paid()
        ask(invoice, amount=250)
        ask(invoice)
        assert shown() == [("succeeded", 250, "provider"), ("succeeded", 750, "provider")]
        with pytest.raises(AmountExceedsRefundable) as refusal:
            ask(invoice)
        assert refusal.value.members["refundable"] == 0
        intent.refresh_from_db()
        assert intent.amount_refundable == 0
        assert platform(LedgerKind.CASH) == 0
        assert prove_ledger().holds

    def test_by_line(self) -> None:
        invoice, _ = make_card_paid()
        line = invoice.lines.get()
        ask(invoice, lines=(WantedLine(line.public_id, 123),))
        assert CreditNote.objects.get().lines.get().amount == 123
        assert shown() == [("succeeded", 123, "provider")]

    def test_paid_two_ways_go_back_through_the_provider_first(self) -> None:
        invoice, _ = make_mixed()
        ask(invoice, amount=800)
        # 7.00 came from the card; the other 1.00 of 8.00 came from prepaid money and becomes invoice credit
        assert shown() == [("succeeded", 700, "provider"), ("succeeded", 100, "customer_balance")]
        note = CreditNote.objects.get()
        assert (note.amount_refunded, note.amount_credited, credit_of(invoice.account)) == (700, 100, 100)
        assert len({refund.batch for refund in Refund.objects.all()}) == 1
        ask(invoice)
        assert shown()[2:] == [("succeeded", 200, "customer_balance")]
        assert (platform(LedgerKind.CASH), credit_of(invoice.account)) == (300, 300)
        assert prove_ledger().holds

    def test_paid_by_two_cards_go_back_to_the_newest_first(self) -> None:
        world.publish()
        account = world.open_account()
        invoice = bill(account)
        first, second = (pay_by_card(account, amount, invoices=(invoice,)) for amount in (400, 600))
        ask(invoice, amount=700)
        rows = Refund.objects.order_by("id").values_list("payment_intent", "amount")
        assert list(rows) == [(second.pk, 600), (first.pk, 100)]
        assert prove_ledger().holds

    def test_that_are_not_paid_are_refused(self) -> None:
        world.publish()
        invoice = bill(world.open_account())
        with pytest.raises(InvalidState) as refusal:
            ask(invoice)
        assert refusal.value.members["current_status"] == "open"

    def test_are_never_given_more_than_was_paid(self) -> None:
        invoice, _ = make_card_paid()
        ask(invoice, amount=700)
        with pytest.raises(AmountExceedsRefundable) as refusal:
            ask(invoice, amount=301)
        assert refusal.value.members["refundable"] == 300
        assert CreditNote.objects.count() == 1

    def test_what_a_note_gave_as_credit_is_not_refunded_besides(self) -> None:
        invoice, _ = make_card_paid()
        issue(invoice, amount=600)
        with pytest.raises(AmountExceedsRefundable) as refusal:
            ask(invoice, amount=401)
        assert refusal.value.members["refundable"] == 400

    def test_a_note_with_the_disposition_refund_starts_the_same(self) -> None:
        invoice, _ = make_card_paid()
        note = issue(invoice, amount=400, disposition="refund", cause="duplicate")
        refund = Refund.objects.get()
        assert (refund.credit_note, refund.status, refund.reason) == (note, "pending", "duplicate")
        assert balance(invoice.account, LedgerKind.REFUNDS_PENDING) == -400
        send_refund(refund_id=refund.pk, at=LATER)
        assert shown() == [("succeeded", 400, "provider")]
        assert prove_ledger().holds

    def test_the_customer_gets_a_mail_with_the_credit_note(self) -> None:
        invoice, _ = make_card_paid()
        invoice.seller.mails_credit_notes = True
        invoice.seller.save()
        Account.objects.filter(pk=invoice.account_id).update(email="ada@acme.example", language="de")
        ask(invoice, amount=400)
        notice = Notice.objects.get(composer="invoicing.refund_mail")
        assert notice.subject.startswith("Rückzahlung zur Rechnungskorrektur CN-0001")
        send_notice(notice_id=notice.pk, at=LATER)
        from django.core import mail

        sent = next(message for message in mail.outbox if message.subject == notice.subject)
        text = " ".join(sent.body.split())  # no-break spaces, too
        assert "zur Rechnungskorrektur CN-0001 4,00 $ USD zurückgezahlt" in text
        assert [name for name, *_ in sent.attachments] == ["CN-0001.pdf"]


class TestPayments:
    def test_of_no_invoice_take_it_from_invoice_credit(self) -> None:
        account = world.open_account()
        intent = pay_by_card(account, 1000)
        ask(intent=intent, amount=300)
        assert (credit_of(account), platform(LedgerKind.CASH)) == (700, 700)
        assert not CreditNote.objects.exists()
        assert prove_ledger().holds

    def test_whose_money_was_spent_since_give_back_what_is_left(self) -> None:
        account = world.open_account()
        intent = pay_by_card(account, 1000)
        adjust_invoice_credit(account=account, amount=-400, currency="usd", description="Used", **BY)
        with pytest.raises(AmountExceedsRefundable, match="the rest was spent since") as refusal:
            ask(intent=intent, amount=700)
        assert refusal.value.members["refundable"] == 600
        ask(intent=intent)
        assert shown() == [("succeeded", 600, "provider")]
        assert credit_of(account) == 0

    def test_of_one_invoice_are_refunds_of_that_invoice(self) -> None:
        invoice, intent = make_card_paid()
        ask(intent=intent, amount=250)
        assert (CreditNote.objects.get().invoice, Refund.objects.get().invoice) == (invoice, invoice)

    def test_of_an_invoice_paid_two_ways_give_back_their_own_part_only(self) -> None:
        _, intent = make_mixed()
        with pytest.raises(AmountExceedsRefundable) as refusal:
            ask(intent=intent, amount=701)
        assert refusal.value.members["refundable"] == 700
        ask(intent=intent)
        assert shown() == [("succeeded", 700, "provider")]

    def test_of_two_invoices_get_a_note_for_each(self) -> None:
        world.publish()
        account = world.open_account()
        first = bill(account)
        world.run_cycle(as_of=world.DECEMBER)
        second = Invoice.objects.order_by("-id").first()
        assert second is not None
        intent = pay_by_card(account, 2000, invoices=(first, second))
        ask(intent=intent, amount=1500)
        notes = CreditNote.objects.order_by("id").values_list("invoice", "total")
        assert list(notes) == [(second.pk, 1000), (first.pk, 500)]
        assert Refund.objects.values("batch").distinct().count() == 1
        assert prove_ledger().holds

    def test_that_did_not_succeed_are_refused(self) -> None:
        from invoicing.services.payment_intents import NewIntent, create_intent

        intent = create_intent(account=world.open_account(), new=NewIntent(100, "usd"), **BY)
        with pytest.raises(InvalidState):
            ask(intent=intent)

    def test_top_ups_take_it_from_prepaid_money(self) -> None:
        from invoicing.services.charging import record_payment

        account = world.open_account()
        intent = pay_by_card(account, 1000)
        topup = PaymentIntent.objects.create(
            account=account,
            amount=500,
            currency="usd",
            provider_type="local",
            purpose="topup",
            status="processing",
            provider_ref="pay_local_other",
        )
        state = LocalGateway().fetch_payment(payment_ref=intent.provider_ref)
        from dataclasses import replace

        other = replace(state, ref="pay_local_other", amount=Money(500, "usd"), amount_received=500)
        record_payment(intent_id=topup.pk, state=other, **BY)
        outcome = create_refund(intent_id=topup.pk, asked=AskedRefund(amount=200), **BY)
        assert get_balance(account_id=account.pk, currency="usd").balance == 300
        failed = RefundState("re_x", "failed", Money(200, "usd"), reference=outcome.refunds[0].public_id)
        record_refund(state=failed, provider_type="local", **BY)
        assert get_balance(account_id=account.pk, currency="usd").balance == 500
        assert prove_ledger().holds


class TestAnswers:
    def test_a_failed_refund_becomes_invoice_credit_and_a_work_item(self) -> None:
        invoice, intent = make_card_paid(card="refundfails")
        ask(invoice, amount=400)
        refund = Refund.objects.get()
        assert (refund.status, refund.failure_reason) == ("failed", "lost_or_stolen_card")
        assert (credit_of(invoice.account), platform(LedgerKind.CASH)) == (400, 1000)
        item = WorkItem.objects.get(kind="invoicing.refund_failed")
        assert (item.subject_id, item.status) == (refund.public_id, "open")
        intent.refresh_from_db()
        assert (intent.amount_refunded, intent.amount_refund_pending) == (0, 0)
        assert prove_ledger().holds

    def test_an_operator_tries_again_with_the_same_money(self) -> None:
        invoice, _ = make_card_paid(card="refundfails")
        ask(invoice, amount=400)
        item = WorkItem.objects.get(kind="invoicing.refund_failed")
        act_on_work_item(item_id=item.pk, action="retry", **BY)
        again = Refund.objects.get(retry_of__isnull=False)
        assert (again.status, again.amount, credit_of(invoice.account)) == ("pending", 400, 0)
        done = RefundState("re_again", "succeeded", Money(400, "usd"), reference=again.public_id)
        record_refund(state=done, provider_type="local", **BY)
        assert (shown()[1][0], platform(LedgerKind.CASH)) == ("succeeded", 600)
        assert prove_ledger().holds

    def test_is_tried_again_once_and_only_while_the_money_is_there(self) -> None:
        invoice, _ = make_card_paid(card="refundfails")
        ask(invoice, amount=400)
        refund = Refund.objects.get()
        adjust_invoice_credit(account=invoice.account, amount=-1, currency="usd", description="Used", **BY)
        with pytest.raises(InsufficientBalance):
            retry_refund(refund_id=refund.pk, **BY)
        adjust_invoice_credit(account=invoice.account, amount=1, currency="usd", description="Back", **BY)
        retry_refund(refund_id=refund.pk, **BY)
        with pytest.raises(InvalidState):
            retry_refund(refund_id=refund.pk, **BY)

    def test_what_waits_at_the_bank_is_settled_by_the_sweep(self) -> None:
        invoice, intent = make_card_paid(card="refundpending")
        ask(invoice, amount=400)
        refund = Refund.objects.get()
        assert (refund.status, refund.provider_ref != "") == ("pending", True)
        intent.refresh_from_db()
        assert (intent.amount_refund_pending, intent.amount_refundable) == (400, 600)
        LocalGateway().settle_refund(refund_ref=refund.provider_ref)
        assert sweep_refunds(at=refund.updated_at + timedelta(minutes=9)) == 0
        assert sweep_refunds(at=refund.updated_at + timedelta(minutes=11)) == 1
        assert shown() == [("succeeded", 400, "provider")]

    def test_an_answer_that_was_lost_is_found_again(self) -> None:
        invoice, intent = make_card_paid()
        outcome = create_refund(invoice_id=invoice.pk, asked=AskedRefund(amount=400), **BY)
        refund = outcome.refunds[0]
        order = RefundOrder(refund.public_id, invoice.account.public_id, intent.provider_ref, Money(400, "usd"))
        LocalGateway().refund(order=order, key=f"refund:{refund.public_id}")  # and we died before writing it
        assert sweep_refunds(at=refund.updated_at + timedelta(minutes=11)) == 1
        assert shown() == [("succeeded", 400, "provider")]
        assert LocalGateway().fetch_payment(payment_ref=intent.provider_ref).amount_refunded == 400

    def test_the_same_told_twice_and_late_changes_nothing(self) -> None:
        invoice, _ = make_card_paid()
        ask(invoice, amount=400)
        refund = Refund.objects.get()
        state = LocalGateway().fetch_refund(refund_ref=refund.provider_ref)
        count = Event.objects.count()
        from dataclasses import replace

        for status in ("succeeded", "pending"):
            record_refund(state=replace(state, status=status), provider_type="local", **BY)
        assert (shown(), Event.objects.count()) == ([("succeeded", 400, "provider")], count)

    def test_what_came_back_after_all_is_invoice_credit(self) -> None:
        invoice, _ = make_card_paid()
        ask(invoice, amount=400)
        refund = Refund.objects.get()
        late = RefundState(refund.provider_ref, "failed", Money(400, "usd"), failure_reason="expired_or_canceled_card")
        record_refund(state=late, provider_type="local", **BY)
        assert (shown()[0][0], platform(LedgerKind.CASH), credit_of(invoice.account)) == ("failed", 1000, 400)
        assert prove_ledger().holds

    def test_another_amount_than_ours_is_a_matter_for_people(self) -> None:
        invoice, _ = make_card_paid(card="refundpending")
        ask(invoice, amount=400)
        refund = Refund.objects.get()
        wrong = RefundState(refund.provider_ref, "succeeded", Money(401, "usd"))
        record_refund(state=wrong, provider_type="local", **BY)
        assert shown()[0][0] == "pending"
        assert WorkItem.objects.get().kind == "invoicing.refund_contradicted"


class TestMadeAtTheProvider:
    def refund_there(self, intent: PaymentIntent, amount: int) -> None:
        order = RefundOrder("", "", intent.provider_ref, Money(amount, "usd"))
        state = LocalGateway().refund(order=order, key="by-hand")
        record_refund(state=state, provider_type="local", **BY)
        record_refund(state=state, provider_type="local", **BY)

    def test_become_ours_and_finance_is_told_of_the_missing_note(self) -> None:
        invoice, intent = make_card_paid()
        self.refund_there(intent, 400)
        refund = Refund.objects.get()
        assert (refund.status, refund.source, refund.is_uncovered) == ("succeeded", "outside", True)
        assert platform(LedgerKind.CASH) == 600
        assert prove_ledger().holds
        item = WorkItem.objects.get(kind="invoicing.refund_without_note")
        act_on_work_item(item_id=item.pk, action="write_credit_note", **BY)
        note = CreditNote.objects.get()
        refund.refresh_from_db()
        assert (note.total, note.amount_refunded, refund.credit_note, refund.is_uncovered) == (400, 400, note, False)
        assert balance(invoice.account, LedgerKind.REFUNDS_PENDING) == 0
        assert prove_ledger().holds

    def test_count_against_what_is_left(self) -> None:
        _, intent = make_card_paid()
        self.refund_there(intent, 400)
        intent.refresh_from_db()
        assert intent.amount_refundable == 600

    def test_of_a_payment_that_paid_no_invoice_are_a_debt(self) -> None:
        account = world.open_account()
        intent = pay_by_card(account, 1000)
        adjust_invoice_credit(account=account, amount=-900, currency="usd", description="Used", **BY)
        self.refund_there(intent, 400)
        assert balance(account, LedgerKind.INVOICE_CREDIT) == 300
        assert prove_ledger().holds

    def test_of_an_unknown_payment_are_told(self) -> None:
        state = RefundState("re_1", "succeeded", Money(400, "usd"), payment_ref="pi_unknown")
        assert record_refund(state=state, provider_type="local", **BY) is None
        assert WorkItem.objects.get().kind == "invoicing.refund_unknown"


class TestASecondPerson:
    @pytest.fixture(autouse=True)
    def _limits(self, settings: Any) -> None:
        settings.BILLING_REFUND_APPROVAL_LIMITS = {"default": 300, "fraudulent": 0}

    def test_is_asked_above_the_limit_and_nothing_happens_before(self) -> None:
        invoice, intent = make_card_paid()
        ask(invoice, amount=400, reason="duplicate")
        refund, approval = Refund.objects.get(), Approval.objects.get()
        assert (refund.status, refund.released_at, refund.approval) == ("pending", None, approval)
        assert (approval.kind, approval.amount, approval.subject_id) == ("invoicing.refund", 400, refund.public_id)
        assert not CreditNote.objects.exists()
        intent.refresh_from_db()
        assert intent.amount_refundable == 600
        with pytest.raises(AmountExceedsRefundable) as refusal:
            ask(invoice, amount=601)
        assert refusal.value.members["refundable"] == 600

    def test_approves_what_then_happens(self) -> None:
        invoice, _ = make_card_paid()
        ask(invoice, amount=400)
        approval = Approval.objects.get()
        with pytest.raises(ApprovalSelfDecision):
            approve(approval_id=approval.pk, **BY)
        approve(approval_id=approval.pk, at=LATER, actor=BOB)
        refund, note = Refund.objects.get(), CreditNote.objects.get()
        assert (refund.credit_note, refund.released_at, note.approval) == (note, LATER, approval)
        send_refund(refund_id=refund.pk, at=LATER)
        assert shown() == [("succeeded", 400, "provider")]
        assert prove_ledger().holds

    def test_services_ask_too(self) -> None:
        invoice, _ = make_card_paid()
        ask(invoice, amount=301, actor=SERVICE)
        assert shown() == [("pending", 301, "provider")]
        ask(invoice, amount=300, actor=SERVICE)
        assert shown()[1] == ("succeeded", 300, "provider")

    def test_by_reason(self) -> None:
        invoice, _ = make_card_paid()
        ask(invoice, amount=1, reason="fraudulent")
        assert Approval.objects.count() == 1

    def test_who_rejects_sets_everything_free(self) -> None:
        invoice, intent = make_card_paid()
        ask(invoice, amount=400)
        reject(approval_id=Approval.objects.get().pk, at=LATER, actor=BOB, comment="no")
        assert shown() == [("canceled", 400, "provider")]
        intent.refresh_from_db()
        assert intent.amount_refundable == 1000
        assert (CreditNote.objects.count(), platform(LedgerKind.CASH)) == (0, 1000)
        assert prove_ledger().holds

    def test_an_expired_request_gives_stored_money_back(self) -> None:
        account = world.open_account()
        intent = pay_by_card(account, 1000)
        ask(intent=intent, amount=400)
        assert (credit_of(account), balance(account, LedgerKind.REFUNDS_PENDING)) == (600, -400)
        assert expire_due(at=LATER + timedelta(days=15)) == 1
        assert (shown()[0][0], credit_of(account)) == ("canceled", 1000)
        assert prove_ledger().holds

    def test_a_note_of_a_service_stands_while_its_refund_waits(self) -> None:
        invoice, _ = make_card_paid()
        from invoicing.calculation.credit_facts import Wish
        from invoicing.services.credit_notes import issue_credit_note
        from invoicing.services.credit_requests import CreditRequest

        request = CreditRequest(Wish((), 400), disposition="refund")
        note = issue_credit_note(invoice_id=invoice.pk, request=request, at=LATER, actor=SERVICE)
        assert (Refund.objects.get().waits, note.amount_refunded) == (True, 400)
        reject(approval_id=Approval.objects.get().pk, at=LATER, actor=BOB, comment="no")
        assert credit_of(invoice.account) == 400
        assert prove_ledger().holds


class TestVoidingTheNote:
    def test_is_refused_when_it_was_paid_out(self) -> None:
        invoice, _ = make_card_paid()
        ask(invoice, amount=400)
        with pytest.raises(InvalidState, match="paid out by a refund"):
            void_credit_note(credit_note_id=CreditNote.objects.get().pk, **BY)

    def test_is_refused_while_it_may_be(self) -> None:
        invoice, _ = make_card_paid(card="refundpending")
        ask(invoice, amount=400)
        with pytest.raises(InvalidState, match="under way"):
            void_credit_note(credit_note_id=CreditNote.objects.get().pk, **BY)

    def test_takes_the_credit_of_a_failed_refund(self) -> None:
        invoice, _ = make_card_paid(card="refundfails")
        ask(invoice, amount=400)
        void_credit_note(credit_note_id=CreditNote.objects.get().pk, **BY)
        assert credit_of(invoice.account) == 0
        assert balance(invoice.account, LedgerKind.REFUNDS_PENDING) == 0
        assert prove_ledger().holds

    def test_needs_that_credit_to_be_there(self) -> None:
        invoice, _ = make_card_paid(card="refundfails")
        ask(invoice, amount=400)
        adjust_invoice_credit(account=invoice.account, amount=-1, currency="usd", description="Used", **BY)
        with pytest.raises(InsufficientBalance):
            void_credit_note(credit_note_id=CreditNote.objects.get().pk, **BY)


class TestTheDatabase:
    def write(self, invoice: Invoice, intent: PaymentIntent, amount: int, *, of: str = "payment") -> None:
        with transaction.atomic():
            Refund.objects.create(
                account=invoice.account,
                payment_intent=intent,
                invoice=invoice if of == "invoice" else None,
                batch=UUID(int=amount),
                amount=amount,
                currency="usd",
                destination="provider",
                source="invoice_credit" if of == "payment" else "credit_note",
                provider_type="local",
            )

    def test_counts_refunds_on_the_payment_and_refuses_to_pass_it(self) -> None:
        invoice, intent = make_card_paid()
        self.write(invoice, intent, 600)
        with pytest.raises(IntegrityError, match="payment_intents_refunds_within"):
            self.write(invoice, intent, 401)
        self.write(invoice, intent, 400)
        intent.refresh_from_db()
        assert intent.amount_refund_pending == 1000

    def test_refuses_to_pass_the_invoice(self) -> None:
        invoice, intent = make_card_paid()
        self.write(invoice, intent, 1000, of="invoice")
        other = pay_by_card(invoice.account, 500)
        with pytest.raises(IntegrityError, match="refunds of an invoice cannot pass it"):
            self.write(invoice, other, 1, of="invoice")

    def test_keeps_amounts_as_written(self) -> None:
        invoice, intent = make_card_paid()
        self.write(invoice, intent, 600)
        with pytest.raises(IntegrityError, match="refunds: UPDATE refused"), transaction.atomic():
            Refund.objects.update(amount=1)


def test_paying_later_is_not_disturbed() -> None:
    invoice, _ = make_card_paid()
    ask(invoice, amount=400)
    attach(invoice.account)
    with pytest.raises(InvalidState):
        pay_from_balance(invoice_id=invoice.pk, **BY)
