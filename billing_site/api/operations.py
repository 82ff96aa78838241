"""Which operations this installation has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from django.conf import settings
from django.urls import URLPattern, URLResolver, get_resolver


def list_operations() -> frozenset[str]:
    """Return the ids of all operations that a route leads to."""
    return _list_operations(settings.ROOT_URLCONF)


@cache
def _list_operations(urlconf: str) -> frozenset[str]:
    return frozenset(_walk(get_resolver(urlconf).url_patterns))


def _walk(patterns: Iterable[URLPattern | URLResolver]) -> Iterator[str]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from _walk(pattern.url_patterns)
            continue
        view: Any = getattr(pattern.callback, "cls", None)
        declared: dict[str, str] = getattr(view, "operation_ids", {})
        # A ViewSet's route says which actions it serves; a plain view serves everything it declares.
        actions: dict[str, str] | None = getattr(pattern.callback, "actions", None)
        served = declared.keys() if actions is None else actions.values()
        yield from (declared[action] for action in served if action in declared)
