"""Read the text back out of a PDF file, so that tests see what a reader sees and not what the renderer meant."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass

_OBJECT = re.compile(rb"(\d+) 0 obj\n(.*?)endobj", re.S)
_STREAM = re.compile(rb"stream\n(.*)\nendstream", re.S)
_LINE = re.compile(rb"([\d.]+) [\d.]+ m ([\d.]+) ([\d.]+) l S")
_SHOWN = re.compile(rb"/(F\d+) ([\d.]+) Tf|([\d.]+) ([\d.]+) Td|\(((?:[^()\\]|\\.)*)\) Tj|\[(.*?)\] TJ", re.S)
_PIECE = re.compile(rb"\(((?:[^()\\]|\\.)*)\)", re.S)
_ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f"}


@dataclass(frozen=True)
class Placed:
    """A text and where its baseline begins, in points from the lower left corner of the page."""

    x: float
    y: float
    size: float
    text: str


@dataclass(frozen=True)
class Rule:
    """A horizontal line, in points."""

    left: float
    right: float
    y: float


@dataclass(frozen=True)
class Pdf:
    """The pages of a file as lists of the strings shown on them, in the order they were written."""

    pages: tuple[tuple[str, ...], ...]
    placed: tuple[tuple[Placed, ...], ...]
    rules: tuple[tuple[Rule, ...], ...]

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(text for page in self.pages for text in page)


def read_pdf(data: bytes) -> Pdf:
    """Return the texts of every page; fonts are read through their ToUnicode tables."""
    objects = {int(number): body for number, body in _OBJECT.findall(data)}
    fonts: dict[str, dict[int, str]] = {}
    for body in objects.values():
        resources = re.search(rb"/Font <<(.*?)>>", body, re.S)
        for name, number in re.findall(rb"/(F\d+) (\d+) 0 R", resources.group(1) if resources else b""):
            fonts[name.decode()] = _read_characters(objects, int(number))
    placed, rules = [], []
    for body in objects.values():
        if re.search(rb"/Type /Page\b", body):
            content = re.search(rb"/Contents (\d+) 0 R", body)
            assert content is not None
            stream = _unpack(objects[int(content.group(1))])
            placed.append(tuple(_read_texts(stream, fonts)))
            rules.append(tuple(Rule(*map(float, found)) for found in _LINE.findall(stream)))
    pages = tuple(tuple(text.text for text in page) for page in placed)
    return Pdf(pages, tuple(placed), tuple(rules))


def _unpack(body: bytes) -> bytes:
    found = _STREAM.search(body)
    assert found is not None
    return zlib.decompress(found.group(1)) if b"/FlateDecode" in body else found.group(1)


def _read_characters(objects: dict[int, bytes], font: int) -> dict[int, str]:
    table = re.search(rb"/ToUnicode (\d+) 0 R", objects[font])
    assert table is not None, "text without ToUnicode cannot be searched"
    pairs = re.findall(rb"<(\w{4})> <(\w+)>\n", _unpack(objects[int(table.group(1))]))
    return {int(code, 16): bytes.fromhex(text.decode()).decode("utf-16-be") for code, text in pairs}


def _read_texts(content: bytes, fonts: dict[str, dict[int, str]]) -> list[Placed]:
    texts: list[Placed] = []
    font: dict[int, str] = {}
    points = x = y = 0.0
    for name, size, left, base, text, pieces in _SHOWN.findall(content):
        if name:
            font, points = fonts[name.decode()], float(size)
            continue
        if left:
            x, y = float(left), float(base)
            continue
        joined = b"".join(_unescape(part) for part in ([text] if text else _PIECE.findall(pieces)))
        shown = "".join(font[int.from_bytes(joined[at : at + 2])] for at in range(0, len(joined), 2))
        texts.append(Placed(x, y, points, shown))
    return texts


def _unescape(text: bytes) -> bytes:
    return re.sub(rb"\\(.)", lambda match: _ESCAPES.get(match.group(1), match.group(1)), text, flags=re.S)
