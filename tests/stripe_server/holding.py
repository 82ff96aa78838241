"""A request that the server holds until it is let go: time for others to act, without a clock."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.stripe_server.api import Reply, Request
from tests.stripe_server.faults import Moment
from tests.stripe_server.server import StripeServer

_PATIENCE = 30.0


class Held:
    """The one request that is held, and the switch that lets it go."""

    def __init__(self) -> None:
        self._has_come = threading.Event()
        self._may_go = threading.Event()

    def wait(self) -> None:
        """Wait until the request is there: not carried out yet, or carried out and not answered."""
        assert self._has_come.wait(_PATIENCE), "no request came that was to be held"

    def release(self) -> None:
        """Let it be carried out, or answered."""
        self._may_go.set()

    def stop_here(self) -> None:
        """Hold the caller."""
        self._has_come.set()
        self._may_go.wait(_PATIENCE)


@contextmanager
def holding(stripe: StripeServer, *, path: str, method: str = "POST", moment: Moment = "before") -> Iterator[Held]:
    """
    Hold the next request whose path has `path` in it, before it is carried out or after, for at most the block.

    Others are answered meanwhile, also the same one again under the same key.
    """
    held, answer, lock = Held(), stripe.api.answer, threading.Lock()
    taken = False

    def answer_later(request: Request) -> Reply:
        nonlocal taken
        with lock:
            is_it = not taken and request.method == method and path in request.path
            taken = taken or is_it
        if is_it and moment == "before":
            held.stop_here()
        reply = answer(request)
        if is_it and moment == "after":
            held.stop_here()
        return reply

    setattr(stripe.api, "answer", answer_later)  # noqa: B010 — a method is no attribute to the type checker
    try:
        yield held
    finally:
        held.release()
        setattr(stripe.api, "answer", answer)  # noqa: B010
