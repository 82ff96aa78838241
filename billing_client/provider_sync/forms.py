"""Form encoding with brackets: `recurring[interval]=month`, `tiers[0][up_to]=inf`, `expand[0]=data.tiers`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any


def encode_form(form: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the pairs of a form, objects and lists inside spelt out. None is left out."""
    return list(_flatten(form))


def _flatten(value: object, name: str = "") -> Iterator[tuple[str, str]]:
    if value is None:
        return
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flatten(item, f"{name}[{key}]" if name else str(key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _flatten(item, f"{name}[{index}]")
    else:
        yield name, _encode(value)


def _encode(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:f}" if isinstance(value, Decimal) else str(value)
