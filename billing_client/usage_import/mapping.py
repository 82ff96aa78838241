"""
What becomes of a row: mappings from columns to the fields of usage events.

A mapping is written `field=COLUMN,field=COLUMN,…`. `field==TEXT` sets the same text for every row. The meter is the
exception, because it is nearly always fixed: `meter=NAME` is the name itself and `meter=@COLUMN` takes a column.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

FIELDS: Final = ("meter", "quantity", "timestamp", "key", "unit", "resource", "actor", "cost_center")
DIMENSION: Final = "dimension."

SYNTAX: Final = (
    "--map 'meter=NAME,quantity=COLUMN,timestamp=COLUMN' (further fields: key, unit, resource, actor, cost_center, "
    "dimension.NAME; field==TEXT for a fixed text, meter=@COLUMN for a meter per row)"
)


class MappingInvalid(ValueError):
    """A mapping that cannot be read; the message says why."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a value comes from: a column, or the same `text` for every row."""

    column: str | None = None
    text: str = ""

    def __str__(self) -> str:
        return self.column if self.column is not None else f"={self.text}"


@dataclass(frozen=True, slots=True)
class Mapping:
    """One event per row. `metadata` is a column with a JSON object, `dimensions` single columns."""

    meter: Source
    quantity: Source
    timestamp: Source | None = None
    key: Source | None = None
    unit: Source | None = None
    resource: Source | None = None
    actor: Source | None = None
    cost_center: Source | None = None
    metadata: Source | None = None
    dimensions: tuple[tuple[str, Source], ...] = ()
    optional: frozenset[str] = frozenset()
    """Columns that a file may lack."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns this mapping needs, in the order of its fields."""
        sources = (
            *(self.meter, self.quantity, self.timestamp, self.key, self.unit),
            *(self.resource, self.actor, self.cost_center, self.metadata),
            *(source for _, source in self.dimensions),
        )
        names = (source.column for source in sources if source is not None and source.column is not None)
        return tuple(dict.fromkeys(names))

    def describe(self) -> str:
        """Return a text that is equal for equal mappings."""
        fields = (*FIELDS, "metadata")
        pairs = [(name, getattr(self, name)) for name in fields]
        pairs.extend((f"{DIMENSION}{name}", source) for name, source in self.dimensions)
        return ",".join(f"{name}={source}" for name, source in pairs if source is not None)


GENERIC: Final = Mapping(
    meter=Source("service"),
    quantity=Source("quantity"),
    timestamp=Source("timestamp"),
    key=Source("idempotency_key"),
    unit=Source("unit"),
    resource=Source("resource_id"),
    actor=Source("actor_id"),
    cost_center=Source("cost_center"),
    metadata=Source("metadata"),
    optional=frozenset({"timestamp", "idempotency_key", "unit", "resource_id", "actor_id", "cost_center", "metadata"}),
)
"""The form without any --map: a file that has the columns timestamp, service, quantity and metadata."""


def parse_mapping(text: str) -> Mapping:
    """
    Return the mapping written in `text`. A comma inside a column's name is written `\\,`.

    :raises MappingInvalid: if it cannot be read or lacks meter or quantity.
    """
    found: dict[str, Any] = {}
    dimensions: dict[str, Source] = {}
    for part in _split(text):
        name, equals, value = part.partition("=")
        name, value = name.strip(), value.strip()
        if not equals or not value:
            raise MappingInvalid(f'"{part}" is not of the form field=COLUMN')
        target: dict[str, Any] = dimensions if name.startswith(DIMENSION) else found
        field = name.removeprefix(DIMENSION) if target is dimensions else name
        if not field or (target is found and field not in FIELDS):
            raise MappingInvalid(f'"{name}" is no field; there are {", ".join(FIELDS)} and {DIMENSION}NAME')
        if field in target:
            raise MappingInvalid(f'"{name}" is given twice')
        target[field] = _read_source(field if target is found else "", value)
    for needed in ("meter", "quantity"):
        if needed not in found:
            raise MappingInvalid(f'"{needed}" is missing')
    return Mapping(**found, dimensions=tuple(dimensions.items()))


def _read_source(field: str, value: str) -> Source:
    if field == "meter":
        return Source(column=value[1:]) if value.startswith("@") else Source(text=value.removeprefix("="))
    return Source(text=value[1:]) if value.startswith("=") else Source(column=value)


def _split(text: str) -> list[str]:
    parts = [""]
    escaped = False
    for char in text:
        if escaped:
            parts[-1] += char if char in ",\\" else f"\\{char}"
            escaped = False
        elif char == "\\":
            escaped = True
        elif char == ",":
            parts.append("")
        else:
            parts[-1] += char
    return [part for part in parts if part.strip()]
