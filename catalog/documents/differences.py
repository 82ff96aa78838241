"""What a new document changes, entry by entry, for the dry run and for the person who publishes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from catalog.documents.changes import FieldChange, Side, diff_members
from catalog.documents.content import CatalogContent
from catalog.documents.findings import join_pointer

KINDS: Final = ("products", "meters", "plans", "prices")
_Entry = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class EntryChange:
    """One entry that is added, removed or changed; `changes` only for the last."""

    key: str
    pointer: str
    changes: tuple[FieldChange, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        shown: dict[str, Any] = {"id": self.key, "pointer": self.pointer}
        return {**shown, "changes": [change.as_dict() for change in self.changes]} if self.changes else shown


@dataclass(frozen=True, slots=True)
class KindDifference:
    """The changes of one section of the document."""

    kind: str
    added: tuple[EntryChange, ...] = ()
    removed: tuple[EntryChange, ...] = ()
    changed: tuple[EntryChange, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not (self.added or self.removed or self.changed)

    def as_dict(self) -> dict[str, Any]:
        return {
            "added": [entry.as_dict() for entry in self.added],
            "removed": [entry.as_dict() for entry in self.removed],
            "changed": [entry.as_dict() for entry in self.changed],
        }


@dataclass(frozen=True, slots=True)
class DocumentDifference:
    """The changes of a whole document, by section."""

    kinds: tuple[KindDifference, ...]

    @property
    def is_empty(self) -> bool:
        return all(kind.is_empty for kind in self.kinds)

    def as_dict(self) -> dict[str, Any]:
        return {kind.kind: kind.as_dict() for kind in self.kinds}

    def summarise(self) -> dict[str, dict[str, list[str]]]:
        """Return only the ids, for sections that changed."""
        return {
            kind.kind: {
                name: [entry.key for entry in entries]
                for name, entries in (("added", kind.added), ("removed", kind.removed), ("changed", kind.changed))
                if entries
            }
            for kind in self.kinds
            if not kind.is_empty
        }


def diff_documents(old: CatalogContent | None, new: CatalogContent) -> DocumentDifference:
    """Return what `new` adds, removes and changes; without `old` everything is added. Order is no difference."""
    before, after = old or CatalogContent(), new
    return DocumentDifference(
        (
            _diff_kind("products", before.products, after.products, lambda entry: entry.id),
            _diff_kind("meters", before.meters, after.meters, lambda entry: entry.event_name),
            _diff_kind("plans", before.plans, after.plans, lambda entry: entry.id),
            _diff_kind("prices", before.prices, after.prices, lambda entry: entry.lookup_key),
        )
    )


def _diff_kind(kind: str, old: Sequence[Any], new: Sequence[Any], key_of: Callable[[Any], str]) -> KindDifference:
    before = {key_of(entry): (f"/{kind}/{index}", entry) for index, entry in enumerate(old)}
    after = {key_of(entry): (f"/{kind}/{index}", entry) for index, entry in enumerate(new)}
    changed = []
    for key, (pointer, entry) in after.items():
        if key in before and before[key][1] != entry:
            changes = tuple(_diff_entries(before[key][1], entry, before[key][0], pointer))
            if changes:
                changed.append(EntryChange(key, pointer, changes))
    return KindDifference(
        kind,
        added=tuple(EntryChange(key, pointer) for key, (pointer, _) in after.items() if key not in before),
        removed=tuple(EntryChange(key, pointer) for key, (pointer, _) in before.items() if key not in after),
        changed=tuple(changed),
    )


def _diff_entries(old: Any, new: Any, old_pointer: str, new_pointer: str) -> Iterator[FieldChange]:
    """Yield the differences of two entries with the same id; prices and quotas of a plan one by one."""
    before, after = old.as_dict(), new.as_dict()
    for name in [*after, *(name for name in before if name not in after)]:
        if name in ("prices", "quotas"):
            yield from _diff_parts(name, getattr(old, name), getattr(new, name), old_pointer, new_pointer)
        elif before.get(name) != after.get(name):
            pointer = join_pointer(new_pointer if name in after else old_pointer, name)
            yield FieldChange(pointer, name, before.get(name), after.get(name))


def _diff_parts(
    name: str, old: Sequence[Any], new: Sequence[Any], old_pointer: str, new_pointer: str
) -> Iterator[FieldChange]:
    before, after = _place_parts(name, old, old_pointer), _place_parts(name, new, new_pointer)
    singular = name.removesuffix("s")
    for place, (pointer, part) in after.items():
        if place not in before:
            yield FieldChange(pointer, f"{singular} {place}", None, part)
            continue
        yield from diff_members(f"{singular} {place}", Side(*before[place]), Side(pointer, part))
    for place, (pointer, part) in before.items():
        if place not in after:
            yield FieldChange(pointer, f"{singular} {place}", part, None)


def _place_parts(name: str, parts: Sequence[Any], pointer: str) -> dict[str, tuple[str, _Entry]]:
    base = join_pointer(pointer, name)
    return {part.place: (join_pointer(base, index), part.as_dict()) for index, part in enumerate(parts)}
