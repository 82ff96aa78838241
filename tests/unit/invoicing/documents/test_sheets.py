"""Documents of every kind and language: words, numbers, pictures, and what the file format asks for."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date
from decimal import Decimal
from io import BytesIO

import pytest
from PIL import Image

from invoicing.documents import CreditView, InvoiceView, LineView, PaymentView, TaxLineView, render_invoice_pdf
from invoicing.documents.sheet import compose_sheet
from tests.unit.invoicing.documents.pdf_text import read_pdf
from tests.unit.invoicing.documents.test_invoice import FEBRUARY, ISSUED, JANUARY, lines

SVG = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 10"><rect width="40" height="10" fill="#1d4e89"/></svg>'
PAYMENT = PaymentView(
    "Beispiel GmbH", "Commerzbank", "DE89370400440532013000", "COBADEFFXXX", "Bitte {number} angeben."
)
GERMAN = replace(
    ISSUED,
    locale="de",
    number="DE-0042",
    currency="eur",
    timezone="Europe/Berlin",
    seller=replace(ISSUED.seller, country="DE"),
    lines=(LineView("Pro · restliche Zeit", 123456, Decimal("0.5"), "", Decimal(246912), JANUARY, discount=1000),),
    subtotal=123456,
    discount=1000,
    discount_name="WILLKOMMEN",
    tax_lines=(TaxLineView("USt.", Decimal(19), 122456, 23267),),
    total=145723,
    credits=(CreditView("Rechnungsguthaben", 5723),),
    credit_applied=5723,
    amount_due=140000,
    payment=PAYMENT,
    period=None,
)
NOTE = replace(GERMAN, kind="credit_note", number="DE-CN-0001", corrects="DE-0042", reason="Falsche Menge", credits=())


def draw_png() -> bytes:
    file = BytesIO()
    Image.new("RGBA", (60, 20), (29, 78, 137, 128)).save(file, "PNG")
    return file.getvalue()


def read_texts(view: InvoiceView) -> str:
    return "\n".join(read_pdf(render_invoice_pdf(view)).texts).replace("\u00a0", " ")


class TestGerman:
    def test_words_numbers_days_and_country_are_german(self) -> None:
        text = read_texts(GERMAN)
        for expected in (
            "Rechnung",
            "DE-0042",
            "Deutschland",
            "Bitte zahlen bis 08.02.2026",
            "Beschreibung",
            "Einzelpreis",
            "01.01.2026 – 01.02.2026",
            "Rabatt −10,00",
            "Zwischensumme",
            "1.234,56 €",
            "USt. 19 %",
            "auf 1.224,56 €",
            "Rechnungsguthaben",
            "1.400,00 €",
            "Seite 1 von 1",
        ):
            assert expected in text
        for english in ("Invoice", "Subtotal", "Amount due", "Page"):
            assert english not in text

    def test_the_file_says_its_language(self) -> None:
        assert b"/Lang (de-AT)" in render_invoice_pdf(replace(GERMAN, locale="de_AT"))

    def test_a_country_of_a_language_has_its_own_dates(self) -> None:
        assert "8 Feb 2026" in read_texts(replace(ISSUED, locale="en_GB"))

    @pytest.mark.parametrize(
        ("currency", "amount", "expected"),
        [("jpy", 1234567, "1.234.567 ¥"), ("kwd", 1234567, "1.234,567 KWD"), ("clf", 12345, "1,2345 CLF")],
    )
    def test_currencies_have_their_own_digits(self, currency: str, amount: int, expected: str) -> None:
        view = replace(GERMAN, currency=currency, total=amount)
        totals = {total.label: total.value.replace("\u00a0", " ") for total in compose_sheet(view, locale="de").totals}
        assert totals["Gesamtbetrag"] == expected


class TestPayment:
    def test_tells_the_account_in_groups_of_four_and_the_number(self) -> None:
        text = read_texts(GERMAN)
        assert "DE89 3704 0044 0532 0130 00" in text
        assert "COBADEFFXXX" in text
        assert "Bitte DE-0042 angeben." in text

    @pytest.mark.parametrize("change", [{"amount_due": 0}, {"status": "void"}, {"kind": "credit_note"}])
    def test_says_nothing_where_nothing_is_to_be_paid(self, change: dict[str, object]) -> None:
        assert "COBADEFFXXX" not in read_texts(replace(GERMAN, **change))  # type: ignore[arg-type]


class TestCreditNote:
    def test_says_what_it_corrects_and_gives_back(self) -> None:
        text = read_texts(NOTE)
        for expected in ("Rechnungskorrektur", "DE-CN-0001", "Zu Rechnung", "DE-0042", "Gutgeschrieben", "1.457,23 €"):
            assert expected in text
        assert "Grund: Falsche Menge" in text
        assert "Zu zahlen" not in text
        assert "Fällig" not in text

    def test_ends_with_its_total(self) -> None:
        totals = compose_sheet(NOTE, locale="en").totals
        assert [total.label for total in totals] == ["Subtotal", "Discount", "USt. 19%", "Total"]


class TestNotes:
    def test_reverse_charge_and_what_it_replaces(self) -> None:
        view = replace(ISSUED, reverse_charge=True, replaces="INV-0041")
        text = read_texts(view)
        assert "Reverse charge: the recipient accounts for the tax." in text
        assert "This document replaces INV-0041, which is void." in text
        assert "Steuerschuldnerschaft des Leistungsempfängers (Reverse Charge)." in read_texts(
            replace(view, locale="de")
        )


class TestManyLines:
    @pytest.mark.parametrize("locale", ["en", "de"])
    def test_four_hundred_lines_are_all_there_under_a_head_on_every_page(self, locale: str) -> None:
        shown = tuple(
            replace(line, period=FEBRUARY if number % 2 else JANUARY) for number, line in enumerate(lines(400))
        )
        pdf = read_pdf(render_invoice_pdf(replace(GERMAN, lines=shown, locale=locale)))
        texts = pdf.texts
        assert [text for text in texts if text.startswith("Node pool ")] == [line.description for line in shown]
        count = len(pdf.pages)
        assert count > 10
        head = {"en": "Unit price", "de": "Einzelpreis"}[locale]
        foot = {"en": "Page {} of {}", "de": "Seite {} von {}"}[locale]
        with_lines = [page for page in pdf.pages if any(text.startswith("Node pool ") for text in page)]
        assert all(head in page for page in with_lines)
        for number, page in enumerate(pdf.pages, start=1):
            assert any(text.replace("\u00a0", " ").endswith(foot.format(number, count)) for text in page)

    def test_nothing_is_written_below_the_foot_or_beside_the_page(self) -> None:
        long = "Vereinigte Norddeutsche Maschinenbau- und Anlagentechnik Gesellschaft mit beschränkter Haftung " * 2
        wide = replace(lines(1)[0], description=long, amount=10**17, quantity=Decimal(10**24), unit="x" * 60)
        pdf = read_pdf(render_invoice_pdf(replace(GERMAN, lines=(wide,) * 60, total=10**17, reference="a" * 90)))
        assert all(0 < text.x < 595 and 15 < text.y < 842 for page in pdf.placed for text in page)


class TestTotals:
    TAX = "Steuerschuldnerschaft des Leistungsempfängers (Österreich, Burgenland)"

    @pytest.mark.parametrize("locale", ["en", "de"])
    @pytest.mark.parametrize("count", [8, 12, 26, 31])
    def test_never_stand_on_a_page_without_a_line(self, count: int, locale: str) -> None:
        pdf = read_pdf(render_invoice_pdf(replace(GERMAN, lines=lines(count), locale=locale)))
        label = {"en": "Subtotal", "de": "Zwischensumme"}[locale]
        (page,) = [page for page in pdf.pages if label in page]
        assert any(text.startswith("Node pool ") for text in page)

    def test_a_long_name_of_a_tax_is_as_large_as_the_others(self) -> None:
        view = replace(GERMAN, tax_lines=(TaxLineView(self.TAX, Decimal(0), 122456, 0),))
        placed = [text for page in read_pdf(render_invoice_pdf(view)).placed for text in page]
        start = next(index for index, text in enumerate(placed) if text.text.startswith("Steuerschuldnerschaft"))
        label = [text for text in placed[start : start + 3] if text.x == placed[start].x]
        assert len(label) > 1
        assert {text.size for text in label} == {9.5}
        amount = next(text for text in placed if text.text.replace("\u00a0", " ") == "0,00 €")
        assert amount.y == placed[start].y

    @pytest.mark.parametrize("count", [7, 25])
    def test_a_bank_account_is_on_one_page(self, count: int) -> None:
        pdf = read_pdf(render_invoice_pdf(replace(GERMAN, lines=lines(count))))
        (page,) = [page for page in pdf.pages if "Kontoinhaber" in page]
        assert {"IBAN", "BIC", "Verwendungszweck", "DE89 3704 0044 0532 0130 00"} <= set(page)


class TestLetters:
    def test_an_id_and_a_sentence_are_not_made_small(self) -> None:
        view = replace(GERMAN, reference="acc_01m7y4fmafffgscwmmfa1a7ygm", status="void")
        placed = [text for page in read_pdf(render_invoice_pdf(view)).placed for text in page]
        sizes = {text.text: text.size for text in placed}
        assert sizes["acc_01m7y4fmafffgscwmmfa1a7ygm"] == 9
        (told,) = [text.size for text in placed if text.text.startswith("Dieses Dokument wurde storniert")]
        assert told == 9.5


class TestFile:
    @pytest.mark.parametrize("logo", [SVG, draw_png()], ids=["svg", "png"])
    @pytest.mark.parametrize("view", [GERMAN, NOTE, ISSUED], ids=["german", "note", "english"])
    def test_the_same_document_is_the_same_bytes(self, view: InvoiceView, logo: bytes) -> None:
        pictured = replace(view, logo=logo)
        assert render_invoice_pdf(pictured) == render_invoice_pdf(pictured)
        assert render_invoice_pdf(pictured) != render_invoice_pdf(view)

    @pytest.mark.parametrize("logo", [b"", SVG, draw_png()], ids=["plain", "svg", "png"])
    def test_has_what_the_archive_format_asks_for(self, logo: bytes) -> None:
        data = render_invoice_pdf(replace(GERMAN, logo=logo))
        assert b"<pdfaid:part>3</pdfaid:part>" in data
        assert b"<pdfaid:conformance>B</pdfaid:conformance>" in data
        assert b"/GTS_PDFA1" in data
        assert len(re.findall(rb"/DestOutputProfile \d+ 0 R", data)) == 1
        fonts = len(re.findall(rb"/Type /FontDescriptor", data))
        assert fonts == len(re.findall(rb"/FontFile2 \d+ 0 R", data)) > 0
        assert re.search(rb"/ID \[", data)
        for forbidden in (b"/Encrypt", b"/JavaScript", b"/Launch", b"/LZWDecode"):
            assert forbidden not in data

    def test_a_due_date_is_no_part_of_a_credit_note(self) -> None:
        assert "17.03.2027" not in read_texts(replace(NOTE, due_date=date(2027, 3, 17)))
