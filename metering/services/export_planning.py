"""
Which hours the payment provider must be told more of.

The usage of an account whose provider bills it is told in totals of UTC hours: what an hour's usage has come to, less
what was told of it. So it does not matter when events arrive or how often this runs, and what was told one by one is
not told again. Hours that shrank are kept and named. Source: ADR 0035.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Sum

from accounts.models import Account
from billing_site.kernel.periods import Period
from catalog.models import Meter
from metering.models import ExportSource, UsageExport, UsageExportCursor, UsageExportSurplus
from metering.queries.export_accounts import ExportedMeter, list_exported_meters, list_provider_billed
from metering.services.usage_exports import OLDEST_TIMESTAMP, floor_hour, insert_totals
from metering.stores import sum_buckets
from metering.stores.quantities import ZERO

EVERY: Final = timedelta(minutes=15)
SETTLING: Final = timedelta(minutes=5)
"""How long after its end an hour is looked at first."""
LOOK_BACK: Final = timedelta(days=2)
COMPARE_ALL_EVERY: Final = timedelta(days=1)
ALL: Final = 2 * OLDEST_TIMESTAMP
"""How far back is compared once a day: beyond what a provider takes, so that what is too late for it is named."""
_HOUR: Final = timedelta(hours=1)
Hour = tuple[UUID, datetime]


@dataclass(frozen=True, slots=True)
class Window:
    """Hours of a meter to compare."""

    meter: Meter
    provider: str
    period: Period


@dataclass(frozen=True, slots=True)
class Difference:
    """Hours to tell more of, and hours of which too much was told."""

    missing: Mapping[Hour, Decimal]
    surplus: Mapping[Hour, Decimal]


def get_export_start() -> datetime | None:
    """Return since when usage is told to providers that bill it (`BILLING_USAGE_EXPORT_FROM`), or None: not at all."""
    start: datetime | None = settings.BILLING_USAGE_EXPORT_FROM
    return start


def open_cursors(*, at: datetime) -> int:
    """Begin with the accounts whose provider bills their usage and that nobody compares yet; answers how many."""
    if get_export_start() is None:
        return 0
    known = UsageExportCursor.objects.values("account_id")
    fresh = list_provider_billed().exclude(account_id__in=known).values_list("account_id", flat=True).distinct()
    cursors = [UsageExportCursor(account_id=account_id, next_at=at) for account_id in fresh]
    UsageExportCursor.objects.bulk_create(cursors, ignore_conflicts=True, batch_size=500)
    return len(cursors)


def plan_due_accounts(*, at: datetime, limit: int) -> int:
    """Compare up to `limit` accounts that are due, each in its own transaction; answers how many."""
    if get_export_start() is None:
        return 0
    done = 0
    while done < limit and plan_next_account(at=at):
        done += 1
    return done


@transaction.atomic
def plan_next_account(*, at: datetime) -> bool:
    """Compare the account that is due longest and nobody else is comparing; answers False when there is none."""
    due = UsageExportCursor.objects.select_for_update(skip_locked=True, of=("self",)).filter(next_at__lte=at)
    cursor = due.select_related("account__test_clock").order_by("next_at", "account_id").first()
    if cursor is None:
        return False
    plan_account(cursor, at=at)
    return True


def plan_account(cursor: UsageExportCursor, *, at: datetime) -> Difference:
    """Write down what the provider is to be told of an account's closed hours, move its cursor, and return it."""
    present = cursor.account.clock_time or at
    closed = floor_hour(present - SETTLING)
    is_all = (
        cursor.compared_until is None
        or cursor.compared_all_at is None
        or cursor.compared_all_at <= at - COMPARE_ALL_EVERY
    )
    start = closed - ALL if is_all or cursor.compared_until is None else cursor.compared_until - LOOK_BACK
    windows = [
        window
        for each in list_exported_meters(cursor.account_id)
        if (window := _open_window(each, start=start, end=closed)) is not None
    ]
    difference = compare_hours(cursor.account_id, windows)
    _store(cursor.account, windows, difference, present=present, at=at)
    cursor.compared_until = closed
    cursor.compared_all_at = at if is_all else cursor.compared_all_at
    cursor.next_at = at + EVERY
    cursor.save()
    return difference


