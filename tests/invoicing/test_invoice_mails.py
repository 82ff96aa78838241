"""Mails of invoices and credit notes: to whom, in which words, with which file, once."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core import mail
from django.core.mail import EmailMultiAlternatives
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import Account
from accounts.services.deposits import deposit
from billing_site.kernel import clock
from billing_site.kernel.errors import InvalidState, ValidationFailed
from billing_site.platform.models import Event, Notice
from billing_site.platform.services.notices import send_notice, sweep_notices
from invoicing.calculation.credit_facts import Wish
from invoicing.models import Invoice, Seller
from invoicing.queries.dry_runs import dry_run
from invoicing.services.balance_payments import pay_from_balance
from invoicing.services.credit_note_documents import get_credit_note_pdf
from invoicing.services.credit_notes import issue_credit_note, void_credit_note
from invoicing.services.credit_requests import CreditRequest
from invoicing.services.documents import get_invoice_pdf
from invoicing.services.invoice_mails import send_credit_note_again, send_invoice_again
from invoicing.services.invoices import void_invoice
from invoicing.services.sellers import ensure_default_seller, update_seller
from tests.support import world
from tests.support.jobs import SentJobs

pytestmark = pytest.mark.django_db
AT = world.NOVEMBER + timedelta(days=1)
BY: dict[str, Any] = {"at": AT, "actor": world.TESTER, "reason": "asked for it"}
NOW = world.DECEMBER


@pytest.fixture(autouse=True)
def seller() -> Seller:
    world.publish()
    return switch(name="Harbour GmbH", iban="DE89370400440532013000", mails_invoices=True)


def switch(**changes: Any) -> Seller:
    seller = ensure_default_seller("default")
    return update_seller(seller_id=seller.id, changes=changes, at=world.OCTOBER, actor=world.TESTER)


def bill(handle: str = "acme", *, email: str = "pay@acme.example", **profile: Any) -> Invoice:
    world.subscribe(world.open_account(handle, email=email, **profile))
    return Invoice.objects.latest("id")


def send() -> list[EmailMultiAlternatives]:
    """Send what waits, and return it."""
    mail.outbox.clear()
    sweep_notices(at=NOW)
    return list(mail.outbox)  # type: ignore[arg-type]


def credit(invoice: Invoice, amount: int) -> Any:
    request = CreditRequest(Wish((), amount, False), cause="order_change")
    return issue_credit_note(invoice_id=invoice.pk, request=request, at=AT, actor=world.TESTER)


class TestIssued:
    def test_goes_to_the_account_with_the_stored_file(self) -> None:
        invoice = bill()
        (message,) = send()
        assert message.to == ["pay@acme.example"]
        assert message.subject == "Invoice INV-0001 from Harbour GmbH"
        assert message.attachments == [("INV-0001.pdf", get_invoice_pdf(invoice), "application/pdf")]
        text = str(message.body)
        for shown in ("Hello Acme,", "over $10.00 USD", "Please pay by Nov 8, 2023.", "DE89 3704 0044 0532 0130 00"):
            assert shown in text
        ((html, kind),) = message.alternatives
        assert kind == "text/html"
        assert "DE89 3704 0044 0532 0130 00" in str(html)

    def test_speaks_the_language_of_the_account(self) -> None:
        bill(language="de", name="Müller & Söhne")
        (message,) = send()
        assert message.subject == "Rechnung INV-0001 von Harbour GmbH"
        text = str(message.body).replace("\u00a0", " ")
        for shown in ("Guten Tag Müller & Söhne,", "über 10,00 $ USD", "Bitte zahlen bis 08.11.2023.", "Testbetrieb"):
            assert shown in text
        html = str(message.alternatives[0][0])
        assert '<html lang="de">' in html
        assert "Müller &amp; Söhne" in html

    def test_is_sent_once_whoever_asks(self) -> None:
        bill()
        assert len(send()) == 1
        assert send() == []
        assert not send_notice(notice_id=Notice.objects.get().pk, at=NOW)

    def test_is_rung_for_after_the_commit(self, sent_jobs: SentJobs, django_capture_on_commit_callbacks: Any) -> None:
        with django_capture_on_commit_callbacks(execute=True), transaction.atomic():
            bill()
            assert not sent_jobs.of("platform.send_notices")
        assert sent_jobs.of("platform.send_notices") == [{"notice_ids": [str(Notice.objects.get().pk)]}]

    def test_says_nothing_of_paying_where_nothing_is_due(self) -> None:
        account = world.open_account(email="pay@acme.example")
        deposit(account=account, amount=5000, currency="usd", **DEPOSIT)
        world.subscribe(account)
        (message,) = send()
        assert "Nothing to pay." in str(message.body)
        assert "IBAN" not in str(message.body)

    def test_follows_the_switch(self) -> None:
        switch(mails_invoices=False)
        bill()
        assert not Notice.objects.exists()

    def test_a_void_invoice_is_not_mailed_any_more(self) -> None:
        invoice = bill()
        void_invoice(invoice_id=invoice.pk, **BY)
        assert send() == []
        notice = Notice.objects.get()
        assert (notice.status, notice.error) == ("failed", "The invoice was voided before it was mailed.")

    @pytest.mark.parametrize(
        ("email", "error"),
        [("", "There is no mail address."), ("not an address", "The address is not a mail address.")],
    )
    def test_without_a_usable_address_is_recorded_and_stops_nobody(self, email: str, error: str) -> None:
        account = world.open_account()
        Account.objects.filter(pk=account.pk).update(email=email)
        world.subscribe(Account.objects.get(pk=account.pk))
        notice = Notice.objects.get()
        assert (notice.status, notice.error, notice.about) == ("failed", error, Invoice.objects.get().public_id)
        assert send() == []


class TestRuns:
    def open_many(self, count: int, *, first: int = 0, at: datetime = world.NOVEMBER) -> None:
        for number in range(first, first + count):
            email = f"pay{number}@acme.example" if number % 3 else ""
            world.subscribe(world.open_account(f"acme-{number}", email=email), at=at)
        Notice.objects.all().delete()

    def test_write_one_for_each_invoice_with_a_fixed_number_of_queries(self) -> None:
        counts: list[int] = []
        january = world.DECEMBER + timedelta(days=31)
        for size, since, as_of in ((2, world.NOVEMBER, world.DECEMBER), (6, world.DECEMBER, january)):
            self.open_many(size, first=10 * len(counts), at=since)
            with CaptureQueriesContext(connection) as queries:
                run = world.run_cycle(as_of=as_of)
            assert run.status == "completed"
            counts.append(sum('"notices"' in query["sql"] for query in queries.captured_queries))
            issued = Invoice.objects.filter(run=run)
            assert set(Notice.objects.values_list("about", flat=True)) == {each.public_id for each in issued}
        assert counts == [2, 2]
        assert Notice.objects.filter(status="failed").count() == 3  # acme-0, acme-12 and acme-15

    def test_that_only_look_write_none(self) -> None:
        self.open_many(1)
        found = list(dry_run(org_id="default", as_of=world.DECEMBER))
        assert sum(len(batch.invoices) for batch in found) == 1
        assert not Notice.objects.exists()


DEPOSIT: dict[str, Any] = {"at": world.OCTOBER, "actor": world.TESTER}


class TestPaid:
    def test_is_confirmed_where_the_seller_wants_it(self) -> None:
        switch(mails_receipts=True)
        invoice = bill(language="de")
        send()
        deposit(account=invoice.account, amount=1000, currency="usd", **DEPOSIT)
        pay_from_balance(invoice_id=invoice.pk, at=AT, actor=world.TESTER)
        (message,) = send()
        assert message.subject == "Zahlung erhalten: Rechnung INV-0001 von Harbour GmbH"
        assert "ist bezahlt. Vielen Dank." in str(message.body)
        assert "Bitte zahlen" not in str(message.body)
        assert message.attachments[0][1] == get_invoice_pdf(invoice)

    def test_at_issue_is_one_mail(self) -> None:
        switch(mails_receipts=True)
        account = world.open_account(email="pay@acme.example")
        deposit(account=account, amount=5000, currency="usd", **DEPOSIT)
        world.subscribe(account)
        assert [message.subject for message in send()] == ["Invoice INV-0001 from Harbour GmbH"]
        switch(mails_invoices=False)
        world.run_cycle(as_of=world.DECEMBER)
        assert [message.subject for message in send()] == ["Payment received: invoice INV-0002 from Harbour GmbH"]

    def test_is_not_said_of_what_a_credit_note_settled(self) -> None:
        switch(mails_receipts=True)
        invoice = bill()
        Notice.objects.all().delete()
        credit(invoice, 1000)
        invoice.refresh_from_db()
        assert invoice.status == "paid"
        assert not Notice.objects.exists()


class TestCreditNote:
    def test_goes_out_where_the_seller_wants_it(self) -> None:
        switch(mails_credit_notes=True)
        invoice = bill(language="de")
        send()
        note = credit(invoice, 400)
        (message,) = send()
        assert message.subject == "Rechnungskorrektur CN-0001 von Harbour GmbH"
        assert "über 4,00 $ USD zur Rechnung INV-0001." in str(message.body).replace("\u00a0", " ")
        assert message.attachments == [("CN-0001.pdf", get_credit_note_pdf(note), "application/pdf")]

    def test_stays_where_it_does_not(self) -> None:
        invoice = bill()
        credit(invoice, 400)
        assert Notice.objects.count() == 1


class TestSendAgain:
    def test_goes_to_the_address_that_was_named(self) -> None:
        switch(mails_invoices=False)
        invoice = bill()
        notice = send_invoice_again(invoice_id=invoice.pk, recipient=" ada@acme.example ", **BY)
        (message,) = send()
        assert (message.to, notice.recipient) == (["ada@acme.example"], "ada@acme.example")
        told = Event.objects.get(type="invoice.sent")
        assert (told.data["recipient"], told.reason) == ("ada@acme.example", "asked for it")

    def test_asks_for_what_is_left_to_pay(self) -> None:
        invoice = bill()
        deposit(account=invoice.account, amount=300, currency="usd", **DEPOSIT)
        pay_from_balance(invoice_id=invoice.pk, at=AT, actor=world.TESTER)
        send_invoice_again(invoice_id=invoice.pk, recipient="ada@acme.example", **BY)
        assert [("Amount due: $7.00 USD" in str(message.body)) for message in send()] == [True, True]

    def test_twice_in_a_minute_is_once(self) -> None:
        invoice = bill()
        send_invoice_again(invoice_id=invoice.pk, recipient="ada@acme.example", **BY)
        with pytest.raises(InvalidState, match="a moment ago"):
            send_invoice_again(invoice_id=invoice.pk, recipient="Ada@acme.example", **BY)
        later = BY | {"at": AT + timedelta(minutes=1)}
        send_invoice_again(invoice_id=invoice.pk, recipient="ada@acme.example", **later)
        assert len(send()) == 3

    def test_refuses_drafts_void_invoices_and_what_is_no_address(self) -> None:
        invoice = bill()
        draft = world.copy_as_draft(invoice)
        with pytest.raises(InvalidState):
            send_invoice_again(invoice_id=draft.pk, recipient="ada@acme.example", **BY)
        with pytest.raises(ValidationFailed):
            send_invoice_again(invoice_id=invoice.pk, recipient="ada", **BY)
        void_invoice(invoice_id=invoice.pk, **BY)
        with pytest.raises(InvalidState):
            send_invoice_again(invoice_id=invoice.pk, recipient="ada@acme.example", **BY)

    def test_of_a_credit_note(self) -> None:
        note = credit(bill(), 400)
        send_credit_note_again(credit_note_id=note.pk, recipient="ada@acme.example", **BY)
        with pytest.raises(InvalidState, match="a moment ago"):
            send_credit_note_again(credit_note_id=note.pk, recipient="ada@acme.example", **BY)
        assert [message.subject for message in send()] == [
            "Invoice INV-0001 from Harbour GmbH",
            "Credit note CN-0001 from Harbour GmbH",
        ]
        assert Event.objects.get(type="credit_note.sent").data["recipient"] == "ada@acme.example"
        void_credit_note(credit_note_id=note.pk, **BY)
        with pytest.raises(InvalidState):
            send_credit_note_again(credit_note_id=note.pk, recipient="bob@acme.example", **BY)


class TestPages:
    @pytest.fixture
    def browser(self) -> Client:
        user = User.objects.create_user("ada", is_staff=True)
        user.groups.add(Group.objects.get(name="billing"))
        client = Client()
        client.force_login(user)
        return client

    def test_the_invoice_tells_what_became_of_its_mails(self, browser: Client) -> None:
        invoice = bill(email="")
        page = browser.get(reverse("admin:invoicing_invoice_change", args=[invoice.pk])).content.decode()
        assert "There is no mail address." in page

    def test_a_message_is_shown_as_it_went_out(self, browser: Client) -> None:
        bill()
        send()
        page = browser.get(reverse("admin:platform_notice_change", args=[Notice.objects.get().pk])).content.decode()
        assert "Hello Acme,<br><br>Your invoice INV-0001" in page

    def test_it_is_sent_after_a_page_that_says_to_whom(self, browser: Client) -> None:
        invoice = bill()
        url = reverse("admin:invoicing_invoice_send_again", args=[invoice.pk])
        with clock.travel(AT):
            page = browser.get(url)
            assert 'value="pay@acme.example"' in page.content.decode()
            posted = {"_confirmed": "1", "reason": "They lost it", "recipient": "ada@acme.example"}
            done = browser.post(url, posted, follow=True)
        assert "INV-0001 goes to ada@acme.example." in done.content.decode()
        assert {notice.recipient for notice in Notice.objects.all()} == {"pay@acme.example", "ada@acme.example"}

    def test_so_is_a_credit_note(self, browser: Client) -> None:
        note = credit(bill(), 400)
        url = reverse("admin:invoicing_creditnote_send_again", args=[note.pk])
        with clock.travel(AT):
            posted = {"_confirmed": "1", "reason": "They lost it", "recipient": "ada@acme.example"}
            done = browser.post(url, posted, follow=True).content.decode()
        assert "CN-0001 goes to ada@acme.example." in done
        assert "Pending</span>" in done
