"""The invoice: from its view to the bytes of its PDF."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from invoicing.documents.formats import Formats
from invoicing.documents.paper import ACCENT, ALARM, INK, LEFT, MUTED, PAGE_HEIGHT, RIGHT, RULE, WIDTH, Color, Paper
from invoicing.documents.parts import describe_parts
from invoicing.documents.view import InvoiceView, LineView, PartyView

# A draft was never issued: its file carries this date so that it, too, is the same bytes each time.
_NEVER = datetime(2000, 1, 1, tzinfo=UTC)

_TOP = 18.0
_BOTTOM = PAGE_HEIGHT - 24.0  # nothing of the body goes below
_GAP = 3.0  # between two columns
_ROW_PADDING = 1.8

# The table's columns: left edge and width.
_DESCRIPTION = (LEFT, 84.0)
_QUANTITY = (LEFT + 84.0 + _GAP, 27.0)
_PRICE = (LEFT + 114.0 + _GAP, 26.0)
_AMOUNT = (LEFT + 143.0 + _GAP, WIDTH - 143.0 - _GAP)

_TOTALS_LEFT = LEFT + 92.0
_MARKS: dict[str, tuple[str, Color]] = {"draft": ("DRAFT", (234, 237, 242)), "void": ("VOID", (248, 226, 227))}


@dataclass(frozen=True, slots=True)
class _Row:
    """A line of the table, broken into text lines and measured."""

    line: LineView
    description: tuple[str, ...]
    detail: tuple[str, ...]
    height: float


@dataclass(frozen=True, slots=True)
class _Total:
    label: str
    value: str
    strong: bool = False
    detail: str = ""


def render_invoice_pdf(document: InvoiceView, *, locale: str = "en") -> bytes:
    """
    Return the document as a PDF/A-3B file.

    The same view and locale give the same bytes. Numbers and dates follow `locale`; the words are English.
    """
    return _InvoicePrinter(document, locale).render()


class _InvoicePrinter:
    def __init__(self, document: InvoiceView, locale: str) -> None:
        self.document = _folded(document)
        self.formats = Formats(locale=locale, currency=document.currency, timezone=document.timezone)
        self.title = f"Invoice {document.number}" if document.number else "Draft invoice"
        self.paper = Paper(
            title=self.title,
            author=document.seller.name,
            subject=f"{self.title} to {document.buyer.name}",
            created_at=document.finalized_at or _NEVER,
            language=locale.replace("_", "-"),
        )

    def render(self) -> bytes:
        y = self._start_page()
        y = self._head(y)
        y = self._parties(y + 9)
        y = self._due(y + 8)
        y = self._table(y + 8)
        y = self._totals(y + 4)
        self._notes(y + 9)
        self._feet()
        return self.paper.finish()

    # ---- pages ------------------------------------------------------------------------------------------------------
    def _start_page(self) -> float:
        self.paper.add_page()
        mark = _MARKS.get("draft" if self.document.is_draft else self.document.status)
        if mark:
            self.paper.mark(*mark)
        return _TOP

    def _continue_page(self) -> float:
        """Begin a further page with a slim head and return where the body goes on."""
        y = self._start_page()
        self.paper.pen(8.5, color=MUTED)
        self.paper.put_fitted(self.document.seller.name, x=LEFT, y=y, width=WIDTH * 0.6)
        self.paper.put(self.title, x=LEFT, y=y, width=WIDTH, align="R")
        return y + 10

    def _feet(self) -> None:
        """Write the foot of every page, now that their number is known."""
        paper, document = self.paper, self.document
        count = paper.pages_count
        paper.pen(7.5, color=MUTED)
        footer = paper.wrap(document.footer, WIDTH)[:2]
        for page in range(1, count + 1):
            paper.revisit(page)
            paper.pen(7.5, color=MUTED)
            y = PAGE_HEIGHT - 18.0
            paper.rule(y)
            left = (
                document.seller.name
                if not document.seller.email
                else (f"{document.seller.name}  ·  {document.seller.email}")
            )
            paper.put_fitted(left, x=LEFT, y=y + 2.2, width=WIDTH * 0.62)
            paper.put(f"{self.title}  ·  Page {page} of {count}", x=LEFT, y=y + 2.2, width=WIDTH, align="R")
            paper.pen(7, color=MUTED)
            paper.put_lines(footer, x=LEFT, y=y + 6.2, width=WIDTH)

    # ---- head -------------------------------------------------------------------------------------------------------
    def _head(self, y: float) -> float:
        """The seller's name on the left, what this paper is on the right."""
        paper, document = self.paper, self.document
        paper.pen(15, bold=True)
        names = paper.wrap(document.seller.name, 104)[:2]
        bottom = paper.put_lines(names, x=LEFT, y=y + 1.2, width=104)
        paper.pen(24, color=ACCENT)
        paper.put("Invoice", x=LEFT, y=y - 1.5, width=WIDTH, align="R")
        paper.pen(10, bold=True)
        number = document.number or "Draft, not issued"
        paper.put_fitted(number, x=LEFT + 100, y=y + 10.2, width=WIDTH - 100, align="R")
        if document.test_mode:
            paper.pen(7.5, color=ALARM)
            paper.put("Test mode: not a request for payment", x=LEFT, y=y + 15.2, width=WIDTH, align="R")
            bottom = max(bottom, y + 19)
        return max(bottom, y + 15.5)

    def _parties(self, y: float) -> float:
        """Three columns: who sells, who buys, and the dates."""
        self.paper.rule(y - 4)
        ends = [
            self._party("From", self.document.seller, x=LEFT, y=y, width=52),
            self._party("Bill to", self.document.buyer, x=LEFT + 57, y=y, width=52),
            self._details(x=LEFT + 114, y=y, width=WIDTH - 114),
        ]
        return max(ends)

    def _party(self, label: str, party: PartyView, *, x: float, y: float, width: float) -> float:
        paper = self.paper
        y = self._label(label, x=x, y=y)
        paper.pen(9, bold=True)
        y = paper.put_lines(paper.wrap(party.name, width), x=x, y=y, width=width)
        paper.pen(9)
        for text in party.address:
            y = paper.put_lines(paper.wrap(text, width), x=x, y=y, width=width)
        paper.pen(8.5, color=MUTED)
        for text in (*party.tax_ids, party.email, party.phone):
            y = paper.put_lines(paper.wrap(text, width), x=x, y=y, width=width)
        return y

    def _details(self, *, x: float, y: float, width: float) -> float:
        document, formats, paper = self.document, self.formats, self.paper
        pairs: list[tuple[str, str]] = []
        if document.issue_date:
            pairs.append(("Issued", formats.day(document.issue_date)))
        if document.due_date:
            pairs.append(("Due", formats.day(document.due_date)))
        if document.reference:
            pairs.append(("Account", document.reference))
        pairs.extend(document.extra_details)
        y = self._label("Details", x=x, y=y)
        label_width = 20.0
        for label, value in pairs:
            paper.pen(9, color=MUTED)
            paper.put(label, x=x, y=y, width=label_width)
            paper.pen(9)
            # An id is kept whole, in smaller letters where it must be; words go on the next line.
            if " " not in value.strip():
                paper.put_fitted(value, x=x + label_width, y=y, width=width - label_width, align="R")
                y += paper.line_height()
            else:
                lines = paper.wrap(value, width - label_width)
                y = paper.put_lines(lines, x=x + label_width, y=y, width=width - label_width, align="R")
        if document.period:
            # The two days of a period do not fit beside its label in every locale; they get their own line then.
            text = formats.period(document.period)
            paper.pen(9)
            fits = paper.get_string_width(paper.clean(text)) <= width - 14
            paper.pen(9, color=MUTED)
            paper.put("Period", x=x, y=y, width=label_width)
            paper.pen(9)
            y = y if fits else y + paper.line_height()
            y = paper.put_lines([text] if fits else paper.wrap(text, width), x=x, y=y, width=width, align="R")
        return y

    def _label(self, text: str, *, x: float, y: float) -> float:
        self.paper.pen(7.5, bold=True, color=MUTED)
        self.paper.put(text.upper(), x=x, y=y, width=60)
        return y + self.paper.line_height() + 0.8

    def _due(self, y: float) -> float:
        """The one number the reader looks for."""
        paper, document, height = self.paper, self.document, 17.0
        color = ACCENT
        headline = self.formats.money_with_code(document.amount_remaining)
        if document.is_draft:
            caption, aside = "Amount due when issued", "This draft may still change"
        elif document.status == "void":
            caption, headline, color = "Status", "Void", ALARM
            aside = "This invoice was voided; nothing is to be paid"
        elif document.amount_remaining == 0:
            caption, aside = "Amount due", "Nothing to pay" if document.amount_paid == 0 else "Paid in full"
        else:
            caption = "Amount due"
            aside = f"Please pay by {self.formats.day(document.due_date)}" if document.due_date else ""
        paper.panel(x=LEFT, y=y, width=WIDTH, height=height)
        paper.panel(x=LEFT, y=y, width=1.4, height=height, color=color)
        paper.pen(8.5, color=MUTED)
        paper.put(caption, x=LEFT + 7, y=y + 2.6, width=80)
        paper.pen(16, bold=True, color=color)
        paper.put_fitted(headline, x=LEFT + 7, y=y + 6.6, width=90)
        paper.pen(9.5)
        paper.put(aside, x=LEFT, y=y + 6.1, width=WIDTH - 7, align="R")
        return y + height

    # ---- table ------------------------------------------------------------------------------------------------------
    def _table(self, y: float) -> float:
        y = self._table_head(y)
        for row in self._rows():
            if y + row.height > _BOTTOM:
                y = self._table_head(self._continue_page())
            self._row(row, y)
            y += row.height
            self.paper.rule(y)
        return y

    def _table_head(self, y: float) -> float:
        paper, code = self.paper, self.document.currency.upper()
        paper.pen(8, bold=True, color=MUTED)
        for text, (x, width), align in (
            ("Description", _DESCRIPTION, "L"),
            ("Quantity", _QUANTITY, "R"),
            ("Unit price", _PRICE, "R"),
            (f"Amount ({code})", _AMOUNT, "R"),
        ):
            paper.put(text, x=x, y=y, width=width, align="R" if align == "R" else "L")
        y += paper.line_height() + 1.8
        paper.rule(y, color=INK, weight=0.35)
        return y

    def _rows(self) -> list[_Row]:
        paper, width = self.paper, _DESCRIPTION[1]
        rows = []
        for line in self.document.lines:
            paper.pen(9.5)
            description = tuple(paper.wrap(line.description, width)) or ("",)
            height = len(description) * paper.line_height()
            beside = paper.line_height()
            detail_text = "  ·  ".join(
                text for text in (self.formats.period(line.period) if line.period else "", line.detail) if text
            )
            paper.pen(8)
            texts = [detail_text, *describe_parts(line.parts, self.formats)]
            detail = tuple(wrapped for text in texts if text for wrapped in paper.wrap(text, width))
            height += len(detail) * paper.line_height()
            if line.quantity is not None and line.unit:
                beside += paper.line_height()
            rows.append(_Row(line, description, detail, max(height, beside) + 2 * _ROW_PADDING))
        return rows

    def _row(self, row: _Row, y: float) -> None:
        paper, formats, line = self.paper, self.formats, row.line
        y += _ROW_PADDING
        paper.pen(9.5)
        second_line = y + paper.line_height()
        below = paper.put_lines(row.description, x=_DESCRIPTION[0], y=y, width=_DESCRIPTION[1])
        paper.put_fitted(formats.plain_money(line.amount), x=_AMOUNT[0], y=y, width=_AMOUNT[1], align="R")
        if line.quantity is not None:
            paper.put_fitted(formats.quantity(line.quantity), x=_QUANTITY[0], y=y, width=_QUANTITY[1], align="R")
        if line.unit_amount is not None:
            paper.put_fitted(formats.unit_price(line.unit_amount), x=_PRICE[0], y=y, width=_PRICE[1], align="R")
        paper.pen(8, color=MUTED)
        paper.put_lines(row.detail, x=_DESCRIPTION[0], y=below, width=_DESCRIPTION[1])
        if line.quantity is not None and line.unit:
            paper.put_fitted(line.unit, x=_QUANTITY[0], y=second_line, width=_QUANTITY[1], align="R")

    # ---- totals -----------------------------------------------------------------------------------------------------
    def _total_lines(self) -> list[_Total]:
        document, money = self.document, self.formats.money
        totals = [_Total("Subtotal", money(document.subtotal))]
        if document.discount:
            totals.append(_Total("Discount", money(-document.discount), detail=document.discount_name))
        for tax in document.tax_lines:
            label = f"{tax.name} {self.formats.percent(tax.rate_percent)}"
            relation = "included in" if tax.is_inclusive else "on"
            totals.append(_Total(label, money(tax.amount), detail=f"{relation} {money(tax.base)}"))
        totals.append(_Total("Total", money(document.total), strong=True))
        if document.credits:
            totals += [
                _Total("Credit applied", money(-credit.amount), detail=credit.description)
                for credit in document.credits
            ]
        elif document.credit_applied:
            totals.append(_Total("Credit applied", money(-document.credit_applied)))
        if document.amount_paid:
            totals.append(_Total("Paid", money(-document.amount_paid)))
        totals.append(_Total("Amount due", money(document.amount_remaining), strong=True))
        return totals

    def _totals(self, y: float) -> float:
        totals = self._total_lines()
        if y + self._totals_height(totals) > _BOTTOM:
            y = self._continue_page()
        paper = self.paper
        for index, total in enumerate(totals):
            last = index == len(totals) - 1
            if total.strong:
                y += 1.2
                paper.rule(y, x=_TOTALS_LEFT, color=INK if last else RULE, weight=0.35 if last else 0.2)
                y += 1.8
            paper.pen(11 if last else 9.5, bold=total.strong)
            label_end = _TOTALS_LEFT + paper.get_string_width(paper.clean(total.label))
            paper.put_fitted(total.label, x=_TOTALS_LEFT, y=y, width=46)
            paper.put_fitted(total.value, x=_TOTALS_LEFT + 40, y=y, width=RIGHT - _TOTALS_LEFT - 40, align="R")
            height = paper.line_height()
            if total.detail:
                paper.pen(8, color=MUTED)
                room = RIGHT - 30 - label_end - 2
                if paper.get_string_width(paper.clean(total.detail)) <= room:
                    paper.put(total.detail, x=label_end + 2, y=y + 0.55, width=room)
                else:
                    lines = paper.wrap(total.detail, RIGHT - _TOTALS_LEFT)
                    height = paper.put_lines(lines, x=_TOTALS_LEFT, y=y + height, width=60) - y
            y += height + 0.9
        return y

    def _totals_height(self, totals: Sequence[_Total]) -> float:
        """A height that is surely enough."""
        return sum(6.0 + (3.0 if total.strong else 0) + (8.0 if total.detail else 0) for total in totals)

    def _notes(self, y: float) -> None:
        paper = self.paper
        for index, note in enumerate(note for note in self.document.notes if note.strip()):
            if index == 0:
                if y + 14 > _BOTTOM:
                    y = self._continue_page()
                y = self._label("Notes", x=LEFT, y=y)
            paper.pen(8.5)
            for line in paper.wrap(note, WIDTH * 0.78):
                if y + paper.line_height() > _BOTTOM:
                    y = self._continue_page()
                    paper.pen(8.5)
                paper.put(line, x=LEFT, y=y, width=WIDTH)
                y += paper.line_height()
            y += 1.6


def _folded(document: InvoiceView) -> InvoiceView:
    """
    Leave away the line's own period where it is the document's.

    Every line of a usual invoice covers the period in the head; repeating it would only be noise.
    """
    if document.period is None or any(line.period != document.period for line in document.lines):
        return document
    return replace(document, lines=tuple(replace(line, period=None) for line in document.lines))
