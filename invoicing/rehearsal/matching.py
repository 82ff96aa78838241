"""
Pairing what is expected with what there is, and comparing the pairs. Plain Python.

Both lists are in order. Each expected entry is paired with one actual, so that together as little as possible differs;
an actual that nobody expects is passed over, unless the expectation is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

from invoicing.rehearsal.expected import IDENTITY, LINE, Entry, Kind

Actual = Mapping[str, Any]
Pair = tuple[int | None, int | None]

_IDENTITY_COST: Final = 20
_MISSING_COST: Final = 10_000
NOTHING: Final = "–"


@dataclass(frozen=True, slots=True)
class Compared:
    """One value: what the story expects and what there is, as text."""

    name: str
    expected: str
    actual: str
    met: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """One entry with its values. `label` says which document it is about; `line` is 0 for one nobody listed."""

    label: str
    line: int
    values: tuple[Compared, ...]

    @property
    def met(self) -> bool:
        return all(value.met for value in self.values)


def pair_up(expected: int, actual: int, cost: Callable[[int, int], int], *, exact: bool) -> list[Pair]:
    """
    Return pairs of indexes in order, None where one side has nothing, at the least total cost.

    Leaving out an expected one costs more than any difference; leaving out an actual one costs only when exact.
    """
    unlisted = 1 if exact else 0
    if expected == actual and all(cost(index, index) == 0 for index in range(expected)):
        return [(index, index) for index in range(expected)]
    best = [[0] * (actual + 1) for _ in range(expected + 1)]
    for i in range(expected, -1, -1):
        for j in range(actual, -1, -1):
            if i == expected or j == actual:
                best[i][j] = (expected - i) * _MISSING_COST + (actual - j) * unlisted
                continue
            best[i][j] = min(cost(i, j) + best[i + 1][j + 1], unlisted + best[i][j + 1], _MISSING_COST + best[i + 1][j])
    pairs: list[Pair] = []
    i = j = 0
    while i < expected or j < actual:
        if i < expected and j < actual and best[i][j] == cost(i, j) + best[i + 1][j + 1]:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif j < actual and best[i][j] == unlisted + best[i][j + 1]:
            pairs.append((None, j))
            j += 1
        else:
            pairs.append((i, None))
            i += 1
    return pairs


def compare_entries(
    entries: Sequence[Entry],
    actuals: Sequence[Actual],
    *,
    kinds: Mapping[str, Kind],
    exact: bool,
    describe: Callable[[Actual], str],
) -> list[Comparison]:
    """Return a comparison for each expected entry, and one for each actual that an exact expectation does not list."""
    known: dict[tuple[int, int], int] = {}

    def cost(i: int, j: int) -> int:
        if (i, j) not in known:
            known[i, j] = _count_cost(entries[i], actuals[j], kinds)
        return known[i, j]

    found = []
    for i, j in pair_up(len(entries), len(actuals), cost, exact=exact):
        if i is None:
            if exact and j is not None:
                unlisted = Compared("document", "not listed", describe(actuals[j]), False)
                found.append(Comparison(describe(actuals[j]), 0, (unlisted,)))
        elif j is None:
            missing = Compared("document", describe_entry(entries[i]), "does not exist", False)
            found.append(Comparison(describe_entry(entries[i]), entries[i].line, (missing,)))
        else:
            found.append(Comparison(describe(actuals[j]), entries[i].line, _compare(entries[i], actuals[j], kinds)))
    return found


def describe_entry(entry: Entry) -> str:
    """Return what an expected entry says, shortly."""
    said = [f"{key} {value}" for key, value in entry.values.items() if value is not None]
    return ", ".join(said[:4]) or "any"


def describe_line(actual: Actual) -> str:
    """Return an actual line, shortly."""
    what = [actual.get("type"), actual.get("plan"), actual.get("meter")]
    return f"{' '.join(word for word in what if word)}: {actual.get('quantity')} = {actual.get('amount')}"


def _count_cost(entry: Entry, actual: Actual, kinds: Mapping[str, Kind]) -> int:
    differing = [value for value in _compare(entry, actual, kinds) if not value.met]
    return sum(_IDENTITY_COST if value.name in IDENTITY else 1 for value in differing)


def _compare(entry: Entry, actual: Actual, kinds: Mapping[str, Kind]) -> tuple[Compared, ...]:
    values = [
        Compared(key, show(expected), show(actual.get(key)), are_equal(kinds[key], expected, actual.get(key)))
        for key, expected in entry.values.items()
    ]
    if entry.lines is not None:
        values += _compare_lines(entry, actual.get("lines") or [])
    return tuple(values)


def _compare_lines(entry: Entry, actuals: Sequence[Actual]) -> list[Compared]:
    expected = entry.lines or ()

    def cost(i: int, j: int) -> int:
        return _count_cost(expected[i], actuals[j], LINE)

    values = []
    for number, (i, j) in enumerate(pair_up(len(expected), len(actuals), cost, exact=entry.exact), start=1):
        name = f"line {number}"
        if i is None:
            if entry.exact and j is not None:
                values.append(Compared(name, "not listed", describe_line(actuals[j]), False))
        elif j is None:
            values.append(Compared(name, describe_entry(expected[i]), "does not exist", False))
        else:
            compared = _compare(expected[i], actuals[j], LINE)
            values += [replace(each, name=f"{name} {each.name}") for each in compared]
    return values


def are_equal(kind: Kind, expected: str | None, actual: str | None) -> bool:
    """Tell whether two written values mean the same; numbers are compared as numbers."""
    if expected is None or actual is None:
        return expected is actual
    if kind == "number":
        return Decimal(expected) == Decimal(actual)
    return expected == actual


def show(value: str | None) -> str:
    """Return a value as it is shown; nothing is a dash."""
    return NOTHING if value is None or value == "" else value
