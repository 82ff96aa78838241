"""
Standings kept in Redis for less than a second, where the site wants that (`BILLING_ENTITLEMENT_CACHE`).

Nothing is ever taken back: an entry is gone before a second has passed since it was read, so that no plan change, quota
edit or use is missed for longer, whatever happens to whoever made it. A Redis that does not answer is left alone for a
moment; the database answers meanwhile. Source: ADR 0032.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from math import ceil
from time import monotonic_ns as _now
from typing import TYPE_CHECKING, Final

import msgspec
from django.conf import settings

from metering.rating.entitlements import Standing

if TYPE_CHECKING:
    from redis import Redis

logger = logging.getLogger(__name__)

_LIFETIME_MS: Final = 900  # from before it is read; with the time-out below it ends within a second
_TIMEOUT_MS: Final = 50
_PAUSE_SECONDS: Final = 1
_FORMAT: Final = "1"  # of the entries; another version of this product does not read them

_decoder: Final = msgspec.json.Decoder(Standing)


class _Silence:
    """Until when a Redis that failed is not asked again, by the monotonic clock, in nanoseconds."""

    until = 0


def remember_standing(
    read: Callable[[], Standing], *, org: str | None, reference: str, scope: str, at: datetime
) -> Standing:
    """
    Return what `read` says, or said less than a second ago to whoever asked the same.

    `at` is when it is asked for; in another minute everything is read anew, because windows may have begun.
    """
    if settings.BILLING_ENTITLEMENT_CACHE != "redis":
        return read()
    key = _make_key(org, reference, scope, at)
    if (entry := _get(key)) is not None:
        try:
            return _decoder.decode(entry)
        except msgspec.MsgspecError:
            logger.warning("an entry of the entitlement cache cannot be read")
    begun = _now()
    standing = read()
    if (rest := _LIFETIME_MS - ceil((_now() - begun) / 1_000_000)) > 0:
        _set(key, msgspec.json.encode(standing), rest)
    return standing


def _make_key(org: str | None, reference: str, scope: str, at: datetime) -> str:
    parts = (_FORMAT, "" if org is None else f"={org}", reference.strip(), scope, str(int(at.timestamp()) // 60))
    return f"{settings.REDIS_PREFIX}entitlement:{sha256(chr(31).join(parts).encode()).hexdigest()}"


def _get(key: str) -> bytes | None:
    if _now() < _Silence.until:
        return None
    import redis

    try:
        found = _connect(settings.REDIS_URL).get(key)
    except redis.RedisError as error:
        _fall_silent(error)
        return None
    return found if isinstance(found, bytes) else None


def _set(key: str, entry: bytes, milliseconds: int) -> None:
    if _now() < _Silence.until:
        return
    import redis

    try:
        _connect(settings.REDIS_URL).set(key, entry, px=milliseconds)
    except redis.RedisError as error:
        _fall_silent(error)


def _fall_silent(error: Exception) -> None:
    _Silence.until = _now() + _PAUSE_SECONDS * 1_000_000_000
    logger.warning("the entitlement cache does not answer, the database does: %s", type(error).__name__)


@lru_cache(maxsize=2)
def _connect(url: str) -> Redis:
    """Return the client of this process; it keeps connections for all threads."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    return redis.Redis.from_url(
        url,
        socket_timeout=_TIMEOUT_MS / 1000,
        socket_connect_timeout=_TIMEOUT_MS / 1000,
        retry=Retry(NoBackoff(), 0),
    )
