"""
Webhooks: events on their way to the endpoints, signed, repeated when they are refused, and in trouble on demand.

A thread delivers over HTTP, in order unless told otherwise. `Plan`s say what happens to the next deliveries that match:
several copies, other orders, later, or never. A test may take deliveries with a function, see `Deliveries.receive_at`.
"""

from __future__ import annotations

import fnmatch
import http.client
import itertools
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import SplitResult, urlsplit

from tests.stripe_server.signatures import HEADER, sign
from tests.stripe_server.store import Clock, Object

Receive = Callable[[bytes, Mapping[str, str]], int]
"""Takes a body and its headers, returns the status of the answer."""
Fate = Literal["duplicate", "reverse", "hold", "lose", "delay"]
USER_AGENT = "Stripe/1.0 (+https://stripe.com/docs/webhooks)"
RETRY_SECONDS = (1.0, 5.0, 30.0, 120.0)
"""Pauses before the second and later tries; Stripe's own are hours, for three days."""
_PATIENCE = 20.0
_REMEMBERED = 10_000


@dataclass
class Plan:
    """What becomes of the next `times` deliveries of these types (None: until `heal`); `copies` and `seconds` of it."""

    fate: Fate
    types: str = "*"
    times: int | None = 1
    copies: int = 2
    seconds: float = 0.0
    taken: list[Delivery] = field(default_factory=list)


@dataclass
class Delivery:
    """One event on its way to one endpoint, with the answers it got so far (0: none)."""

    number: int
    event: Object
    endpoint: Object
    body: bytes
    due: float = 0.0
    answers: list[int] = field(default_factory=list)

    @property
    def is_accepted(self) -> bool:
        return bool(self.answers) and 200 <= self.answers[-1] < 300


