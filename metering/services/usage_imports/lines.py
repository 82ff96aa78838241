"""From the lines of a file to usage events, with everything that is wrong with a line named by line and column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import msgspec

from accounts.models import Account
from billing_client.usage_import.events import EventReader, ValueInvalid, read_object
from billing_client.usage_import.mapping import GENERIC
from billing_client.usage_import.rows import FileInvalid, Row
from billing_site.kernel.card_numbers import find_card_numbers, may_hold_card_number
from billing_site.kernel.errors import FieldError
from metering.models import UsageImport
from metering.queries.accounts import find_accounts_of
from metering.services.ingest import NewUsageEvent
from metering.services.usage_imports.files import StoredUsageFile

ACCOUNT: Final = "account"
DIMENSIONS: Final = "dimensions"
MAX_DETAIL: Final = 300
_COLUMNS: Final = {"meter": "service"}
_CARD: Final = "Card data is never accepted here."


@dataclass(frozen=True, slots=True)
class LineError:
    """What is wrong with a line. `column` is empty where the line as a whole is meant."""

    line: int
    column: str
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line that became an event."""

    number: int
    event: NewUsageEvent


@dataclass(frozen=True, slots=True)
class _Read:
    """A row that could be read: whose it is, and the event's fields as the API has them."""

    line: int
    reference: str
    body: Mapping[str, Any]
    dimensions: dict[str, Any]
    metadata: dict[str, Any]


_encoder: Final = msgspec.json.Encoder(decimal_format="number")


def convert_rows(usage_import: UsageImport, rows: Sequence[Row | FileInvalid]) -> tuple[list[Line], list[LineError]]:
    """
    Return the events of `rows`, and what is wrong with those that are none. One query for the accounts they name.

    An event without a time gets the import's own; one without a key gets one of the file's content and the line, the
    same that the command line client gives it.
    """
    reader = EventReader(StoredUsageFile(usage_import), [GENERIC], usage_import.file_hash)
    errors: list[LineError] = []
    found = [each for row in rows if (each := _read_row(reader, row, errors)) is not None]
    named = {each.reference for each in found if each.reference}
    accounts = find_accounts_of(usage_import.org_id, named) if named else {}
    lines = []
    for each in found:
        account = accounts.get(each.reference) if each.reference else usage_import.account
        if account is None:
            code, detail = "required", "The line names no account, and neither does the import."
            if each.reference:
                code, detail = "not_found", "There is no such account."
            errors.append(LineError(each.line, ACCOUNT, code, detail))
        else:
            lines.append(Line(each.line, _make_event(each, account, usage_import.requested_at)))
    return lines, sorted(errors, key=lambda error: error.line)


def _read_row(reader: EventReader, row: Row | FileInvalid, errors: list[LineError]) -> _Read | None:
    if isinstance(row, FileInvalid):
        errors.append(describe_invalid(row))
        return None
    try:
        body = reader.make(row, GENERIC, {}).body
    except FileInvalid as error:
        errors.append(describe_invalid(error))
        return None
    reference = row.values.get(ACCOUNT) or ""
    if not isinstance(reference, str):
        errors.append(LineError(row.line, ACCOUNT, "invalid", "An account is named by its id or external id."))
        return None
    given = row.values.get(DIMENSIONS)
    try:
        dimensions = read_object(given) if given not in (None, "") else {}
    except ValueInvalid as error:
        errors.append(LineError(row.line, DIMENSIONS, "invalid", str(error)))
        return None
    free = {"metadata": body.get("metadata", {}), "dimensions": dimensions}
    try:
        encoded = _encoder.encode({**body, **free, ACCOUNT: reference})
    except (UnicodeEncodeError, RecursionError):
        encoded = b"\\u0000"
    if b"\\u0000" in encoded:
        errors.append(LineError(row.line, "", "invalid", "The line holds a character that cannot be stored."))
        return None
    if may_hold_card_number(encoded) and (pointer := next(find_card_numbers({**body, **free}), None)) is not None:
        errors.append(LineError(row.line, pointer.split("/")[1][:100] if pointer else "", "card_number_refused", _CARD))
        return None
    if any(free.values()):
        try:
            # Plain values: what was read exactly becomes a JSON number again.
            free = msgspec.json.decode(_encoder.encode(free))
        except msgspec.DecodeError:
            errors.append(LineError(row.line, "", "invalid", "The line holds a number that is out of range."))
            return None
    return _Read(row.line, reference.strip().lower(), body, free["dimensions"], free["metadata"])


def describe_invalid(error: FileInvalid) -> LineError:
    """Return what the reader of files says of a line."""
    reason = error.reason[:1].upper() + error.reason[1:]
    return LineError(error.line or 1, error.column or "", "invalid", reason)


def describe_findings(lines: Sequence[Line], findings: Sequence[FieldError]) -> list[LineError]:
    """Return findings of the ingest (`/events/<index>/<field>`) as those of the lines the events came from."""
    described = []
    for finding in findings:
        _, _, index, field, *_ = [*finding.pointer.split("/"), ""]
        column = _COLUMNS.get(field, field)
        described.append(LineError(lines[int(index)].number, column, finding.code, finding.detail))
    return described


def _make_event(read: _Read, account: Account, requested_at: datetime) -> NewUsageEvent:
    body = read.body
    timestamp = datetime.fromisoformat(body["timestamp"]) if "timestamp" in body else requested_at
    return NewUsageEvent(
        account,
        body["metric_type"],
        Decimal(body["quantity"]),
        unit=body.get("unit", ""),
        timestamp=None if "timestamp" not in body and account.clock_time is not None else timestamp,
        idempotency_key=body["idempotency_key"],
        resource_id=body.get("resource_id", ""),
        actor_id=body.get("actor_id", ""),
        cost_center=body.get("cost_center", ""),
        dimensions=read.dimensions,
        metadata=read.metadata,
    )
