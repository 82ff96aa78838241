"""Void and reissue, what was given up, and items that wait for the next invoice."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from accounts.models import Account, LedgerAccount, LedgerEntry
from accounts.services.accounts import update_account
from accounts.services.deposits import deposit
from billing_site.kernel.errors import InvalidState, NotFound
from billing_site.platform.models import Event
from invoicing.models import Invoice, PendingCharge, Seller
from invoicing.queries.previews import preview_subscriptions
from invoicing.services.balance_payments import pay_from_balance
from invoicing.services.documents import get_invoice_pdf
from invoicing.services.draft_editing import add_lines, create_invoice, remove_line
from invoicing.services.drafting import PeriodAlreadyInvoiced
from invoicing.services.given_lines import NewLine
from invoicing.services.invoice_items import add_invoice_item, drop_invoice_item
from invoicing.services.invoices import finalize_invoice, void_invoice
from invoicing.services.reissuing import reissue_invoice
from invoicing.services.uncollectible import mark_uncollectible
from invoicing.services.verification import verify_invoice
from tests.support import world
from tests.support.world import DECEMBER, NOVEMBER, TESTER
from tests.unit.invoicing.documents.pdf_text import read_pdf

pytestmark = pytest.mark.django_db

LATER = NOVEMBER + timedelta(days=3)
BY: dict[str, Any] = {"at": LATER, "actor": TESTER, "reason": "wrong address"}


@pytest.fixture
def account() -> Account:
    world.publish()
    return world.open_account(line1="Old Street 1")


def get_balance(kind: str) -> int:
    return LedgerAccount.objects.filter(kind=kind).values_list("balance", flat=True).first() or 0


class TestReissuing:
    def test_the_draft_has_the_same_charges_and_the_address_of_today(self, account: Account) -> None:
        subscription = world.subscribe(account, "pro")
        (first,) = world.list_invoices()
        update_account(account_id=account.pk, changes={"line1": "New Street 2"}, at=LATER, actor=TESTER)
        draft = reissue_invoice(invoice_id=first.pk, **BY)
        first.refresh_from_db()
        assert (first.status, first.void_reason) == ("void", "wrong address")
        assert (draft.status, draft.number, draft.reissues, draft.boundary) == ("draft", None, first, first.boundary)
        assert draft.account_snapshot["line1"] == "New Street 2"
        assert first.account_snapshot["line1"] == "Old Street 1"
        assert (draft.total, draft.period, draft.subscription) == (first.total, first.period, subscription)
        assert verify_invoice(draft).holds
        issued = finalize_invoice(invoice_id=draft.pk, **BY)
        assert issued.number_text == "INV-0002"
        texts = read_pdf(get_invoice_pdf(issued)).texts
        assert "This document replaces INV-0001, which is void." in texts
        assert get_balance("receivable") == issued.total
        told = Event.objects.get(type="invoice.created", object_id=draft.public_id)
        assert told.data["reissues"] == first.public_id
        # The cycle goes on as if nothing had been.
        world.run_cycle(as_of=DECEMBER)
        assert [each.status for each in world.list_invoices()] == ["void", "open", "open"]

    def test_a_voided_one_can_be_issued_again_later_and_only_once(self, account: Account) -> None:
        world.subscribe(account, "pro")
        (first,) = world.list_invoices()
        void_invoice(invoice_id=first.pk, **BY)
        draft = reissue_invoice(invoice_id=first.pk, **BY)
        with pytest.raises(InvalidState, match="It was reissued as draft"):
            reissue_invoice(invoice_id=first.pk, **BY)
        void_invoice(invoice_id=draft.pk, **BY)
        again = reissue_invoice(invoice_id=first.pk, **BY)
        assert again.reissues == first
        with pytest.raises(IntegrityError, match="invoices_reissued_once"), transaction.atomic():
            Invoice.objects.filter(pk=world.copy_as_draft(again).pk).update(reissues=first)

    def test_not_when_its_period_was_billed_again(self, account: Account) -> None:
        world.subscribe(account, "pro")
        (first,) = world.list_invoices()
        first_draft = reissue_invoice(invoice_id=first.pk, **BY)
        issued = finalize_invoice(invoice_id=first_draft.pk, **BY)
        other = reissue_invoice(invoice_id=issued.pk, **BY)
        # The first one was voided too, but its period is on the third.
        with pytest.raises(PeriodAlreadyInvoiced) as refusal:
            reissue_invoice(invoice_id=first.pk, **BY)
        assert refusal.value.members["invoice_id"] == other.public_id

    def test_refused_for_drafts_for_what_is_paid_and_by_the_seller(self, account: Account) -> None:
        draft = create_invoice(account=account, lines=[NewLine("x", 1000)], at=LATER, actor=TESTER)
        with pytest.raises(InvalidState, match="edited, not reissued"):
            reissue_invoice(invoice_id=draft.pk, **BY)
        issued = finalize_invoice(invoice_id=draft.pk, **BY)
        Seller.objects.update(voiding_allowed=False, country="PT")
        with pytest.raises(InvalidState, match=r"does not void invoices that are issued in PT.*credit note"):
            reissue_invoice(invoice_id=issued.pk, **BY)
        Seller.objects.update(voiding_allowed=True)
        deposit(account=account, amount=1000, currency="usd", at=LATER, actor=TESTER)
        pay_from_balance(invoice_id=issued.pk, at=LATER, actor=TESTER)
        with pytest.raises(InvalidState, match="credit note and a new invoice"):
            reissue_invoice(invoice_id=issued.pk, **BY)
        with pytest.raises(NotFound):
            reissue_invoice(invoice_id=account.pk, **BY)


class TestGivingUp:
    def test_what_is_owed_becomes_bad_debt_and_comes_back_with_the_money(self, account: Account) -> None:
        draft = create_invoice(account=account, lines=[NewLine("x", 1000)], at=LATER, actor=TESTER)
        invoice = finalize_invoice(invoice_id=draft.pk, **BY)
        given_up = mark_uncollectible(invoice_id=invoice.pk, **BY)
        assert (given_up.status, get_balance("receivable"), get_balance("bad_debt")) == ("uncollectible", 0, 1000)
        assert Event.objects.get(type="invoice.uncollectible").data["amount_remaining"] == 1000
        for amount, left in ((400, 600), (600, 0)):
            deposit(account=account, amount=amount, currency="usd", at=LATER, actor=TESTER)
            invoice = pay_from_balance(invoice_id=invoice.pk, at=LATER, actor=TESTER)
            assert (get_balance("receivable"), get_balance("bad_debt")) == (0, left)
        assert invoice.status == "paid"
        keys = LedgerEntry.objects.filter(type="invoice_recovery").order_by("id").values_list("key", flat=True)
        assert list(keys) == [f"recovered:{invoice.public_id}:n{number}" for number in (1, 2)]


class TestWaitingItems:
    def test_are_shown_in_previews_and_taken_up_once(self, account: Account) -> None:
        subscription = world.subscribe(account, "pro")
        line = NewLine("Router", 2500)
        add_invoice_item(account=account, line=line, subscription=subscription, at=LATER, actor=TESTER)
        add_invoice_item(account=account, line=NewLine("Sorry", -300), at=LATER, actor=TESTER)
        (previewed,) = preview_subscriptions(subscription_ids=[subscription.pk], as_of=DECEMBER)
        world.run_cycle(as_of=DECEMBER)
        issued = world.list_invoices()[1]
        assert [draft.total for draft in previewed.drafts] == [issued.total] == [1000 + 2500 - 300]
        assert verify_invoice(issued, check_usage=True).holds
        assert set(PendingCharge.objects.values_list("invoice", flat=True)) == {issued.pk}
        world.run_cycle(as_of=DECEMBER + timedelta(days=31))
        assert world.list_invoices()[2].total == 1000

    def test_one_of_the_account_goes_to_one_invoice_of_many(self, account: Account) -> None:
        for key in ("pro", "free"):
            world.subscribe(account, key)
        add_invoice_item(account=account, line=NewLine("Router", 2500), at=LATER, actor=TESTER)
        add_invoice_item(account=account, line=NewLine("Euros", 700), currency="eur", at=LATER, actor=TESTER)
        world.run_cycle(as_of=DECEMBER)
        assert sorted(each.total for each in world.list_invoices()) == [1000, 3500]
        assert PendingCharge.objects.get(invoice__isnull=True).facts["price"]["currency"] == "eur"

    def test_one_that_is_taken_off_a_draft_waits_again(self, account: Account) -> None:
        subscription = world.subscribe(account, "pro")
        item = add_invoice_item(
            account=account, line=NewLine("Router", 2500), subscription=subscription, at=LATER, actor=TESTER
        )
        world.run_cycle(as_of=DECEMBER)
        draft = reissue_invoice(invoice_id=world.list_invoices()[1].pk, **{**BY, "at": DECEMBER})
        item.refresh_from_db()
        assert item.invoice == draft
        line = draft.lines.get(description="Router")
        remove_line(invoice_id=draft.pk, line_id=line.pk, at=DECEMBER, actor=TESTER)
        item.refresh_from_db()
        assert item.invoice is None

    def test_can_be_dropped_while_it_waits(self, account: Account) -> None:
        subscription = world.subscribe(account, "pro")
        item = add_invoice_item(account=account, line=NewLine("Router", 2500), at=LATER, actor=TESTER)
        drop_invoice_item(item_id=item.pk, **BY)
        with pytest.raises(InvalidState, match="dropped before"):
            drop_invoice_item(item_id=item.pk, **BY)
        taken = add_invoice_item(account=account, line=NewLine("Cable", 100), at=LATER, actor=TESTER)
        world.run_cycle(as_of=DECEMBER)
        assert world.list_invoices()[1].total == 1100
        with pytest.raises(InvalidState, match="INV-0002 has it"):
            drop_invoice_item(item_id=taken.pk, **BY)
        other = world.open_account("other")
        with pytest.raises(NotFound):
            add_invoice_item(account=other, line=NewLine("x", 1), subscription=subscription, at=LATER, actor=TESTER)

    def test_billing_needs_as_many_queries_for_many_as_for_few(self) -> None:
        world.publish()
        counts = []
        # The first run makes the seller's counter.
        for step, number in enumerate((1, 1, 6)):
            for index in range(number):
                account = world.open_account(f"a{step}-{index}")
                world.subscribe(account, "pro")
                add_invoice_item(account=account, line=NewLine("x", 100), at=LATER, actor=TESTER)
            with CaptureQueriesContext(connection) as queries:
                world.run_cycle(as_of=DECEMBER)
            counts.append(len(queries))
        assert counts[1] == counts[2]


def test_lines_added_to_a_draft_of_the_cycle_leave_its_own_alone(account: Account) -> None:
    world.subscribe(account, "pro")
    draft = reissue_invoice(invoice_id=world.list_invoices()[0].pk, **BY)
    (fee,) = draft.lines.all()
    edited = add_lines(invoice_id=draft.pk, lines=[NewLine("Extra", 50)], **BY)
    assert edited.lines.get(position=1) == fee
    assert (edited.total, edited.boundary, verify_invoice(edited).holds) == (1050, draft.boundary, True)
