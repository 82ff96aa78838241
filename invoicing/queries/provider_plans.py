"""Which of our plans a provider sells, by the lookup keys that both have."""

from __future__ import annotations

from collections.abc import Sequence

from catalog.models import Plan, Price
from catalog.queries.revisions import find_catalog_org


def find_plan_key(*, org_id: str, price_keys: Sequence[str]) -> str | None:
    """Return the plan on offer whose present version has a fee with one of these lookup keys; None for none or two."""
    if not price_keys:
        return None
    owner = find_catalog_org(org_id=org_id)
    offered = Plan.objects.filter(org_id=owner, is_active=True)
    found = Price.objects.filter(
        lookup_key__in=price_keys, meter__isnull=True, plan_version__in=offered.values("current_version")
    )
    keys = list(found.order_by().values_list("plan_version__plan__key", flat=True).distinct()[:2])
    return keys[0] if len(keys) == 1 else None
