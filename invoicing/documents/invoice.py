"""The document on paper: from its view to the bytes of its PDF."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from invoicing.documents.paper import ACCENT, ALARM, INK, LEFT, MUTED, PAGE_HEIGHT, RIGHT, RULE, WIDTH, Color, Paper
from invoicing.documents.sheet import Block, Party, Row, Sheet, Total, compose_sheet
from invoicing.documents.view import InvoiceView

# A draft was never issued: its file carries this date so that it, too, is the same bytes each time.
_NEVER = datetime(2000, 1, 1, tzinfo=UTC)

_TOP = 18.0
_BOTTOM = PAGE_HEIGHT - 24.0  # nothing of the body goes below
_GAP = 3.0  # between two columns
_ROW_PADDING = 1.8
_HEADING_PADDING = 4.0
_LOGO = (70.0, 16.0)  # the largest it is drawn

# The table's columns: left edge and width.
_DESCRIPTION = (LEFT, 84.0)
_QUANTITY = (LEFT + 84.0 + _GAP, 27.0)
_PRICE = (LEFT + 114.0 + _GAP, 26.0)
_AMOUNT = (LEFT + 143.0 + _GAP, WIDTH - 143.0 - _GAP)

_TOTALS_LEFT = LEFT + 92.0
_TOTALS_WIDTH = RIGHT - _TOTALS_LEFT
_MARKS: dict[str, Color] = {"plain": (234, 237, 242), "alarm": (248, 226, 227)}


@dataclass(frozen=True, slots=True)
class _Measured:
    """A line of the table, broken into text lines and measured."""

    row: Row
    description: tuple[str, ...]
    detail: tuple[str, ...]
    height: float
    heading: tuple[str, ...] = ()
    heading_height: float = 0


@dataclass(frozen=True, slots=True)
class _MeasuredTotal:
    """A total in text lines; its detail stands behind the label, which ends at `end`, or below it."""

    total: Total
    size: float
    label: tuple[str, ...]
    detail: tuple[str, ...]
    is_beside: bool
    end: float
    height: float


def render_invoice_pdf(document: InvoiceView, *, locale: str = "en") -> bytes:
    """
    Return the document as a PDF/A-3B file, words, numbers and dates in those of `locale`.

    The same view and locale give the same bytes.
    """
    return _Printer(document, compose_sheet(document, locale=locale), locale).render()


class _Printer:
    def __init__(self, document: InvoiceView, sheet: Sheet, locale: str) -> None:
        self.sheet = sheet
        self.logo = document.logo
        self.seller = document.seller.name
        self.paper = Paper(
            title=sheet.title,
            author=document.seller.name,
            subject=sheet.subject,
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
        y += 9
        for block in self.sheet.blocks:
            y = self._block(block, y) + 4
        self._feet()
        return self.paper.finish()

    # ---- pages ------------------------------------------------------------------------------------------------------
    def _start_page(self) -> float:
        self.paper.add_page()
        if self.sheet.mark:
            self.paper.mark(self.sheet.mark, _MARKS[self.sheet.tone])
        return _TOP

    def _continue_page(self) -> float:
        """Begin a further page with a slim head and return where the body goes on."""
        y = self._start_page()
        self.paper.pen(8.5, color=MUTED)
        self.paper.put_fitted(self.seller, x=LEFT, y=y, width=WIDTH * 0.6)
        self.paper.put(self.sheet.title, x=LEFT, y=y, width=WIDTH, align="R")
        return y + 10

    def _feet(self) -> None:
        """Write the foot of every page, now that their number is known."""
        paper, sheet = self.paper, self.sheet
        count = paper.pages_count
        paper.pen(7, color=MUTED)
        footer = paper.wrap(sheet.footer, WIDTH)[:3]
        for page in range(1, count + 1):
            paper.revisit(page)
            paper.pen(7.5, color=MUTED)
            y = PAGE_HEIGHT - 18.0
            paper.rule(y)
            paper.put_fitted(sheet.sender, x=LEFT, y=y + 2.2, width=WIDTH * 0.62)
            text = sheet.page_text.format(page=page, count=count)
            paper.put(f"{sheet.title}  ·  {text}", x=LEFT, y=y + 2.2, width=WIDTH, align="R")
            paper.pen(7, color=MUTED)
            paper.put_lines(footer, x=LEFT, y=y + 6.2, width=WIDTH)

    # ---- head -------------------------------------------------------------------------------------------------------
    def _head(self, y: float) -> float:
        """The seller's logo or name on the left, what this paper is on the right."""
        paper, sheet = self.paper, self.sheet
        if self.logo:
            bottom = y + paper.picture(self.logo, x=LEFT, y=y, width=_LOGO[0], height=_LOGO[1])
        else:
            paper.pen(15, bold=True)
            names = paper.wrap(self.seller, 104)[:2]
            bottom = paper.put_lines(names, x=LEFT, y=y + 1.2, width=104)
        paper.pen(24, color=ACCENT)
        paper.put(sheet.heading, x=LEFT, y=y - 1.5, width=WIDTH, align="R")
        paper.pen(10, bold=True)
        paper.put_fitted(sheet.number, x=LEFT + 100, y=y + 10.2, width=WIDTH - 100, align="R")
        if sheet.test_notice:
            paper.pen(7.5, color=ALARM)
            paper.put(sheet.test_notice, x=LEFT, y=y + 15.2, width=WIDTH, align="R")
            bottom = max(bottom, y + 19)
        return max(bottom, y + 15.5)

    def _parties(self, y: float) -> float:
        """Three columns: who sells, who buys, and the dates."""
        self.paper.rule(y - 4)
        columns = zip(self.sheet.parties, (LEFT, LEFT + 57), strict=True)
        ends = [self._party(party, x=x, y=y, width=52) for party, x in columns]
        return max(*ends, self._details(x=LEFT + 114, y=y, width=WIDTH - 114))

    def _party(self, party: Party, *, x: float, y: float, width: float) -> float:
        paper = self.paper
        y = self._label(party.label, x=x, y=y)
        paper.pen(9, bold=True)
        y = paper.put_lines(paper.wrap(party.name, width), x=x, y=y, width=width)
        paper.pen(9)
        for text in party.address:
            y = paper.put_lines(paper.wrap(text, width), x=x, y=y, width=width)
        paper.pen(8.5, color=MUTED)
        for text in party.small:
            y = paper.put_lines(paper.wrap(text, width), x=x, y=y, width=width)
        return y

    def _details(self, *, x: float, y: float, width: float) -> float:
        paper, sheet = self.paper, self.sheet
        y = self._label(sheet.details_label, x=x, y=y)
        label_width = 20.0
        for label, value in sheet.details:
            paper.pen(9, color=MUTED)
            paper.put(label, x=x, y=y, width=label_width)
            paper.pen(9)
            # An id is kept whole, on a line of its own where it must be; words go on the next line.
            if " " not in value.strip():
                room = width - paper.get_string_width(paper.clean(label)) - 3
                if paper.get_string_width(paper.clean(value)) > room:
                    y += paper.line_height()
                paper.put_fitted(value, x=x, y=y, width=width, align="R")
                y += paper.line_height()
            else:
                lines = paper.wrap(value, width - label_width)
                y = paper.put_lines(lines, x=x + label_width, y=y, width=width - label_width, align="R")
        if sheet.period:
            # The two days of a period do not fit beside its label in every locale; they get their own line then.
            label, text = sheet.period
            paper.pen(9)
            room = width - paper.get_string_width(paper.clean(label)) - 3
            fits = paper.get_string_width(paper.clean(text)) <= room
            paper.pen(9, color=MUTED)
            paper.put(label, x=x, y=y, width=label_width)
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
        paper, due, height = self.paper, self.sheet.due, 17.0
        color = ALARM if due.tone == "alarm" else ACCENT
        paper.panel(x=LEFT, y=y, width=WIDTH, height=height)
        paper.panel(x=LEFT, y=y, width=1.4, height=height, color=color)
        paper.pen(8.5, color=MUTED)
        paper.put(due.caption, x=LEFT + 7, y=y + 2.6, width=80)
        paper.pen(16, bold=True, color=color)
        paper.put_fitted(due.headline, x=LEFT + 7, y=y + 6.6, width=90)
        paper.pen(9.5)
        lines = paper.wrap(due.aside, WIDTH - 105)
        first = y + (height - len(lines) * paper.line_height()) / 2
        paper.put_lines(lines, x=LEFT + 98, y=first, width=WIDTH - 105, align="R")
        return y + height

    # ---- table ------------------------------------------------------------------------------------------------------
    def _table(self, y: float) -> float:
        y = self._table_head(y)
        rows = self._measure()
        totals = 4 + sum(total.height for total in self._measure_totals())
        for number, row in enumerate(rows, start=1):
            # Totals never stand on a page alone: where they need a new one, the last line goes along.
            along = totals if number == len(rows) > 1 and row.height + totals < _BOTTOM - _TOP - 30 else 0.0
            if y + row.heading_height + row.height + along > _BOTTOM:
                y = self._table_head(self._continue_page())
            if row.heading:
                paper = self.paper
                paper.pen(9.5, bold=True)
                y = paper.put_lines(row.heading, x=LEFT, y=y + _HEADING_PADDING, width=WIDTH)
                paper.rule(y + _ROW_PADDING)
                y += _ROW_PADDING
            self._row(row, y)
            y += row.height
            self.paper.rule(y)
        return y

    def _table_head(self, y: float) -> float:
        paper = self.paper
        paper.pen(8, bold=True, color=MUTED)
        places = (_DESCRIPTION, _QUANTITY, _PRICE, _AMOUNT)
        for number, (text, (x, width)) in enumerate(zip(self.sheet.columns, places, strict=True)):
            paper.put_fitted(text, x=x, y=y, width=width, align="R" if number else "L")
        paper.pen(8, bold=True, color=MUTED)
        y += paper.line_height() + 1.8
        paper.rule(y, color=INK, weight=0.35)
        return y

    def _measure(self) -> list[_Measured]:
        paper, width = self.paper, _DESCRIPTION[1]
        measured = []
        for row in self.sheet.rows:
            paper.pen(9.5)
            description = tuple(paper.wrap(row.description, width)) or ("",)
            height = len(description) * paper.line_height()
            beside = paper.line_height()
            paper.pen(8)
            detail = tuple(wrapped for text in row.details for wrapped in paper.wrap(text, width))
            height += len(detail) * paper.line_height()
            if row.unit:
                beside += paper.line_height()
            paper.pen(9.5, bold=True)
            heading = tuple(paper.wrap(row.heading, WIDTH)) if row.heading else ()
            above = len(heading) * paper.line_height() + _HEADING_PADDING + _ROW_PADDING if heading else 0.0
            height = max(height, beside) + 2 * _ROW_PADDING
            measured.append(_Measured(row, description, detail, height, heading, above))
        return measured

    def _row(self, measured: _Measured, y: float) -> None:
        paper, row = self.paper, measured.row
        y += _ROW_PADDING
        paper.pen(9.5)
        second_line = y + paper.line_height()
        below = paper.put_lines(measured.description, x=_DESCRIPTION[0], y=y, width=_DESCRIPTION[1])
        for text, (x, width) in ((row.amount, _AMOUNT), (row.quantity, _QUANTITY), (row.price, _PRICE)):
            if text:
                paper.put_fitted(text, x=x, y=y, width=width, align="R")
        paper.pen(8, color=MUTED)
        paper.put_lines(measured.detail, x=_DESCRIPTION[0], y=below, width=_DESCRIPTION[1])
        if row.unit:
            paper.put_fitted(row.unit, x=_QUANTITY[0], y=second_line, width=_QUANTITY[1], align="R")

    # ---- totals -----------------------------------------------------------------------------------------------------
    def _totals(self, y: float) -> float:
        measured = self._measure_totals()
        if y + sum(total.height for total in measured) > _BOTTOM:
            y = self._continue_page()
        for total in measured:
            self._total(total, y)
            y += total.height
        return y

    def _measure_totals(self) -> list[_MeasuredTotal]:
        """Break the labels into lines: a long name of a tax stays as large as the others."""
        paper, measured = self.paper, []
        for index, total in enumerate(self.sheet.totals):
            is_last = index == len(self.sheet.totals) - 1
            size = 11 if is_last else 9.5
            paper.pen(size, bold=total.strong)
            value_width = min(paper.get_string_width(paper.clean(total.value)), 42.0)
            label = tuple(paper.wrap(total.label, RIGHT - _TOTALS_LEFT - value_width - 4))
            height = len(label) * paper.line_height() + 0.9 + (3.0 if total.strong else 0)
            end = paper.get_string_width(label[-1]) if label else 0.0
            paper.pen(8)
            is_beside = end + 2 + paper.get_string_width(paper.clean(total.detail)) + value_width + 4 <= _TOTALS_WIDTH
            detail = (total.detail,) if is_beside else tuple(paper.wrap(total.detail, _TOTALS_WIDTH))
            if not is_beside:
                height += len(detail) * paper.line_height()
            measured.append(_MeasuredTotal(total, size, label, detail if total.detail else (), is_beside, end, height))
        return measured

    def _total(self, measured: _MeasuredTotal, y: float) -> None:
        paper, total = self.paper, measured.total
        if total.strong:
            is_last = total is self.sheet.totals[-1]
            y += 1.2
            paper.rule(y, x=_TOTALS_LEFT, color=INK if is_last else RULE, weight=0.35 if is_last else 0.2)
            y += 1.8
        paper.pen(measured.size, bold=total.strong)
        below = paper.put_lines(measured.label, x=_TOTALS_LEFT, y=y, width=_TOTALS_WIDTH)
        last_line = below - paper.line_height()
        paper.put_fitted(total.value, x=RIGHT - 42, y=y, width=42, align="R")
        paper.pen(8, color=MUTED)
        if measured.is_beside:
            paper.put_lines(measured.detail, x=_TOTALS_LEFT + measured.end + 2, y=last_line + 0.55, width=_TOTALS_WIDTH)
        else:
            paper.put_lines(measured.detail, x=_TOTALS_LEFT, y=below, width=_TOTALS_WIDTH)

    def _block(self, block: Block, y: float) -> float:
        """Write a block below the totals; it begins on a new page where label or values would be torn."""
        paper = self.paper
        paper.pen(8.5)
        pairs = 8.0 + len(block.pairs) * paper.line_height()  # a bank account is not torn apart
        if y + max(14.0, pairs) > _BOTTOM:
            y = self._continue_page()
        y = self._label(block.label, x=LEFT, y=y)
        paper.pen(8.5)
        label_width = max((paper.get_string_width(paper.clean(label)) for label, _ in block.pairs), default=0) + 5
        for label, value in block.pairs:
            y = self._next_line(y)
            paper.pen(8.5, color=MUTED)
            paper.put(label, x=LEFT, y=y, width=label_width)
            paper.pen(8.5)
            paper.put_fitted(value, x=LEFT + label_width, y=y, width=WIDTH - label_width)
            y += paper.line_height()
        for paragraph in block.paragraphs:
            y += 1.0 if block.pairs else 0
            paper.pen(8.5)
            for line in paper.wrap(paragraph, WIDTH * 0.78):
                y = self._next_line(y)
                paper.put(line, x=LEFT, y=y, width=WIDTH)
                y += paper.line_height()
            y += 1.6
        return y

    def _next_line(self, y: float) -> float:
        """Return where a line of small text goes: here, or on a new page."""
        paper = self.paper
        if y + paper.line_height() > _BOTTOM:
            y = self._continue_page()
            paper.pen(8.5)
        return y
