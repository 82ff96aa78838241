"""Stripe's search language: `status:"succeeded" AND metadata["order"]:"7" AND created>1700000000`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Iterable
from typing import Any

from tests.stripe_server.errors import wrong_parameter
from tests.stripe_server.routing import Call, Found
from tests.stripe_server.store import Kind, Object

_CLAUSE = re.compile(
    r"""\s*(?P<negated>-)?(?P<field>\w+(?:\.\w+)*)(?:\[(?P<q>["'])(?P<key>.*?)(?P=q)\])?\s*"""
    r"""(?P<operator>:|~|>=|<=|>|<)\s*(?:(?P<quote>["'])(?P<text>.*?)(?P=quote)|(?P<bare>[^\s"']+))\s*"""
)
_JOIN = re.compile(r"(AND|OR)\b", re.IGNORECASE)
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
Test = Callable[[Object], bool]


def search(call: Call, kind: Kind, objects: Iterable[Object], *, fields: Collection[str]) -> Found:
    """Return what matches the parameter `query`. New objects are found after the store's `search_lag`."""
    query = str(call.parameters.text("query", required=True))
    matches = parse_query(query, fields=fields)
    newest = call.store.clock.now() - call.store.search_lag
    return Found(kind, [item for item in objects if item["created"] <= newest and matches(item)])


def parse_query(query: str, *, fields: Collection[str]) -> Test:
    """:raises StripeError: if a query cannot be understood, mixes AND with OR, or asks for a field unknown."""
    tests: list[Test] = []
    joins: set[str] = set()
    position = 0
    while True:
        found = _CLAUSE.match(query, position)
        if found is None:
            raise _refuse(f"We were unable to parse your search query: {query[position:] or query}")
        if found["field"] not in fields:
            raise _refuse(f"Field `{found['field']}` is an unsupported search field for this resource.")
        tests.append(_make_test(found))
        position = found.end()
        if position == len(query):
            break
        join = _JOIN.match(query, position)
        joins.add(join[1].upper() if join else "AND")
        position = join.end() if join else position
    if len(joins) > 1:
        raise _refuse("A query cannot use both AND and OR.")
    is_any = joins == {"OR"}
    return lambda item: any(test(item) for test in tests) if is_any else all(test(item) for test in tests)


def _make_test(found: re.Match[str]) -> Test:
    wanted = found["text"] if found["text"] is not None else found["bare"]
    sign, key, is_negated = found["operator"], found["key"], bool(found["negated"])
    parts = [*found["field"].split("."), *([key] if key is not None else [])]

    def test(item: Object) -> bool:
        value: Any = item
        for part in parts:
            value = value.get(part) if isinstance(value, dict) else None
        return _matches(value, sign, wanted) is not is_negated

    return test


def _matches(value: Any, sign: str, wanted: str) -> bool:
    if wanted == "null" and sign == ":":
        return value is None
    if value is None:
        return False
    if sign in _COMPARE:
        try:
            return _COMPARE[sign](int(value), int(wanted))
        except ValueError as error:
            raise _refuse(f"`{wanted}` is no number.") from error
    if sign == "~":
        return wanted.lower() in str(value).lower()
    return wanted.lower() == str(value).lower()


def _refuse(message: str) -> Exception:
    return wrong_parameter(message, param="query")
