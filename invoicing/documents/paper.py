"""
The paper documents are set on: A4, two weights of one typeface, a small palette, text primitives.

Files are PDF/A-3B. Everything that would differ between two runs (dates, ids) is taken from the document.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Literal, cast

from fontTools.ttLib import TTFont  # type: ignore[import-untyped]
from fpdf import FPDF
from fpdf.fonts import SubsetMap
from fpdf.image_parsing import preload_image

Color = tuple[int, int, int]
Align = Literal["L", "R", "C"]

INK: Color = (24, 32, 48)
MUTED: Color = (104, 114, 130)
ACCENT: Color = (29, 78, 137)
RULE: Color = (222, 226, 232)
PANEL: Color = (244, 246, 249)
ALARM: Color = (176, 42, 48)

PAGE_WIDTH = 210.0
PAGE_HEIGHT = 297.0
LEFT = 20.0
RIGHT = 190.0
WIDTH = RIGHT - LEFT

_FONTS = Path(__file__).parent / "fonts"
_TEXT, _OTHER = "text", "other"
_FILES = {"": "OpenSans-Regular.ttf", "B": "OpenSans-Semibold.ttf"}
_SUBSTITUTE = "�"
# Narrow and figure spaces that the typeface lacks; what they separate must not be torn apart.
_SPACES = dict.fromkeys((0x202F, 0x2007, 0x2009), "\u00a0")
_POINTS_TO_MM = 25.4 / 72

PRODUCER = "Countinghouse"


@cache
def _covered(file_name: str) -> frozenset[int]:
    """The characters a font file has."""
    with TTFont(_FONTS / file_name, lazy=True) as font:
        return frozenset(font.getBestCmap())


class Paper(FPDF):
    """An A4 document with millimetres as units; `y` grows downwards. Page breaks are the caller's."""

    def __init__(self, *, title: str, author: str, subject: str, created_at: datetime, language: str) -> None:
        super().__init__(orientation="P", unit="mm", format="A4", enforce_compliance="PDF/A-3B")
        self._has_other = False
        self.set_auto_page_break(False)
        self.set_margins(0, 0)
        self.c_margin = 0
        for style, file_name in _FILES.items():
            self.add_font(_TEXT, style, _FONTS / file_name)
        created = created_at.astimezone(UTC).replace(microsecond=0)
        self.set_creation_date(created)
        self.set_title(title)
        self.set_author(author)
        self.set_subject(subject)
        self.set_producer(PRODUCER)
        self.set_lang(language)
        self.set_xmp_metadata(_describe(title=title, author=author, subject=subject, created=created))

    def clean(self, text: str) -> str:
        """
        Return `text` as this paper can print it: composed characters, no control characters, nothing without a glyph.

        The second typeface is loaded when a character first needs it.
        """
        composed = unicodedata.normalize("NFC", text).translate(_SPACES)
        main = _covered(_FILES[""])
        if all(ord(char) in main for char in composed if char != "\n"):
            return composed
        printable = [char for char in composed if char == "\n" or unicodedata.category(char) not in {"Cc", "Cf"}]
        other = _covered("DejaVuSans.ttf")
        if not self._has_other and any(ord(char) not in main for char in printable if char != "\n"):
            self._has_other = True
            for style in _FILES:
                self.add_font(_OTHER, style, _FONTS / "DejaVuSans.ttf")
            self.set_fallback_fonts([_OTHER], exact_match=False)
        return "".join(
            char if char == "\n" or ord(char) in main or ord(char) in other else _SUBSTITUTE for char in printable
        )

    def pen(self, size: float, *, bold: bool = False, color: Color = INK) -> None:
        """Choose size in points, weight and colour of the next text."""
        self.set_font(_TEXT, "B" if bold else "", size)
        self.set_text_color(*color)

    def put(self, text: str, *, x: float, y: float, width: float, align: Align = "L") -> None:
        """Write one line with its baseline box at `y`; it is not wrapped."""
        self.set_xy(x, y)
        self.cell(width, self.line_height(), self.clean(text), align=align)

    def put_fitted(self, text: str, *, x: float, y: float, width: float, align: Align = "L") -> None:
        """Write one line; when it is wider than `width`, in a smaller size."""
        size = self.font_size_pt
        while self.font_size_pt > 5 and self.get_string_width(self.clean(text)) > width:
            self.set_font_size(self.font_size_pt - 0.25)
        self.put(text, x=x, y=y + (size - self.font_size_pt) * _POINTS_TO_MM * 0.7, width=width, align=align)
        self.set_font_size(size)

    def put_lines(self, lines: Iterable[str], *, x: float, y: float, width: float, align: Align = "L") -> float:
        """Write lines below each other and return where the next would go."""
        for line in lines:
            self.put(line, x=x, y=y, width=width, align=align)
            y += self.line_height()
        return y

    def wrap(self, text: str, width: float) -> list[str]:
        """Break `text` into lines of at most `width` in the present pen; a too long word is broken anywhere."""
        if not text.strip():
            return []
        text = self.clean(text)
        if "\n" not in text and self.get_string_width(text) <= width:
            return [text]
        return cast(
            "list[str]", self.multi_cell(width, self.line_height(), text, align="L", dry_run=True, output="LINES")
        )

    def line_height(self) -> float:
        """The distance of two lines in the present pen."""
        return float(self.font_size_pt) * _POINTS_TO_MM * 1.42

    def revisit(self, page: int) -> None:
        """Go back to a finished page. What the pen was there is unknown, so everything is made to be set anew."""
        self.page = page
        self.set_draw_color(*PANEL)
        self.set_line_width(1)
        self.set_font(_TEXT, "B", 1)

    def finish(self) -> bytes:
        """
        Return the file.

        The library keeps every font it ever used in class-wide caches; they are emptied, or a worker would grow with
        every document.
        """
        try:
            return bytes(self.output())
        finally:
            SubsetMap.pick.cache_clear()
            SubsetMap.get_glyph.cache_clear()

    def picture(self, content: bytes, *, x: float, y: float, width: float, height: float) -> float:
        """Draw a PNG or SVG from its upper left corner, as large as the space allows; return its height."""
        _, _, info = preload_image(self.image_cache, BytesIO(content))
        scale = min(width / info.width, height / info.height)
        self.image(BytesIO(content), x=x, y=y, w=info.width * scale, h=info.height * scale)
        return float(info.height * scale)

    def rule(
        self, y: float, *, x: float = LEFT, right: float = RIGHT, color: Color = RULE, weight: float = 0.2
    ) -> None:
        """Draw a horizontal line."""
        self.set_draw_color(*color)
        self.set_line_width(weight)
        self.line(x, y, right, y)

    def panel(self, *, x: float, y: float, width: float, height: float, color: Color = PANEL) -> None:
        """Fill a rectangle."""
        self.set_fill_color(*color)
        self.rect(x, y, width, height, style="F")

    def mark(self, text: str, color: Color) -> None:
        """Write a large word diagonally across the page, pale, to be set before anything else."""
        self.pen(118, bold=True, color=color)
        width = self.get_string_width(text)
        middle_x, middle_y = PAGE_WIDTH / 2, PAGE_HEIGHT / 2
        with self.rotation(38, middle_x, middle_y):
            self.text(middle_x - width / 2, middle_y + 14, text)


