"""
Whether work may begin: the decision, from what an account has and has used.

Plain Python: no Django, no I/O, no clock. Source: contract chapter Entitlements (the table).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, localcontext
from typing import Final, Literal

from billing_site.kernel.money import EXACT
from metering.rating.quotas import compute_remaining, is_within

Reason = Literal["billing_active", "billing_required", "quota_exceeded"]
_ZERO: Final = Decimal(0)
_NEVER: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class HardLimit:
    """
    A hard quota that work under the scope may draw on, and what is used and reserved of it, in the meter's unit.

    Without a `feature` it belongs to its meter alone and counts only where the meter is named. `resets_at` is when its
    next bucket begins, None where none ever does.
    """

    id: str
    feature: str
    meter_event_name: str
    window: str
    limit: Decimal
    used: Decimal
    reserved: Decimal = _ZERO
    resets_at: datetime | None = None

    @property
    def taken(self) -> Decimal:
        """What decisions count as used."""
        with localcontext(EXACT):
            return self.used + self.reserved

    @property
    def remaining(self) -> Decimal:
        """What is left, never below zero."""
        return compute_remaining(used=self.taken, limit=self.limit) or _ZERO

    @property
    def exceeded(self) -> bool:
        """Whether nothing is left."""
        return not is_within(used=self.taken, requested=_ZERO, limit=self.limit)

    def stops(self, meter_event_name: str | None, quantity: Decimal) -> bool:
        """Tell whether it refuses `quantity` more on a meter; without a meter, whether nothing is left."""
        if meter_event_name is None:
            return bool(self.feature) and self.exceeded
        if meter_event_name != self.meter_event_name:
            return False
        return not is_within(used=self.taken, requested=quantity, limit=self.limit)


@dataclass(frozen=True, slots=True)
class Standing:
    """
    Where an account stands for one scope.

    `plan_id` is that of the subscription that grants the scope, else of the best one that runs; None when none runs,
    which also is the standing of an account that nobody knows.
    """

    plan_id: str | None = None
    is_granted: bool = False
    limits: tuple[HardLimit, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer. `limit` is the quota that stops the work."""

    reason: Reason
    plan_id: str | None = None
    limit: HardLimit | None = None

    @property
    def is_allowed(self) -> bool:
        return self.reason == "billing_active"


def decide_entitlement(
    standing: Standing, *, meter_event_name: str | None = None, quantity: Decimal = _ZERO
) -> Decision:
    """
    Return whether work may begin: the first row of the table that fits.

    With a meter, only the limits of that meter are asked, for `quantity` (above zero, in its unit); without one, those
    of the scope, whether anything is left. Of several that stop it, the one that resets last is named.
    """
    if standing.plan_id is None or not standing.is_granted:
        return Decision("billing_required", standing.plan_id)
    stopping = [limit for limit in standing.limits if limit.stops(meter_event_name, quantity)]
    if stopping:
        return Decision("quota_exceeded", standing.plan_id, find_last_to_reset(stopping))
    return Decision("billing_active", standing.plan_id)


def find_last_to_reset(limits: Iterable[HardLimit]) -> HardLimit:
    """Return the limit that resets last; one that never does comes after all that do, and of equals the first wins."""
    return max(limits, key=lambda limit: limit.resets_at or _NEVER)
