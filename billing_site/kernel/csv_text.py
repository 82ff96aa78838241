"""CSV as text that is sent while it is made: row by row, and safe to open in a spreadsheet."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

_FORMULAS: Final = ("=", "+", "-", "@", "\t", "\r")


class _Echo:
    """A file that hands back what is written to it."""

    def write(self, value: str) -> str:
        return value


def keep_as_text(value: str) -> str:
    """Return `value` so that a spreadsheet shows it and does not run it as a formula."""
    return f"'{value}" if value.startswith(_FORMULAS) else value


def write_lines(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Return the CSV lines of rows whose cells are written already; cells of free text go through `keep_as_text`."""
    writer = csv.writer(_Echo())
    for row in rows:
        yield writer.writerow(row)
