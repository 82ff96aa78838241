"""What there is: documents, balances, subscriptions and events of a story, written as `expect` writes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db.models import Prefetch

from accounts.models import CreditGrant, LedgerAccount, LedgerKind, PaymentMethod, Subscription
from accounts.queries.credit_grants import first_tag
from billing_site.kernel.money import format_decimal
from billing_site.kernel.periods import Period, local_date
from billing_site.platform.models import Event
from catalog.pricing.terms import to_text
from invoicing.calculation.explain_taxes import percent
from invoicing.models import CreditNote, CreditNoteLine, Invoice, InvoiceLine, InvoiceTax
from invoicing.rehearsal.expected import Entry
from invoicing.rehearsal.world import World
from metering.models import AlertScope, CostAlertFiring

Document = Mapping[str, Any]


def list_issued(world: World, *, since: datetime | None = None) -> list[Invoice]:
    """Return the story's issued invoices in order of issue, with their lines and what describing them needs."""
    lines = InvoiceLine.objects.select_related("plan_version__plan", "meter", "subscription_item").order_by("position")
    lines = lines.prefetch_related("splits")
    issued = Invoice.objects.filter(org_id=world.org_id, number__isnull=False)
    if since is not None:
        issued = issued.filter(finalized_at__gte=since)
    return list(
        issued.select_related("account", "reissues")
        .prefetch_related(Prefetch("lines", lines), "taxes", "members")
        .order_by("finalized_at", "id")
    )


def describe_invoice(world: World, invoice: Invoice) -> Document:
    """Return an invoice with its lines; dates are local to the account, amounts major units."""
    currency, zone = invoice.currency, invoice.account.zone
    return {
        "number": invoice.number_text,
        "account": world.name_account(invoice.account_id),
        "subscription": world.name_subscription(invoice.subscription_id) or None,
        "subscriptions": ", ".join(map(world.name_subscription, _list_members(invoice))) or None,
        "status": invoice.status,
        "currency": currency,
        "date": str(invoice.issue_date),
        "due_date": str(invoice.due_date),
        "period": show_period(invoice.period, zone),
        "subtotal": format_decimal(invoice.subtotal, currency),
        "discount": format_decimal(invoice.discount, currency),
        "discount_name": invoice.discount_name or None,
        "tax": format_decimal(invoice.tax, currency),
        "taxes": ", ".join(_describe_tax(tax, currency) for tax in invoice.taxes.all()) or None,
        "total": format_decimal(invoice.total, currency),
        "credit_applied": format_decimal(invoice.credit_applied, currency),
        "due": format_decimal(invoice.amount_due, currency),
        "amount_due": format_decimal(invoice.amount_due, currency),
        "paid": format_decimal(invoice.amount_paid, currency),
        "amount_paid": format_decimal(invoice.amount_paid, currency),
        "amount_remaining": format_decimal(invoice.amount_remaining, currency),
        "payment_method": invoice.payment_method or None,
        "reissues": _name_reissued(invoice),
        "lines": [shown for line in invoice.lines.all() for shown in _describe_lines(world, line, zone)],
    }


def _list_members(invoice: Invoice) -> list[UUID]:
    return [each.subscription_id for each in invoice.members.all()]


def _describe_tax(tax: InvoiceTax, currency: str) -> str:
    """Return a tax row in a few words: `VAT DE 19 % of 10.00 = 1.90`."""
    words = [tax.name, tax.jurisdiction, percent(tax.rate), "% of", format_decimal(tax.base, currency)]
    return f"{' '.join(filter(None, words))} = {format_decimal(tax.amount, currency)}"


def _name_reissued(invoice: Invoice) -> str | None:
    return None if invoice.reissues is None else invoice.reissues.number_text


def _describe_lines(world: World, line: InvoiceLine, zone: ZoneInfo) -> Iterator[Document]:
    """Describe a line, or its part of each cost center."""
    shown = _describe_line(world, line, zone)
    parts = list(line.splits.all())
    for part in parts:
        amount = format_decimal(part.amount, line.currency)
        yield {**shown, "quantity": to_text(part.quantity), "amount": amount, "cost_center": part.code or None}
    if not parts:
        yield shown


def _describe_line(world: World, line: InvoiceLine, zone: ZoneInfo) -> Document:
    version, item = line.plan_version, line.subscription_item
    return {
        "type": line.type,
        "description": line.description,
        "plan": version.plan.key if version else None,
        "version": str(version.version) if version else None,
        "meter": line.meter.event_name if line.meter else None,
        "subscription": world.name_subscription(item.subscription_id if item else line.subscription_id) or None,
        "period": show_period(line.period, zone),
        "quantity": to_text(line.quantity),
        "amount": format_decimal(line.amount, line.currency),
        "discount": format_decimal(line.discount, line.currency),
        "tax": format_decimal(line.tax, line.currency),
        "cost_center": None,
    }


