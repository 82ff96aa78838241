"""Invoices as callers see them."""

from __future__ import annotations

from datetime import date, datetime
from typing import TypeVar

from django.db.models import Prefetch, Q, QuerySet

from accounts.queries.access import visible_accounts
from billing_site.kernel.actors import Principal
from billing_site.kernel.errors import NotFound
from invoicing.models import CreditNote, Invoice, InvoiceCredit, InvoiceLine, InvoiceStatus

Document = TypeVar("Document", Invoice, CreditNote)
# Older words that filters still understand.
STATUS_SYNONYMS = {"pending": "open"}


def visible_invoices(principal: Principal) -> QuerySet[Invoice]:
    """Return the invoices the caller may see, with lines: public callers see their own, drafts left out."""
    lines = InvoiceLine.objects.select_related("meter", "plan_version__plan").order_by("position")
    lines = lines.prefetch_related("splits")
    credits = InvoiceCredit.objects.filter(payment=0).select_related("grant", "entry").order_by("position")
    invoices = Invoice.objects.select_related("account__test_clock", "subscription").prefetch_related(
        Prefetch("lines", queryset=lines),
        Prefetch("credits", queryset=credits),
        "taxes",
        "members",
        Prefetch("reissued_as", queryset=Invoice.objects.only("id", "status", "reissues_id").order_by("id")),
    )
    if principal.is_internal:
        return invoices if principal.org is None else invoices.filter(org_id=principal.org)
    return invoices.filter(account__in=visible_accounts(principal)).exclude(status=InvoiceStatus.DRAFT)


def filter_by_status(invoices: QuerySet[Invoice], status: str, *, at: datetime) -> QuerySet[Invoice]:
    """Narrow to a status; `pending`, `overdue` and `partially_paid` are understood as well."""
    if status == "overdue":
        return invoices.filter(status=InvoiceStatus.OPEN, due_date__lt=at.date())
    if status == "partially_paid":
        return invoices.filter(status=InvoiceStatus.OPEN, amount_paid__gt=0)
    return invoices.filter(status=STATUS_SYNONYMS.get(status, status))


def filter_by_dates(invoices: QuerySet[Document], start: date | None, end: date | None) -> QuerySet[Document]:
    """Narrow to issue dates from `start` to `end`, both days included; drafts have none and are left out."""
    if start is not None:
        invoices = invoices.filter(issue_date__gte=start)
    if end is not None:
        invoices = invoices.filter(issue_date__lte=end)
    return invoices


def get_visible_invoice(principal: Principal, reference: str) -> Invoice:
    """
    Return an invoice by id or printed number (`INV-0042`).

    A number is unique per seller and mode; of several the newest is meant.
    :raises NotFound: if the caller sees none.
    """
    key = Invoice.parse_id(reference)
    condition = Q(id=key) if key else Q(number_text__iexact=reference.strip())
    found = visible_invoices(principal).filter(condition).order_by("-id").first()
    if found is None:
        raise NotFound("invoice")
    return found


def is_overdue(invoice: Invoice, *, at: datetime) -> bool:
    """Tell whether an open invoice is past its due date, by the account's calendar."""
    today = at.astimezone(invoice.account.zone).date()
    return invoice.status == InvoiceStatus.OPEN and invoice.due_date is not None and invoice.due_date < today
