"""
Repeats of keyed requests that ask somebody outside between two transactions.

The first request leaves the id of the row it works on under its key, in the transaction that writes the row; a repeat
finds it and goes on there. Source: contract conventions, idempotency.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from billing_site.kernel.errors import DomainError
from billing_site.kernel.locks import acquire_lock
from billing_site.platform.models import KeyedRequest

RETENTION: Final = timedelta(days=7)


class RequestKeyReused(DomainError):
    code, title, status = "idempotency_key_reused", "This key came with a different request", 422


@dataclass(frozen=True, slots=True)
class RequestMark:
    """Digests of a keyed request and of its body; both empty without a key."""

    key: str = ""
    hash: str = ""


def find_repeated(mark: RequestMark) -> str | None:
    """
    Return the public id of the row that an earlier request with the key began, or None for the first request.

    In a transaction: the key is held until it ends, so repeats come one after the other.
    :raises RequestKeyReused: when the key came with a different request.
    """
    if not mark.key:
        return None
    acquire_lock("keyed-request", mark.key)
    first = KeyedRequest.objects.filter(pk=mark.key).first()
    if first is None:
        return None
    if first.request_hash != mark.hash:
        raise RequestKeyReused("Use a new key for a different request.")
    return first.subject_id


def remember(mark: RequestMark, *, subject_id: str, at: datetime) -> None:
    """Leave the id of the row under the key of the request, in the transaction that writes the row."""
    if mark.key:
        KeyedRequest.objects.create(request_key=mark.key, request_hash=mark.hash, subject_id=subject_id, created_at=at)


def expire_keyed_requests(*, at: datetime) -> int:
    """Delete what is kept long enough, and return how many."""
    deleted, _ = KeyedRequest.objects.filter(created_at__lte=at - RETENTION).delete()
    return deleted
