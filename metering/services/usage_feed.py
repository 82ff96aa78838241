"""
The usage feed: keep what producers tell, count what the rules bill, and let a collector read and drop it page by page.

Source: contract chapter Usage feed; ADR 0035.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Max, QuerySet

from accounts.models import Account
from billing_site.kernel import locks
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import ValidationFailed
from metering.models import FeedOutcome, UsageFeedEvent, UsageFeedReading
from metering.rating.export_rules import ExportRule
from metering.services.feed_counting import Counted, count_event
from metering.services.ingest import MAX_AHEAD

READINGS_KEPT: Final = timedelta(days=7)
_LOCK: Final = "usage-feed"
_EVENT_ONCE: Final = "usage_feed_events_event_once"


@dataclass(frozen=True, slots=True)
class NewFeedEvent:
    """
    An event as its producer tells it.

    `account` is None where none was named or it is not known here; `account_reference` is then what it was called.
    `data` is what is kept, `numbers` the same with exact numbers. `usage_key` is what its usage counts under when there
    is no `event_id`; without either a key is derived.
    """

    event_type: str
    org_id: str
    account: Account | None = None
    account_reference: str = ""
    event_id: str = ""
    occurred_at: datetime | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    numbers: Mapping[str, Any] = field(default_factory=dict)
    usage_key: str = ""


@dataclass(frozen=True, slots=True)
class RecordedFeedEvent:
    """The stored event, whether this call stored it, and what its producer should know."""

    event: UsageFeedEvent
    created: bool
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FeedPage:
    """One page of the feed, and whether there are more events after it."""

    events: Sequence[UsageFeedEvent]
    has_more: bool


@transaction.atomic
def record_feed_event(
    *, new: NewFeedEvent, rules: Sequence[ExportRule], at: datetime, actor: Actor
) -> RecordedFeedEvent:
    """
    Keep an event and count the usage that `rules` find in it, both or neither, and return it.

    An `event_id` that the account has told before changes nothing and counts nothing. What cannot be counted (unknown
    account or meter, no quantity) is kept with the reason. `at` is the account's present.
    :raises ValidationFailed: for an event more than 5 minutes ahead.
    """
    occurred_at = new.occurred_at or at
    if occurred_at > at + MAX_AHEAD:
        raise ValidationFailed.of("/occurred_at", "in_future", "The time lies more than 5 minutes ahead.")
    # Whoever reads the feed waits for the events that are on their way: none gets a lower id afterwards.
    locks.share_lock(_LOCK)
    row = UsageFeedEvent(
        event_id=new.event_id,
        event_type=new.event_type,
        org_id=new.org_id,
        account=new.account,
        account_reference="" if new.account is not None else new.account_reference,
        usage_key=new.event_id or new.usage_key,
        occurred_at=occurred_at,
        recorded_at=at,
        data=dict(new.data),
    )
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError as error:
        if _EVENT_ONCE not in str(error):
            raise
        return RecordedFeedEvent(_get_first(row), created=False)
    counted = count_event(row, numbers=new.numbers, rules=rules, at=at, actor=actor)
    _store_outcome(row, counted)
    return RecordedFeedEvent(row, created=True, warnings=counted.warnings)


def read_page(
    *, caller: str, org_id: str | None, before: datetime, page: int, page_size: int, at: datetime
) -> FeedPage:
    """
    Return a page of what happened before `before` and was not collected, by time, then id; pages count from 1.

    `org_id` None reads every organization. What `caller` may then delete under the same `before` is what was there now.
    """
    last_id = _mark_reading(caller=caller, before=before, at=at)
    events = _select(org_id, before, last_id).select_related("account")
    start = (page - 1) * page_size
    found = list(events[start : start + page_size + 1])
    return FeedPage(found[:page_size], has_more=len(found) > page_size)


@transaction.atomic
def delete_page(*, caller: str, org_id: str | None, before: datetime, page: int, page_size: int, at: datetime) -> int:
    """
    Drop a page as `read_page` selects it and return how many events it had.

    Events that came after `caller` last read with this `before` stay. Billed usage stays. The data is gone at once; the
    ids of events are remembered for a while.
    :raises ValidationFailed: for a `before` ahead of now.
    """
    if before > at:
        raise ValidationFailed.of("before", "in_future", "Only what happened before a time in the past can be deleted.")
    reading = UsageFeedReading.objects.filter(caller=caller, before=before).first()
    last_id = _mark_reading(caller=caller, before=before, at=at) if reading is None else reading.last_id
    start = (page - 1) * page_size
    chosen = _select(org_id, before, last_id).values("pk")[start : start + page_size]
    # Asked again outside the page: of two who delete the same one, the second finds nothing left.
    return UsageFeedEvent.objects.filter(pk__in=chosen, collected_at__isnull=True).update(collected_at=at, data={})


def purge_collected(*, at: datetime) -> int:
    """
    Forget what was collected longer ago than a repeat is recognised, and old readings; answers how many events.

    That is `BILLING_USAGE_LOOKBACK_DAYS`, as for usage itself.
    """
    remembered = timedelta(days=settings.BILLING_USAGE_LOOKBACK_DAYS)
    UsageFeedReading.objects.filter(read_at__lt=at - READINGS_KEPT).delete()
    old = UsageFeedEvent.objects.filter(collected_at__isnull=False, recorded_at__lt=at - remembered)
    deleted: int = old.delete()[0]
    return deleted


def _get_first(row: UsageFeedEvent) -> UsageFeedEvent:
    return UsageFeedEvent.objects.select_related("account").get(
        org_id=row.org_id, account=row.account, account_reference=row.account_reference, event_id=row.event_id
    )


def _store_outcome(row: UsageFeedEvent, counted: Counted) -> None:
    row.outcome, row.outcome_code, row.outcome_detail = counted.outcome, counted.code, counted.detail[:500]
    if counted.outcome != FeedOutcome.NOT_BILLED:
        row.save(update_fields=["outcome", "outcome_code", "outcome_detail"])


def _select(org_id: str | None, before: datetime, last_id: int) -> QuerySet[UsageFeedEvent]:
    events = UsageFeedEvent.objects.filter(occurred_at__lt=before, id__lte=last_id, collected_at__isnull=True)
    if org_id is not None:
        events = events.filter(org_id=org_id)
    return events.order_by("occurred_at", "id")


@transaction.atomic
def _mark_reading(*, caller: str, before: datetime, at: datetime) -> int:
    """Return the id of the last event there is, after everything on its way has arrived, and remember it."""
    locks.wait_for_sharers(_LOCK)
    last_id: int = UsageFeedEvent.objects.aggregate(last=Max("id"))["last"] or 0
    if before <= at:
        UsageFeedReading.objects.bulk_create(
            [UsageFeedReading(caller=caller, before=before, last_id=last_id, read_at=at)],
            update_conflicts=True,
            unique_fields=["caller", "before"],
            update_fields=["last_id", "read_at"],
        )
    return last_id
