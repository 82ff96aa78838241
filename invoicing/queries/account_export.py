"""
The billing data of an account as tables: customer, subscriptions, invoices, payments, usage.

Rows come from the database as they are read. Cells are text: instants in RFC 3339 UTC, days those of the account,
amounts minor units. Source: contract chapter Exports and reports.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import chain
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db.models import Prefetch, QuerySet

from accounts.models import Account, Subscription, SubscriptionItem
from accounts.models.subscription import RUNNING_STATUSES
from billing_site.kernel.csv_text import keep_as_text, write_lines
from billing_site.kernel.errors import PeriodNotValid
from billing_site.kernel.periods import Period, local_date, local_midnight
from catalog.models import PriceModel
from invoicing.models import CreditNote, Invoice, InvoiceCredit, InvoiceLine
from invoicing.queries.exported_notes import describe_note, get_amounts, merge_notes, with_lines
from invoicing.queries.invoices import Document, filter_by_dates
from metering.queries.exploring import View, stream_usage
from metering.queries.meters import list_meters
from metering.stores import list_events

PARTS: Final = ("customer", "subscriptions", "invoices", "usage")
LARGE: Final = 20_000
_CHUNK: Final = 2000
_BEGINNING: Final = date(2000, 1, 1)
_PROFILE: Final = ("external_id", "org_id", "name", "company", "email", "line1", "line2", "city", "state")
_TERMS: Final = ("status", "quantity", "currency", "interval", "interval_count")
_AMOUNTS: Final = ("subtotal", "discount", "tax", "total", "credit_applied", "amount_due", "amount_paid")


@dataclass(frozen=True, slots=True)
class ExportDays:
    """Which local days are asked for, both included; None is open. They narrow invoices, payments and usage."""

    first: date | None = None
    last: date | None = None

    def as_period(self, zone: ZoneInfo, *, now: datetime) -> Period:
        """Return the instants of these days in `zone`, up to an hour after `now` where no end is asked for."""
        start = local_midnight(self.first or _BEGINNING, zone)
        end = now + timedelta(hours=1) if self.last is None else local_midnight(self.last + timedelta(days=1), zone)
        return Period(start, max(start, end))


def choose_days(*, year: int | None, start: date | None, end: date | None) -> ExportDays:
    """
    Return the days that are asked for: a calendar year, or from `start` to `end`, both included.

    :raises PeriodNotValid: for a year together with a bound, and for an end before the start.
    """
    if year is not None:
        if start is not None or end is not None:
            raise PeriodNotValid("Ask for a year, or for start and end.")
        return ExportDays(date(year, 1, 1), date(year, 12, 31))
    if start is not None and end is not None and end < start:
        raise PeriodNotValid("The end is before the start.")
    return ExportDays(start, end)


def name_export(kind: str, extension: str, *, at: datetime) -> str:
    """Return the name of the file: `billing_<type>_<YYYYMMDD>_<HHMMSS>.<ext>`."""
    return f"billing_{kind}_{at:%Y%m%d_%H%M%S}.{extension}"


@dataclass(frozen=True, slots=True)
class Table:
    """Column names and rows of text, which can be read once."""

    columns: Sequence[str]
    rows: Iterable[Sequence[str]]

    def as_csv(self) -> Iterator[str]:
        """Yield the lines of the file; what a spreadsheet would run as a formula is kept as text."""
        return write_lines(chain([list(self.columns)], ([_guard(cell) for cell in row] for row in self.rows)))

    def as_objects(self) -> Iterator[dict[str, str]]:
        """Yield the rows by column."""
        return (dict(zip(self.columns, row, strict=True)) for row in self.rows)


def _guard(cell: str) -> str:
    """Keep free text from being a formula; an amount below zero stays a number."""
    return cell if cell.startswith("-") and cell[1:].replace(".", "", 1).isdigit() else keep_as_text(cell)


def list_customer(account: Account) -> Table:
    """Return the account itself."""
    columns = ("id", *_PROFILE, "postal_code", "country", "tax_id", "currency", "timezone", "created_at")
    texts = [getattr(account, name) or "" for name in columns[1:-1]]
    return Table(columns, [[account.public_id, *texts, _write(account.created_at)]])


def list_subscriptions(account: Account) -> Table:
    """Return all subscriptions, ended ones too, newest first."""
    dates = ("current_period_start", "current_period_end", "started_at", "trial_end", "ended_at")
    rows = Subscription.objects.filter(account=account).select_related("plan_version__plan").order_by("-id")
    return Table(
        ("id", "plan_id", "plan_version", *_TERMS, *dates),
        (
            [
                row.public_id,
                row.plan_version.plan.key,
                str(row.plan_version.version),
                *(str(getattr(row, name)) for name in _TERMS),
                *(_write(getattr(row, name)) for name in dates),
            ]
            for row in rows.iterator(chunk_size=_CHUNK)
        ),
    )


def list_invoices(invoices: QuerySet[Invoice], notes: QuerySet[CreditNote], days: ExportDays) -> Table:
    """
    Return the invoices and credit notes among these that were issued in `days`, newest first.

    The amounts of a note are below zero; `corrects` is the number of its invoice.
    """
    columns = ("number", "id", "status", "issue_date", "due_date", "currency", *_AMOUNTS)
    rows = _select(invoices, days).iterator(chunk_size=_CHUNK)
    return Table(
        (*columns, "amount_remaining", "paid_at", "type", "corrects"),
        (_write_document(row) for row in merge_notes(rows, _select(notes, days))),
    )


def _select(documents: QuerySet[Document], days: ExportDays) -> QuerySet[Document]:
    return filter_by_dates(documents.prefetch_related(None), days.first, days.last).defer("trace").order_by("-id")


def _write_document(row: Invoice | CreditNote) -> list[str]:
    if isinstance(row, CreditNote):
        amounts, due, remaining, paid, more = get_amounts(row), "", 0, "", ("credit_note", row.invoice.number_text)
    else:
        amounts = {name: getattr(row, name) for name in _AMOUNTS}
        due, remaining, paid = str(row.due_date or ""), row.amount_remaining, _write(row.paid_at)
        more = ("invoice", "")
    return [
        row.number_text,
        row.public_id,
        row.status,
        str(row.issue_date or ""),
        due,
        row.currency,
        *(str(amounts[name]) for name in _AMOUNTS),
        str(remaining),
        paid,
        *more,
    ]


def describe_invoices(
    invoices: QuerySet[Invoice], notes: QuerySet[CreditNote], days: ExportDays
) -> Iterator[dict[str, Any]]:
    """Yield the same documents with their lines, amounts as whole minor units; two more queries for every 500."""
    lines = InvoiceLine.objects.select_related("meter", "plan_version__plan").defer("trace").order_by("position")
    rows = _select(invoices, days).prefetch_related(Prefetch("lines", queryset=lines)).iterator(chunk_size=500)
    for row in merge_notes(rows, with_lines(_select(notes, days))):
        yield describe_note(row) if isinstance(row, CreditNote) else _describe_invoice(row)


def _describe_invoice(row: Invoice) -> dict[str, Any]:
    return {
        "id": row.public_id,
        "type": "invoice",
        "corrects": None,
        "number_str": row.number_text,
        "status": row.status,
        "issue_date": row.issue_date,
        "due_date": row.due_date,
        "period_start": _write(row.period_start),
        "period_end": _write(row.period_end),
        "currency": row.currency,
        **{name: getattr(row, name) for name in _AMOUNTS},
        "amount_remaining": row.amount_remaining,
        "paid_at": _write(row.paid_at) or None,
        "line_items": [_describe_line(line) for line in row.lines.all()],
    }


def _describe_line(line: InvoiceLine) -> dict[str, Any]:
    return {
        "type": line.type,
        "description": line.description,
        "plan_id": line.plan_version.plan.key if line.plan_version is not None else None,
        "meter": line.meter.event_name if line.meter is not None else None,
        "quantity": _write_decimal(line.quantity),
        "unit_price": _write_decimal(line.unit_amount),
        "amount": line.amount,
        "discount": line.discount,
        "period_start": _write(line.period_start),
        "period_end": _write(line.period_end),
    }


def list_payments(account: Account, days: ExportDays) -> Table:
    """Return what paid invoices, newest first; the day is that of the payment in the account's zone."""
    period = days.as_period(account.zone, now=datetime.max.replace(tzinfo=UTC) - timedelta(days=2))
    rows = InvoiceCredit.objects.filter(
        invoice__account=account, created_at__gte=period.start, created_at__lt=period.end
    ).select_related("invoice", "entry")
    return Table(
        ("date", "invoice_number", "source", "description", "amount", "currency", "transaction_id"),
        (
            [
                str(local_date(row.created_at, account.zone)),
                row.invoice.number_text,
                row.source,
                row.description,
                str(row.amount),
                row.invoice.currency,
                row.entry.public_id,
            ]
            for row in rows.order_by("-created_at", "-id").iterator(chunk_size=_CHUNK)
        ),
    )


