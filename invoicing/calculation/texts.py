"""How facts write instants and exact numbers. Plain Python: no Django, no I/O, no clock."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache


def format_instant(instant: datetime) -> str:
    """Return an aware instant as UTC text with microseconds only where they are not zero."""
    return _format_utc(instant.astimezone(UTC))


# In UTC only: in a zone, the two instants of a wall clock that is turned back count as equal.
@lru_cache(maxsize=4096)
def _format_utc(instant: datetime) -> str:
    return f"{instant.isoformat()[:-6]}Z"


def parse_instant(text: str) -> datetime:
    """Return the aware instant that `format_instant` wrote."""
    return datetime.fromisoformat(text).astimezone(UTC)


def format_exact(value: Decimal) -> str:
    """Return a Decimal as plain digits, without exponent and without trailing zeros."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
