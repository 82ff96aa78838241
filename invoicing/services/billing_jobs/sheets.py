"""Tables on their way into a file: CSV (several tables: a ZIP of them), XLSX with a sheet each, or JSON."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, BinaryIO, Final

from openpyxl import Workbook  # type: ignore[import-untyped]

from billing_site.kernel.money import get_exponent
from invoicing.models import JobFormat
from invoicing.queries.csv_rows import clean_row

SHEET_ROWS: Final = 1_000_000  # a worksheet ends at 1,048,576


@dataclass(frozen=True, slots=True)
class Sheet:
    """
    A table that can be read once. Cells are text or plain values; None is an empty cell.

    In a workbook, `numbers` are decimals; `minor` are whole minor units of the row's `currency`, shown in major ones.
    """

    name: str
    columns: Sequence[str]
    rows: Iterable[Sequence[Any]]
    numbers: frozenset[str] = frozenset()
    minor: frozenset[str] = frozenset()


def name_extension(file_format: str, *, sheets: int) -> str:
    """Return how the file's name ends: several tables as CSV come in an archive."""
    return "zip" if file_format == JobFormat.CSV and sheets > 1 else file_format


def write_sheets(file: BinaryIO, sheets: Sequence[Sheet], file_format: str) -> None:
    """Write tables into an empty file, row by row. No cell is one that a spreadsheet would run."""
    match file_format:
        case JobFormat.XLSX:
            _write_workbook(file, sheets)
        case JobFormat.JSON:
            _write_json(file, sheets)
        case _ if len(sheets) == 1:
            _write_csv(file, sheets[0])
        case _:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                for sheet in sheets:
                    with archive.open(f"{sheet.name}.csv", "w", force_zip64=True) as part:
                        _write_csv(part, sheet)


def _write_csv(file: Any, sheet: Sheet) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text)
    writer.writerow(sheet.columns)
    writer.writerows(clean_row(row) for row in sheet.rows)
    text.detach()


def _write_json(file: BinaryIO, sheets: Sequence[Sheet]) -> None:
    """One object, the rows of each table as a list of objects. Exact decimals are text."""
    file.write(b"{")
    for place, sheet in enumerate(sheets):
        file.write(f"{',' if place else ''}{json.dumps(sheet.name)}:[".encode())
        for number, row in enumerate(sheet.rows):
            text = json.dumps(dict(zip(sheet.columns, row, strict=True)), ensure_ascii=False, default=str)
            file.write(f"{',' if number else ''}\n{text}".encode())
        file.write(b"]")
    file.write(b"}\n")


def _write_workbook(file: BinaryIO, sheets: Sequence[Sheet]) -> None:
    """Rows go to disk as they come; a table that is too long for one worksheet goes on in the next."""
    book = Workbook(write_only=True)
    for sheet in sheets:
        page, count, pages = None, 0, 0
        for row in _with_one(sheet.rows):
            if page is None or count == SHEET_ROWS:
                pages += 1
                title = sheet.name.replace("_", " ")[:25]
                page, count = book.create_sheet(title if pages == 1 else f"{title} {pages}"), 0
                page.append([column.replace("_", " ") for column in sheet.columns])
            if row is not None:
                page.append(_make_cells(sheet, row))
                count += 1
    book.save(file)


def _with_one(rows: Iterable[Sequence[Any]]) -> Iterator[Sequence[Any] | None]:
    """Yield None before the rows, so that a table without any has its head."""
    yield None
    yield from rows


def _make_cells(sheet: Sheet, row: Sequence[Any]) -> list[Any]:
    values = dict(zip(sheet.columns, row, strict=True))
    cells: list[Any] = []
    for column, value in values.items():
        if column in sheet.minor and value is not None:
            cells.append(Decimal(value).scaleb(-get_exponent(values["currency"])))
        elif column in sheet.numbers and value not in (None, ""):
            cells.append(_read_number(value))
        elif value is None or isinstance(value, int | Decimal):
            cells.append(value)
        else:
            cells.append(clean_row([value])[0])
    return cells


def _read_number(value: Any) -> Any:
    try:
        return Decimal(value)
    except InvalidOperation:
        return clean_row([value])[0]