def list_credit_notes(world: World) -> list[Document]:
    """Return the story's credit notes in order of issue, void ones too."""
    lines = CreditNoteLine.objects.select_related("invoice_line__meter", "invoice_line__plan_version__plan")
    rows = CreditNote.objects.filter(org_id=world.org_id).select_related("invoice").order_by("issued_at", "id")
    return [
        _describe_credit_note(world, row)
        for row in rows.prefetch_related(Prefetch("lines", lines.order_by("position")))
    ]


def _describe_credit_note(world: World, note: CreditNote) -> Document:
    currency = note.currency
    return {
        "number": note.number_text,
        "account": world.name_account(note.account_id),
        "invoice": note.invoice.number_text,
        "status": note.status,
        "currency": currency,
        "date": str(note.issue_date),
        "subtotal": format_decimal(note.subtotal, currency),
        "tax": format_decimal(note.tax, currency),
        "total": format_decimal(note.total, currency),
        "applied": format_decimal(note.amount_applied, currency),
        "credited": format_decimal(note.amount_credited, currency),
        "out_of_band": format_decimal(note.out_of_band_amount, currency),
        "reason": note.reason or None,
        "lines": [_describe_credited(line, currency) for line in note.lines.all()],
    }


def _describe_credited(line: CreditNoteLine, currency: str) -> Document:
    of, version = line.invoice_line, line.invoice_line.plan_version
    return {
        "type": of.type,
        "description": line.description,
        "plan": version.plan.key if version else None,
        "meter": of.meter.event_name if of.meter else None,
        "quantity": to_text(line.quantity) if line.quantity is not None else None,
        "amount": format_decimal(line.amount, currency),
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


def list_grants(world: World) -> list[Document]:
    """Return the grants of the story's accounts in the order they were given: spent, ended and void ones too."""
    rows = CreditGrant.objects.filter(account_id__in=world.account_ids).select_related("account").order_by("id")
    return [_describe_grant(world, row) for row in rows]


def _describe_grant(world: World, grant: CreditGrant) -> Document:
    zone, now = grant.account.zone, world.now
    if grant.is_voided:
        status = "void"
    elif grant.is_ended(now):
        status = "ended"
    else:
        status = "usable" if grant.remaining else "spent"
    return {
        "account": world.name_account(grant.account_id),
        "subscription": world.name_subscription(grant.subscription_id) or None,
        "name": grant.name or None,
        "tag": first_tag(grant.tags),
        "tags": grant.tags or None,
        "currency": grant.currency,
        "priority": str(grant.priority),
        "amount": format_decimal(grant.amount, grant.currency),
        "remaining": format_decimal(grant.remaining, grant.currency),
        "effective": show_day(grant.effective_at, zone),
        "expires": show_day(grant.expires_at, zone),
        "status": status,
    }


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


def list_payment_methods(world: World) -> list[Document]:
    """Return the payment methods that the story's accounts have or had, in the order they were attached."""
    rows = PaymentMethod.objects.filter(account_id__in=world.account_ids, attached_at__isnull=False).order_by("id")
    return [
        {
            "method": world.name_payment_method(row.id) or None,
            "account": world.name_account(row.account_id),
            "type": row.type,
            "name": row.name,
            "status": row.status,
            "default": "true" if row.is_default else "false",
        }
        for row in rows
    ]


def list_alerts(world: World) -> list[Document]:
    """Return what alerts have fired, in order; days and months that are UTC's are shown so."""
    rows = CostAlertFiring.objects.filter(alert__account_id__in=world.account_ids).select_related("alert__account")
    return [_describe_firing(world, row) for row in rows.order_by("fired_at", "id")]


def _describe_firing(world: World, firing: CostAlertFiring) -> Document:
    alert = firing.alert
    zone = alert.account.zone if alert.scope == AlertScope.PERIOD else ZoneInfo("UTC")
    return {
        "alert": world.name_alert(alert.pk) or None,
        "account": world.name_account(alert.account_id),
        "type": "spend" if alert.is_spend_alert else alert.threshold_type,
        "date": show_day(firing.fired_at, zone),
        "currency": firing.currency,
        "value": format_decimal(firing.value, firing.currency),
        "threshold": format_decimal(firing.threshold, firing.currency),
        "period": show_period(Period(firing.period_start, firing.period_end), zone),
    }


def list_events(world: World) -> list[tuple[str, str]]:
    """Return account and type of the events of the story's accounts, in the order they happened."""
    rows = Event.objects.filter(account_id__in=world.account_ids).order_by("created_at", "id")
    return [(world.name_account(key), type) for key, type in rows.values_list("account_id", "type") if key is not None]


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
