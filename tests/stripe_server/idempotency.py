"""Idempotency keys: the first answer again for the same request, a refusal for another one. Kept for a day."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from tests.stripe_server.errors import StripeError
from tests.stripe_server.store import Clock

KEPT_SECONDS = 24 * 3600
LONGEST = 255


@dataclass
class _Entry:
    fingerprint: str
    request_id: str
    created: int
    answer: tuple[int, dict[str, Any]] | None = None


@dataclass(frozen=True)
class Replay:
    """An answer that was given before, and the request it was given to."""

    status: int
    body: dict[str, Any]
    request_id: str


class IdempotencyKeys:
    """The keys of one mode. Not locked: the caller holds the server's lock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._entries: dict[str, _Entry] = {}

    def begin(self, key: str, *, method: str, path: str, body: str, request_id: str) -> Replay | None:
        """
        Take a key for a request, or return the answer it has already.

        :raises StripeError: if the key was used for another request, or that request is under way.
        """
        if len(key) > LONGEST:
            raise StripeError(f"Idempotency keys have at most {LONGEST} characters.", is_stored=False)
        fingerprint = hashlib.sha256(f"{method} {path}\n{body}".encode()).hexdigest()
        entry = self._entries.get(key)
        if entry is None or self._clock.now() - entry.created >= KEPT_SECONDS:
            self._entries[key] = _Entry(fingerprint, request_id, self._clock.now())
            return None
        if entry.fingerprint != fingerprint:
            text = "Keys for idempotent requests can only be used with the same parameters they were first used with."
            hint = f" Try using a key other than '{key}' if you meant to execute a different request."
            raise StripeError(text + hint, type="idempotency_error", is_stored=False)
        if entry.answer is None:
            raise StripeError(
                "There is currently another in-progress request using this Idempotent Key (that probably means you "
                f"submitted twice, and the other request is still going through): {key}.",
                status=409,
                code="idempotency_key_in_use",
                is_stored=False,
            )
        return Replay(*entry.answer, entry.request_id)

    def keep(self, key: str, status: int, body: dict[str, Any]) -> None:
        """Remember the answer of a request that ran."""
        self._entries[key].answer = (status, body)

    def forget(self, key: str) -> None:
        """Give a key back: its request never ran."""
        self._entries.pop(key, None)