class Deliveries:
    """The queue of deliveries, and the thread that works it off."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._receivers: dict[str, Receive] = {}
        self._waiting: list[Delivery] = []
        self._held: list[Delivery] = []
        self._under_way = 0
        self._plans: list[Plan] = []
        self._is_hurried = False
        self._is_stopped = False
        self._numbers = itertools.count(1)
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._connections: dict[str, http.client.HTTPConnection] = {}
        self.retry_seconds: tuple[float, ...] = RETRY_SECONDS
        self.done: deque[Delivery] = deque(maxlen=_REMEMBERED)
        """What was delivered or given up, in order."""

    def receive_at(self, id: str, receive: Receive) -> None:
        """Hand what goes to an endpoint to a function instead of its address; see `drain`."""
        self._receivers[id] = receive

    def send(self, event: Object, endpoints: Iterable[Object], *, is_again: bool = False) -> None:
        """Put an event on its way to those of the endpoints that want it; `is_again` leaves plans aside."""
        takers = [endpoint for endpoint in endpoints if _wants(endpoint, event["type"])]
        if not takers:
            return
        event["pending_webhooks"] = len(takers)
        body = json.dumps(event).encode()
        with self._changed:
            for endpoint in takers:
                delivery = Delivery(next(self._numbers), event, endpoint, body)
                if is_again:
                    self._waiting.append(delivery)
                else:
                    self._enqueue(delivery)
            if self._thread is None and any(endpoint["id"] not in self._receivers for endpoint in takers):
                self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def _enqueue(self, delivery: Delivery) -> None:
        plan = next((plan for plan in self._plans if fnmatch.fnmatchcase(delivery.event["type"], plan.types)), None)
        if plan is None:
            self._waiting.append(delivery)
            return
        if plan.times is not None:
            plan.times -= 1
        is_last = plan.times == 0
        if is_last:
            self._plans.remove(plan)
        match plan.fate:
            case "duplicate":
                copies = [
                    Delivery(next(self._numbers), delivery.event, delivery.endpoint, delivery.body)
                    for _ in range(plan.copies - 1)
                ]
                self._waiting += [delivery, *copies]
            case "reverse":
                plan.taken.insert(0, delivery)
                if is_last:
                    self._waiting += plan.taken
            case "hold":
                self._held.append(delivery)
            case "delay":
                delivery.due = time.monotonic() + plan.seconds
                self._waiting.append(delivery)
            case "lose":
                pass

    def plan(self, plan: Plan) -> None:
        """Make trouble for deliveries to come."""
        with self._changed:
            self._plans.append(plan)

    def heal(self) -> None:
        """End all trouble. What is held stays held; what waited to be reversed goes out."""
        with self._changed:
            for plan in self._plans:
                self._waiting += plan.taken
            self._plans.clear()
            self._changed.notify_all()

    def release(self, types: str = "*") -> int:
        """Send what was held; return how much that is."""
        with self._changed:
            freed = [delivery for delivery in self._held if fnmatch.fnmatchcase(delivery.event["type"], types)]
            self._held = [delivery for delivery in self._held if delivery not in freed]
            self._waiting += freed
            self._changed.notify_all()
            return len(freed)

    @property
    def plans(self) -> list[Object]:
        """The trouble that is planned."""
        return [{"fate": plan.fate, "types": plan.types, "times": plan.times} for plan in self._plans]

    @property
    def held(self) -> list[Object]:
        """The events that are held back."""
        return [delivery.event for delivery in self._held]

    @property
    def waiting(self) -> list[Object]:
        """The events that are on their way."""
        return [delivery.event for delivery in self._waiting]

    def drain(self, *, patience: float = 60.0) -> list[Delivery]:
        """
        Deliver everything now, with all its tries and without their pauses; return what was done since the last call.

        What goes to a function is delivered in the caller's thread. What is held stays where it is.
        :raises TimeoutError: if an endpoint does not answer for so long.
        """
        deadline = time.monotonic() + patience
        with self._changed:
            for plan in [plan for plan in self._plans if plan.fate == "reverse" and plan.taken]:
                self._plans.remove(plan)
                self._waiting += plan.taken
            self._is_hurried = True
            self._changed.notify_all()
        try:
            while True:
                if (delivery := self._take(is_for_function=True)) is not None:
                    self._work_off(delivery)
                    continue
                with self._changed:
                    if not self._waiting and not self._under_way:
                        done = list(self.done)
                        self.done.clear()
                        return done
                    if time.monotonic() > deadline:
                        types = [delivery.event["type"] for delivery in self._waiting]
                        raise TimeoutError(f"not delivered in {patience} s: {types}, {self._under_way} under way")
                    self._changed.wait(0.05)
        finally:
            self._is_hurried = False

    def stop(self) -> None:
        """End the thread."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(_PATIENCE)
        for connection in self._connections.values():
            connection.close()

    def _run(self) -> None:
        while True:
            if (delivery := self._take(is_for_function=False)) is not None:
                self._work_off(delivery)
                continue
            with self._changed:
                if self._is_stopped:
                    return
                if self._next_pause() > 0:
                    self._changed.wait(self._next_pause())

    def _take(self, *, is_for_function: bool) -> Delivery | None:
        """Return the first delivery that is due, now on its way."""
        now = time.monotonic()
        with self._changed:
            if self._is_stopped:
                return None
            for delivery in self._waiting:
                is_mine = (delivery.endpoint["id"] in self._receivers) is is_for_function
                if is_mine and (self._is_hurried or delivery.due <= now):
                    self._waiting.remove(delivery)
                    self._under_way += 1
                    return delivery
        return None

    def _next_pause(self) -> float:
        dues = [delivery.due for delivery in self._waiting if delivery.endpoint["id"] not in self._receivers]
        return max(0.0, min(dues) - time.monotonic()) if dues else 60.0

    def _work_off(self, delivery: Delivery) -> None:
        at = self._clock.now()
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": USER_AGENT,
            HEADER: sign(delivery.body, secret=delivery.endpoint["secret"], at=at),
        }
        status = 0
        try:
            status = self._post(delivery, headers)
        finally:
            delivery.answers.append(status)
            with self._changed:
                self._under_way -= 1
                self._settle(delivery)
                self._changed.notify_all()

    def _settle(self, delivery: Delivery) -> None:
        if delivery.is_accepted:
            delivery.event["pending_webhooks"] = max(0, delivery.event["pending_webhooks"] - 1)
            self.done.append(delivery)
        elif len(delivery.answers) <= len(self.retry_seconds) and delivery.endpoint["status"] == "enabled":
            delivery.due = time.monotonic() + self.retry_seconds[max(0, len(delivery.answers) - 1)]
            self._waiting.append(delivery)
        else:
            self.done.append(delivery)

    def _post(self, delivery: Delivery, headers: Mapping[str, str]) -> int:
        """Return the status of the answer, 0 where there is none. Redirects are answers like any other."""
        if (receive := self._receivers.get(delivery.endpoint["id"])) is not None:
            return receive(delivery.body, headers)
        parts = urlsplit(delivery.endpoint["url"])
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        kept = self._connections.pop(parts.netloc, None)
        for connection in (kept, _connect(parts)):
            if connection is None:
                continue
            try:
                connection.request("POST", path, body=delivery.body, headers=dict(headers))
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                if connection is kept and not isinstance(error, TimeoutError):
                    continue  # closed in the meantime
                return 0
            if answer.will_close:
                connection.close()
            else:
                self._connections[parts.netloc] = connection
            return answer.status
        return 0


def _wants(endpoint: Object, type: str) -> bool:
    is_enabled = endpoint["status"] == "enabled"
    return is_enabled and any(fnmatch.fnmatchcase(type, pattern) for pattern in endpoint["enabled_events"])


def _connect(parts: SplitResult) -> http.client.HTTPConnection:
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.hostname or "", parts.port, timeout=_PATIENCE)
