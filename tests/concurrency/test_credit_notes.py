"""One invoice credited by many at once, or while it is paid; requests approved and notes voided by many at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from threading import Barrier
from typing import Any

import pytest
from django.db import connection
from django.db.models import Sum

from accounts.models import LedgerAccount
from accounts.queries.proof import prove_ledger
from accounts.services.deposits import deposit
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import DomainError
from billing_site.platform.models import Approval
from billing_site.platform.services.approvals import approve
from invoicing.calculation.credit_facts import Wish
from invoicing.models import CreditNote, Invoice
from invoicing.services.balance_payments import pay_from_balance
from invoicing.services.credit_note_approvals import credit_or_request
from invoicing.services.credit_notes import issue_credit_note, void_credit_note
from invoicing.services.credit_requests import CreditRequest
from tests.support import world
from tests.support.world import NOVEMBER, TESTER

pytestmark = pytest.mark.django_db(transaction=True)
LATER = NOVEMBER + timedelta(hours=23)


def run_together(work: list[Callable[[], object]]) -> int:
    """Run each piece of work on a connection of its own, all at once; return how many were not refused."""
    barrier = Barrier(len(work))

    def do(task: Callable[[], object]) -> bool:
        try:
            barrier.wait(timeout=60)
            task()
        except DomainError:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(len(work)) as pool:
        return sum(pool.map(do, work))


def make_invoice() -> Invoice:
    """Return an open invoice of 10.00."""
    world.publish()
    world.subscribe(world.open_account(), "pro")
    return world.list_invoices()[0]


def credit(invoice: Invoice, amount: int) -> CreditNote:
    request = CreditRequest(Wish(amount=amount))
    return issue_credit_note(invoice_id=invoice.pk, request=request, at=LATER, actor=TESTER)


def get_receivable() -> int:
    return LedgerAccount.objects.get(kind="receivable").balance


def test_two_notes_that_would_pass_the_invoice_become_one() -> None:
    invoice = make_invoice()
    assert run_together([partial(credit, invoice, 600), partial(credit, invoice, 600)]) == 1
    invoice.refresh_from_db()
    assert (invoice.amount_remaining, get_receivable()) == (400, 400)
    assert [note.number_text for note in CreditNote.objects.all()] == ["CN-0001"]


def test_ten_notes_are_numbered_without_a_gap_and_never_pass_the_invoice() -> None:
    invoice = make_invoice()
    assert run_together([partial(credit, invoice, 150)] * 10) == 6
    notes = CreditNote.objects.order_by("number")
    assert [note.number for note in notes] == [1, 2, 3, 4, 5, 6]
    assert notes.aggregate(total=Sum("total"))["total"] == 900
    assert get_receivable() == 100
    assert prove_ledger().holds


def test_a_note_and_a_payment_share_what_remains() -> None:
    invoice = make_invoice()
    deposit(account=invoice.account, amount=1000, currency="usd", at=LATER, actor=TESTER)
    pay = partial(pay_from_balance, invoice_id=invoice.pk, at=LATER, actor=TESTER)
    assert run_together([partial(credit, invoice, 600), pay]) == 2
    invoice.refresh_from_db()
    note = CreditNote.objects.get()
    # Whichever was first: the account has 10.00 less the 4.00 that were owed after all.
    pots = dict(LedgerAccount.objects.filter(account=invoice.account).values_list("kind", "balance"))
    assert (invoice.status, pots["receivable"]) == ("paid", 0)
    assert -pots["prepaid"] - pots.get("invoice_credit", 0) == 600
    assert note.amount_applied + note.amount_credited == 600


def ask(invoice: Invoice, amount: int) -> Approval:
    request = CreditRequest(Wish(amount=amount))
    ann = Actor("staff", "ann")
    outcome = credit_or_request(invoice_id=invoice.pk, request=request, at=LATER, actor=ann, reason="promised")
    assert isinstance(outcome.done, Approval)
    return outcome.done


def test_a_request_is_approved_once(settings: Any) -> None:
    settings.BILLING_APPROVAL_LIMIT = 100
    asked = ask(make_invoice(), 300)
    people = [Actor("staff", f"person-{number}") for number in range(5)]
    assert run_together([partial(approve, approval_id=asked.pk, at=LATER, actor=each) for each in people]) == 1
    assert (CreditNote.objects.get().total, get_receivable()) == (300, 700)


def test_a_request_that_is_approved_beside_another_note_never_passes_the_invoice(settings: Any) -> None:
    settings.BILLING_APPROVAL_LIMIT = 600
    invoice = make_invoice()
    asked = ask(invoice, 700)
    decide = partial(approve, approval_id=asked.pk, at=LATER, actor=Actor("staff", "bob"))
    assert run_together([decide, partial(credit, invoice, 600)]) == 1
    note = CreditNote.objects.get()
    asked.refresh_from_db()
    assert (note.total, asked.status) in {(700, "approved"), (600, "pending")}
    assert get_receivable() == 1000 - note.total
    assert prove_ledger().holds


def test_a_note_is_voided_once() -> None:
    invoice = make_invoice()
    note = credit(invoice, 1000)
    void = partial(void_credit_note, credit_note_id=note.pk, at=LATER, actor=TESTER)
    assert run_together([void] * 5) == 1
    invoice.refresh_from_db()
    assert (invoice.status, invoice.amount_remaining, get_receivable()) == ("open", 1000, 1000)
