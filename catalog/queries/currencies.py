"""Currencies that things are offered in."""

from __future__ import annotations

from catalog.models import Plan, Price, PricingRule
from catalog.queries.revisions import list_owners


def list_offered_currencies(*, org_id: str) -> list[str]:
    """Return the currencies of plans on offer to the organization and of its open pricing rules, sorted."""
    owners = list_owners(org_id=org_id)
    on_offer = Plan.objects.filter(org_id__in=owners, is_active=True, product__is_active=True)
    prices = Price.objects.filter(plan_version__in=on_offer.values("current_version")).order_by()
    rules = PricingRule.objects.filter(org_id__in=owners, closed_at__isnull=True).order_by()
    return sorted(prices.values_list("currency", flat=True).union(rules.values_list("currency", flat=True)))
