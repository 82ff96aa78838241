"""
Whether an account may begin work under a scope: what it has and has used, in plain queries, and what would help.

Source: contract chapter Entitlements; ADR 0032.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from accounts.queries.access import find_account, visible_accounts
from billing_site.kernel.actors import Principal
from metering.queries.quota_sources import gives_access, list_features, with_quota_sources
from metering.queries.quotas import QuotaUse, list_quotas_in_force, measure_quotas
from metering.queries.recommendations import recommend_plan
from metering.queries.standing_cache import remember_standing
from metering.queries.standings import read_standing
from metering.rating.entitlements import Decision, HardLimit, Standing, decide_entitlement

ZERO: Final = Decimal(0)


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
    plan = recommend_plan(decision, principal=principal, reference=reference, scope=scope, at=at)
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
