"""`expand[]`: objects instead of their ids, and fields that are shown only when asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.stripe_server.errors import wrong_parameter
from tests.stripe_server.events import show
from tests.stripe_server.store import Kind, Object, Store, copy_json

_DEEPEST = 4


class Renderer:
    """Makes answers of stored objects."""

    def __init__(self, store: Store, kinds: Mapping[str, Kind]) -> None:
        self._store = store
        self._kinds = kinds

    def render(self, kind: Kind, stored: Object, paths: Sequence[str]) -> Object:
        """Return a copy of an object with these paths expanded."""
        shown = show(kind, stored)
        below: dict[str, list[str]] = {}
        for path in paths:
            if path.count(".") >= _DEEPEST:
                text = f"You cannot expand more than {_DEEPEST} levels of a property."
                raise wrong_parameter(f"{text} Property: {path}", param="expand")
            if path in kind.on_request:
                if path in stored:
                    shown[path] = copy_json(stored[path])
                continue
            name, rest = _split(kind, path)
            first = name.partition(".")[0]
            if first in kind.on_request and first in stored:
                shown.setdefault(first, copy_json(stored[first]))
            below.setdefault(name, []).extend([rest] if rest else [])
        for name, rest_paths in below.items():
            self._expand(kind, shown, name, rest_paths)
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

    def _expand(self, kind: Kind, shown: Object, name: str, paths: Sequence[str]) -> None:
        """Replace the id at `name`, which may lie deeper (`items.data.price`: in each member of a list)."""
        *steps, last = name.split(".")
        holders: list[Any] = [shown]
        for step in steps:
            found = [holder.get(step) for holder in holders if isinstance(holder, dict)]
            holders = [item for value in found for item in (value if isinstance(value, list) else [value])]
        target = self._kinds[kind.expandable[name]]
        for holder in holders:
            if not isinstance(holder, dict):
                continue
            value = holder.get(last)
            if isinstance(value, list):
                holder[last] = [self._follow(target, id, paths) for id in value]
            elif value is not None:
                holder[last] = self._follow(target, value, paths)

    def _follow(self, target: Kind, id: str | Object, paths: Sequence[str]) -> Object:
        if not isinstance(id, str):
            id = str(id["id"])  # shown in full anyhow
        return self.render(target, self._store.get(target, id), paths)

    def _check(self, kind: Kind, paths: Sequence[str]) -> None:
        for path in paths:
            if path not in kind.on_request:
                _split(kind, path)


def _split(kind: Kind, path: str) -> tuple[str, str]:
    """Return the field that a path begins with and the rest of the path."""
    for name in sorted(kind.expandable, key=len, reverse=True):
        if path == name or path.startswith(f"{name}."):
            return name, path[len(name) + 1 :]
    raise _refuse(path)


def _refuse(path: str) -> Exception:
    return wrong_parameter(f"This property cannot be expanded ({path}).", param="expand")
