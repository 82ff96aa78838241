"""Storage of first answers to keyed requests. Source: contract conventions, idempotency."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from billing_site.kernel.locks import try_lock
from billing_site.platform.models import IdempotencyKey

RETENTION: Final = timedelta(days=7)
_DELETE_BATCH: Final = 5_000


@dataclass(frozen=True, slots=True)
class RequestKey:
    """What makes a keyed request the same request."""

    caller: str
    method: str
    path: str
    key: str

    def as_filter(self) -> dict[str, str]:
        return {"caller": self.caller, "method": self.method, "path": self.path, "key": self.key}


def claim_key(request_key: RequestKey) -> bool:
    """Take the key for the rest of the transaction, or answer False when another request holds it."""
    return try_lock("idempotency", *request_key.as_filter().values())


def get_answer(request_key: RequestKey, *, at: datetime) -> IdempotencyKey | None:
    """Return the stored answer that is still kept at `at`. The caller holds the key."""
    return IdempotencyKey.objects.filter(**request_key.as_filter(), expires_at__gt=at).first()


def store_answer(
    request_key: RequestKey,
    *,
    request_hash: str,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    at: datetime,
) -> None:
    """Keep the first answer for seven days, in place of one that has expired. The caller holds the key."""
    IdempotencyKey.objects.update_or_create(
        caller=request_key.caller,
        method=request_key.method,
        path=request_key.path,
        key=request_key.key,
        defaults={
            "request_hash": request_hash,
            "response_status": status,
            "response_headers": dict(headers),
            "response_body": body,
            "created_at": at,
            "expires_at": at + RETENTION,
        },
    )


def expire_keys(*, at: datetime) -> int:
    """Delete answers kept long enough, in batches, and return how many."""
    total = 0
    while True:
        batch = IdempotencyKey.objects.filter(expires_at__lte=at).values("pk")[:_DELETE_BATCH]
        deleted, _ = IdempotencyKey.objects.filter(pk__in=batch).delete()
        total += deleted
        if deleted < _DELETE_BATCH:
            return total
