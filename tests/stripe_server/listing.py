"""Pages of lists: `limit`, `starting_after`, `ending_before`, `has_more`, and the filter on `created`."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

from tests.stripe_server.errors import missing_object, wrong_parameter
from tests.stripe_server.parameters import Parameters
from tests.stripe_server.store import Kind, Object

DEFAULT_LIMIT = 10
MOST = 100
_COMPARISONS = {"gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le}


def cut_page(kind: Kind, objects: Iterable[Object], parameters: Parameters, path: str) -> dict[str, Any]:
    """Return the page that was asked for."""
    limit = parameters.integer("limit", least=1, most=MOST) or DEFAULT_LIMIT
    after, before = parameters.text("starting_after"), parameters.text("ending_before")
    if after and before:
        text = "You may only specify one of these parameters: ending_before, starting_after."
        raise wrong_parameter(text, param="ending_before")
    chosen = list(objects)
    if after:
        rest = chosen[_find(kind, chosen, after, "starting_after") + 1 :]
        page, more = rest[:limit], len(rest) > limit
    elif before:
        rest = chosen[: _find(kind, chosen, before, "ending_before")]
        page, more = rest[-limit:], len(rest) > limit
    else:
        page, more = chosen[:limit], len(chosen) > limit
    return {"object": "list", "url": path, "has_more": more, "data": page}


def cut_found(objects: Iterable[Object], parameters: Parameters, path: str) -> dict[str, Any]:
    """Return the page of a search; `page` is what the page before called `next_page`."""
    limit = parameters.integer("limit", least=1, most=MOST) or DEFAULT_LIMIT
    token = parameters.text("page") or "0"
    if not token.isascii() or not token.isdigit():
        raise wrong_parameter(f"Invalid page: {token}", param="page")
    chosen, start = list(objects), int(token)
    more = len(chosen) > start + limit
    return {
        "object": "search_result",
        "url": path,
        "has_more": more,
        "next_page": str(start + limit) if more else None,
        "data": chosen[start : start + limit],
    }


def _find(kind: Kind, objects: list[Object], id: str, param: str) -> int:
    for index, item in enumerate(objects):
        if item["id"] == id:
            return index
    raise missing_object(kind.words or kind.name, id, param=param, status=400)


def select_created(objects: Iterable[Object], parameters: Parameters) -> list[Object]:
    """Return the objects whose `created` fits the parameter of that name: an instant or bounds."""
    bounds = parameters.object("created") if parameters.is_object("created") else None
    if bounds is not None:
        wanted = {name: bound for name in _COMPARISONS if (bound := bounds.integer(name)) is not None}
        return [
            item
            for item in objects
            if all(_COMPARISONS[name](item["created"], bound) for name, bound in wanted.items())
        ]
    instant = parameters.integer("created")
    return [item for item in objects if instant in {None, item["created"]}]
