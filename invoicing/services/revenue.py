"""
Deferred revenue: what an issued document defers, what each day releases, and what a void document takes back.

Source: ADR 0044; contract chapter Ledger.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Max, Min

from accounts.models import LedgerKind
from accounts.services import ledger
from billing_site.kernel.ids import new_uuid
from billing_site.kernel.periods import Period, local_date
from billing_site.platform.models.bulk import copy_rows
from invoicing.calculation.draft import Draft
from invoicing.calculation.recognition import ServicePeriod, recognize_until
from invoicing.models import Invoice, InvoiceLine, LineType, RevenueRelease, RevenueSchedule, Seller


@dataclass(frozen=True, slots=True)
class EarnedLine:
    """What revenue looks at of a line: its place, its period, and its net amount in minor units."""

    position: int
    type: str
    period: Period
    net: int


class DeferredRevenue:
    """What a batch of documents defers, before it is written: minor units by invoice, and the rows behind them."""

    def __init__(self, schedules: Iterable[RevenueSchedule]) -> None:
        self._schedules = list(schedules)
        self._amounts: dict[UUID, int] = {}
        for each in self._schedules:
            self._amounts[each.invoice_id] = self._amounts.get(each.invoice_id, 0) + each.amount - each.recognized

    def of(self, invoice: Invoice) -> int:
        """Return what the document defers, minor units; below zero where it gives back what an earlier one deferred."""
        return self._amounts.get(invoice.id, 0)

    def write(self) -> None:
        """Store the schedules; one statement."""
        copy_rows(self._schedules)


def invoice_key(invoice: Invoice) -> str:
    """Return the key of the ledger entry that issued the invoice."""
    return f"invoice:{invoice.public_id}"


def plan_deferrals(invoices: Sequence[Invoice], *, at: datetime, drafts: Mapping[UUID, Draft]) -> DeferredRevenue:
    """
    Return what invoices that are issued at `at` defer: of every line but usage, the days from the day of issue on.

    Days are those of the account. Usage has happened, whatever period it is billed for. Lines of invoices that are not
    in `drafts` are read with one query, and only where an invoice covers a day to come.
    """
    ahead = {
        invoice.id: invoice
        for invoice in invoices
        if local_date(invoice.period_end, invoice.account.zone) > local_date(at, invoice.account.zone)
    }
    unread = [key for key in ahead if key not in drafts]
    lines = _read_lines(unread) if unread else {}
    return DeferredRevenue(
        schedule
        for key, invoice in ahead.items()
        for line in (_list_drafted(drafts[key]) if key in drafts else lines.get(key, ()))
        if (schedule := _defer(invoice, line, at=at)) is not None
    )


def _list_drafted(draft: Draft) -> Iterator[EarnedLine]:
    for position, line in enumerate(draft.lines, start=1):
        yield EarnedLine(position, line.type, line.period, line.net)


def _read_lines(invoice_ids: Sequence[UUID]) -> dict[UUID, list[EarnedLine]]:
    found: dict[UUID, list[EarnedLine]] = {}
    for line in InvoiceLine.objects.filter(invoice__in=invoice_ids).defer("trace").order_by("position"):
        earned = EarnedLine(line.position, line.type, line.period, line.amount - line.discount)
        found.setdefault(line.invoice_id, []).append(earned)
    return found


def _defer(invoice: Invoice, line: EarnedLine, *, at: datetime) -> RevenueSchedule | None:
    """Return the schedule of a line that covers the day of issue or later days; None when nothing is deferred."""
    zone = invoice.account.zone
    first_day, end_day = local_date(line.period.start, zone), local_date(line.period.end, zone)
    deferred_from = max(first_day, local_date(at, zone))
    if line.type == LineType.USAGE or not line.net or end_day <= deferred_from:
        return None
    earned = recognize_until(line.net, ServicePeriod(first_day, end_day), deferred_from)
    if earned == line.net:
        return None
    return RevenueSchedule(
        id=new_uuid(),
        invoice=invoice,
        position=line.position,
        source=invoice_key(invoice),
        seller_id=invoice.seller_id,
        currency=invoice.currency,
        livemode=invoice.livemode,
        amount=line.net,
        first_day=first_day,
        end_day=end_day,
        deferred_from=deferred_from,
        recognized_until=deferred_from,
        recognized=earned,
    )


def defer_credit(
    invoice: Invoice, *, source: str, credited: Mapping[int, int], since: Mapping[int, date] | None = None
) -> int:
    """
    Take credited parts of lines out of what the invoice still defers and return the sum, minor units.

    `credited` is net minor units, zero or more, by position of the line; `source` the key of the entry that books the
    credit. That entry debits deferred revenue with the answer and revenue with the rest: what is not earned yet goes
    first. The days to come earn less from then on: those from `since` on where it names the position. Runs in the
    caller's transaction, which has locked the invoice.
    """
    rows = _lock_schedules(invoice=invoice, position__in=list(credited), is_open=True)
    written = []
    for position, amount in sorted(credited.items()):
        members = [each for each in rows if each.position == position]
        part = min(amount, sum(each.deferred for each in members))
        if part <= 0:
            continue
        released, end_day = min(each.recognized_until for each in members), max(each.end_day for each in members)
        first_day = min(max(released, (since or {}).get(position, released)), end_day - timedelta(days=1))
        written.append(
            RevenueSchedule(
                id=new_uuid(),
                invoice=invoice,
                position=position,
                source=source,
                seller_id=invoice.seller_id,
                currency=invoice.currency,
                livemode=invoice.livemode,
                amount=-part,
                first_day=first_day,
                end_day=end_day,
                deferred_from=first_day,
                recognized_until=first_day,
                recognized=0,
            )
        )
    copy_rows(written)
    return -sum(each.amount for each in written)


def take_back_revenue(invoice: Invoice, *, source: str, at: datetime) -> None:
    """
    Undo what was released of a document whose entry `source` is reversed in the same transaction, and end its days.

    The reversal gives back what the document deferred and what was revenue at once; this gives back the days between.
    `source` is the entry of the invoice itself, or of a document about it. Nothing happens the second time. Locks the
    schedules, then the ledger.
    """
    rows = [each for each in _lock_schedules(source=source) if each.taken_back_at is None]
    released: dict[str, int] = {}
    for each in rows:
        released[each.currency] = released.get(each.currency, 0) + each.recognized - each.at_issue
        each.is_open, each.taken_back_at = False, at
    RevenueSchedule.objects.bulk_update(rows, ["is_open", "taken_back_at"])
    postings = [
        posting
        for currency, amount in sorted(released.items())
        if amount
        for posting in _move_revenue(currency, -amount)
    ]
    if postings:
        ledger.post_entry(
            key=f"revenue_back:{source}",
            type="revenue_back",
            account_id=invoice.account_id,
            postings=postings,
            at=at,
            livemode=invoice.livemode,
            description="Released revenue taken back",
            metadata={"source": source, "invoice_id": invoice.public_id},
        )


def _lock_schedules(**condition: object) -> list[RevenueSchedule]:
    return list(RevenueSchedule.objects.select_for_update(no_key=True).filter(**condition).order_by("id"))


def _move_revenue(currency: str, amount: int) -> list[ledger.PostingSpec]:
    """Return the legs that turn `amount` minor units of deferred revenue into revenue, or back."""
    return [
        ledger.PostingSpec(LedgerKind.DEFERRED_REVENUE, None, currency, amount),
        ledger.PostingSpec(LedgerKind.REVENUE, None, currency, -amount),
    ]


def release_revenue(*, at: datetime) -> list[RevenueRelease]:
    """
    Release every day that has ended in UTC by `at` and return the releases written now.

    One release, and one balanced entry dated in that day, for each day, seller, currency and mode: a day is released
    once, however often this runs, and days that were missed are made up for one by one. Each is its own transaction.
    What is issued after a day was released comes with the next one.
    """
    last_day = at.astimezone(UTC).date() - timedelta(days=1)
    groups = RevenueSchedule.objects.filter(is_open=True).order_by("seller_id", "currency", "livemode")
    found = groups.values_list("seller_id", "currency", "livemode").annotate(Min("recognized_until"))
    written = []
    for seller_id, currency, livemode, first_day in found:
        known = RevenueRelease.objects.filter(seller=seller_id, currency=currency, livemode=livemode)
        newest = known.aggregate(day=Max("day"))["day"]
        day = first_day if newest is None else max(first_day, newest + timedelta(days=1))
        while day <= last_day:
            release = _release_day(seller_id, currency, livemode, day=day, at=at)
            if release is not None:
                written.append(release)
            day += timedelta(days=1)
    return written


@transaction.atomic
def _release_day(seller_id: UUID, currency: str, livemode: bool, *, day: date, at: datetime) -> RevenueRelease | None:
    """Release one day of one seller; None when another process did it, or there was nothing."""
    seller = Seller.objects.select_for_update(no_key=True).get(pk=seller_id)
    rows = RevenueRelease.objects.filter(seller=seller, currency=currency, livemode=livemode)
    if rows.filter(day__gte=day).exists():
        return None
    release = RevenueRelease(id=new_uuid(), seller=seller, currency=currency, livemode=livemode, day=day, created_at=at)
    release.amount, release.schedules = _recognize_day(release)
    if not release.schedules:
        return None
    if release.amount:
        mode = "live" if livemode else "test"
        release.entry = ledger.post_entry(
            key=f"revenue_release:{seller.public_id}:{currency}:{mode}:{day}",
            type="revenue_release",
            account_id=None,
            postings=_move_revenue(currency, release.amount),
            at=datetime.combine(day, time.max, tzinfo=UTC),
            livemode=livemode,
            description=f"Revenue of {day}",
            metadata={"release_id": release.public_id, "seller_id": seller.public_id, "day": str(day)},
        )
    release.save(force_insert=True)
    return release


# The sum up to a day is that of `calculation.recognition`: whole parts, and one unit more for the first days.
_RECOGNIZE_DAY = """
    WITH due AS (
        SELECT id, recognized, least(end_day, %(day)s::date + 1) AS until FROM revenue_schedules
        WHERE is_open AND seller_id = %(seller)s AND currency = %(currency)s AND livemode = %(livemode)s
            AND recognized_until <= %(day)s
        ORDER BY id FOR NO KEY UPDATE
    ), moved AS (
        UPDATE revenue_schedules AS schedule SET
            recognized_until = due.until,
            recognized = sign(amount)::bigint * (
                (due.until - first_day) * (abs(amount) / (end_day - first_day))
                + least(due.until - first_day, abs(amount) %% (end_day - first_day))
            ),
            is_open = due.until < end_day,
            first_release_id = coalesce(first_release_id, %(release)s)
        FROM due WHERE schedule.id = due.id
        RETURNING schedule.recognized - due.recognized AS released
    )
    SELECT coalesce(sum(released), 0)::bigint, count(*) FROM moved
"""


def _recognize_day(release: RevenueRelease) -> tuple[int, int]:
    """Move the schedules past the day with one statement; return what they released together, and how many."""
    values: dict[str, Any] = {
        "day": release.day,
        "seller": release.seller_id,
        "currency": release.currency,
        "livemode": release.livemode,
        "release": release.id,
    }
    with connection.cursor() as cursor:
        cursor.execute(_RECOGNIZE_DAY, values)
        amount, count = cursor.fetchone()
    return int(amount), int(count)
