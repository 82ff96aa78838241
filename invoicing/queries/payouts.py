"""Payouts as callers see them."""

from __future__ import annotations

from django.db.models import QuerySet

from billing_site.kernel.actors import Principal
from billing_site.kernel.errors import NotFound
from invoicing.models import Payout


def visible_payouts(principal: Principal) -> QuerySet[Payout]:
    """Return the payouts an internal caller may see: all, or those of its organization."""
    rows = Payout.objects.select_related("account__test_clock")
    if not principal.is_internal:
        return rows.none()
    return rows if principal.org is None else rows.filter(org_id=principal.org)


def get_visible_payout(principal: Principal, reference: str) -> Payout:
    """
    Return a payout by its id.

    :raises NotFound: if the caller sees none.
    """
    key = Payout.parse_id(reference)
    found = None if key is None else visible_payouts(principal).filter(pk=key).first()
    if found is None:
        raise NotFound("payout")
    return found
