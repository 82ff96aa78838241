"""
What commands print: one document as a table, as JSON or as CSV, to the terminal or whole into a file.

Data goes to stdout, messages to stderr.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, TextIO

from billing_client.cli.arguments import GlobalOptions
from billing_client.cli.failures import CliError, misuse

Cell = str | int | Decimal | None
_DANGEROUS = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under headings. `right` names the columns set to the right."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    right: frozenset[str] = frozenset()
    title: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """
    One answer in its three forms.

    `data` is the JSON document; `tables` and the lines after them are for people; `records` are the CSV rows under
    `header`.
    """

    data: Any
    tables: Sequence[Table] = ()
    after: Sequence[str] = ()
    header: Sequence[str] = ()
    records: Sequence[Sequence[Cell]] = ()


class Output:
    """The streams of one run of the command."""

    def __init__(self, options: GlobalOptions, *, stdout: TextIO | None = None, stderr: TextIO | None = None) -> None:
        self.options = options
        self.stdout = stdout or sys.stdout
        self.stderr = stderr or sys.stderr

    # ---- messages ---------------------------------------------------------------------------------------------------
    def say(self, message: str) -> None:
        """Write a message for the person, unless quiet."""
        if not self.options.quiet:
            print(message, file=self.stderr)

    def warn(self, message: str) -> None:
        """Write a warning, unless quiet."""
        self.say(f"Warning: {message}")

    def fail(self, error: CliError, *extra: str) -> None:
        """Write an error, also when quiet."""
        for line in (
            f"Error: {error.message}",
            *error.details,
            *((f"Hint: {error.hint}",) if error.hint else ()),
            *extra,
        ):
            print(line, file=self.stderr)

    # ---- data -------------------------------------------------------------------------------------------------------
    def write(self, document: Document) -> None:
        """Write a document in the chosen form to stdout or, whole or not at all, to the chosen file."""
        form = self.options.format
        if form == "csv" and not document.header:
            raise misuse("this command has no csv form", hint="--format json or table")
        to_terminal = self.options.output is None and self.stdout.isatty()
        if form == "json":
            text = format_json(document.data)
        elif form == "csv":
            text = format_csv(document.header, document.records)
        elif to_terminal and not self.options.quiet:
            self._print_rich(document)
            return
        else:
            text = format_plain(document)
        self.write_text(text)

    def write_text(self, text: str) -> None:
        """Write text as it is."""
        if self.options.output is not None:
            write_file(self.options.output, text.encode())
            self.say(f"Written to {self.options.output}")
        elif not self.options.quiet:
            self.stdout.write(text)
            self.stdout.flush()

    def _print_rich(self, document: Document) -> None:
        from rich import box
        from rich.console import Console
        from rich.table import Table as RichTable
        from rich.text import Text

        console = Console(file=self.stdout, no_color=not self.options.color, highlight=False)
        for table in document.tables:
            shown = RichTable(
                box=box.ROUNDED,
                title=table.title or None,
                title_justify="left",
                header_style="bold",
                border_style="dim",
            )
            for column in table.columns:
                shown.add_column(column, justify="right" if column in table.right else "left", overflow="fold")
            for row in table.rows:
                shown.add_row(*(Text(_show(cell)) for cell in row))
            console.print(shown)
        for line in document.after:
            console.print(Text(line))


def format_json(data: Any) -> str:
    """Return one JSON document, keys in the order of the answer."""
    return json.dumps(data, ensure_ascii=False, indent=2, default=_encode) + "\n"


def _encode(value: object) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def format_csv(header: Sequence[str], records: Sequence[Sequence[Cell]]) -> str:
    """Return RFC 4180: header row, CRLF, texts that a spreadsheet would run as a formula behind an apostrophe."""
    import csv
    import io

    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\r\n")
    writer.writerow(header)
    writer.writerows([_guard(cell) for cell in record] for record in records)
    return stream.getvalue()


def _guard(cell: Cell) -> str:
    text = _show(cell)
    # A number is no formula, also below zero; everything that came as text may be one.
    return f"'{text}" if isinstance(cell, str) and text.startswith(_DANGEROUS) else text


def format_plain(document: Document) -> str:
    """Return tables as aligned columns without lines, for pipes and files."""
    blocks = []
    for table in document.tables:
        rows = [[_show(cell) for cell in row] for row in table.rows]
        widths = [max([len(column), *(len(row[index]) for row in rows)]) for index, column in enumerate(table.columns)]
        lines = [table.title] if table.title else []
        lines.append(_align(table.columns, widths, table))
        lines.append("  ".join("-" * width for width in widths))
        lines.extend(_align(row, widths, table) for row in rows)
        blocks.append("\n".join(line.rstrip() for line in lines) + "\n")
    text = "\n".join(blocks)
    if document.after:
        text += ("\n" if text else "") + "\n".join(document.after) + "\n"
    return text


def _align(cells: Sequence[str], widths: Sequence[int], table: Table) -> str:
    return "  ".join(
        cell.rjust(width) if column in table.right else cell.ljust(width)
        for cell, width, column in zip(cells, widths, table.columns, strict=True)
    )


def _show(cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, Decimal):
        return f"{cell:f}"
    # Control characters could rewrite what a terminal shows.
    return "".join(char if char.isprintable() or char in "\n\t" else "�" for char in str(cell))


def write_file(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: into a temporary one beside it, then renamed."""
    import tempfile

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            mask = os.umask(0)
            os.umask(mask)
            Path(name).chmod(0o666 & ~mask)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise CliError(f"cannot write {path}: {error.strerror or error}") from error
