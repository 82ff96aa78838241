"""Documents of stored invoices: the language of the account, the seller as it was, and the page in the admin."""

from __future__ import annotations

import re
from decimal import Decimal
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse

from accounts.models import Account
from accounts.services.accounts import update_account
from billing_site.kernel.errors import ValidationFailed
from catalog.services.tax_rates import create_tax_rate
from invoicing.calculation.credit_facts import Wish
from invoicing.calculation.taxes import NOTES
from invoicing.documents import render_invoice_pdf
from invoicing.documents.words import load_words
from invoicing.models import Invoice, Seller
from invoicing.models.credit_note import CreditReason
from invoicing.queries.credit_note_documents import load_credit_note_view
from invoicing.queries.documents import build_invoice_view, load_invoice_view
from invoicing.services.credit_note_documents import get_credit_note_pdf
from invoicing.services.credit_notes import issue_credit_note
from invoicing.services.credit_requests import CreditRequest
from invoicing.services.documents import get_invoice_pdf
from invoicing.services.invoices import finalize_invoice, void_invoice
from invoicing.services.seller_logos import change_logo
from invoicing.services.sellers import ensure_default_seller, update_seller
from tests.invoicing.test_sellers import SVG
from tests.support import world
from tests.unit.invoicing.documents.pdf_text import read_pdf

pytestmark = pytest.mark.django_db

AT = world.OCTOBER


@pytest.fixture
def seller() -> Seller:
    world.publish()
    return change(
        ensure_default_seller("default"),
        name="Harbour GmbH",
        country="DE",
        tax_id="DE136695976",
        other_tax_ids=[{"label": "HRB", "value": "12345"}],
        iban="DE89370400440532013000",
    )


def change(seller: Seller, **changes: Any) -> Seller:
    return update_seller(seller_id=seller.id, changes=changes, at=AT, actor=world.TESTER)


def bill(handle: str = "acme", **profile: Any) -> Invoice:
    world.subscribe(world.open_account(handle, **profile))
    return Invoice.objects.latest("id")


def read_texts(invoice: Invoice) -> list[str]:
    return [text.replace("\u00a0", " ") for text in read_pdf(get_invoice_pdf(invoice)).texts]


class TestLanguage:
    def test_is_that_of_the_account(self, seller: Seller) -> None:
        texts = read_texts(bill(language="de-AT"))
        assert "Rechnung" in texts
        assert "USt-IdNr. DE136695976" in texts
        assert "HRB 12345" in texts
        assert "Deutschland" in texts

    def test_is_that_of_the_seller_where_the_account_has_none(self, seller: Seller) -> None:
        change(seller, language="de")
        assert "Rechnung" in read_texts(bill())
        assert "Invoice" in read_texts(bill("other", language="en-GB"))

    def test_an_account_refuses_what_is_no_language(self, seller: Seller) -> None:
        account = world.open_account()
        with pytest.raises(ValidationFailed):
            update_account(account_id=account.id, changes={"language": "klingon"}, at=AT, actor=world.TESTER)
        changed = update_account(account_id=account.id, changes={"language": "DE_at"}, at=AT, actor=world.TESTER)
        assert changed.language == "de-AT"

    @pytest.mark.parametrize(
        ("written", "shown"),
        [
            ("Pro · remaining time", "Pro · restliche Zeit"),
            ("Pro · unused time", "Pro · nicht genutzte Zeit"),
            ("Pro", "Pro"),
            ("Setup · minimum", "Setup · minimum"),
        ],
    )
    def test_the_engines_own_words_are_translated_and_names_are_not(
        self, seller: Seller, written: str, shown: str
    ) -> None:
        invoice = bill(language="de")
        line = invoice.lines.get()
        line.description = written
        assert build_invoice_view(invoice, [line]).lines[0].description == shown


class TestSnapshot:
    def test_an_issued_document_shows_the_seller_as_it_was(self, seller: Seller) -> None:
        change_logo(seller_id=seller.id, content=SVG, at=AT, actor=world.TESTER)
        late, early = bill("late"), bill("early")
        stored = get_invoice_pdf(early)
        change(seller, name="Other Inc", iban="", other_tax_ids=[], language="de", footer="New")
        change_logo(seller_id=seller.id, content=None, at=AT, actor=world.TESTER)
        update_account(account_id=early.account_id, changes={"language": "de"}, at=AT, actor=world.TESTER)
        assert get_invoice_pdf(early) == stored
        view = load_invoice_view(late)
        assert (view.seller.name, view.locale, view.logo) == ("Harbour GmbH", "en", SVG)
        assert "DE89 3704 0044 0532 0130 00" in read_texts(late)

    def test_a_draft_takes_the_seller_when_it_is_issued(self, seller: Seller) -> None:
        draft = world.copy_as_draft(bill())
        change(seller, name="Renamed GmbH", language="de")
        Account.objects.filter(id=draft.account_id).update(name="Acme renamed")
        issued = finalize_invoice(invoice_id=draft.id, at=world.NOVEMBER, actor=world.TESTER)
        texts = read_texts(Invoice.objects.get(id=issued.id))
        assert "Renamed GmbH" in texts
        assert "Acme renamed" in texts
        assert "Rechnung" in texts


