"""`usage`: one event, or a whole file of them."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from billing_client.usage_import.events import Event, EventReader
from billing_client.usage_import.mapping import Mapping, Source
from billing_client.usage_import.rows import FileInvalid, check_suffix
from billing_site.kernel.errors import DomainError
from catalog.pricing.terms import to_text
from invoicing.rehearsal.fields import Fields
from invoicing.rehearsal.scope import Scope
from invoicing.rehearsal.story import Action
from invoicing.rehearsal.world import StepRefused, World
from metering.services.ingest import NewUsageEvent, record_usage_events

_BATCH: Final = 1_000
# Columns that become fields of an event, and what the file reader calls them.
_COLUMNS: Final = {
    "quantity": "quantity",
    "value": "quantity",
    "timestamp": "timestamp",
    "meter": "meter",
    "key": "key",
    "unit": "unit",
    "resource": "resource",
    "actor": "actor",
    "cost_center": "cost_center",
}


@dataclass(frozen=True, slots=True)
class UsageEvent:
    """One event at `timestamp`, or at the story's present."""

    account: str
    meter: str
    quantity: Decimal
    timestamp: datetime | None
    details: dict[str, Any]

    def describe(self) -> str:
        shown = [f"usage of {self.account}: {to_text(self.quantity)} {self.meter}"]
        if self.timestamp is not None:
            shown.append(f"at {self.timestamp.isoformat().replace('+00:00', 'Z')}")
        if center := self.details["cost_center"]:
            shown.append(f"for {center}")
        if dimensions := self.details["dimensions"]:
            shown.append(f"({', '.join(f'{key} {value}' for key, value in dimensions.items())})")
        return " ".join(shown)

    def play(self, world: World) -> list[str]:
        event = NewUsageEvent(
            world.get_account(self.account), self.meter, self.quantity, timestamp=self.timestamp, **self.details
        )
        (recorded,) = record_usage_events(events=[event], at=world.now, actor=world.actor)
        return [] if recorded.created else ["a repeat of a key: nothing was recorded"]


@dataclass(frozen=True, slots=True)
class UsageFile:
    """The events of a CSV or JSON lines file. `meter` is for rows that have no column for it."""

    account: str
    path: Path
    mapping: Mapping
    dimensions: frozenset[str]

    def describe(self) -> str:
        return f"usage of {self.account} from {self.path.name}"

    def play(self, world: World) -> list[str]:
        account = world.get_account(self.account)
        count = 0
        try:
            digest = hashlib.sha256(self.path.read_bytes()).hexdigest()
            reader = EventReader(self.path, [self.mapping], digest)
            reader.check_columns()
            events = reader.read()
            while batch := list(itertools.islice(events, _BATCH)):
                count += self._record(world, batch, list(self._convert(account, batch)))
        except (OSError, FileInvalid) as error:
            raise StepRefused(f"{self.path}: {error}") from error
        return [f"{count:,} events recorded"]

    def _convert(self, account: Any, batch: list[Event]) -> Iterator[NewUsageEvent]:
        for event in batch:
            body = event.body
            extra: dict[str, Any] = body.get("metadata", {})
            yield NewUsageEvent(
                account,
                body["metric_type"],
                Decimal(body["quantity"]),
                unit=body.get("unit", ""),
                timestamp=datetime.fromisoformat(body["timestamp"]) if "timestamp" in body else None,
                idempotency_key=body["idempotency_key"],
                resource_id=body.get("resource_id", ""),
                actor_id=body.get("actor_id", ""),
                cost_center=body.get("cost_center", ""),
                dimensions={name: value for name, value in extra.items() if name in self.dimensions},
                metadata={name: value for name, value in extra.items() if name not in self.dimensions},
            )

    def _record(self, world: World, batch: list[Event], events: list[NewUsageEvent]) -> int:
        try:
            recorded = record_usage_events(events=events, at=world.now, actor=world.actor)
        except DomainError as error:
            if not error.errors:
                raise
            first = error.errors[0]
            line = batch[int(first.pointer.split("/")[2])].line
            raise StepRefused(f"{self.path}, line {line}: {first.detail}") from error
        return sum(each.created for each in recorded)


class ReportUsage:
    """Reads `usage`: the block of one event, or of a file."""

    @classmethod
    def read(cls, fields: Fields, scope: Scope) -> Action:
        account = scope.read_account(fields)
        action = _read_file(fields, scope, account) if fields.has("file") else _read_event(fields, account)
        fields.finish()
        return action


def _read_event(fields: Fields, account: str) -> UsageEvent:
    if fields.has("quantity") and fields.has("value"):
        fields.report("value", "give `quantity` or `value`, not both: they mean the same")
    key = "value" if fields.has("value") else "quantity"
    metadata = fields.mapping("metadata")
    unit_amount = fields.decimal("unit_amount")
    if unit_amount is not None:
        metadata = {**metadata, "unit_amount": to_text(unit_amount)}
    quantity = fields.decimal(key, required=True)
    return UsageEvent(
        account=account,
        meter=fields.text("meter", required=True),
        quantity=Decimal(0) if quantity is None else quantity,
        timestamp=fields.instant("timestamp"),
        details={
            "unit": fields.text("unit"),
            "idempotency_key": fields.text("key"),
            "resource_id": fields.text("resource"),
            "actor_id": fields.text("actor"),
            "cost_center": fields.text("cost_center"),
            "dimensions": {name: str(value) for name, value in fields.mapping("dimensions").items()},
            "metadata": metadata,
        },
    )


def _read_file(fields: Fields, scope: Scope, account: str) -> UsageFile:
    path = scope.folder / fields.text("file", required=True)
    meter = fields.text("meter")
    columns = fields.block("map" if fields.has("map") else "columns", required=True)
    sources: dict[str, Source] = {"meter": Source(text=meter)} if meter else {}
    extra: list[tuple[str, Source]] = []
    dimensions: frozenset[str] = frozenset()
    if columns is not None:
        named = columns.mapping("dimensions")
        dimensions = frozenset(named)
        extra = [(name, Source(column=str(column))) for name, column in named.items()]
        if columns.has("unit_amount"):
            extra.append(("unit_amount", Source(column=columns.text("unit_amount"))))
        for key, name in _COLUMNS.items():
            if column := columns.text(key):
                sources[name] = Source(column=column)
        columns.finish()
        _check_sources(columns, sources)
    try:
        check_suffix(path)
        if not path.is_file():
            fields.report("file", f"there is no file {path}")
    except FileInvalid as error:
        fields.report("file", str(error))
    mapping = Mapping(
        meter=sources.get("meter", Source()),
        quantity=sources.get("quantity", Source()),
        timestamp=sources.get("timestamp"),
        key=sources.get("key"),
        unit=sources.get("unit"),
        resource=sources.get("resource"),
        actor=sources.get("actor"),
        cost_center=sources.get("cost_center"),
        dimensions=tuple(extra),
    )
    return UsageFile(account, path, mapping, dimensions)


def _check_sources(columns: Fields, sources: dict[str, Source]) -> None:
    for needed in ("meter", "quantity"):
        if needed not in sources:
            hint = ", or give the meter beside `file`" if needed == "meter" else ""
            columns.mistakes.add(columns.line, f"`columns` needs `{needed}`{hint}")
