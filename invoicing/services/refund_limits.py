"""Above which amount a refund needs a second person, by its reason. Source: ADR 0017 and 0055."""

from __future__ import annotations

from django.conf import settings

from accounts.services.approval_limits import get_approval_limit
from billing_site.kernel.actors import Actor


def get_refund_limit(reason: str) -> int:
    """Return the amount up to which a refund for `reason` goes out alone, in minor units of whatever currency."""
    limits: dict[str, int] = settings.BILLING_REFUND_APPROVAL_LIMITS
    return limits.get(reason or "none", limits.get("default", get_approval_limit()))


def refund_needs_approval(*, amount: int, reason: str, actor: Actor) -> bool:
    """
    Tell whether `actor` may not send `amount` minor units back alone.

    Unlike for credit notes the limit holds for services as well: this is money that leaves. What the product itself
    computes (unused time) has no one to ask.
    """
    return actor.type != "system" and amount > get_refund_limit(reason)
