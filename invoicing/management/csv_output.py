"""Where commands write their CSV: a file, or the standard output."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def open_csv(path: str, columns: Sequence[str]) -> Iterator[Any]:
    """Yield a writer that has written the columns; `-` is the standard output, nothing writes nowhere."""
    if not path:
        yield None
    elif path == "-":
        writer = csv.writer(sys.stdout)
        writer.writerow(columns)
        yield writer
    else:
        with Path(path).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            yield writer
