"""Plans on offer, with their version, prices, quotas and features, in a constant number of queries."""

from __future__ import annotations

from django.db.models import Prefetch, QuerySet

from billing_site.kernel.errors import DomainError
from catalog.models import Plan, PlanVersion, PlanVersionFeature, Price, QuotaRule
from catalog.queries.revisions import find_catalog_org


class PlanNotFound(DomainError):
    code, title, status = "plan_not_found", "No such plan on offer", 404


def get_sellable_plan(*, org_id: str, key: str) -> PlanVersion:
    """
    Return the version of plan `key` that new subscriptions get, with plan, product and prices (and their meters).

    Looks in the catalog of the organization, or in that of `default` when it has none. Keys are case-sensitive.
    :raises PlanNotFound: if the active catalog does not have it.
    """
    owner = find_catalog_org(org_id=org_id)
    version = (
        PlanVersion.objects.filter(plan__org_id=owner, plan__key=key, plan__is_active=True)
        .filter(pk__in=Plan.objects.filter(org_id=owner, key=key).values("current_version"))
        .select_related("plan__product", "revision")
        .prefetch_related(Prefetch("prices", Price.objects.select_related("meter")))
        .defer("revision__document")
        .first()
    )
    if version is None:
        raise PlanNotFound(f"The catalog has no plan {key[:100]!r}.")
    return version


def list_plans(*, catalog_org: str, include_inactive: bool = False) -> QuerySet[Plan]:
    """
    Return the plans of one catalog with everything a plan list shows.

    `catalog_org` is the organization whose catalog it is; see `find_catalog_org`.
    """
    plans = Plan.objects.filter(org_id=catalog_org, current_version__isnull=False)
    if not include_inactive:
        plans = plans.filter(is_active=True)
    return plans.select_related("product", "current_version").prefetch_related(
        Prefetch("current_version__prices", Price.objects.select_related("meter")),
        Prefetch("current_version__quota_rules", QuotaRule.objects.select_related("feature", "meter")),
        Prefetch("current_version__feature_links", PlanVersionFeature.objects.select_related("feature")),
    )


def get_plan(*, org_id: str, key: str) -> Plan:
    """
    Return an active plan by key, with everything a plan list shows.

    :raises PlanNotFound: if the active catalog does not have it.
    """
    plan = list_plans(catalog_org=find_catalog_org(org_id=org_id)).filter(key=key).first()
    if plan is None:
        raise PlanNotFound(f"The catalog has no plan {key[:100]!r}.")
    return plan
