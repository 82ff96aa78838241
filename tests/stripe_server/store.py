"""The objects of one mode of the account (test or live), by kind, oldest first."""

from __future__ import annotations

import random
import string
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.stripe_server.errors import missing_object

Object = dict[str, Any]
_LETTERS = string.ascii_letters + string.digits


@dataclass(frozen=True)
class Kind:
    """
    One kind of object.

    `expandable` maps fields holding an id to the kind they name; `on_request` are fields shown only when expanded.
    """

    name: str
    prefix: str
    words: str = ""
    """What refusals call it: `No such meter`; default its name."""
    expandable: dict[str, str] = field(default_factory=dict)
    on_request: tuple[str, ...] = ()


class Clock:
    """Unix seconds, which a test may move on."""

    def __init__(self) -> None:
        self._moved = 0

    def now(self) -> int:
        return int(time.time()) + self._moved

    def advance(self, *, seconds: int) -> None:
        self._moved += seconds


class Ids:
    """Ids that look like Stripe's and never repeat."""

    def __init__(self) -> None:
        self._random = random.Random(20230815)

    def make(self, prefix: str, length: int = 24) -> str:
        return prefix + "".join(self._random.choices(_LETTERS, k=length))


class Store:
    """Objects by kind and id."""

    def __init__(self, *, livemode: bool, clock: Clock, ids: Ids) -> None:
        self.livemode = livemode
        self.clock = clock
        self._ids = ids
        self._objects: dict[str, dict[str, Object]] = {}

    def add(self, kind: Kind, data: Object, *, id: str | None = None) -> Object:
        """Keep a new object; `id`, `object`, `created` and `livemode` are filled in."""
        shown: Object = {"id": id or self._ids.make(kind.prefix), "object": kind.name}
        shown |= {"created": self.clock.now(), "livemode": self.livemode, **data}
        self._objects.setdefault(kind.name, {})[shown["id"]] = shown
        return shown

    def find(self, kind: Kind, id: str) -> Object | None:
        """Return an object or None."""
        return self._objects.get(kind.name, {}).get(id)

    def get(self, kind: Kind, id: str, *, param: str = "id", status: int = 404) -> Object:
        """:raises StripeError: if there is none."""
        found = self.find(kind, id)
        if found is None:
            raise missing_object(kind.words or kind.name, id, param=param, status=status)
        return found

    def remove(self, kind: Kind, id: str) -> None:
        """Forget an object."""
        del self._objects[kind.name][id]

    def all(self, kind: Kind | str) -> list[Object]:
        """Return the objects of a kind, oldest first."""
        return list(self._objects.get(kind if isinstance(kind, str) else kind.name, {}).values())

    def newest(self, kind: Kind) -> Iterator[Object]:
        """Return the objects of a kind in the order of lists."""
        return reversed(self.all(kind))
