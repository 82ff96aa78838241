"""
What became of one usage event: what it counts in, what the totals say now, what corrected it, what was refused.

Whether it is on an invoice is told by `invoicing.queries.usage_inspection`, which is above.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.conf import settings
from django.db.models import Q, TextField
from django.db.models.functions import Cast

from accounts.models import Account
from accounts.queries.access import visible_accounts
from billing_site.kernel.actors import Principal
from billing_site.kernel.errors import AccountRequired, NotFound
from billing_site.kernel.periods import Period
from catalog.models import Meter
from metering.models import RejectedUsageRequest, UsageCorrection, UsageEvent
from metering.queries.meters import DEFAULT_ORG
from metering.queries.quota_sources import with_quota_sources
from metering.queries.quotas import QuotaInForce, QuotaUse, list_quotas_in_force, measure_quotas
from metering.rating.windows import get_bucket
from metering.stores import (
    Quantity,
    QuantityRequest,
    find_by_keys,
    find_within_account,
    locate_events,
    sum_quantities,
)

MAX_PLACES: Final = 20_000
_SHOWN_REFUSALS: Final = 10
_CALENDAR: Final = ("minute", "hour", "day", "week", "month", "total")


@dataclass(frozen=True, slots=True)
class EventBucket:
    """A UTC hour or day that the event counts in, and what its meter says of it now."""

    span: str
    period: Period
    now: Quantity


@dataclass(frozen=True, slots=True)
class EventFacts:
    """
    One event and what it stands in. `voided_by` is the correction that took it back, `made_by` the one that it is part
    of: as the row that takes back, or as what counts instead.

    `quotas` are those in force now that count its meter, in the bucket it happened in; of a quota that follows billing
    periods only the running one is known.
    """

    event: UsageEvent
    voided_by: UsageCorrection | None
    made_by: UsageCorrection | None
    buckets: tuple[EventBucket, ...]
    quotas: tuple[QuotaUse, ...]
    refusals: tuple[RejectedUsageRequest, ...]

    @property
    def is_voiding(self) -> bool:
        return self.event.weight < 0

    @property
    def counts(self) -> bool:
        """Tell whether it is part of quantities: neither taken back, nor the taking back of another."""
        return not self.is_voiding and self.voided_by is None


def get_event(principal: Principal, reference: str, *, account: Account | None = None) -> UsageEvent:
    """
    Return the event with this public id that the caller may see, with account, clock, meter and center.

    Within a named account an event of any age is found, else those whose keys are kept (35 days, a setting).
    :raises NotFound: if there is none.
    """
    key = UsageEvent.parse_id(reference)
    found = None if key is None else find_event_by_id(key, account_id=None if account is None else account.pk)
    if found is None or not _may_see(principal, found.account):
        days = settings.BILLING_USAGE_LOOKBACK_DAYS
        raise NotFound(
            "usage_event",
            "There is no such event, or it is not visible to you."
            + ("" if account is not None else f" Events older than {days} days are found with their account."),
        )
    return found


def find_event_by_id(event_id: UUID, *, account_id: UUID | None = None) -> UsageEvent | None:
    """Return an event by its key; within an account of any age. Two queries at most."""
    if account_id is not None:
        return find_within_account(event_id, account_id=account_id)
    return next(iter(locate_events([event_id])), None)


def find_events_by_key(
    key: str, *, accounts: Iterable[Account], org_ids: Iterable[str] = (), meters: Sequence[Meter] | None = None
) -> list[UsageEvent]:
    """Return the events that hold an idempotency key in one of the accounts, newest first. Three queries."""
    found = list(accounts)
    known = meters
    if known is None:
        known = list(Meter.objects.filter(org_id__in={*org_ids, DEFAULT_ORG, *(each.org_id for each in found)}))
    if len(found) * len(known) > MAX_PLACES:
        raise AccountRequired("Name the account: a key is looked up by account and meter, and here are too many.")
    return find_by_keys((account.pk, meter.pk, key) for account in found for meter in known)


def find_visible_by_key(principal: Principal, key: str, *, account: Account | None = None) -> list[UsageEvent]:
    """
    Return the events with this key that the caller may see.

    :raises AccountRequired: when there are too many accounts and meters to look through.
    """
    # One more than could be looked through tells that there are too many.
    visible = visible_accounts(principal).order_by("pk")[: MAX_PLACES + 1]
    accounts = [account] if account is not None else list(visible)
    return find_events_by_key(key, accounts=accounts, org_ids=[principal.org] if principal.org else [])


def inspect_event(event: UsageEvent, *, at: datetime) -> EventFacts:
    """
    Return what became of an event, which comes with account and meter. A fixed number of queries.

    `at` is the account's present: it says which quotas are in force.
    """
    corrections = _list_corrections(event)
    return EventFacts(
        event=event,
        voided_by=next((each for each in corrections if each.event_id == event.pk), None),
        made_by=next((each for each in corrections if each.event_id != event.pk), None),
        buckets=_list_buckets(event),
        quotas=_list_quotas(event, at=at),
        refusals=_list_refusals(event),
    )


def _may_see(principal: Principal, account: Account) -> bool:
    return principal.is_internal and principal.org in (None, account.org_id)


def _list_corrections(event: UsageEvent) -> list[UsageCorrection]:
    rows = UsageCorrection.objects.filter(account_id=event.account_id)
    return list(rows.filter(Q(event_id=event.pk) | Q(void_id=event.pk) | Q(replacement_id=event.pk)).order_by("id"))


def _list_buckets(event: UsageEvent) -> tuple[EventBucket, ...]:
    periods = {span: get_bucket(span, at=event.timestamp) for span in ("hour", "day")}
    asked = {span: QuantityRequest(event.account_id, event.meter_id, period) for span, period in periods.items()}
    found = sum_quantities(list(asked.values()))
    return tuple(EventBucket(span, periods[span], found[request]) for span, request in asked.items())


def _list_quotas(event: UsageEvent, *, at: datetime) -> tuple[QuotaUse, ...]:
    # A list: asked twice in one request, before a correction and after it.
    named = Account.objects.filter(pk=event.account_id).select_related("test_clock")
    [account] = list(with_quota_sources(named, at=at))
    quotas = [
        _move_to(quota, event.timestamp)
        for quota in list_quotas_in_force(account, at=at)
        if quota.meter_id == event.meter_id
    ]
    return tuple(measure_quotas([quota for quota in quotas if quota.is_gauge or event.timestamp in quota.bucket]))


def _move_to(quota: QuotaInForce, moment: datetime) -> QuotaInForce:
    """Return the quota in the bucket around `moment`, where the calendar tells it; else as it is now."""
    if quota.is_gauge or quota.window not in _CALENDAR:
        return quota
    return replace(quota, bucket=get_bucket(quota.window, at=moment))


def _list_refusals(event: UsageEvent) -> tuple[RejectedUsageRequest, ...]:
    """Return the newest refused requests of the account that sent this key. One query, by the account's index."""
    wanted = json.dumps(event.idempotency_key, ensure_ascii=False)
    stored = json.dumps(wanted, ensure_ascii=False)[1:-1]
    rows = (
        RejectedUsageRequest.objects.filter(
            account_id=event.account_id, rejected_at__gte=event.recorded_at - timedelta(days=30)
        )
        .annotate(sent=Cast("excerpt", TextField()))
        .filter(sent__contains=stored)
        .order_by("-id")
    )
    return tuple(rows[:_SHOWN_REFUSALS])


def is_corrected(event: UsageEvent) -> bool:
    """Tell whether an event was voided or amended. One query."""
    return UsageCorrection.objects.filter(account_id=event.account_id, event_id=event.pk).exists()