class TestTax:
    def test_is_shown_by_rate_with_its_base(self, seller: Seller) -> None:
        create_tax_rate(org_id="default", name="USt.", country="DE", rate=Decimal("0.19"), at=AT, actor=world.TESTER)
        texts = read_texts(bill(language="de", country="DE"))
        for shown in ("USt. (DE) 19 %", "auf 10,00 $", "1,90 $", "11,90 $"):
            assert shown in texts

    def test_a_rate_of_zero_says_why(self, seller: Seller) -> None:
        invoice = bill(country="AT", tax_id="ATU13585627", language="de")
        texts = read_texts(invoice)
        assert "Steuerschuldnerschaft des Leistungsempfängers (Reverse Charge)." in texts
        assert [tax.name for tax in load_invoice_view(invoice).tax_lines] == [
            "Steuerschuldnerschaft des Leistungsempfängers (AT)"
        ]

    @pytest.mark.parametrize("note", [note for note in NOTES.values() if note])
    def test_every_reason_has_german_words(self, note: str) -> None:
        assert load_words("de")(note) != note


class TestCreditNote:
    def test_says_what_it_takes_back_and_of_which_invoice(self, seller: Seller) -> None:
        create_tax_rate(org_id="default", name="USt.", country="DE", rate=Decimal("0.19"), at=AT, actor=world.TESTER)
        invoice = bill(language="de", country="DE")
        note = issue_credit_note(
            invoice_id=invoice.pk,
            request=CreditRequest(Wish((), 595, False), cause="order_change", memo="Wie besprochen"),
            at=world.NOVEMBER,
            actor=world.TESTER,
        )
        content = get_credit_note_pdf(note)
        texts = [text.replace("\u00a0", " ") for text in read_pdf(content).texts]
        for shown in ("Rechnungskorrektur", "CN-0001", "INV-0001", "Grund: Bestellung geändert", "Wie besprochen"):
            assert shown in texts
        assert "5,95 $ USD" in texts
        assert "USt. 19 %" in texts
        change(seller, name="Other Inc")
        assert get_credit_note_pdf(note) == content
        assert render_invoice_pdf(load_credit_note_view(note)) == content

    @pytest.mark.parametrize("reason", CreditReason.labels)
    def test_every_reason_has_german_words(self, reason: str) -> None:
        assert load_words("de")(reason) != reason


class TestPage:
    @pytest.fixture
    def client(self) -> Client:
        user = User.objects.create_user("ada", is_staff=True)
        user.groups.add(Group.objects.get(name="viewer"))
        client = Client()
        client.force_login(user)
        return client

    def test_says_what_the_file_says(self, client: Client, seller: Seller) -> None:
        change_logo(seller_id=seller.id, content=SVG, at=AT, actor=world.TESTER)
        invoice = bill(language="de")
        page = client.get(reverse("admin:invoicing_invoice_look", args=[invoice.pk]))
        text = " ".join(unescape(re.sub(r"<[^>]+>", " ", page.content.decode())).replace("\u00a0", " ").split())
        assert 'src="data:image/svg+xml;base64,' in page.content.decode()
        missing = [shown for shown in read_texts(invoice) if shown.lower() not in text.lower() and "Seite" not in shown]
        assert not missing

    def test_a_draft_is_marked(self, client: Client, seller: Seller) -> None:
        draft = world.copy_as_draft(bill(language="de"))
        page = client.get(reverse("admin:invoicing_invoice_look", args=[draft.pk])).content.decode()
        assert "ENTWURF" in page
        assert "Entwurf, nicht ausgestellt" in page

    def test_a_void_document_is_marked_and_its_file_stays(self, client: Client, seller: Seller) -> None:
        invoice = bill(language="de")
        content = get_invoice_pdf(invoice)
        void_invoice(invoice_id=invoice.pk, at=world.NOVEMBER, actor=world.TESTER)
        page = client.get(reverse("admin:invoicing_invoice_look", args=[invoice.pk])).content.decode()
        assert "STORNO" in page
        assert "Dieses Dokument wurde storniert" in page
        assert get_invoice_pdf(Invoice.objects.get(pk=invoice.pk)) == content