def list_usage(account: Account, days: ExportDays, *, now: datetime) -> Table:
    """Return what was used a day, by meter: quantity by the meter's own aggregation, and how many events."""
    meters = list_meters(org_id=account.org_id)
    names = {meter.id: meter.event_name for meter in meters}
    view = View(tuple(meters), days.as_period(account.zone, now=now), "day")
    return Table(
        ("date", "service_name", "usage", "events"),
        (
            [
                str(local_date(point.start, account.zone)),
                names[point.meter_id],
                _write_decimal(point.quantity),
                str(point.event_count),
            ]
            for point in stream_usage(account=account, view=view)
            if point.start is not None
        ),
    )


def list_usage_events(account: Account, days: ExportDays, *, now: datetime) -> Table:
    """
    Return single events, newest first.

    `unit_cost` and `total_cost` are exact minor units where a running subscription prices the meter at one price per
    unit; other models price the whole period, not the event, and leave the cells empty.
    """
    prices = _load_unit_prices(account)
    period = days.as_period(account.zone, now=now)
    events = list_events(account_id=account.pk, start=period.start, end=period.end)
    return Table(
        ("timestamp", "service", "quantity", "unit_cost", "total_cost", "metadata"),
        (
            [
                _write(event.timestamp),
                event.meter.event_name,
                _write_decimal(event.value),
                "" if price is None else _write_decimal(price),
                "" if price is None else _write_decimal(price * event.value),
                json.dumps(event.metadata, sort_keys=True, ensure_ascii=False) if event.metadata else "",
            ]
            for event in events.iterator(chunk_size=_CHUNK)
            for price in [prices.get(event.meter_id)]
        ),
    )


