"""Form-encoded parameters with nested brackets: `recurring[interval]=month&tiers[0][up_to]=inf&expand[]=tiers`."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl

from tests.stripe_server.errors import StripeError

_KEY = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_PART = re.compile(r"\[([^\[\]]*)\]")


def decode_form(text: str) -> dict[str, Any]:
    """
    Return parameters as nested dictionaries and lists of text.

    :raises StripeError: if a key is no path of brackets, or is two things at once.
    """
    root: dict[str, Any] = {}
    for key, value in parse_qsl(text, keep_blank_values=True):
        found = _KEY.fullmatch(key)
        if found is None:
            raise StripeError(f"Invalid parameter name: {key}", param=key, is_stored=False)
        _put(root, [found[1], *_PART.findall(found[2])], value, key)
    return {name: _make_lists(value) for name, value in root.items()}


def _put(parent: dict[str, Any], parts: list[str], value: str, key: str) -> None:
    name, rest = parts[0], parts[1:]
    if not rest:
        parent[name] = value
        return
    if rest[0] == "":
        _append(parent.setdefault(name, []), rest[1:], value, key)
        return
    below = parent.setdefault(name, {})
    if not isinstance(below, dict):
        raise StripeError(f"Invalid parameter: {key}", param=name, is_stored=False)
    _put(below, rest, value, key)


def _append(items: Any, rest: list[str], value: str, key: str) -> None:
    """Append to `items[]`; `items[][a]=1&items[][b]=2` fills one member until a key repeats."""
    if not isinstance(items, list):
        raise StripeError(f"Invalid parameter: {key}", param=key.partition("[")[0], is_stored=False)
    if not rest:
        items.append(value)
        return
    if not items or rest[0] in items[-1]:
        items.append({})
    _put(items[-1], rest, value, key)


def _make_lists(value: Any) -> Any:
    """Return `{"0": a, "1": b}` as a list, at any depth."""
    if isinstance(value, list):
        return [_make_lists(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value and all(key.isascii() and key.isdigit() for key in value):
        return [_make_lists(value[key]) for key in sorted(value, key=int)]
    return {key: _make_lists(item) for key, item in value.items()}
