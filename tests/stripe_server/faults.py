"""Trouble on demand: refusals, lost requests, lost answers, slow answers."""

from __future__ import annotations

import fnmatch
import threading
from dataclasses import dataclass
from typing import Literal

Moment = Literal["before", "after"]


@dataclass
class Fault:
    """
    What happens to the next requests that match.

    `moment` says whether it strikes before the request is carried out or after, when the answer is lost. `times` is
    how often (None: until `heal`), `skip` how many matching requests get through first, `every` strikes each k-th of
    those after. `path` is a part of the path, or a pattern of the whole where it has a `*`.
    """

    status: int | None = None
    drop: bool = False
    delay: float = 0.0
    moment: Moment = "before"
    times: int | None = 1
    skip: int = 0
    every: int = 1
    method: str = ""
    path: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    seen: int = 0

    def matches(self, method: str, path: str) -> bool:
        is_path = fnmatch.fnmatchcase(path, self.path) if "*" in self.path else self.path in path
        return is_path and self.method in {"", method}

    def is_due(self) -> bool:
        """Count a request that matches, and tell whether this one is struck."""
        self.seen += 1
        counted = self.seen - self.skip
        return counted > 0 and counted % self.every == 0


class Faults:
    """The faults that are planned, in order. The first that is due strikes a request."""

    def __init__(self) -> None:
        self._planned: list[Fault] = []
        self._lock = threading.Lock()

    def plan(self, fault: Fault) -> None:
        with self._lock:
            self._planned.append(fault)

    def heal(self) -> None:
        """Forget everything that was planned."""
        with self._lock:
            self._planned.clear()

    @property
    def planned(self) -> list[Fault]:
        """What is planned, in order."""
        with self._lock:
            return list(self._planned)

    def strike(self, method: str, path: str) -> Fault | None:
        """Return what happens to a request, if anything."""
        with self._lock:
            for fault in self._planned:
                if not fault.matches(method, path) or not fault.is_due():
                    continue
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times <= 0:
                        self._planned.remove(fault)
                return fault
        return None