def _describe(*, title: str, author: str, subject: str, created: datetime) -> str:
    """The file's XMP description, which PDF/A asks to agree with the document information."""
    moment = created.isoformat(timespec="seconds")
    return f"""<x:xmpmeta xmlns:x="adobe:ns:meta/">
  <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
    <rdf:Description rdf:about=""
        xmlns:dc="http://purl.org/dc/elements/1.1/"
        xmlns:xmp="http://ns.adobe.com/xap/1.0/"
        xmlns:pdf="http://ns.adobe.com/pdf/1.3/"
        xmlns:pdfaid="http://www.aiim.org/pdfa/ns/id/"
        xmp:CreateDate="{moment}"
        pdf:Producer="{PRODUCER}">
      <pdfaid:part>3</pdfaid:part>
      <pdfaid:conformance>B</pdfaid:conformance>
      <dc:title><rdf:Alt><rdf:li xml:lang="x-default">{escape(title)}</rdf:li></rdf:Alt></dc:title>
      <dc:description><rdf:Alt><rdf:li xml:lang="x-default">{escape(subject)}</rdf:li></rdf:Alt></dc:description>
      <dc:creator><rdf:Seq><rdf:li>{escape(author)}</rdf:li></rdf:Seq></dc:creator>
    </rdf:Description>
  </rdf:RDF>
</x:xmpmeta>"""
