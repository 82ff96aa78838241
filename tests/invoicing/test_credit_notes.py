"""Credit notes: what they take of an invoice, where the money goes, what voiding brings back, what is refused."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction

from accounts.models import Account, LedgerAccount, LedgerKind
from accounts.queries.invoice_credit import get_invoice_credit
from accounts.queries.proof import prove_ledger
from accounts.services.adjustments import adjust_invoice_credit
from accounts.services.approval_limits import SecondPersonNeeded
from accounts.services.deposits import deposit
from accounts.services.prepaid import InsufficientBalance
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import AmountNotPositive, InvalidState, NotFound, ValidationFailed
from billing_site.kernel.ids import new_uuid
from billing_site.platform.models import Event
from invoicing.calculation.credit_facts import WantedLine, Wish
from invoicing.models import CreditNote, CreditNoteLine, Invoice, NumberCounter, Refund
from invoicing.services.credit_note_verification import verify_credit_note
from invoicing.services.credit_notes import issue_credit_note, void_credit_note
from invoicing.services.credit_requests import AmountExceedsCreditable, CreditRequest
from invoicing.services.invoices import void_invoice
from invoicing.services.revenue import release_revenue
from tests.support import world
from tests.support.world import DECEMBER, NOVEMBER, TESTER

pytestmark = pytest.mark.django_db
LATER = NOVEMBER + timedelta(days=3)
BY: dict[str, Any] = {"at": LATER, "actor": TESTER}


def make_open() -> Invoice:
    """Return an open invoice of 10.00: one fee."""
    world.publish()
    world.subscribe(world.open_account(), "pro")
    return world.list_invoices()[0]


def make_paid() -> Invoice:
    """Return an invoice of 10.00 that prepaid money paid."""
    world.publish()
    account = world.open_account()
    deposit(account=account, amount=1000, currency="usd", at=NOVEMBER, actor=TESTER)
    world.subscribe(account, "pro")
    return world.list_invoices()[0]


def make_three_lines() -> Invoice:
    """Return an open invoice of a fee of 10.00 and two usage lines of 5.00 and 15.00."""
    world.publish()
    account = world.open_account()
    world.subscribe(account, "pro")
    world.use(account, "input_tokens", ["10000000"], at=LATER)
    world.use(account, "output_tokens", ["10000000"], at=LATER, key="o")
    world.run_cycle(as_of=DECEMBER)
    return world.list_invoices()[-1]


def issue(invoice: Invoice, *lines: WantedLine, amount: int = 0, everything: bool = False, **rest: Any) -> CreditNote:
    request = CreditRequest(Wish(lines, amount, everything), **rest)
    return issue_credit_note(invoice_id=invoice.pk, request=request, **BY)


def balance(account: Account, kind: LedgerKind) -> int:
    return sum(LedgerAccount.objects.filter(account=account, kind=kind).values_list("balance", flat=True))


def platform(kind: LedgerKind) -> int:
    return sum(LedgerAccount.objects.filter(account=None, kind=kind).values_list("balance", flat=True))


def get_revenue() -> int:
    """Return what was and will be earned."""
    return platform(LedgerKind.REVENUE) + platform(LedgerKind.DEFERRED_REVENUE)


class TestOpenInvoices:
    def test_owe_less(self) -> None:
        invoice = make_open()
        note = issue(invoice, amount=300)
        invoice.refresh_from_db()
        assert (note.number_text, note.total, note.amount_applied, note.amount_credited) == ("CN-0001", 300, 300, 0)
        assert (invoice.status, invoice.amount_paid, invoice.amount_remaining) == ("open", 300, 700)
        assert (balance(invoice.account, LedgerKind.RECEIVABLE), get_revenue()) == (700, -700)
        assert prove_ledger().holds

    def test_are_paid_when_nothing_is_left_of_them(self) -> None:
        invoice = make_open()
        issue(invoice, everything=True)
        invoice.refresh_from_db()
        assert (invoice.status, invoice.payment_method, invoice.paid_at) == ("paid", "credit_note", LATER)
        assert balance(invoice.account, LedgerKind.RECEIVABLE) == 0

    def test_that_were_paid_in_part_give_the_surplus_as_invoice_credit(self) -> None:
        invoice = make_open()
        issue(invoice, amount=400)
        paid = make_payment(invoice, 300)
        note = issue(paid, amount=600)
        paid.refresh_from_db()
        # 10.00 − 4.00 − 3.00 paid leaves 3.00; of 6.00 more 3.00 are surplus
        assert (note.amount_applied, note.amount_credited, paid.status) == (300, 300, "paid")
        assert get_invoice_credit(account_id=paid.account_id, currency="usd") == 300

    def test_cannot_be_voided_below_a_note(self) -> None:
        invoice = make_open()
        issue(invoice, amount=1)
        with pytest.raises(InvalidState):
            void_invoice(invoice_id=invoice.pk, **BY)

    def test_tell_what_happened(self) -> None:
        invoice = make_open()
        note = issue(invoice, everything=True)
        events = Event.objects.filter(created_at=LATER).order_by("id")
        assert [(event.type, event.object_id) for event in events][-2:] == [
            ("credit_note.created", note.public_id),
            ("invoice.paid", invoice.public_id),
        ]


def make_payment(invoice: Invoice, amount: int) -> Invoice:
    """Pay part of an invoice from money that arrived since."""
    from invoicing.services.balance_payments import pay_from_balance

    deposit(account=invoice.account, amount=amount, currency="usd", at=LATER, actor=TESTER)
    return pay_from_balance(invoice_id=invoice.pk, **BY)


class TestPaidInvoices:
    def test_give_invoice_credit(self) -> None:
        invoice = make_paid()
        note = issue(invoice, amount=250)
        assert (note.amount_applied, note.amount_credited) == (0, 250)
        assert get_invoice_credit(account_id=invoice.account_id, currency="usd") == 250
        assert get_revenue() == -750
        assert prove_ledger().holds

    def test_paid_back_outside_take_it_from_cash(self) -> None:
        invoice = make_paid()
        note = issue(invoice, amount=250, disposition="out_of_band")
        assert (note.amount_credited, note.out_of_band_amount) == (0, 250)
        assert get_invoice_credit(account_id=invoice.account_id, currency="usd") == 0
        assert platform(LedgerKind.CASH) == 1000 - 250

    def test_paid_back_in_part_outside(self) -> None:
        invoice = make_paid()
        note = issue(invoice, amount=250, out_of_band_amount=100)
        assert (note.amount_credited, note.out_of_band_amount) == (150, 100)

    def test_that_stored_money_paid_are_refunded_into_invoice_credit(self) -> None:
        invoice = make_paid()
        note = issue(invoice, amount=250, disposition="refund")
        assert (note.amount_credited, note.amount_refunded) == (250, 0)
        refund = Refund.objects.get()
        assert (refund.credit_note, refund.amount, refund.status) == (note, 250, "succeeded")
        assert (refund.destination, refund.payment_intent_id) == ("customer_balance", None)
        assert prove_ledger().holds

    def test_stay_paid(self) -> None:
        invoice = make_paid()
        issue(invoice, everything=True)
        invoice.refresh_from_db()
        assert (invoice.status, invoice.payment_method, invoice.amount_due) == ("paid", "balance", 0)


class TestLines:
    def test_are_credited_one_by_one(self) -> None:
        invoice = make_three_lines()
        fee, tokens, answers = invoice.lines.order_by("position")
        issue(invoice, WantedLine(tokens.public_id, 200, "Outage"))
        note = issue(invoice, WantedLine(tokens.public_id), WantedLine(answers.public_id, 500))
        shown = [(line.description, line.amount) for line in note.lines.order_by("position")]
        assert shown == [(tokens.description, tokens.amount - 200), (answers.description, 500)]
        assert note.total == tokens.amount - 200 + 500
        with pytest.raises(AmountExceedsCreditable):
            issue(invoice, WantedLine(tokens.public_id, 1))
        rest = issue(invoice, everything=True)
        assert rest.total == fee.amount + answers.amount - 500
        assert sum(CreditNote.objects.values_list("total", flat=True)) == invoice.total

    def test_of_another_invoice_are_refused(self) -> None:
        invoice = make_three_lines()
        other = world.list_invoices()[0].lines.get()
        with pytest.raises(ValidationFailed):
            issue(invoice, WantedLine(other.public_id, 1))

    def test_are_recomputed_from_the_trace(self) -> None:
        invoice = make_three_lines()
        first = issue(invoice, amount=777)
        second = issue(invoice, WantedLine(amount=100, description="Goodwill"), amount=50)
        assert verify_credit_note(first).differences == verify_credit_note(second).differences == []
        out = StringIO()
        call_command("verify_invoice", "--all", stdout=out)
        assert "and 2 credit notes recomputed, 0 differ" in out.getvalue()

    def test_that_differ_from_their_trace_are_found(self) -> None:
        note = issue(make_open(), amount=300)
        note.trace["lines"][0]["net"], note.trace["wish"]["amount"] = 999, 299
        found = {difference.where for difference in verify_credit_note(note).differences}
        assert {"total", "line 1 amount", "lines of the invoice"} <= found


class TestLimits:
    def test_not_more_than_the_invoice(self) -> None:
        invoice = make_open()
        issue(invoice, amount=600)
        with pytest.raises(AmountExceedsCreditable) as refused:
            issue(invoice, amount=401)
        assert refused.value.members["creditable"] == 400

    def test_nothing_is_refused(self) -> None:
        invoice = make_open()
        with pytest.raises(AmountNotPositive):
            issue(invoice)
        issue(invoice, everything=True)
        with pytest.raises(AmountNotPositive):
            issue(invoice, everything=True)

    def test_drafts_and_void_invoices_are_refused(self) -> None:
        invoice = make_open()
        with pytest.raises(InvalidState):
            issue(world.copy_as_draft(invoice), amount=1)
        void_invoice(invoice_id=invoice.pk, **BY)
        with pytest.raises(InvalidState):
            issue(invoice, amount=1)

    def test_an_unknown_invoice_is_not_found(self) -> None:
        with pytest.raises(NotFound):
            issue_credit_note(invoice_id=new_uuid(), request=CreditRequest(Wish(amount=1)), **BY)

    def test_more_outside_than_was_paid_is_refused(self) -> None:
        with pytest.raises(ValidationFailed):
            issue(make_open(), amount=300, out_of_band_amount=1)

    def test_staff_above_the_limit_needs_a_second_person(self, settings: Any) -> None:
        settings.BILLING_APPROVAL_LIMIT = 299
        invoice = make_open()
        with pytest.raises(SecondPersonNeeded):
            issue(invoice, amount=300)
        assert issue(invoice, amount=299).approval is None

    def test_a_service_does_not(self, settings: Any) -> None:
        settings.BILLING_APPROVAL_LIMIT = 299
        request = CreditRequest(Wish(amount=300))
        service = Actor("token", "shop")
        assert issue_credit_note(invoice_id=make_open().pk, request=request, at=LATER, actor=service).total == 300


class TestRevenue:
    def test_that_is_not_earned_yet_goes_first(self) -> None:
        invoice = make_open()
        release_revenue(at=NOVEMBER + timedelta(days=18))
        # 18 of 30 days are earned: ten of 34 and eight of 33 cents; 3.96 are not
        assert (platform(LedgerKind.REVENUE), platform(LedgerKind.DEFERRED_REVENUE)) == (-604, -396)
        note = issue(invoice, amount=500)
        assert (platform(LedgerKind.REVENUE), platform(LedgerKind.DEFERRED_REVENUE)) == (-500, 0)
        release_revenue(at=DECEMBER)
        assert (platform(LedgerKind.REVENUE), platform(LedgerKind.DEFERRED_REVENUE)) == (-500, 0)
        assert prove_ledger().holds
        void_credit_note(credit_note_id=note.pk, **BY)
        assert (platform(LedgerKind.REVENUE), platform(LedgerKind.DEFERRED_REVENUE)) == (-1000, 0)
        assert prove_ledger().holds


class TestNumbers:
    def test_have_no_gap_after_a_refusal(self) -> None:
        invoice = make_open()
        issue(invoice, amount=100)
        with pytest.raises(AmountExceedsCreditable):
            issue(invoice, amount=5000)
        with pytest.raises(RuntimeError), transaction.atomic():
            issue(invoice, amount=100)
            raise RuntimeError
        assert issue(invoice, amount=100).number_text == "CN-0002"
        assert NumberCounter.objects.get(series="CN").last_number == 2
        assert world.list_invoices()[0].number_text == "INV-0001"


class TestVoiding:
    def test_lets_the_invoice_be_paid_again(self) -> None:
        invoice = make_open()
        note = issue(invoice, amount=300)
        void_credit_note(credit_note_id=note.pk, reason="a mistake", **BY)
        invoice.refresh_from_db()
        note.refresh_from_db()
        assert (note.status, note.voided_at, note.void_reason) == ("void", LATER, "a mistake")
        assert (invoice.status, invoice.amount_remaining) == ("open", 1000)
        assert (balance(invoice.account, LedgerKind.RECEIVABLE), get_revenue()) == (1000, -1000)
        assert issue(invoice, everything=True).total == 1000
        assert prove_ledger().holds

    def test_opens_an_invoice_that_the_note_settled(self) -> None:
        invoice = make_open()
        note = issue(invoice, everything=True)
        void_credit_note(credit_note_id=note.pk, **BY)
        invoice.refresh_from_db()
        assert (invoice.status, invoice.paid_at, invoice.payment_method) == ("open", None, "")
        assert Event.objects.filter(type="invoice.reopened", object_id=invoice.public_id).count() == 1
        void_invoice(invoice_id=invoice.pk, **BY)
        assert balance(invoice.account, LedgerKind.RECEIVABLE) == 0

    def test_takes_the_invoice_credit_back(self) -> None:
        invoice = make_paid()
        note = issue(invoice, amount=250)
        void_credit_note(credit_note_id=note.pk, **BY)
        invoice.refresh_from_db()
        assert get_invoice_credit(account_id=invoice.account_id, currency="usd") == 0
        assert (invoice.status, get_revenue()) == ("paid", -1000)

    def test_needs_the_credit_to_be_there(self) -> None:
        invoice = make_paid()
        note = issue(invoice, amount=250)
        adjust_invoice_credit(account=invoice.account, amount=-1, currency="usd", description="spent", **BY)
        with pytest.raises(InsufficientBalance) as refused:
            void_credit_note(credit_note_id=note.pk, **BY)
        assert refused.value.members == {"available": 249, "required": 250}

    def test_happens_once(self) -> None:
        note = issue(make_open(), amount=300)
        void_credit_note(credit_note_id=note.pk, **BY)
        with pytest.raises(InvalidState):
            void_credit_note(credit_note_id=note.pk, **BY)
        with pytest.raises(NotFound):
            void_credit_note(credit_note_id=new_uuid(), **BY)


class TestTheDatabase:
    def refuse(self, constraint: str, sql: str, *arguments: Any) -> None:
        with pytest.raises(IntegrityError) as refused, transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute(sql, arguments)
        cause = refused.value.__cause__
        assert cause is not None
        assert cause.diag.constraint_name == constraint  # type: ignore[attr-defined]

    def test_keeps_issued_notes_as_they_are(self) -> None:
        note = issue(make_open(), amount=300)
        immutable = "credit_notes_issued_immutable"
        self.refuse(immutable, "UPDATE credit_notes SET memo = 'x' WHERE id = %s", note.pk)
        self.refuse(immutable, "UPDATE credit_notes SET number = 7 WHERE id = %s", note.pk)
        self.refuse("credit_notes_kept", "DELETE FROM credit_notes WHERE id = %s", note.pk)
        self.refuse("credit_note_lines_append_only", "TRUNCATE credit_note_lines")
        self.refuse("credit_note_lines_append_only", "UPDATE credit_note_lines SET amount = 1")
        void_credit_note(credit_note_id=note.pk, **BY)
        self.refuse(immutable, "UPDATE credit_notes SET status = 'issued', voided_at = NULL WHERE id = %s", note.pk)

    def test_takes_no_further_line(self) -> None:
        note = issue(make_open(), amount=300)
        line = note.lines.get()
        self.refuse(
            "credit_notes_add_up",
            "INSERT INTO credit_note_lines (id, credit_note_id, position, invoice_line_id, description, amount, trace)"
            " VALUES (%s, %s, 2, %s, 'more', 1, '{}')",
            new_uuid(),
            note.pk,
            line.invoice_line_id,
        )

    def copy(self, note: CreditNote, **changes: Any) -> CreditNote:
        """Write another note beside `note` without asking the service."""
        from accounts.services.ledger import PostingSpec, post_entry

        legs = [
            PostingSpec(LedgerKind.REVENUE, None, "usd", 1),
            PostingSpec(LedgerKind.CASH, None, "usd", -1),
        ]
        key = str(new_uuid())
        twin = CreditNote.objects.get(pk=note.pk)
        twin.pk, twin.number, twin.entry = (
            new_uuid(),
            99,
            post_entry(key=key, type="credit_note", account_id=None, postings=legs, at=LATER, livemode=False),
        )
        for name, value in changes.items():
            setattr(twin, name, value)
        twin.save(force_insert=True)
        return twin

    def test_holds_notes_within_their_invoice(self) -> None:
        note = issue(make_open(), amount=600)
        with pytest.raises(IntegrityError, match="cannot pass it"), transaction.atomic():
            self.copy(note)
        with pytest.raises(IntegrityError, match="cannot pass it"), transaction.atomic():
            self.copy(note, subtotal=300, tax=1, total=301, amount_applied=301)

    def test_holds_lines_within_theirs(self) -> None:
        invoice = make_three_lines()
        fee, tokens, _ = invoice.lines.order_by("position")
        note = issue(invoice, WantedLine(tokens.public_id))
        with pytest.raises(IntegrityError, match="more is credited"), transaction.atomic():
            twin = self.copy(note)
            CreditNoteLine.objects.create(credit_note=twin, position=1, invoice_line=tokens, amount=1)
        with pytest.raises(IntegrityError, match="in its direction"), transaction.atomic():
            twin = self.copy(note)
            CreditNoteLine.objects.create(credit_note=twin, position=1, invoice_line=fee, amount=-1)

    def test_takes_no_note_of_a_void_invoice(self) -> None:
        invoice = make_open()
        note = issue(invoice, amount=100)
        void_credit_note(credit_note_id=note.pk, **BY)
        void_invoice(invoice_id=invoice.pk, **BY)
        with pytest.raises(IntegrityError, match="not void is credited"), transaction.atomic():
            self.copy(note, status="issued", voided_at=None, void_reason="")