def compare_hours(account_id: UUID, windows: Sequence[Window]) -> Difference:
    """Return where usage and what was told of it differ, by meter and hour. Two statements."""
    if not windows:
        return Difference({}, {})
    periods = {each.meter.pk: each.period for each in windows}
    whole = Period(min(each.start for each in periods.values()), max(each.end for each in periods.values()))
    # Usage first: what is counted and told in one transaction meanwhile is then told too much for now, never twice.
    buckets = sum_buckets(account_id=account_id, meter_ids=periods, period=whole, bucket="hour")
    used = {(each.meter_id, each.start): each.quantity for each in buckets}
    told = _sum_told(account_id, periods, whole)
    missing: dict[Hour, Decimal] = {}
    surplus: dict[Hour, Decimal] = {}
    for key in sorted(used.keys() | told.keys(), key=lambda hour: (hour[1], hour[0])):
        if key[1] not in periods[key[0]]:
            continue
        difference = used.get(key, ZERO) - told.get(key, ZERO)
        if difference > 0:
            missing[key] = difference
        elif difference < 0:
            surplus[key] = -difference
    return Difference(missing, surplus)


def _open_window(each: ExportedMeter, *, start: datetime, end: datetime) -> Window | None:
    """Return the whole hours of a meter from `start` to `end` that its provider bills, or None without any."""
    since = get_export_start()
    first = max(start, floor_hour(each.start), start if since is None else floor_hour(since))
    last = end if each.end is None else min(end, floor_hour(each.end - timedelta(microseconds=1)) + _HOUR)
    return Window(each.meter, each.provider, Period(first, last)) if first < last else None


def _sum_told(account_id: UUID, meter_ids: Iterable[UUID], period: Period) -> dict[Hour, Decimal]:
    rows = UsageExport.objects.filter(account_id=account_id, meter_id__in=list(meter_ids)).order_by()
    rows = rows.filter(hour__gte=period.start, hour__lt=period.end)
    sums = rows.values("meter_id", "hour").annotate(total=Sum("quantity"))
    return {(meter_id, hour): total for meter_id, hour, total in sums.values_list("meter_id", "hour", "total")}


def _store(
    account: Account, windows: Sequence[Window], difference: Difference, *, present: datetime, at: datetime
) -> None:
    providers = {each.meter.pk: each.provider for each in windows}
    rows = [
        UsageExport(
            account=account,
            meter_id=meter_id,
            source=ExportSource.TOTAL,
            quantity=quantity,
            timestamp=hour,
            hour=hour,
            provider=providers[meter_id],
            requested_at=at,
            livemode=account.livemode,
        )
        for (meter_id, hour), quantity in difference.missing.items()
    ]
    insert_totals(rows, present=present, at=at)
    periods = {each.meter.pk: each.period for each in windows}
    settled = [
        row.pk
        for row in UsageExportSurplus.objects.filter(account=account, meter_id__in=list(periods))
        if row.hour in periods[row.meter_id] and (row.meter_id, row.hour) not in difference.surplus
    ]
    if settled:
        UsageExportSurplus.objects.filter(pk__in=settled).delete()
    if not difference.surplus:
        return
    UsageExportSurplus.objects.bulk_create(
        [
            UsageExportSurplus(account=account, meter_id=meter_id, hour=hour, quantity=quantity, noticed_at=at)
            for (meter_id, hour), quantity in difference.surplus.items()
        ],
        update_conflicts=True,
        unique_fields=["account", "meter", "hour"],
        update_fields=["quantity"],
    )
