"""
When a card ends: with the last day of the month that stands on it, in the account's zone.

Plain Python: no Django, no clock. Source: docs/payment-methods.md, "Cards that expire".
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any, Final, Literal, TypeGuard

Standing = Literal["", "soon", "expired"]

_YEARS: Final = range(1970, 3000)
_MONTHS: Final = range(1, 13)


def find_last_day(card: Mapping[str, Any]) -> date | None:
    """Return the last day on which a card is good; None where its display data names no month that can be."""
    month, year = card.get("exp_month"), card.get("exp_year")
    if not (_is_number(month) and _is_number(year)) or month not in _MONTHS or year not in _YEARS:
        return None
    return date(year, month, monthrange(year, month)[1])


def judge_expiry(last_day: date | None, *, today: date, notice_days: int) -> Standing:
    """
    Tell how a card stands on `today`, a local day of the account: `expired`, `soon`, or empty.

    `soon` begins `notice_days` before its last day; with 0 there is no such time.
    """
    if last_day is None:
        return ""
    if last_day < today:
        return "expired"
    return "soon" if notice_days and last_day - timedelta(days=notice_days) <= today else ""


def _is_number(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)
