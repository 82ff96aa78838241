"""
What will be tried when, and what was tried: attempts to collect invoices by day.

A fixed number of queries, however many attempts there are. Days are UTC's. Source: contract chapter Dunning.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final

from django.db.models import Prefetch

from accounts.models import PaymentMethod, PaymentMethodStatus
from accounts.models.payment_method import PROVIDER_TYPES
from billing_site.kernel.periods import Period
from invoicing.models import OPEN_CASES, DunningAttempt, DunningCase, DunningStatus, Invoice, InvoiceStatus

SHOWN: Final = 500


@dataclass(frozen=True, slots=True)
class PlannedAttempt:
    """
    An invoice that is collected by itself at `at`: the attempt number `step` of `attempts`, with `method`.

    Without a method nothing but stored money is tried. `case` is None for a first attempt.
    """

    at: datetime
    invoice: Invoice
    case: DunningCase | None
    step: int
    attempts: int
    method: PaymentMethod | None


@dataclass(slots=True)
class CalendarDay:
    """One day: what was tried on it and what is planned, each in order of time."""

    day: date
    planned: list[PlannedAttempt] = field(default_factory=list)
    tried: list[DunningAttempt] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class DunningCalendar:
    """Days with something on them, in order; `is_cut` when more than `SHOWN` of a kind lie in the time asked for."""

    days: Sequence[CalendarDay]
    is_cut: bool = False


def load_calendar(within: Period, *, account_id: uuid.UUID | None = None) -> DunningCalendar:
    """Return what is planned and what was tried within a half-open time, of all accounts or of one. Five queries."""
    planned = list_planned(within, account_id=account_id, limit=SHOWN + 1)
    tried = DunningAttempt.objects.filter(made_at__gte=within.start, made_at__lt=within.end)
    if account_id is not None:
        tried = tried.filter(case__account=account_id)
    made = list(tried.select_related("case__invoice__account", "method").order_by("made_at", "id")[: SHOWN + 1])
    days: dict[date, CalendarDay] = {}
    for each in planned[:SHOWN]:
        days.setdefault(each.at.date(), CalendarDay(each.at.date())).planned.append(each)
    for attempt in made[:SHOWN]:
        day = attempt.made_at.date()
        days.setdefault(day, CalendarDay(day)).tried.append(attempt)
    return DunningCalendar([days[day] for day in sorted(days)], max(len(planned), len(made)) > SHOWN)


def list_planned(within: Period, *, account_id: uuid.UUID | None = None, limit: int = SHOWN) -> list[PlannedAttempt]:
    """Return the attempts that are planned within a half-open time, earliest first. Four queries."""
    open_cases = Prefetch(
        "dunning_cases", DunningCase.objects.filter(status__in=OPEN_CASES), to_attr="open_dunning_cases"
    )
    rows = Invoice.objects.filter(
        status=InvoiceStatus.OPEN, next_attempt_at__gte=within.start, next_attempt_at__lt=within.end
    )
    if account_id is not None:
        rows = rows.filter(account=account_id)
    invoices = list(
        rows.select_related("account", "subscription__default_payment_method")
        .prefetch_related(open_cases)
        .order_by("next_attempt_at", "id")[:limit]
    )
    defaults = _load_defaults({invoice.account_id for invoice in invoices})
    return [_plan(invoice, defaults.get(invoice.account_id)) for invoice in invoices]


def _load_defaults(account_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, PaymentMethod]:
    rows = PaymentMethod.objects.filter(
        account__in=list(account_ids), status=PaymentMethodStatus.ATTACHED, type__in=PROVIDER_TYPES, is_default=True
    )
    return {row.account_id: row for row in rows}


def _plan(invoice: Invoice, default: PaymentMethod | None) -> PlannedAttempt:
    cases: list[DunningCase] = getattr(invoice, "open_dunning_cases", [])
    case = cases[0] if cases else None
    own = invoice.subscription.default_payment_method if invoice.subscription is not None else None
    method = own if own is not None and own.is_attached and own.needs_provider else default
    if case is not None and case.status == DunningStatus.STOPPED:
        method = None
    if invoice.next_attempt_at is None:
        raise ValueError("the query asks for invoices with a next attempt")
    return PlannedAttempt(
        at=invoice.next_attempt_at,
        invoice=invoice,
        case=case,
        step=1 if case is None else case.step + 1,
        attempts=1 if case is None else len(case.delays_hours) + 1,
        method=method,
    )


def count_by_status() -> dict[str, int]:
    """Return how many cases are open, by status."""
    found: dict[str, int] = defaultdict(int)
    for status in DunningCase.objects.filter(status__in=OPEN_CASES).values_list("status", flat=True):
        found[status] += 1
    return dict(found)
