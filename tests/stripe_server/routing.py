"""From a path to the handler of it, and what a handler is given and gives back."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tests.stripe_server.parameters import Parameters
from tests.stripe_server.store import Kind, Object, Store


@dataclass(frozen=True)
class Call:
    """One request to one endpoint. `ids` are the parts of the path between braces."""

    store: Store
    parameters: Parameters
    ids: dict[str, str]
    version: str

    @property
    def id(self) -> str:
        return self.ids["id"]


@dataclass(frozen=True)
class Page:
    """What a list endpoint selects, newest first; `listing` cuts the page out of it."""

    kind: Kind
    objects: Iterable[Object]


@dataclass(frozen=True)
class Found(Page):
    """What a search selects: its pages go on by `page`, not by ids."""


@dataclass(frozen=True)
class Single:
    """One object of a kind; what may be expanded in it is known from the kind."""

    kind: Kind
    object: Object


@dataclass(frozen=True)
class Plain:
    """An answer that is no stored object: a balance, a deletion."""

    data: dict[str, Any]


Answer = Page | Single | Plain
Handler = Callable[[Call], Answer]


@dataclass(frozen=True)
class Route:
    """`Route("POST", "/v1/products/{id}", update)`; `permission` is what a restricted key needs."""

    method: str
    path: str
    handler: Handler
    permission: str

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", self.path))

    def match(self, method: str, path: str) -> dict[str, str] | None:
        """Return the ids in a path, or None where it is another's."""
        found = self.pattern.fullmatch(path) if method == self.method else None
        return found.groupdict() if found else None


class Routes:
    """All routes, by method and number of parts, so that few are tried. The first that was named wins."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes: dict[tuple[str, int], list[Route]] = {}
        for route in routes:
            self._routes.setdefault((route.method, route.path.count("/")), []).append(route)

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
        for route in self._routes.get((method, path.count("/")), []):
            if (ids := route.match(method, path)) is not None:
                return route, ids
        return None
