"""The invoice as a file: what it says, on how many pages, and that it is the same file each time."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from billing_site.kernel.periods import Period
from invoicing.documents import InvoiceView, LineView, PartyView, TaxLineView, render_invoice_pdf
from tests.unit.invoicing.documents.pdf_text import Pdf, read_pdf

JANUARY = Period(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC))
FEBRUARY = Period(datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC))

SELLER = PartyView(
    "Harbour Software Ltd", ("12 Quay Street", "Bristol BS1 4DJ"), ("VAT GB 123456789",), "ap@harbour.example"
)
BUYER = PartyView("Acme Robotics GmbH", ("Torstraße 140", "10119 Berlin", "Germany"), ("VAT DE811234567",))
TOKENS = (
    LineView("LLM · input tokens", 1118, Decimal(22361870), "tokens", Decimal("0.00005"), JANUARY),
    LineView("LLM · output tokens", 613, Decimal(4088665), "tokens", Decimal("0.00015"), JANUARY),
)
ISSUED = InvoiceView(
    seller=SELLER,
    buyer=BUYER,
    number="INV-0042",
    status="open",
    currency="usd",
    timezone="UTC",
    subtotal=1731,
    total=1731,
    amount_due=1731,
    lines=TOKENS,
    issue_date=date(2026, 2, 1),
    due_date=date(2026, 2, 8),
    finalized_at=datetime(2026, 2, 1, 0, 5, tzinfo=UTC),
    period=JANUARY,
    footer="Registered in England, no. 01234567",
)


def read(view: InvoiceView, locale: str = "en") -> Pdf:
    return read_pdf(render_invoice_pdf(view, locale=locale))


def lines(count: int) -> tuple[LineView, ...]:
    return tuple(LineView(f"Node pool {index}", 100, Decimal(1), "h", Decimal(100)) for index in range(1, count + 1))


class TestWhatItSays:
    def test_names_both_sides_the_number_and_the_dates(self) -> None:
        texts = read(ISSUED).texts
        for expected in (
            "Harbour Software Ltd",
            "12 Quay Street",
            "VAT GB 123456789",
            "Acme Robotics GmbH",
            "Torstraße 140",
            "VAT DE811234567",
            "INV-0042",
            "Feb 1, 2026",
            "Feb 8, 2026",
            "Jan 1, 2026 – Jan 31, 2026",
            "Please pay by Feb 8, 2026",
            "Registered in England, no. 01234567",
        ):
            assert expected in texts, expected

    def test_prints_lines_with_grouped_quantities_and_readable_prices(self) -> None:
        texts = read(ISSUED).texts
        # 0.00005 cents per token is 50 cents per million.
        at = texts.index("LLM · input tokens")
        assert set(texts[at : at + 5]) == {"LLM · input tokens", "11.18", "22,361,870", "0.50 / 1M", "tokens"}
        assert "$17.31 USD" in texts

    def test_says_a_period_once_when_all_lines_share_it(self) -> None:
        assert read(ISSUED).texts.count("Jan 1, 2026 – Jan 31, 2026") == 1

    def test_says_each_period_when_lines_differ(self) -> None:
        fee = LineView("Pro", 2900, Decimal(1), "", Decimal(2900), FEBRUARY)
        texts = read(replace(ISSUED, lines=(fee, *TOKENS))).texts
        assert texts.count("Feb 1, 2026 – Feb 28, 2026") == 1
        assert texts.count("Jan 1, 2026 – Jan 31, 2026") == 3  # the head and two lines

    def test_counts_days_in_the_accounts_zone(self) -> None:
        # Midnight in Berlin is 23:00 UTC of the day before in winter.
        berlin = Period(datetime(2025, 12, 31, 23, tzinfo=UTC), datetime(2026, 1, 31, 23, tzinfo=UTC))
        view = replace(ISSUED, timezone="Europe/Berlin", period=berlin, lines=lines(1))
        assert "Jan 1, 2026 – Jan 31, 2026" in read(view).texts

    def test_shows_the_way_from_subtotal_to_what_is_due(self) -> None:
        view = replace(
            ISSUED,
            subtotal=4631,
            discount=463,
            discount_name="WELCOME10",
            tax_lines=(TaxLineView("VAT", Decimal(20), 3000, 600), TaxLineView("VAT", Decimal("5.5"), 1168, 64)),
            total=4832,
            credit_applied=1000,
            amount_due=3832,
            amount_paid=500,
        )
        texts = read(view).texts
        for label, value in (
            ("Subtotal", "$46.31"),
            ("Discount", "−$4.63"),
            ("VAT 20%", "$6.00"),
            ("VAT 5.5%", "$0.64"),
            ("Total", "$48.32"),
            ("Credit applied", "−$10.00"),
            ("Paid", "−$5.00"),
        ):
            assert texts[texts.index(label) + 1] == value
        assert "on $30.00" in texts
        assert "WELCOME10" in texts
        assert texts[-1 - texts[::-1].index("Amount due") + 1] == "$33.32"

    def test_shows_inclusive_tax_as_part_of_the_amount(self) -> None:
        tax = TaxLineView("VAT", Decimal(19), 1731, 276, is_inclusive=True)
        assert "included in $17.31" in read(replace(ISSUED, tax_lines=(tax,))).texts

    @pytest.mark.parametrize(
        ("currency", "line", "due"),
        [("jpy", "1,118", "¥1,731 JPY"), ("kwd", "1.118", "1.731\u00a0KWD"), ("clf", "0.1118", "0.1731\u00a0CLF")],
    )
    def test_uses_the_digits_of_the_currency(self, currency: str, line: str, due: str) -> None:
        texts = read(replace(ISSUED, currency=currency)).texts
        assert line in texts
        assert due in texts

    def test_follows_the_locale(self) -> None:
        texts = read(replace(ISSUED, currency="eur", subtotal=123456789), locale="de_DE").texts
        assert "22.361.870" in texts
        assert "1.234.567,89\u00a0€" in texts
        assert "08.02.2026" in texts

    @pytest.mark.parametrize("amount", [10**15, -(10**15)])
    def test_keeps_huge_amounts_whole(self, amount: int) -> None:
        text = f"{'−' if amount < 0 else ''}10,000,000,000,000.00"
        assert text in read(replace(ISSUED, lines=(LineView("Balance", amount),))).texts


class TestMarks:
    def test_a_draft_is_marked_and_has_no_number(self) -> None:
        draft = replace(ISSUED, number=None, status="draft", finalized_at=None, issue_date=None, due_date=None)
        texts = read(draft).texts
        assert "DRAFT" in texts
        assert "Draft, not issued" in texts
        assert not any("INV" in text for text in texts)

    def test_a_void_document_is_marked_and_asks_for_nothing(self) -> None:
        texts = read(replace(ISSUED, status="void")).texts
        assert "VOID" in texts
        assert "INV-0042" in texts
        assert not any(text.startswith("Please pay") for text in texts)
        assert "$17.31 USD" not in texts

    def test_an_issued_document_has_no_mark(self) -> None:
        assert not {"VOID", "DRAFT"} & set(read(ISSUED).texts)

    def test_a_paid_document_asks_for_nothing(self) -> None:
        texts = read(replace(ISSUED, status="paid", amount_paid=1731)).texts
        assert "Paid in full" in texts
        assert "$0.00 USD" in texts

    def test_test_mode_is_told(self) -> None:
        assert any(text.startswith("Test mode") for text in read(replace(ISSUED, test_mode=True)).texts)


class TestPages:
    def test_one_line_fits_on_one_page(self) -> None:
        pdf = read(replace(ISSUED, lines=lines(1)))
        assert len(pdf.pages) == 1
        assert "Invoice INV-0042  ·  Page 1 of 1" in pdf.texts

    def test_four_hundred_lines_repeat_the_head_and_lose_none(self) -> None:
        pdf = read(replace(ISSUED, lines=lines(400)))
        count = len(pdf.pages)
        assert count > 10
        for index, page in enumerate(pdf.pages, start=1):
            assert f"Invoice INV-0042  ·  Page {index} of {count}" in page
            if any(text.startswith("Node pool") for text in page):
                assert "Amount (USD)" in page
        assert [text for text in pdf.texts if text.startswith("Node pool")] == [f"Node pool {n}" for n in range(1, 401)]

    def test_long_names_are_wrapped_and_complete(self) -> None:
        name = "A dedicated cluster for the analytics department in the second region, kept warm over night " * 3
        texts = read(replace(ISSUED, lines=(LineView(name.strip(), 100),))).texts
        at = next(index for index, text in enumerate(texts) if text.startswith("A dedicated"))
        assert " ".join(texts[at : at + 6]).startswith(name.strip()[:200])

    def test_an_endless_word_is_broken(self) -> None:
        texts = read(replace(ISSUED, buyer=replace(BUYER, name="W" * 120))).texts
        assert "".join(text for text in texts if set(text) == {"W"}) == "W" * 120

    def test_notes_may_run_over_pages(self) -> None:
        notes = tuple(f"Paragraph {n}: payment by transfer within the time named above." for n in range(80))
        pdf = read(replace(ISSUED, notes=notes))
        assert len(pdf.pages) > 1
        assert sum(text.startswith("Paragraph") for text in pdf.texts) == 80


class TestLayout:
    @pytest.mark.parametrize("count", [1, 2, 60])
    @pytest.mark.parametrize("period", [None, JANUARY, FEBRUARY])
    def test_no_line_strikes_through_a_text(self, count: int, period: Period | None) -> None:
        line = LineView("Node pool", 100, Decimal(1), "node-hours", Decimal(100), period)
        pdf = read(replace(ISSUED, lines=(line,) * count, notes=("Thank you.",)))
        for texts, rules in zip(pdf.placed, pdf.rules, strict=True):
            struck = [
                (text.text, rule.y)
                for text in texts
                for rule in rules
                if rule.left <= text.x <= rule.right and text.y - text.size * 0.2 < rule.y < text.y + text.size * 0.75
            ]
            assert struck == []

    def test_nothing_leaves_the_page(self) -> None:
        pdf = read(replace(ISSUED, lines=lines(120), notes=("Thank you.",) * 30))
        assert all(56 <= text.x <= 540 and 20 <= text.y <= 810 for page in pdf.placed for text in page)

    def test_an_id_is_kept_whole(self) -> None:
        assert (
            "acc_01m7y4fmafffgscwmmfa1a7ygm" in read(replace(ISSUED, reference="acc_01m7y4fmafffgscwmmfa1a7ygm")).texts
        )


class TestCharacters:
    def test_scripts_of_the_second_typeface_are_printed(self) -> None:
        text = "".join(read(replace(ISSUED, buyer=replace(BUYER, name="Ελλάς Москва ₹ →"))).texts)
        for word in ("Ελλάς", "Москва", "₹", "→"):
            assert word in text

    def test_characters_nobody_has_are_replaced_not_dropped(self) -> None:
        texts = read(replace(ISSUED, buyer=replace(BUYER, name="株式会社 Acme"))).texts
        assert "".join(texts).count("�") == 4
        assert any("Acme" in text for text in texts)

    def test_control_characters_vanish(self) -> None:
        assert "Acme Ltd" in read(replace(ISSUED, buyer=replace(BUYER, name="Ac\u200bme\x00 Ltd"))).texts


class TestFile:
    def test_is_an_archive_pdf_with_embedded_fonts(self) -> None:
        data = render_invoice_pdf(ISSUED)
        assert data.startswith(b"%PDF-1.7")
        assert b"<pdfaid:part>3</pdfaid:part>" in data
        assert b"/GTS_PDFA1" in data
        assert data.count(b"/FontFile2") == 2
        assert b"/Subtype /Type1" not in data
        assert len(data) < 60_000

    def test_names_its_subject(self) -> None:
        data = render_invoice_pdf(replace(ISSUED, buyer=replace(BUYER, name="A & <B>")))
        assert b"Invoice INV-0042 to A &amp; &lt;B&gt;" in data

    def test_carries_the_date_of_issue_and_no_other(self) -> None:
        data = render_invoice_pdf(ISSUED)
        assert b"2026-02-01T00:05:00+00:00" in data
        assert str(datetime.now(tz=UTC).date()).encode() not in data

    def test_is_the_same_at_another_time(self) -> None:
        first = render_invoice_pdf(ISSUED)
        time.sleep(1.1)
        assert render_invoice_pdf(ISSUED) == first

    def test_is_the_same_in_another_process_and_zone(self) -> None:
        code = (
            "import hashlib, sys\n"
            "from tests.unit.invoicing.documents.test_invoice import MIXED, render_invoice_pdf\n"
            "sys.stdout.write(hashlib.sha256(render_invoice_pdf(MIXED)).hexdigest())"
        )
        digests = {
            subprocess.run(
                [sys.executable, "-c", code],
                env={**os.environ, "PYTHONHASHSEED": seed, "TZ": zone},
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            for seed, zone in (("1", "Asia/Tokyo"), ("2", "America/New_York"))
        }
        assert digests == {hashlib.sha256(render_invoice_pdf(MIXED)).hexdigest()}


MIXED = replace(ISSUED, lines=(*TOKENS, *lines(40)), buyer=replace(BUYER, name="Ünïted ₹ Москва →"))
