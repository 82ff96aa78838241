"""
Identifiers: UUIDv7 inside, `<prefix>_<26 characters of base32>` outside.

The base32 alphabet is Crockford's in lower case; text order is creation order.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from functools import lru_cache

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_VALUES = {character: value for value, character in enumerate(_ALPHABET)}
_TRIPLES = [first + second + third for first in _ALPHABET for second in _ALPHABET for third in _ALPHABET]  # 15 bits
_LENGTH = 26

_lock = threading.Lock()
_last = 0


def new_uuid() -> uuid.UUID:
    """Return a UUIDv7 (RFC 9562): 48 bits of milliseconds, 12 that keep one process in order, then noise."""
    global _last  # noqa: PLW0603 - the last value given out, under the lock
    with _lock:
        # 48 bits of milliseconds and 12 bits of fraction: later calls always get a larger value.
        _last = max(_last + 1, time.time_ns() * 4096 // 1_000_000)
        moment = _last
    noise = int.from_bytes(os.urandom(8), "big") & ((1 << 62) - 1)
    value = (moment >> 12 & ((1 << 48) - 1)) << 80 | 0x7 << 76 | (moment & 0xFFF) << 64 | 0b10 << 62 | noise
    return uuid.UUID(int=value)


def encode_id(prefix: str, value: uuid.UUID) -> str:
    """Return the public form of `value`, for instance `in_01hzy…`."""
    return encode_number(prefix, value.int)


def encode_number(prefix: str, number: int) -> str:
    """Return the public form of the UUID with this value of 128 bits."""
    known = _TRIPLES
    return (
        f"{prefix}_{known[number >> 115]}{known[number >> 100 & 32767]}{known[number >> 85 & 32767]}"
        f"{known[number >> 70 & 32767]}{known[number >> 55 & 32767]}{known[number >> 40 & 32767]}"
        f"{known[number >> 25 & 32767]}{known[number >> 10 & 32767]}{known[number << 5 & 32767][:2]}"
    )


@lru_cache(maxsize=4096)
def decode_id(prefix: str, text: str) -> uuid.UUID | None:
    """Return the UUID behind a public id, or None when `text` is not an id with this prefix."""
    head, _, body = text.strip().lower().rpartition("_")
    if head != prefix or len(body) != _LENGTH:
        return None
    number = 0
    for character in body:
        value = _VALUES.get(character)
        if value is None:
            return None
        number = number * 32 + value
    return uuid.UUID(int=number) if number < 1 << 128 else None
