"""
What use of a quota means: how full it is, how near its end, whether more fits.

Plain Python: no Django, no I/O, no clock. Source: contract chapter Quotas (Decision, Percent).
"""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal, localcontext
from typing import Final, Literal

from billing_site.kernel.money import EXACT

Level = Literal["ok", "warning", "critical", "exceeded"]
LEVELS: Final[tuple[Level, ...]] = ("ok", "warning", "critical", "exceeded")
_ZERO: Final = Decimal(0)
_HUNDRED: Final = Decimal(100)


def compute_percent(*, used: Decimal, limit: Decimal | None) -> int:
    """
    Return `used` as a percentage of `limit`, cut to an integer: 0 of no limit, 100 of a limit of zero.

    Both are in one unit.
    """
    if limit is None:
        return 0
    if limit == _ZERO:
        return 100
    with localcontext(EXACT):
        return int((used * _HUNDRED / limit).to_integral_value(rounding=ROUND_DOWN))


def choose_level(*, used: Decimal, limit: Decimal | None, warning: Decimal, critical: Decimal) -> Level:
    """
    Return how near its limit a quota is; `warning` and `critical` are percentages from which a level begins.

    Exceeded begins at the limit itself. Where warning begins later than critical, critical begins there too.
    """
    if limit is None:
        return "ok"
    if used >= limit:
        return "exceeded"
    with localcontext(EXACT):
        hundredfold = used * _HUNDRED
        if hundredfold >= max(critical, warning) * limit:
            return "critical"
        return "warning" if hundredfold >= warning * limit else "ok"


def is_within(*, used: Decimal, requested: Decimal, limit: Decimal | None) -> bool:
    """
    Tell whether `requested` more fits beside what is used; when nothing is requested, whether anything is left.

    A limit of zero allows nothing; no limit allows everything.
    """
    if limit is None:
        return True
    with localcontext(EXACT):
        return used + requested <= limit if requested > _ZERO else used < limit


def compute_remaining(*, used: Decimal, limit: Decimal | None) -> Decimal | None:
    """Return what is left of `limit`, never below zero; None without a limit."""
    if limit is None:
        return None
    with localcontext(EXACT):
        return max(_ZERO, limit - used)
