"""
From rows to usage events as the API takes them, every value checked.

Quantities stay the exact decimal texts of the file. The key of an event is the file's content, the line and the
meter, so that the same file counts once however often it is imported.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from billing_client.usage_import.mapping import Mapping, Source
from billing_client.usage_import.rows import FileInvalid, Row, UsageFile, read_columns, read_rows

MAX_DECIMALS: Final = 12
MAX_DIGITS: Final = 26
MAX_KEY: Final = 255
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
_INSTANT: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[T ]([0-9]{2}:[0-9]{2})(:[0-9]{2})?(?:[.,]([0-9]{1,12}))?\s?(Z|z|[+-][0-9]{2}:?[0-9]{2}|UTC)?)?"
)
_SHOWN: Final = 40


@dataclass(frozen=True, slots=True)
class Event:
    """One event: the line it comes from and the body the API takes."""

    line: int
    body: dict[str, Any]


class ValueInvalid(ValueError):
    """What is wrong with one value."""


@dataclass(frozen=True, slots=True)
class EventReader:
    """Makes events of a file's rows. `digest` is the SHA-256 of the file, in hexadecimal."""

    path: UsageFile
    mappings: Sequence[Mapping]
    digest: str

    def check_columns(self) -> None:
        """
        Compare the mappings with the header.

        :raises FileInvalid: if a column is not in the file.
        """
        columns = read_columns(self.path)
        if columns is None:
            return
        for mapping in self.mappings:
            for column in mapping.columns:
                if column not in columns and column not in mapping.optional:
                    raise FileInvalid(
                        self.path, f"is not in the file, which has {', '.join(columns)}", line=1, column=column
                    )

    def read(self) -> Iterator[Event]:
        """
        Yield one event per row and mapping, in the order of the file.

        :raises FileInvalid: at the first value that is wrong.
        """
        for row in read_rows(self.path):
            used: dict[str, int] = {}
            for mapping in self.mappings:
                yield self.make(row, mapping, used)

    def make(self, row: Row, mapping: Mapping, used: dict[str, int]) -> Event:
        """
        Return the event that a mapping makes of a row. `used` counts the meters of the row so far.

        :raises FileInvalid: at the first value that is wrong.
        """
        meter = self._require_text(row, mapping.meter)
        body: dict[str, Any] = {"metric_type": meter, "quantity": self._read(row, mapping.quantity, _read_quantity)}
        for name, source, reader in (
            ("timestamp", mapping.timestamp, _read_instant),
            ("unit", mapping.unit, _read_text),
            ("resource_id", mapping.resource, _read_text),
            ("actor_id", mapping.actor, _read_text),
            ("cost_center", mapping.cost_center, _read_text),
            ("metadata", mapping.metadata, read_object),
            ("idempotency_key", mapping.key, _read_key),
        ):
            if (value := self._read_optional(row, source, reader)) is not None:
                body[name] = value
        for name, source in mapping.dimensions:
            if (value := self._read_optional(row, source, _read_text)) is not None:
                body.setdefault("metadata", {})[name] = value
        if "idempotency_key" not in body:
            count = used[meter] = used.get(meter, 0) + 1
            repeated = f":{count}" if count > 1 else ""
            body["idempotency_key"] = f"{self.digest}:{row.line}:{meter}{repeated}"
        return Event(row.line, body)

    def _require_text(self, row: Row, source: Source) -> str:
        text: str = self._read(row, source, _read_text)
        if not text:
            raise FileInvalid(self.path, "is empty", line=row.line, column=source.column)
        return text

    def _read_optional(self, row: Row, source: Source | None, reader: Callable[[object], Any]) -> Any:
        """Return the value, or None where the row has none."""
        if source is None or (source.column is not None and row.values.get(source.column) in (None, "")):
            return None
        return self._read(row, source, reader)

    def _read(self, row: Row, source: Source, reader: Callable[[object], Any]) -> Any:
        value = source.text if source.column is None else row.values.get(source.column)
        if value is None:
            raise FileInvalid(self.path, "is missing", line=row.line, column=source.column)
        try:
            return reader(value)
        except ValueInvalid as error:
            raise FileInvalid(self.path, str(error), line=row.line, column=source.column) from error


def _quote(value: object) -> str:
    text = " ".join(str(value).split())
    return f'"{text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"}"'


def _read_quantity(value: object) -> str:
    text = str(value).strip() if isinstance(value, str | int | Decimal) and not isinstance(value, bool) else ""
    if isinstance(value, str) and not text:
        raise ValueInvalid("is empty")
    if not _NUMBER.fullmatch(text):
        raise ValueInvalid(f"{_quote(value)} is not a number")
    try:
        number = Decimal(text)
    except InvalidOperation as error:
        raise ValueInvalid(f"{_quote(value)} is not a number") from error
    if number < 0:
        raise ValueInvalid(f"{_quote(value)} is below zero")
    plain = f"{number:f}"
    whole, _, decimals = plain.partition(".")
    if len(decimals.rstrip("0")) > MAX_DECIMALS:
        raise ValueInvalid(f"{_quote(value)} has more than {MAX_DECIMALS} decimals")
    if len(whole.lstrip("0")) > MAX_DIGITS:
        raise ValueInvalid(f"{_quote(value)} is too large")
    return plain


def _read_instant(value: object) -> str:
    """RFC 3339 with microseconds, UTC. Without a zone it is UTC; more digits than microseconds are cut."""
    found = _INSTANT.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise ValueInvalid(f"{_quote(value)} is not a time such as 2026-01-31T12:00:00Z")
    day, minutes, seconds, fraction, zone = found.groups()
    offset = (
        "+00:00" if zone is None or zone in {"Z", "z", "UTC"} else zone if ":" in zone else f"{zone[:3]}:{zone[3:]}"
    )
    text = f"{day}T{minutes or '00:00'}{seconds or ':00'}.{(fraction or '0')[:6].ljust(6, '0')}{offset}"
    try:
        instant = datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueInvalid(f"{_quote(value)} is not a time: {error}") from error
    return instant.isoformat().replace("+00:00", "Z")


def _read_text(value: object) -> str:
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return str(value)
    raise ValueInvalid(f"{_quote(value)} is not a text")


def _read_key(value: object) -> str:
    text = _read_text(value)
    if len(text) > MAX_KEY or not text.isprintable():
        raise ValueInvalid(f"a key has 1 to {MAX_KEY} printable characters")
    return text


def read_object(value: object) -> dict[str, Any]:
    """Return the JSON object that a value is, or holds as a text. :raises ValueInvalid: for anything else."""
    try:
        found = json.loads(value, parse_float=Decimal) if isinstance(value, str) else value
    except (ValueError, RecursionError) as error:
        raise ValueInvalid(f"{_quote(value)} is not valid JSON") from error
    if not isinstance(found, dict):
        raise ValueInvalid(f"{_quote(value)} is not a JSON object")
    return found
