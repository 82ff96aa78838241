"""
The editor's buttons that add, copy and remove rows, where the page's script does not do it.

An operation is a text: `add-price`, `copy-price:2`, `add-tier:0`, `remove-tier:0:1`, `quote:0`. The plan is changed in
place; nothing is stored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from catalog.admin.editor_plan import make_blank_price
from catalog.admin.editor_values import ORIGIN

Entry = dict[str, Any]


def apply_operation(plan: Entry, operation: str) -> frozenset[int]:
    """Change the rows of a plan as the button says; return the prices to show open. What is not known does nothing."""
    name, *places = operation.split(":")
    numbers = [int(place) for place in places if place.isdecimal() and len(place) < 6]
    apply = _OPERATIONS.get(name)
    if apply is None or len(numbers) != len(places):
        return frozenset()
    opened = apply(plan, numbers)
    return frozenset() if opened is None else frozenset({opened})


def _add_price(plan: Entry, _: list[int]) -> int:
    prices = plan.setdefault("prices", [])
    prices.append({**make_blank_price(plan), ORIGIN: ""})
    return len(prices) - 1


def _copy_price(plan: Entry, numbers: list[int]) -> int | None:
    prices = plan.get("prices") or []
    if not numbers or numbers[0] >= len(prices):
        return None
    copy = {key: value for key, value in prices[numbers[0]].items() if key != "lookup_key"}
    prices.insert(numbers[0] + 1, copy)
    return numbers[0] + 1


def _remove_price(plan: Entry, numbers: list[int]) -> None:
    _remove(plan.get("prices"), numbers)


def _add_quota(plan: Entry, _: list[int]) -> None:
    plan.setdefault("quotas", []).append({"window": "month", ORIGIN: ""})


def _remove_quota(plan: Entry, numbers: list[int]) -> None:
    _remove(plan.get("quotas"), numbers)


def _add_tier(plan: Entry, numbers: list[int]) -> int | None:
    """The last tier has no bound, so a new one goes before it."""
    price = _find_price(plan, numbers)
    if price is None:
        return None
    tiers = price.setdefault("tiers", [])
    tiers.insert(max(0, len(tiers) - 1), {ORIGIN: ""})
    return numbers[0]


def _remove_tier(plan: Entry, numbers: list[int]) -> int | None:
    price = _find_price(plan, numbers)
    _remove(price.get("tiers") if price else None, numbers[1:])
    return numbers[0] if numbers else None


def _add_variant(plan: Entry, numbers: list[int]) -> int | None:
    price = _find_price(plan, numbers)
    if price is None:
        return None
    price.setdefault("variants", []).append({ORIGIN: ""})
    return numbers[0]


def _remove_variant(plan: Entry, numbers: list[int]) -> int | None:
    price = _find_price(plan, numbers)
    _remove(price.get("variants") if price else None, numbers[1:])
    return numbers[0] if numbers else None


def _show(_: Entry, numbers: list[int]) -> int | None:
    return numbers[0] if numbers else None


def _find_price(plan: Entry, numbers: list[int]) -> Entry | None:
    prices = plan.get("prices") or []
    return prices[numbers[0]] if numbers and numbers[0] < len(prices) else None


def _remove(rows: Any, numbers: list[int]) -> None:
    if isinstance(rows, list) and numbers and numbers[0] < len(rows):
        del rows[numbers[0]]


_OPERATIONS: Final[dict[str, Callable[[Entry, list[int]], int | None]]] = {
    "add-price": _add_price,
    "copy-price": _copy_price,
    "remove-price": _remove_price,
    "add-quota": _add_quota,
    "remove-quota": _remove_quota,
    "add-tier": _add_tier,
    "remove-tier": _remove_tier,
    "add-variant": _add_variant,
    "remove-variant": _remove_variant,
    "refresh": _show,
    "quote": _show,
}
