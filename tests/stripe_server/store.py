"""The objects of one mode of the account (test or live), by kind, oldest first, and what happens to them later."""

from __future__ import annotations

import itertools
import random
import string
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.stripe_server.errors import missing_object

Object = dict[str, Any]
_LETTERS = string.ascii_letters + string.digits


def copy_json(value: Any) -> Any:
    """Return a copy of what JSON can hold; several times as fast as `deepcopy`."""
    if isinstance(value, dict):
        return {key: copy_json(item) if isinstance(item, dict | list) else item for key, item in value.items()}
    if isinstance(value, list):
        return [copy_json(item) if isinstance(item, dict | list) else item for item in value]
    return value


@dataclass(frozen=True)
class Kind:
    """
    One kind of object.

    `expandable` maps fields holding an id (or a list of ids) to the kind they name, nested ones with dots; `on_request`
    are fields shown only when expanded.
    """

    name: str
    prefix: str
    words: str = ""
    """What refusals call it: `No such meter`; default its name."""
    expandable: dict[str, str] = field(default_factory=dict)
    on_request: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    """Which of the usual fields it has not."""


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


@dataclass
class Errand:
    """Something the network or a bank does later: a refund arrives, a customer disputes a charge."""

    number: int
    due: int
    what: str
    subject: str
    run: Callable[[], object]


PATIENT = frozenset({"lapse"})
"""What only time brings about, or a test that names it."""
Emit = Callable[["Store", str, Kind, Object, Object | None], None]


class Store:
    """Objects by kind and id."""

    def __init__(self, *, livemode: bool, clock: Clock, ids: Ids) -> None:
        self.livemode = livemode
        self.clock = clock
        self.ids = ids
        self.notes: dict[str, dict[str, Any]] = {}
        """What the server knows of an object and never shows, by its id: how a test card behaves."""
        self.errands: list[Errand] = []
        self.base_url = ""
        """Where hosted pages are."""
        self.search_lag = 0
        """Seconds until a search finds a new object; Stripe's own searches lag behind for up to a minute."""
        self.planned_declines: list[str] = []
        """The decline codes of the next charges, whatever the card."""
        self.fees_come_late = False
        """A charge gets its balance transaction later, as with Stripe's asynchronous capture."""
        self.request: Object = {"id": None, "idempotency_key": None}
        """What events say about the request that caused them."""
        self.on_event: Emit | None = None
        self._objects: dict[str, dict[str, Object]] = {}
        self._numbers = itertools.count(1)

    def add(self, kind: Kind, data: Object, *, id: str | None = None) -> Object:
        """Keep a new object; `id`, `object`, `created` and `livemode` are filled in."""
        shown: Object = {"id": id or self.ids.make(kind.prefix), "object": kind.name}
        shown |= {"created": self.clock.now(), "livemode": self.livemode, **data}
        self._objects.setdefault(kind.name, {})[shown["id"]] = shown
        for name in kind.lacks:
            del shown[name]
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

    def note(self, id: str) -> dict[str, Any]:
        """Return what is known of an object besides what it shows."""
        return self.notes.setdefault(id, {})

    def time_of(self, customer: str | None) -> int:
        """Return the time in which a customer lives: that of its test clock, or everybody's."""
        if customer is not None:
            clock = self._objects.get("customer", {}).get(customer, {}).get("test_clock")
            if clock is not None and clock in self._objects.get("test_helpers.test_clock", {}):
                return int(self._objects["test_helpers.test_clock"][clock]["frozen_time"])
        return self.clock.now()

    def emit(self, type: str, kind: Kind, subject: Object, *, before: Object | None = None) -> None:
        """Tell the world that an object changed; `before` is a copy of it as it was, for `previous_attributes`."""
        if self.on_event is not None:
            self.on_event(self, type, kind, subject, before)

    def later(self, what: str, subject: str, run: Callable[[], object], *, seconds: int = 10) -> None:
        """Plan what happens to an object later: when its time has come, or as soon as a test says so."""
        self.errands.append(Errand(next(self._numbers), self.clock.now() + seconds, what, subject, run))

    def run_errands(self, *, all: bool = False, what: str = "", subject: str = "") -> int:
        """
        Do what is due (or `all` that is planned, of one sort, for one object), in order; return how much was done.

        Holds lapse only when their time has come, or `what` names it (`lapse`). What comes of it later, such as the
        answer to a dispute that was just born, is left for the next time.
        """
        due = [
            errand
            for errand in self.errands
            if (errand.due <= self.clock.now() or (all and (errand.what not in PATIENT or what == errand.what)))
            and what in {"", errand.what}
            and subject in {"", errand.subject}
        ]
        for errand in due:
            self.errands.remove(errand)
            errand.run()
        return len(due)
