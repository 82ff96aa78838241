"""
Rows of a file, read one at a time: `.csv` and `.jsonl`.

Memory does not grow with the file. Everything unreadable is an error naming the line.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, BinaryIO, Final, Literal, Protocol

SUFFIXES: Final = (".csv", ".jsonl", ".ndjson")
MAX_LINE: Final = 1_000_000


class UsageFile(Protocol):
    """A file, wherever it is kept: a `Path` is one. The suffix says what is in it."""

    @property
    def name(self) -> str: ...
    @property
    def suffix(self) -> str: ...
    def open(self, mode: Literal["rb"], /) -> BinaryIO: ...


class FileInvalid(ValueError):
    """A file that cannot be imported: which file, line and column, and why."""

    def __init__(self, path: UsageFile, reason: str, *, line: int | None = None, column: str | None = None) -> None:
        place = [path.name]
        if line is not None:
            place.append(f"line {line}")
        if column is not None:
            place.append(f"column {column}")
        super().__init__(f"{', '.join(place)}: {reason}")
        self.reason = reason
        self.line = line
        self.column = column


@dataclass(frozen=True, slots=True)
class Row:
    """One row: the line it begins on, and its values by column. CSV values are texts, JSON values are any."""

    line: int
    values: Mapping[str, Any]


def check_suffix(path: UsageFile) -> None:
    """:raises FileInvalid: if the file's name does not say what it is."""
    if path.suffix.lower() not in SUFFIXES:
        raise FileInvalid(path, f"is neither {', '.join(SUFFIXES[:-1])} nor {SUFFIXES[-1]}")


def read_columns(path: UsageFile) -> tuple[str, ...] | None:
    """
    Return the header of a CSV file; None for JSON lines, whose objects each have their own keys.

    :raises FileInvalid: if there is no header, or a column has no name or twice the same.
    """
    if path.suffix.lower() != ".csv":
        return None
    with path.open("rb") as stream:
        return _read_header(path, csv.reader(_decode(path, stream), strict=True))


def read_rows(path: UsageFile) -> Iterator[Row]:
    """
    Yield the rows; empty lines are passed over.

    :raises FileInvalid: at the first line that is no row.
    """
    for row in scan_rows(path):
        if isinstance(row, FileInvalid):
            raise row
        yield row


def scan_rows(path: UsageFile) -> Iterator[Row | FileInvalid]:
    """
    Yield the rows, and for a line that is no row what is wrong with it; empty lines are passed over.

    :raises FileInvalid: at the first line behind which nothing can be read.
    """
    with path.open("rb") as stream:
        yield from (_scan_csv if path.suffix.lower() == ".csv" else _scan_json)(path, stream)


def _decode(path: UsageFile, stream: BinaryIO) -> Iterator[str]:
    number = 0
    while raw := stream.readline(MAX_LINE + 1):
        number += 1
        if len(raw) > MAX_LINE:
            raise FileInvalid(path, f"is longer than {MAX_LINE:,} bytes", line=number)
        if number == 1:
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        try:
            text = raw.decode()
        except UnicodeDecodeError as error:
            raise FileInvalid(path, "is not UTF-8 text", line=number) from error
        if "\0" in text:
            raise FileInvalid(path, "holds the character NUL", line=number)
        yield text


def _read_header(path: UsageFile, reader: Any) -> tuple[str, ...]:
    try:
        columns = tuple(name.strip() for name in next(reader))
    except StopIteration:
        raise FileInvalid(path, "is empty") from None
    except csv.Error as error:
        raise FileInvalid(path, _explain(error), line=1) from error
    if not any(columns):
        raise FileInvalid(path, "has no header", line=1)
    for name in columns:
        if not name:
            raise FileInvalid(path, "a column has no name", line=1)
        if columns.count(name) > 1:
            raise FileInvalid(path, "there are two columns of this name", line=1, column=name)
    return columns


def _scan_csv(path: UsageFile, stream: BinaryIO) -> Iterator[Row | FileInvalid]:
    reader = csv.reader(_decode(path, stream), strict=True)
    columns = _read_header(path, reader)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield FileInvalid(path, _explain(error), line=line)
            continue
        if not cells:
            continue
        if len(cells) != len(columns):
            yield FileInvalid(path, f"has {_count(len(cells))}, the header has {len(columns)}", line=line)
            continue
        yield Row(line, dict(zip(columns, cells, strict=True)))


def _count(cells: int) -> str:
    return "1 value" if cells == 1 else f"{cells} values"


def _explain(error: csv.Error) -> str:
    text = str(error)
    if "unexpected end of data" in text:
        return "a quoted value is not closed"
    if "expected after" in text:
        return "a quoted value is followed by more text"
    return text


def _scan_json(path: UsageFile, stream: BinaryIO) -> Iterator[Row | FileInvalid]:
    for line, text in enumerate(_decode(path, stream), start=1):
        if not text.strip():
            continue
        try:
            value = json.loads(text, parse_float=Decimal, parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            reason = f": {error.msg} at character {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else ""
            yield FileInvalid(path, f"is not valid JSON{reason}", line=line)
            continue
        if not isinstance(value, dict):
            yield FileInvalid(path, "is not a JSON object", line=line)
            continue
        yield Row(line, value)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
