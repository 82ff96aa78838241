"""
Recording DNS queries against the daily limit of the plan.

The limit is checked and the queries are counted under one lock per account and UTC day. Source: contract chapter DNS.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from django.db import transaction

from accounts.models import Account
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import DomainError, FieldError, ValidationFailed
from billing_site.kernel.locks import acquire_lock
from metering.queries.dns import DNS_METER, UNLIMITED, ZONE, count_queries, get_dns_plan
from metering.services.ingest import NewUsageEvent, record_usage_events
from metering.services.resource_meters import ensure_meter

MAX_ZONE: Final = 255
MAX_QUERIES: Final = 10**15


class DnsDailyLimitExceeded(DomainError):
    """Members `used` and `limit` are queries of the UTC day; `used` is without what was refused."""

    code, title, status = "dns_daily_limit_exceeded", "The queries of the day pass the limit of the plan", 429


@dataclass(frozen=True, slots=True)
class DnsRecord:
    """What became of a batch. `is_new` is False where nothing was stored: no queries, or a batch that was known."""

    remaining: int
    limit: int
    is_new: bool


@transaction.atomic
def record_dns_queries(
    *,
    account: Account,
    zone: str,
    queries: int,
    at: datetime,
    actor: Actor,
    errors: int = 0,
    timestamp: datetime | None = None,
) -> DnsRecord:
    """
    Count `queries` of a zone on the UTC day of `timestamp` (default `at`), all of them or none.

    Zero or less stores nothing. The same zone and timestamp again change nothing.
    :raises DnsDailyLimitExceeded: when the day's queries would pass the limit of the account's plan.
    :raises ValidationFailed: for a zone, a number or a time that will not do.
    """
    name = zone.strip().rstrip(".").lower()
    findings = [*_check_zone(name), *_check_numbers(queries, errors)]
    if findings:
        raise ValidationFailed(findings[0].detail, errors=findings)
    if queries <= 0:
        return DnsRecord(UNLIMITED, UNLIMITED, is_new=False)
    moment = (timestamp or at).astimezone(UTC)
    meter = ensure_meter(
        org_id=account.org_id,
        event_name=DNS_METER,
        name="DNS queries",
        unit="queries",
        dimensions=(ZONE, "errors"),
        at=at,
        actor=actor,
        reason="The first DNS queries of the organization.",
    )
    acquire_lock("dns", str(account.pk), moment.date().isoformat())
    event = NewUsageEvent(
        account,
        DNS_METER,
        Decimal(queries),
        timestamp=moment,
        idempotency_key=f"dns:{name}:{moment.isoformat()}",
        dimensions={ZONE: name, "errors": str(errors)},
    )
    try:
        [recorded] = record_usage_events(events=[event], at=at, actor=actor)
    except ValidationFailed as error:
        placed = [replace(each, pointer=each.pointer.removeprefix("/events/0")) for each in error.errors]
        raise ValidationFailed(error.detail, errors=placed) from error
    plan = get_dns_plan(account, at=at)
    used = count_queries(account, meter.pk, period="day", at=moment)
    if plan.daily_limit == UNLIMITED:
        return DnsRecord(UNLIMITED, UNLIMITED, recorded.created)
    if recorded.created and used > plan.daily_limit:
        # The transaction takes the event back.
        before = used - queries
        detail = f"{before} of {plan.daily_limit} queries were used on {moment:%Y-%m-%d}; {queries} more do not fit."
        raise DnsDailyLimitExceeded(detail, used=before, limit=plan.daily_limit)
    return DnsRecord(max(0, plan.daily_limit - used), plan.daily_limit, recorded.created)


def _check_zone(name: str) -> list[FieldError]:
    if not name:
        return [FieldError("/zone", "required", "This field is required.")]
    if len(name) > MAX_ZONE or not name.isprintable() or " " in name:
        return [FieldError("/zone", "invalid", f"A zone is a domain name of at most {MAX_ZONE} characters.")]
    return []


def _check_numbers(queries: int, errors: int) -> list[FieldError]:
    findings = []
    if queries > MAX_QUERIES:
        findings.append(FieldError("/queries", "out_of_range", f"At most {MAX_QUERIES:,}."))
    if not 0 <= errors <= MAX_QUERIES:
        findings.append(FieldError("/errors", "out_of_range", f"From 0 to {MAX_QUERIES:,}."))
    return findings