def _load_unit_prices(account: Account) -> dict[UUID, Decimal]:
    items = SubscriptionItem.objects.filter(
        subscription__account=account,
        subscription__status__in=RUNNING_STATUSES,
        ended_at__isnull=True,
        meter__isnull=False,
        price__model=PriceModel.PER_UNIT,
        price__options={},
    )
    found = items.values_list("meter_id", "price__unit_amount")
    return {meter_id: amount for meter_id, amount in found if amount is not None}


def list_parts(account: Account, days: ExportDays, *, now: datetime, detailed: bool = False) -> dict[str, Table]:
    """Return every part by name; usage by day, or each event where it is `detailed`."""
    usage = list_usage_events if detailed else list_usage
    return {
        "customer": list_customer(account),
        "subscriptions": list_subscriptions(account),
        "invoices": list_invoices(
            Invoice.objects.filter(account=account), CreditNote.objects.filter(account=account), days
        ),
        "payments": list_payments(account, days),
        "usage": usage(account, days, now=now),
    }


def is_large_export(account: Account, *, now: datetime) -> bool:
    """
    Tell whether all parts of an account, usage by day, may have more than `LARGE` rows.

    Usage is guessed, as a row a day for each meter since the account was opened. Two queries.
    """
    days = (now - account.created_at).days + 1
    usage = days * len(list_meters(org_id=account.org_id))
    documents = 2 * len(Invoice.objects.filter(account=account).values_list("pk")[:LARGE])
    return usage + documents > LARGE


def zip_tables(tables: Iterable[tuple[str, Table]]) -> Iterator[bytes]:
    """Yield a ZIP archive with one CSV file per table, as the rows are read."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:  # type: ignore[call-overload]
        for name, table in tables:
            with archive.open(name, "w", force_zip64=True) as file:
                for line in table.as_csv():
                    file.write(line.encode())
                    if sink.size > 65_536:
                        yield sink.take()
    yield sink.take()


class _Sink:
    """What a ZIP writer wants of a file that cannot be moved in: it keeps what was written until it is taken."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self.size = 0

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        self.size += len(data)
        return len(data)

    def flush(self) -> None:
        """Nothing waits anywhere else."""

    def take(self) -> bytes:
        """Return what was written since the last time."""
        taken, self._parts, self.size = b"".join(self._parts), [], 0
        return taken


def _write(at: datetime | None) -> str:
    return "" if at is None else f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _write_decimal(value: Decimal) -> str:
    return f"{value.normalize():f}"
