"""Credit notes in the admin: what is said before one is issued, who may, what is shown, void and download."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse

from billing_site.kernel import clock
from billing_site.platform.models import Approval, Event
from invoicing.calculation.credit_facts import WantedLine
from invoicing.models import CreditNote, Invoice
from tests.invoicing.test_credit_notes import LATER, issue, make_open, make_paid, make_three_lines
from tests.support import world

pytestmark = pytest.mark.django_db
WHY = {"reason": "agreed by phone", "_confirmed": "1"}


@pytest.fixture(autouse=True)
def _later() -> Iterator[None]:
    with clock.travel(LATER):
        yield


def sign_in(role: str, name: str = "ada") -> Client:
    user = User.objects.create_user(f"{name}-{role}", is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    browser = Client()
    browser.force_login(user)
    return browser


def name_page(invoice: Invoice) -> str:
    return reverse("admin:invoicing_invoice_credit", args=[invoice.pk])


def fill(**values: str) -> dict[str, str]:
    return {"what": "rest", "amount": "", "disposition": "customer_balance", "cause": "", "memo": "", **WHY, **values}


def preview(browser: Client, invoice: Invoice, **values: str) -> Any:
    return browser.post(name_page(invoice), fill(**values))


def confirm(browser: Client, invoice: Invoice, **values: str) -> Any:
    """Look at the preview, then confirm exactly that."""
    shown = preview(browser, invoice, **values)
    sealed = {shown.context["seal"][0]: shown.context["seal"][1], "_commit": "1"}
    return browser.post(name_page(invoice), {**fill(**values), **sealed}, follow=True)


def read(answer: Any) -> str:
    return str(answer.content.decode())


class TestTheForm:
    def test_says_what_is_left_of_each_line(self) -> None:
        invoice = make_three_lines()
        tokens = invoice.lines.get(position=2)
        issue(invoice, WantedLine(tokens.public_id, 200))
        page = read(sign_in("finance_lead").get(name_page(invoice)))
        assert "everything that is left: 28.00 USD with tax" in page
        assert "Before tax; 3.00 USD of 5.00 USD is left." in page
        assert "Before tax; 15.00 USD is left." in page

    def test_of_a_long_invoice_has_the_first_lines(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("invoicing.admin.crediting.SHOWN_LINES", 2)
        page = read(sign_in("finance_lead").get(name_page(make_three_lines())))
        assert 'name="line_2"' in page
        assert 'name="line_3"' not in page
        assert "Lines after this one are credited by an amount, or by the API." in page

    @pytest.mark.parametrize(
        ("values", "words"),
        [
            ({"what": "amount"}, "Which amount?"),
            ({"what": "amount", "amount": "ten"}, "is no amount of USD"),
            ({"what": "lines"}, "Of which lines?"),
            ({"what": "lines", "line_1": "1.001"}, "is no amount of USD"),
            ({"what": "rest", "amount": "5"}, "something else is to be taken back"),
            ({"what": "amount", "amount": "5", "line_1": "1"}, "something else is to be taken back"),
            ({"what": "rest", "reason": ""}, "This field is required"),
            ({"what": "amount", "amount": "31"}, "at most 30.00 USD can be credited there"),
            ({"what": "amount", "amount": "-1"}, "There is nothing to credit"),
            ({"what": "lines", "line_3": "15.01"}, "at most 15.00 USD can be credited there"),
        ],
    )
    def test_refuses_in_words(self, values: dict[str, str], words: str) -> None:
        invoice = make_three_lines()
        assert words in read(preview(sign_in("finance_lead"), invoice, **values))
        assert not CreditNote.objects.exists()

    def test_is_no_more_offered_when_nothing_is_left(self) -> None:
        invoice = make_open()
        browser = sign_in("finance_lead")
        page = reverse("admin:invoicing_invoice_change", args=[invoice.pk])
        assert name_page(invoice) in read(browser.get(page))
        issue(invoice, everything=True)
        assert name_page(invoice) not in read(browser.get(page))
        assert "is not possible" in read(browser.get(name_page(invoice), follow=True))


class TestIssuing:
    def test_shows_first_what_it_then_does(self) -> None:
        invoice = make_three_lines()
        browser = sign_in("support")
        values = {"what": "lines", "line_1": "10", "line_3": "2.50", "cause": "order_change", "memo": "As agreed"}
        page = read(preview(browser, invoice, **values))
        for words in ("of 15.00 USD", "12.50 USD of INV-0002 need not be paid any more", "17.50 USD", "issued at once"):
            assert words in page
        assert not CreditNote.objects.exists()
        done = read(confirm(browser, invoice, **values))
        note = CreditNote.objects.get()
        assert "CN-0001 over 12.50 USD is issued." in done
        assert (note.total, note.reason, note.memo, note.disposition) == (
            1250,
            "order_change",
            "As agreed",
            "customer_balance",
        )
        event = Event.objects.get(type="credit_note.created")
        assert (event.actor_id, event.reason) == ("ada-support", "agreed by phone")

    def test_of_everything_settles_the_invoice(self) -> None:
        invoice = make_open()
        page = read(preview(sign_in("finance_lead"), invoice))
        assert "<td>Open</td>" in page
        assert 'class="ch-prospect-after">Paid<' in page

    def test_tells_what_becomes_of_money_that_was_paid(self) -> None:
        invoice = make_paid()
        browser = sign_in("finance_lead")
        page = read(preview(browser, invoice, what="amount", amount="4"))
        assert "4.00 USD were paid: they become invoice credit" in page
        assert "Invoice credit of the account" in page
        outside = {"what": "amount", "amount": "4", "disposition": "out_of_band"}
        assert "4.00 USD were paid and are booked as paid back outside" in read(preview(browser, invoice, **outside))
        confirm(browser, invoice, **outside)
        assert CreditNote.objects.get().out_of_band_amount == 400

    def test_does_nothing_when_it_comes_to_something_else(self) -> None:
        invoice = make_open()
        browser = sign_in("finance_lead")
        shown = preview(browser, invoice)
        issue(invoice, amount=100)
        sealed = {shown.context["seal"][0]: shown.context["seal"][1], "_commit": "1"}
        answer = read(browser.post(name_page(invoice), {**fill(), **sealed}))
        assert "It comes to something else than you confirmed" in answer
        assert CreditNote.objects.count() == 1

    @pytest.mark.parametrize("role", ["viewer", "billing"])
    def test_is_closed_to_those_who_give_no_credit(self, role: str) -> None:
        invoice = make_open()
        browser = sign_in(role)
        assert browser.get(name_page(invoice)).status_code == 403
        assert preview(browser, invoice).status_code == 403


class TestAboveTheLimit:
    @pytest.fixture(autouse=True)
    def _limit(self, settings: Any) -> None:
        settings.BILLING_APPROVAL_LIMIT = 500

    def ask(self) -> tuple[Invoice, Client, Approval]:
        invoice, browser = make_open(), sign_in("finance_lead", "ann")
        assert "It is above 5.00 USD: another person must approve it" in read(preview(browser, invoice))
        answer = read(confirm(browser, invoice, memo="Sorry for Monday"))
        assert "A credit note over 10.00 USD waits for the approval of another person." in answer
        return invoice, browser, Approval.objects.get()

    def decide(self, browser: Client, asked: Approval, action: str = "approve", reason: str = "checked it") -> str:
        page = reverse(f"admin:platform_approval_{action}_request", args=[asked.pk])
        return read(browser.post(page, {"reason": reason, "_confirmed": "1"}, follow=True))

    def test_one_person_asks_and_another_approves(self) -> None:
        _, ann, asked = self.ask()
        assert not CreditNote.objects.exists()
        assert "You asked for this yourself" in self.decide(ann, asked)
        bob = sign_in("finance_lead", "bob")
        page = read(bob.get(reverse("admin:platform_approval_change", args=[asked.pk])))
        for words in ("10.00 USD of INV-0001 need not be paid any more", "Sorry for Monday", "Net"):
            assert words in page
        self.decide(bob, asked)
        note = CreditNote.objects.get()
        assert (note.total, note.approval) == (1000, asked)
        page = read(bob.get(reverse("admin:platform_approval_change", args=[asked.pk])))
        assert "CN-0001</a> was issued for" in page
        assert asked.title in read(bob.get(reverse("admin:invoicing_creditnote_change", args=[note.pk])))

    def test_the_invoice_says_that_one_waits(self) -> None:
        invoice, ann, _ = self.ask()
        page = read(ann.get(reverse("admin:invoicing_invoice_change", args=[invoice.pk])))
        assert "Credit note over 10.00 USD for INV-0001 of Acme waits." in page
        assert "asked for this already" in read(preview(ann, invoice))

    def test_what_changed_meanwhile_is_said_and_refused(self) -> None:
        invoice, _, asked = self.ask()
        issue(invoice, amount=100)
        bob = sign_in("finance_lead", "bob")
        page = reverse("admin:platform_approval_change", args=[asked.pk])
        assert "it would come to 9.00 USD now" in read(bob.get(page))
        assert "It comes to 9.00 USD now, not to the 10.00 USD" in self.decide(bob, asked)
        issue(invoice, amount=450)
        issue(invoice, amount=450)
        assert "It can no longer be issued for" in read(bob.get(page))
        assert "There is nothing to credit." in self.decide(bob, asked)

    def test_refused_nothing_is_issued(self) -> None:
        _, _, asked = self.ask()
        bob = sign_in("finance_lead", "bob")
        self.decide(bob, asked, "reject", "far too much")
        assert "Nothing was issued for" in read(bob.get(reverse("admin:platform_approval_change", args=[asked.pk])))
        assert not CreditNote.objects.exists()

    @pytest.mark.parametrize("role", ["support", "billing"])
    def test_others_cannot_approve(self, role: str) -> None:
        _, _, asked = self.ask()
        self.decide(sign_in(role, "bob"), asked)
        assert not CreditNote.objects.exists()


class TestThePages:
    @pytest.fixture
    def note(self) -> CreditNote:
        return issue(make_three_lines(), WantedLine(amount=100), amount=50)

    def test_list_and_find(self, note: CreditNote) -> None:
        browser = sign_in("viewer")
        page = reverse("admin:invoicing_creditnote_changelist")
        for term in ("CN-0001", note.public_id, "INV-0002", "acme"):
            assert list(browser.get(page, {"q": term}).context["cl"].result_list) == [note]
        assert not list(browser.get(page, {"q": "CN-0002"}).context["cl"].result_list)
        for query, count in (({"status__exact": "void"}, 0), ({"disposition__exact": "customer_balance"}, 1)):
            assert len(browser.get(page, query).context["cl"].result_list) == count

    def test_show_lines_the_ledger_and_why(self, note: CreditNote) -> None:
        page = read(sign_in("viewer").get(reverse("admin:invoicing_creditnote_change", args=[note.pk])))
        for words in (
            "INV-0002",
            "The trace gives the same, to the cent",
            "by largest remainder",
            "credit_note.created",
            reverse("admin:accounts_ledgerentry_change", args=[note.entry_id]),
        ):
            assert words in page

    def test_stand_on_the_page_of_the_invoice(self, note: CreditNote) -> None:
        page = read(sign_in("viewer").get(reverse("admin:invoicing_invoice_change", args=[note.invoice_id])))
        assert reverse("admin:invoicing_creditnote_change", args=[note.pk]) in page

    def test_never_write(self, note: CreditNote) -> None:
        browser = sign_in("admin")
        for page in ("change", "delete"):
            address = reverse(f"admin:invoicing_creditnote_{page}", args=[note.pk])
            assert browser.post(address, {"memo": "x", "post": "yes"}).status_code == 403

    def test_download_and_show_the_document(self, note: CreditNote) -> None:
        browser = sign_in("viewer")
        answer = browser.get(reverse("admin:invoicing_creditnote_download", args=[note.pk]))
        assert answer["Content-Type"] == "application/pdf"
        assert answer["Content-Disposition"] == 'inline; filename="CN-0001.pdf"'
        assert answer.content.startswith(b"%PDF-")
        sheet = read(browser.get(reverse("admin:invoicing_creditnote_look", args=[note.pk])))
        assert "CN-0001" in sheet
        assert "Back to CN-0001" in sheet

    def test_void_with_a_reason(self, note: CreditNote) -> None:
        page = reverse("admin:invoicing_creditnote_void", args=[note.pk])
        assert sign_in("support").get(page).status_code == 403
        browser = sign_in("finance_lead")
        shown = read(browser.get(page))
        assert "1.50 USD of INV-0002 are to be paid again." in shown
        assert "is void" in read(browser.post(page, WHY, follow=True))
        note.refresh_from_db()
        assert (note.status, note.void_reason) == ("void", "agreed by phone")
        detail = read(browser.get(reverse("admin:invoicing_creditnote_change", args=[note.pk])))
        assert "Reversed by" in detail

    def test_cannot_be_voided_when_the_credit_was_spent(self) -> None:
        from accounts.services.adjustments import adjust_invoice_credit

        invoice = make_paid()
        note = issue(invoice, amount=250)
        adjust_invoice_credit(
            account=invoice.account, amount=-1, currency="usd", description="spent", at=LATER, actor=world.TESTER
        )
        browser = sign_in("finance_lead")
        page = reverse("admin:invoicing_creditnote_void", args=[note.pk])
        assert "2.50 USD of invoice credit are taken from Acme" in read(browser.get(page))
        assert "The credit that the note gave was spent." in read(browser.post(page, WHY))
        note.refresh_from_db()
        assert note.status == "issued"
