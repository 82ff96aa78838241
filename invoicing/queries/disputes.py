"""Disputes as callers see them: internal services only."""

from __future__ import annotations

from django.db.models import QuerySet

from billing_site.kernel.actors import Principal
from billing_site.kernel.errors import NotFound
from invoicing.models import Dispute


def visible_disputes(principal: Principal) -> QuerySet[Dispute]:
    """Return the disputes the caller may see."""
    rows = Dispute.objects.select_related("account__test_clock", "payment_intent")
    if not principal.is_internal:
        return rows.none()
    return rows if principal.org is None else rows.filter(account__org_id=principal.org)


def get_visible_dispute(principal: Principal, reference: str) -> Dispute:
    """
    Return a dispute by its id.

    :raises NotFound: if the caller sees none.
    """
    key = Dispute.parse_id(reference)
    found = visible_disputes(principal).filter(pk=key).first() if key else None
    if found is None:
        raise NotFound("dispute")
    return found
