"""What differs between two entries, value by value; tiers and variants of a price one by one, named for a person."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from catalog.documents.findings import join_pointer

_Members = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One value that differs; the pointer is into the new document, or into the old one for what is gone."""

    pointer: str
    field: str
    old: Any = None
    new: Any = None

    def as_dict(self) -> dict[str, Any]:
        return {"pointer": self.pointer, "field": self.field, "old": self.old, "new": self.new}


@dataclass(frozen=True, slots=True)
class Side:
    """The members of an object in one of two documents, and where they stand."""

    pointer: str
    members: _Members


def diff_members(label: str, old: Side, new: Side) -> Iterator[FieldChange]:
    """Yield what differs between two objects; `label` names them and begins every field."""
    for key in [*new.members, *(key for key in old.members if key not in new.members)]:
        before, after = old.members.get(key), new.members.get(key)
        if before == after:
            continue
        if key == "tiers" and before and after:
            yield from _diff_tiers(label, _list_sides(old, key), _list_sides(new, key))
        elif key == "variants" and before and after:
            yield from _diff_variants(label, _list_sides(old, key), _list_sides(new, key))
        else:
            place = new if key in new.members else old
            yield FieldChange(join_pointer(place.pointer, key), f"{label} {key}", before, after)


def _list_sides(side: Side, key: str) -> list[Side]:
    base = join_pointer(side.pointer, key)
    return [Side(join_pointer(base, place), members) for place, members in enumerate(side.members[key])]


def _diff_tiers(label: str, old: Sequence[Side], new: Sequence[Side]) -> Iterator[FieldChange]:
    """As many tiers as before are compared one by one; otherwise those with the same bound."""
    if len(old) == len(new):
        for number, (before, after) in enumerate(zip(old, new, strict=True), 1):
            yield from _diff_tier(f"{label} {_name_tier(number, after)}", before, after)
        return
    known = {side.members["up_to"]: side for side in old}
    for number, after in enumerate(new, 1):
        name = f"{label} {_name_tier(number, after)}"
        bound = after.members["up_to"]
        if bound in known:
            yield from _diff_tier(name, known[bound], after)
        else:
            yield FieldChange(after.pointer, name, None, after.members)
    bounds = {side.members["up_to"] for side in new}
    for number, before in enumerate(old, 1):
        if before.members["up_to"] not in bounds:
            yield FieldChange(before.pointer, f"{label} {_name_tier(number, before)}", before.members, None)


def _diff_tier(name: str, old: Side, new: Side) -> Iterator[FieldChange]:
    """A tier writes no zeros, so what is absent on one side is zero."""
    before, after = old.members, new.members
    for key in ("up_to", "unit_amount", "flat_amount", "percent"):
        missing = None if key == "up_to" else "0"
        was, now = before.get(key, missing), after.get(key, missing)
        if was != now:
            place = new if key in after else old
            yield FieldChange(
                join_pointer(place.pointer, key), name if key == "unit_amount" else f"{name} {key}", was, now
            )


def _name_tier(number: int, tier: Side) -> str:
    bound = tier.members["up_to"]
    return f"tier {number}" if bound is None else f"tier {number} up to {Decimal(bound):,f}"


def _diff_variants(label: str, old: Sequence[Side], new: Sequence[Side]) -> Iterator[FieldChange]:
    """Variants are the same when they are for the same usage. Their order breaks ties, so it is named if it changed."""
    before, after = ({_name_variant(side): side for side in sides} for sides in (old, new))
    for name, side in after.items():
        if name in before:
            yield from diff_members(f"{label} {name}", before[name], side)
        else:
            yield FieldChange(side.pointer, f"{label} {name}", None, side.members)
    for name, side in before.items():
        if name not in after:
            yield FieldChange(side.pointer, f"{label} {name}", side.members, None)
    kept, were = [name for name in after if name in before], [name for name in before if name in after]
    if kept != were:
        base = new[0].pointer.rpartition("/")[0]
        yield FieldChange(base, f"{label} order of variants", were, kept)


def _name_variant(side: Side) -> str:
    when = side.members["when"]
    return f"variant {', '.join(f'{key}={when[key]}' for key in sorted(when))}"
