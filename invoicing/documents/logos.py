"""
Pictures that sellers put on their documents: what is accepted, and how it is known.

A PNG must decode; an SVG may only draw. Nothing in it may load, run or ask for a typeface, because the file is read by
the machine that makes documents and shown in browsers. Plain Python: no Django, no network.
"""

from __future__ import annotations

import re
from base64 import b64encode
from io import BytesIO
from typing import TYPE_CHECKING, Final, Literal

from defusedxml import DefusedXmlException  # type: ignore[import-untyped]
from defusedxml.ElementTree import ParseError, fromstring  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

LogoType = Literal["image/png", "image/svg+xml"]

MAX_BYTES: Final = 200_000
MAX_PIXELS: Final = 3000
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_SVG_NAMESPACE: Final = "{http://www.w3.org/2000/svg}"
_DRAWING: Final = frozenset(
    {
        *("svg", "g", "defs", "title", "desc", "metadata", "use", "clipPath"),
        *("path", "rect", "circle", "ellipse", "line", "polyline", "polygon"),
    }
)
_LOADS: Final = re.compile(r"url\(\s*['\"]?(?!#)|javascript:|@import|expression\(", re.IGNORECASE)


class LogoRefused(ValueError):
    """A file that is no picture for documents; the text is for people."""


def check_logo(content: bytes) -> LogoType:
    """
    Return what kind of picture the file is.

    :raises LogoRefused: if it is too large, neither PNG nor SVG, damaged, or an SVG that does more than draw.
    """
    if len(content) > MAX_BYTES:
        raise LogoRefused(f"A logo has at most {MAX_BYTES // 1000} kB.")
    kind: LogoType = "image/png" if content.startswith(_PNG) else "image/svg+xml"
    if kind == "image/png":
        _check_png(content)
    else:
        _check_svg(content)
    _check_printable(content)
    return kind


def embed_logo(content: bytes) -> str:
    """Return an accepted picture as an address that holds it, for pages; empty for none."""
    kind = "image/png" if content.startswith(_PNG) else "image/svg+xml"
    return f"data:{kind};base64,{b64encode(content).decode()}" if content else ""


def _check_png(content: bytes) -> None:
    from PIL import Image, UnidentifiedImageError  # as slow to load as the PDF library that draws the picture

    try:
        with Image.open(BytesIO(content), formats=("PNG",)) as image:
            if max(image.size) > MAX_PIXELS or min(image.size) < 1:
                raise LogoRefused(f"A logo has at most {MAX_PIXELS} × {MAX_PIXELS} pixels.")
            image.load()
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError) as error:
        if isinstance(error, LogoRefused):
            raise
        raise LogoRefused("The PNG file is damaged.") from error


def _check_svg(content: bytes) -> None:
    try:
        root = fromstring(content, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError) as error:
        raise LogoRefused("A logo is a PNG or an SVG file; this is neither, or it is damaged.") from error
    if root.tag != f"{_SVG_NAMESPACE}svg":
        raise LogoRefused("A logo is a PNG or an SVG file; this is neither.")
    for element in root.iter():
        _check_element(element)


def _check_element(element: Element) -> None:
    namespace, _, name = element.tag.rpartition("}")
    if f"{namespace}}}" == _SVG_NAMESPACE and name not in _DRAWING:
        raise LogoRefused(
            f"The SVG file has a <{name}>; only shapes are taken. Turn text into paths, leave styles out."
        )
    for key, value in element.attrib.items():
        attribute = key.rpartition("}")[2].lower()
        if attribute.startswith("on") or _LOADS.search(value) or (attribute == "href" and not value.startswith("#")):
            raise LogoRefused(f"The SVG file refers to something outside of it, or acts, by {attribute!r}.")


def _check_printable(content: bytes) -> None:
    from fpdf import FPDF

    trial = FPDF()
    trial.add_page()
    try:
        trial.image(BytesIO(content), x=0, y=0, w=50, h=16, keep_aspect_ratio=True)
        trial.output()
    except Exception as error:  # the library has no common class for what it cannot draw
        raise LogoRefused("The picture cannot be drawn on paper. Save it as plain shapes, or as PNG.") from error
