"""
The plan that would help someone who was denied.

A denial is asked for again and again, and finding the plan takes ten times as long as the decision; so a recommendation
is remembered for a minute by each process. It decides nothing. Source: contract chapters Quotas and Entitlements.
"""

from __future__ import annotations

from datetime import datetime
from time import monotonic_ns as _now
from typing import Any, Final

from django.db.models import Case, DecimalField, Exists, F, OuterRef, Subquery, Value, When

from accounts.models import Account
from accounts.queries.access import find_account, visible_accounts
from billing_site.kernel.actors import Principal
from catalog.models import Plan, PlanVersionFeature, Price
from catalog.queries.revisions import find_catalog_org
from metering.queries.quota_sources import with_quota_sources
from metering.queries.quotas import list_quotas_in_force
from metering.rating.entitlements import Decision

# Fees of different intervals are compared by the day.
_DAYS: Final = {"day": 1, "week": 7, "month": 30, "year": 365}
_KNOWN_SECONDS: Final = 60
_KEPT: Final = 1000
_known: dict[object, tuple[str | None, int]] = {}


def recommend_plan(decision: Decision, *, principal: Principal, reference: str, scope: str, at: datetime) -> str | None:
    """Return the plan that would help a denied caller, or None, as it was found a minute ago at most."""
    if decision.plan_id is None:
        return None
    limit = decision.limit
    key = (principal.org, reference, scope, decision.plan_id, limit and (limit.id, limit.limit))
    known = _known.get(key)
    if known is not None and _now() < known[1]:
        return known[0]
    plan = find_recommended_plan(decision, principal=principal, reference=reference, scope=scope, at=at)
    if len(_known) >= _KEPT:
        _known.clear()
    _known[key] = (plan, _now() + _KNOWN_SECONDS * 1_000_000_000)
    return plan


def find_recommended_plan(
    decision: Decision, *, principal: Principal, reference: str, scope: str, at: datetime
) -> str | None:
    """
    Return the plan that would help a denied caller, or None.

    Past a quota it is the quota's upgrade plan; without the scope, the cheapest plan on offer that has it.
    """
    if decision.plan_id is None:
        return None
    if decision.limit is None:
        account = find_account(visible_accounts(principal), reference)
        return None if account is None else find_cheapest_plan(account=account, scope=scope)
    sources: Any = find_account(with_quota_sources(visible_accounts(principal), at=at), reference)
    if sources is None:
        return None
    quotas = list_quotas_in_force(sources, at=sources.clock_time or at)
    return next((each.upgrade_plan_id for each in quotas if str(each.id) == decision.limit.id), "") or None


def find_cheapest_plan(*, account: Account, scope: str) -> str | None:
    """
    Return the plan with the feature `scope` that costs least a day in the account's currency, or None.

    Of those that the account's organization sells, without the ones that only staff sell. Plans without a fee in that
    currency come last. Two queries.
    """
    fee = (
        Price.objects.filter(plan_version=OuterRef("current_version"), meter__isnull=True, currency=account.currency)
        .annotate(
            days=F("interval_count") * Case(*(When(interval=name, then=Value(days)) for name, days in _DAYS.items()))
        )
        .annotate(by_day=F("unit_amount") / F("days"))
        .order_by("by_day")
    )
    offered = Plan.objects.filter(
        Exists(PlanVersionFeature.objects.filter(plan_version=OuterRef("current_version"), feature__key=scope)),
        org_id=find_catalog_org(org_id=account.org_id),
        is_active=True,
        product__is_active=True,
        current_version__contact_sales=False,
    ).annotate(fee=Subquery(fee.values("by_day")[:1], output_field=DecimalField()))
    return offered.order_by(F("fee").asc(nulls_last=True), "key").values_list("key", flat=True).first()
