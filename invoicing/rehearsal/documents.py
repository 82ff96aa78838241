"""What there is: documents, balances, subscriptions and events of a story, written as `expect` writes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db.models import Prefetch

from accounts.models import LedgerAccount, LedgerKind, Subscription
from billing_site.kernel.money import format_decimal
from billing_site.kernel.periods import Period, local_date
from billing_site.platform.models import Event
from catalog.pricing.terms import to_text
from invoicing.models import Invoice, InvoiceLine
from invoicing.rehearsal.expected import Entry
from invoicing.rehearsal.world import World

Document = Mapping[str, Any]


def list_issued(world: World, *, since: datetime | None = None) -> list[Invoice]:
    """Return the story's issued invoices in order of issue, with their lines and what describing them needs."""
    lines = InvoiceLine.objects.select_related("plan_version__plan", "meter", "subscription_item").order_by("position")
    issued = Invoice.objects.filter(org_id=world.org_id, number__isnull=False)
    if since is not None:
        issued = issued.filter(finalized_at__gte=since)
    return list(
        issued.select_related("account").prefetch_related(Prefetch("lines", lines)).order_by("finalized_at", "id")
    )


def describe_invoice(world: World, invoice: Invoice) -> Document:
    """Return an invoice with its lines; dates are local to the account, amounts major units."""
    currency, zone = invoice.currency, invoice.account.zone
    return {
        "number": invoice.number_text,
        "account": world.name_account(invoice.account_id),
        "subscription": world.name_subscription(invoice.subscription_id) or None,
        "status": invoice.status,
        "currency": currency,
        "date": str(invoice.issue_date),
        "due_date": str(invoice.due_date),
        "period": show_period(invoice.period, zone),
        "subtotal": format_decimal(invoice.subtotal, currency),
        "discount": format_decimal(invoice.discount, currency),
        "tax": format_decimal(invoice.tax, currency),
        "total": format_decimal(invoice.total, currency),
        "due": format_decimal(invoice.amount_due, currency),
        "paid": format_decimal(invoice.amount_paid, currency),
        "lines": [_describe_line(world, line, zone) for line in invoice.lines.all()],
    }


def _describe_line(world: World, line: InvoiceLine, zone: ZoneInfo) -> Document:
    version, item = line.plan_version, line.subscription_item
    return {
        "type": line.type,
        "description": line.description,
        "plan": version.plan.key if version else None,
        "version": str(version.version) if version else None,
        "meter": line.meter.event_name if line.meter else None,
        "subscription": (world.name_subscription(item.subscription_id) or None) if item else None,
        "period": show_period(line.period, zone),
        "quantity": to_text(line.quantity),
        "amount": format_decimal(line.amount, line.currency),
    }


def list_balances(world: World, entries: Iterable[Entry]) -> list[Document]:
    """Return a balance for each expected one: of its account, in its currency (default: the account's)."""
    found: list[Document] = []
    for entry in entries:
        name = entry.values.get("account") or ""
        account = world.story.accounts.get(name)
        if account is None:
            found.append({"account": None})
            continue
        currency = (entry.values.get("currency") or account.currency).lower()
        pots = LedgerAccount.objects.filter(account_id=world.accounts[name], currency=currency)
        balances = dict(pots.values_list("kind", "balance"))
        found.append(
            {
                "account": name,
                "currency": currency,
                # Liabilities stand in the ledger as credits; people count the customer's money as above zero.
                "prepaid": format_decimal(-balances.get(LedgerKind.PREPAID, 0), currency),
                "invoice_credit": format_decimal(-balances.get(LedgerKind.INVOICE_CREDIT, 0), currency),
                "credit": format_decimal(-balances.get(LedgerKind.CREDIT_GRANTS, 0), currency),
                "receivable": format_decimal(balances.get(LedgerKind.RECEIVABLE, 0), currency),
            }
        )
    return found


def list_subscriptions(world: World) -> list[Document]:
    """Return the story's subscriptions in the order they were started."""
    rows = Subscription.objects.filter(account_id__in=world.account_ids).order_by("id")
    return [_describe_subscription(world, row) for row in rows.select_related("plan_version__plan")]


def _describe_subscription(world: World, row: Subscription) -> Document:
    zone, version = row.zone, row.plan_version
    return {
        "subscription": world.name_subscription(row.id) or None,
        "account": world.name_account(row.account_id),
        "plan": version.plan.key,
        "version": str(version.version),
        "status": row.status,
        "quantity": str(row.quantity),
        "currency": row.currency,
        "period": show_period(row.current_period, zone),
        "next_billing": show_day(row.next_billing_at, zone),
        "ended": show_day(row.ended_at, zone),
    }


def list_event_types(world: World) -> list[str]:
    """Return the types of the events of the story's accounts, in the order they happened."""
    rows = Event.objects.filter(account_id__in=world.account_ids).order_by("created_at", "id")
    return list(rows.values_list("type", flat=True))


def show_period(period: Period, zone: ZoneInfo) -> str:
    """Return the first day and the day after the last, in the account's zone."""
    return f"{local_date(period.start, zone)} – {local_date(period.end, zone)}"


def show_day(instant: datetime | None, zone: ZoneInfo) -> str | None:
    """Return the local day of an instant."""
    return None if instant is None else str(local_date(instant, zone))


class Newcomers:
    """Tells which invoices were issued since it was asked last."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._since: datetime | None = None
        self._seen: set[UUID] = set()

    def take(self) -> list[Document]:
        """Return the invoices issued since the last call."""
        found = list_issued(self._world, since=self._since)
        fresh = [invoice for invoice in found if invoice.id not in self._seen]
        if found:
            self._since = found[-1].finalized_at
            self._seen = {invoice.id for invoice in found if invoice.finalized_at == self._since}
        return [describe_invoice(self._world, invoice) for invoice in fresh]
