"""`expand[]`: objects instead of their ids, and fields that are shown only when asked for."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from tests.stripe_server.errors import wrong_parameter
from tests.stripe_server.store import Kind, Object, Store

_DEEPEST = 4


class Renderer:
    """Makes answers of stored objects."""

    def __init__(self, store: Store, kinds: Mapping[str, Kind]) -> None:
        self._store = store
        self._kinds = kinds

    def render(self, kind: Kind, stored: Object, paths: Sequence[str]) -> Object:
        """Return a copy of an object with these paths expanded."""
        shown = copy.deepcopy({key: value for key, value in stored.items() if key not in kind.on_request})
        below: dict[str, list[str]] = {}
        for path in paths:
            name, _, rest = path.partition(".")
            if path.count(".") >= _DEEPEST:
                text = f"You cannot expand more than {_DEEPEST} levels of a property."
                raise wrong_parameter(f"{text} Property: {path}", param="expand")
            if name in kind.on_request and not rest:
                if name in stored:
                    shown[name] = copy.deepcopy(stored[name])
            elif name in kind.expandable:
                below.setdefault(name, []).extend([rest] if rest else [])
            else:
                raise _refuse(path)
        for name, rest_paths in below.items():
            shown[name] = self._expand(kind, stored[name], name, rest_paths)
        return shown

    def render_page(self, kind: Kind, page: dict[str, Any], paths: Sequence[str]) -> dict[str, Any]:
        """Return a page with `data.…` paths expanded in each of its objects."""
        for path in paths:
            if not path.startswith("data."):
                raise _refuse(path)
        inner = [path.removeprefix("data.") for path in paths]
        if not page["data"]:
            self._check(kind, inner)
        return {**page, "data": [self.render(kind, item, inner) for item in page["data"]]}

    def _expand(self, kind: Kind, id: str | None, name: str, paths: Sequence[str]) -> Object | None:
        if id is None:
            return None
        target = self._kinds[kind.expandable[name]]
        return self.render(target, self._store.get(target, id), paths)

    def _check(self, kind: Kind, paths: Sequence[str]) -> None:
        for path in paths:
            if path.partition(".")[0] not in {*kind.expandable, *kind.on_request}:
                raise _refuse(path)


def _refuse(path: str) -> Exception:
    return wrong_parameter(f"This property cannot be expanded ({path}).", param="expand")
