"""
The DNS plan of an account, its daily limit, and what was asked of its zones.

Source: contract chapter DNS.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal
from uuid import UUID

from accounts.models import Account, Subscription
from accounts.models.subscription import RUNNING_STATUSES
from billing_site.kernel.periods import Period
from catalog.models import Plan
from catalog.queries.revisions import list_owners
from metering.queries.meters import load_meters
from metering.queries.quota_sources import gives_access
from metering.rating.windows import get_bucket
from metering.stores import CounterRequest, GroupRequest, read_counters, sum_groups

DNS_METER: Final = "dns-queries"
ZONE: Final = "zone"
UNLIMITED: Final = -1
PLAN_PREFIX: Final = "dns-"
FREE_PLAN: Final = "dns-free"
DEFAULT_DAILY_LIMIT: Final = 10_000
_LIMIT_NAME: Final = "queries_per_day"

DnsPeriod = Literal["day", "month"]


@dataclass(frozen=True, slots=True)
class DnsPlan:
    """What an account may ask a UTC day; `daily_limit` is -1 without a limit."""

    key: str
    daily_limit: int


@dataclass(frozen=True, slots=True)
class DnsSummary:
    """What was asked in the UTC day or month, and of how many zones."""

    plan: DnsPlan
    queries: int
    zones: int


def get_dns_plan(account: Account, *, at: datetime) -> DnsPlan:
    """
    Return the DNS plan of an account: its running subscription's, else `dns-free`.

    A plan that says nothing about queries a day allows 10,000. Two queries or three.
    """
    rows = Subscription.objects.filter(
        account=account, status__in=RUNNING_STATUSES, plan_version__plan__key__startswith=PLAN_PREFIX
    )
    for each in rows.select_related("plan_version__plan").order_by("-id"):
        terms = {"status": each.status, "current_period_start": each.current_period_start.isoformat()}
        if gives_access(terms, at=at):
            return DnsPlan(each.plan_version.plan.key, _read_limit(each.plan_version.limits))
    owners = list_owners(org_id=account.org_id)
    plans = Plan.objects.filter(org_id__in=owners, key=FREE_PLAN).select_related("current_version")
    # The organization's own plan comes before that of the shared catalog.
    found = min(plans, key=lambda plan: plan.org_id != account.org_id, default=None)
    version = None if found is None else found.current_version
    return DnsPlan(FREE_PLAN, DEFAULT_DAILY_LIMIT if version is None else _read_limit(version.limits))


def find_dns_meter(org_id: str) -> UUID | None:
    """Return the meter that DNS queries are counted on, or None before the first one."""
    found = load_meters(org_ids=[org_id], references=[DNS_METER]).get(org_id=org_id, reference=DNS_METER)
    return None if found is None else found.meter.pk


def count_queries(account: Account, meter_id: UUID, *, period: DnsPeriod, at: datetime) -> int:
    """Return the queries of an account in the UTC day or month around `at`. One query."""
    request = CounterRequest(account.pk, meter_id, period, get_bucket(period, at=at).start)
    return int(read_counters([request])[request].total)


def summarize_dns(*, account: Account, period: DnsPeriod, at: datetime) -> DnsSummary:
    """Return what an account asked in the UTC day or month around `at`."""
    plan, meter_id = get_dns_plan(account, at=at), find_dns_meter(account.org_id)
    if meter_id is None:
        return DnsSummary(plan, 0, 0)
    bucket: Period = get_bucket(period, at=at.astimezone(UTC))
    [groups] = sum_groups([GroupRequest(account.pk, meter_id, bucket, (ZONE,))])
    zones = {group.values[0] for group in groups if group.event_count > 0 and group.values[0]}
    return DnsSummary(plan, count_queries(account, meter_id, period=period, at=at), len(zones))


def _read_limit(limits: dict[str, Any]) -> int:
    limit = limits.get(_LIMIT_NAME)
    return (
        limit if isinstance(limit, int) and not isinstance(limit, bool) and limit >= UNLIMITED else DEFAULT_DAILY_LIMIT
    )
