"""
Whether an account may begin work under a scope: what it has and has used, in plain queries, and what would help.

Source: contract chapter Entitlements; ADR 0032.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django.db.models import Case, DecimalField, Exists, F, OuterRef, Subquery, Value, When

from accounts.models import Account
from accounts.queries.access import find_account, visible_accounts
from billing_site.kernel.actors import Principal
from catalog.models import Plan, PlanVersionFeature, Price
from catalog.queries.revisions import find_catalog_org
from metering.queries.quota_sources import gives_access, list_features, with_quota_sources
from metering.queries.quotas import QuotaUse, list_quotas_in_force, measure_quotas
from metering.queries.standing_cache import remember_standing
from metering.queries.standings import read_standing
from metering.rating.entitlements import Decision, HardLimit, Standing, decide_entitlement

ZERO: Final = Decimal(0)
# Fees of different intervals are compared by the day.
_DAYS: Final = {"day": 1, "week": 7, "month": 30, "year": 365}


@dataclass(frozen=True, slots=True)
class CheckedEntitlement:
    """A decision, and for a denial the plan that would help, where there is one."""

    decision: Decision
    recommended_plan: str | None = None


def check_entitlement(
    *,
    principal: Principal,
    reference: str,
    scope: str,
    at: datetime,
    meter_event_name: str | None = None,
    quantity: Decimal = ZERO,
) -> CheckedEntitlement:
    """
    Decide whether the account that the caller means (public id or external id) may begin work under `scope`.

    With a meter, `quantity` (above zero, in the meter's unit) is what the work is going to use. Nothing is consumed.
    """
    standing = get_standing(principal=principal, reference=reference, scope=scope, at=at)
    decision = decide_entitlement(standing, meter_event_name=meter_event_name, quantity=quantity)
    if decision.is_allowed:
        return CheckedEntitlement(decision)
    plan = find_recommended_plan(decision, principal=principal, reference=reference, scope=scope, at=at)
    return CheckedEntitlement(decision, plan)


def get_standing(*, principal: Principal, reference: str, scope: str, at: datetime) -> Standing:
    """
    Return where the account that the caller means stands for `scope`, by one statement where that can say.

    Where the site keeps standings in a cache, as it was less than a second ago.
    """

    def read() -> Standing:
        standing = read_standing(org=principal.org, reference=reference, scope=scope, at=at)
        if standing is not None:
            return standing
        return load_standing(principal=principal, reference=reference, scope=scope, at=at)

    return remember_standing(read, org=principal.org, reference=reference, scope=scope, at=at)


def load_standing(*, principal: Principal, reference: str, scope: str, at: datetime) -> Standing:
    """
    Return where the account that the caller means stands for `scope`, by the queries that everyone else uses.

    An account the caller does not see is one that nobody knows. Two queries, one more where gauges are limited.
    """
    account: Any = find_account(with_quota_sources(visible_accounts(principal), at=at), reference)
    if account is None:
        return Standing()
    at = account.clock_time or at
    running = [each for each in account.listed_subscriptions if gives_access(each, at=at)]
    running.sort(key=lambda each: bool(each["status"] == "past_due"))
    granting = [each for each in running if scope in list_features(each)]
    if not granting:
        return Standing(plan_id=running[0]["plan_id"] if running else None)
    limits = [
        quota
        for quota in list_quotas_in_force(account, at=at)
        if quota.is_hard and quota.limit is not None and (scope in quota.features or not quota.features)
    ]
    return Standing(granting[0]["plan_id"], True, tuple(_read_limit(use, scope) for use in measure_quotas(limits)))


def _read_limit(use: QuotaUse, scope: str) -> HardLimit:
    quota = use.quota
    return HardLimit(
        id=str(quota.id),
        feature=scope if scope in quota.features else "",
        meter_event_name=quota.meter_event_name,
        window=quota.window,
        limit=quota.limit or ZERO,
        used=use.used,
        reserved=use.reserved,
        resets_at=use.resets_at,
    )


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
