"""What the entries of a document are called and whom they name, gathered for the checks between them."""

from __future__ import annotations

from dataclasses import dataclass, field

from catalog.documents.findings import quote


@dataclass(frozen=True, slots=True)
class Named:
    """An id and where it stands."""

    key: str
    pointer: str


@dataclass(frozen=True, slots=True)
class MeterFacts:
    """What prices of a meter are checked against."""

    aggregation: str
    dimensions: frozenset[str]


@dataclass(slots=True)
class DocumentIndex:
    """What the entries of a document are called and whom they name."""

    products: dict[str, str] = field(default_factory=dict)
    product_lookup_keys: set[str] = field(default_factory=set)
    meter_names: dict[str, str] = field(default_factory=dict)
    meters: dict[str, str] = field(default_factory=dict)
    meter_facts: dict[str, MeterFacts] = field(default_factory=dict)
    plans: dict[str, str] = field(default_factory=dict)
    lookup_keys: dict[str, str] = field(default_factory=dict)
    duplicates: list[tuple[str, str, str]] = field(default_factory=list)
    product_references: list[Named] = field(default_factory=list)
    product_lookup_references: list[Named] = field(default_factory=list)
    meter_references: list[Named] = field(default_factory=list)
    upgrades: list[tuple[str | None, Named]] = field(default_factory=list)

    def add(self, known: dict[str, str], named: Named, kind: str) -> None:
        """Remember an id; a second one of its kind is a duplicate."""
        if named.key not in known:
            known[named.key] = named.pointer
        else:
            text = f"Another {kind} has {quote(named.key)}, at {known[named.key]}."
            self.duplicates.append((named.pointer, "duplicate", text))

    def add_lookup_key(self, key: str, pointer: str) -> None:
        """Remember a lookup key, given or derived; over the whole document it may stand once."""
        if key not in self.lookup_keys:
            self.lookup_keys[key] = pointer
        else:
            text = f"The lookup key {quote(key)} is used at {self.lookup_keys[key]} already."
            self.duplicates.append((pointer, "duplicate_lookup_key", text))
