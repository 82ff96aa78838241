"""What is due: the subscriptions a billing run would take, oldest first, and starts that were not paid in time."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

from django.db.models import F, QuerySet

from accounts.models import BILLABLE_STATUSES, Subscription
from invoicing.queries.grouping import find_wanting


@dataclass(frozen=True, slots=True, order=True)
class DueSubscription:
    """A subscription whose next boundary has come."""

    next_billing_at: datetime
    subscription_id: uuid.UUID
    account_id: uuid.UUID


@dataclass(frozen=True, slots=True)
class DuePage:
    """The first due subscriptions and how many more are due behind them."""

    items: list[DueSubscription]
    remaining: int


def list_due(
    *, as_of: datetime, org_id: str | None = None, account_id: uuid.UUID | None = None, limit: int | None = None
) -> DuePage:
    """
    Return what is due as of `as_of`, oldest first, at most `limit`.

    What is due of an account that wants one invoice stays together: what the limit would cut off of it comes along.
    Accounts on a test clock are due by their own clock, whatever `as_of` says.
    """
    real = _billable(org_id, account_id).filter(account__test_clock__isnull=True, next_billing_at__lte=as_of)
    frozen = _billable(org_id, account_id).filter(next_billing_at__lte=F("account__test_clock__now_at"))
    found = sorted(_read(real, limit) + _read(frozen, limit))
    if limit is None or len(found) < limit:
        return DuePage(found, 0)
    items = found[:limit]
    wanting = find_wanting({each.account_id for each in items})
    if wanting:
        known = {each.subscription_id for each in items}
        whole = _read(real.filter(account_id__in=wanting), None) + _read(frozen.filter(account_id__in=wanting), None)
        items = sorted([*items, *(each for each in whole if each.subscription_id not in known)])
    return DuePage(items, real.count() + frozen.count() - len(items))


def list_due_orgs(*, as_of: datetime) -> list[str]:
    """Return the organizations with something due, in order of name."""
    real = _billable(None, None).filter(account__test_clock__isnull=True, next_billing_at__lte=as_of)
    frozen = _billable(None, None).filter(next_billing_at__lte=F("account__test_clock__now_at"))
    names = {org for query in (real, frozen) for org in query.values_list("account__org_id", flat=True).distinct()}
    return sorted(names)


def list_unpaid_starts(*, as_of: datetime, limit: int) -> list[tuple[uuid.UUID, datetime]]:
    """
    Return the subscriptions whose first payment did not come in time, oldest first, each with its account's now.

    Accounts on a test clock count by their own clock, the others by `as_of`.
    """
    waiting = Subscription.objects.filter(incomplete_until__isnull=False)
    late = waiting.filter(account__test_clock__isnull=True, incomplete_until__lte=as_of) | waiting.filter(
        incomplete_until__lte=F("account__test_clock__now_at")
    )
    rows = late.select_related("account__test_clock").order_by("incomplete_until", "id")[:limit]
    return [(row.pk, row.account.clock_time or as_of) for row in rows]


def _billable(org_id: str | None, account_id: uuid.UUID | None) -> QuerySet[Subscription]:
    rows = Subscription.objects.filter(status__in=BILLABLE_STATUSES, next_billing_at__isnull=False).order_by()
    if org_id is not None:
        rows = rows.filter(account__org_id=org_id)
    if account_id is not None:
        rows = rows.filter(account_id=account_id)
    return rows


def _read(rows: QuerySet[Subscription], limit: int | None) -> list[DueSubscription]:
    values = rows.order_by("next_billing_at", "id").values_list("next_billing_at", "id", "account_id")
    return [
        DueSubscription(due_at, subscription_id, account_id)
        for due_at, subscription_id, account_id in (values if limit is None else values[:limit])
        if due_at is not None
    ]
