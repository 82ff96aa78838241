"""Trouble on demand: refusals, lost requests, lost answers, slow answers."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Literal

Moment = Literal["before", "after"]


@dataclass
class Fault:
    """
    What happens to the next requests that match.

    `moment` says whether it strikes before the request is carried out or after, when the answer is lost. `times` is
    how often (None: until `heal`), `skip` how many matching requests get through first.
    """

    status: int | None = None
    drop: bool = False
    delay: float = 0.0
    moment: Moment = "before"
    times: int | None = 1
    skip: int = 0
    method: str = ""
    path: str = ""
    headers: tuple[tuple[str, str], ...] = ()

    def matches(self, method: str, path: str) -> bool:
        return (not self.method or self.method == method) and self.path in path


class Faults:
    """The faults that are planned, in order. The first that matches a request strikes it."""

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

    def strike(self, method: str, path: str) -> Fault | None:
        """Return what happens to a request, if anything."""
        with self._lock:
            for fault in self._planned:
                if not fault.matches(method, path):
                    continue
                if fault.skip:
                    fault.skip -= 1
                    continue
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times <= 0:
                        self._planned.remove(fault)
                return fault
        return None
