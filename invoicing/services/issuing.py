"""
Issuing: number, dates, ledger entry, event, in one transaction, for one draft or for thousands.

Numbers are gapless per seller, series and mode: they come from a locked counter, late in the transaction, and a
rollback gives them back. Source: contract chapter Invoices; ADR 0007.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from accounts.models import Account, LedgerKind
from accounts.services import ledger
from accounts.services.stored_money import StoredMoney
from billing_site.kernel import jobs
from billing_site.kernel.actors import Actor
from billing_site.kernel.periods import local_date
from billing_site.platform.models.bulk import copy_rows, update_rows
from billing_site.platform.services import events
from invoicing.calculation.draft import Draft
from invoicing.models import Invoice, InvoiceStatus
from invoicing.queries.collection import list_self_collected
from invoicing.services.activation import activate_paid
from invoicing.services.crediting import pay_invoices, store_credits
from invoicing.services.invoice_mails import queue_invoice_mails
from invoicing.services.numbering import format_number, get_series, take_numbers
from invoicing.services.revenue import invoice_key, plan_deferrals

_ISSUE_COLUMNS: Final[Mapping[str, str]] = {
    "status": "text",
    "series": "text",
    "number": "bigint",
    "number_text": "text",
    "issue_date": "date",
    "due_date": "date",
    "finalized_at": "timestamptz",
    "paid_at": "timestamptz",
    "payment_method": "text",
    "credit_applied": "bigint",
    "amount_due": "bigint",
    "next_attempt_at": "timestamptz",
}


def issue_invoices(
    invoices: Sequence[Invoice],
    *,
    at: datetime,
    actor: Actor,
    money: StoredMoney,
    drafts: Mapping[UUID, Draft] | None = None,
    due_days: int | None = None,
    reason: str = "",
) -> list[Invoice]:
    """
    Make drafts into issued invoices: paid from stored money, booked, numbered in the given order, told as events.

    One transaction, the caller's. `money` is what the accounts have, locked before anything else; it pays in the order
    given. What is due then is 0 or waits for payment; due 0 is paid at once, by `credit`, `balance` or, when there was
    nothing to pay, `none`, and a subscription that waited for it is active then. `drafts` saves reading the lines.
    Those of which only the lines are stored (`write_lines`) are inserted here, as they are then.
    Invoices come with `account` and `seller` loaded, and their subscriptions locked; the number of queries does not
    depend on how many there are.
    """
    if not invoices:
        return []
    stored = {invoice.id for invoice in invoices if not invoice._state.adding}
    payments = pay_invoices(invoices, money=money, at=at, drafts=drafts or {})
    deferred = plan_deferrals(invoices, at=at, drafts=drafts or {})
    entries = [entry for invoice in invoices if (entry := _ledger_entry(invoice, at, deferred.of(invoice))) is not None]
    deferred.write()
    parts = money.write_payments(list(payments.values()), along=entries, actor=actor)
    store_credits([invoice for invoice in invoices if invoice.id in payments], parts, at=at)
    for invoice in invoices:
        payment = payments.get(invoice.id)
        method = "none" if payment is None else payment.payment.settlement.method
        _set_issue_columns(invoice, at=at, due_days=due_days, method=method)
    collected = list_self_collected(invoices)
    for invoice in invoices:
        invoice.next_attempt_at = at if invoice.id in collected else None
    _assign_numbers(invoices)
    copy_rows([invoice for invoice in invoices if invoice._state.adding])
    update_rows([invoice for invoice in invoices if invoice.id in stored], _ISSUE_COLUMNS)
    events.emit_many(
        [
            events.NewEvent(
                "invoice.finalized" if invoice.status == InvoiceStatus.OPEN else "invoice.paid",
                subject=invoice,
                account_id=invoice.account_id,
                at=at,
                actor=actor,
                data=snapshot_invoice(invoice),
                previous={"status": "draft"},
                reason=reason,
            )
            for invoice in invoices
        ]
    )
    activate_paid(invoices, at=at, actor=actor)
    queue_invoice_mails(invoices)
    for start in range(0, len(invoices), 200):
        jobs.enqueue(
            "invoicing.store_invoice_documents",
            invoice_ids=[str(invoice.id) for invoice in invoices[start : start + 200]],
        )
    ids = sorted(str(key) for key in collected)
    for start in range(0, len(ids), 50):
        jobs.enqueue("invoicing.collect_invoices", invoice_ids=ids[start : start + 50])
    return list(invoices)


def snapshot_invoice(invoice: Invoice) -> dict[str, Any]:
    """Return what an event says of an invoice."""
    return {
        "id": invoice.public_id,
        "number": invoice.number_text or None,
        "status": invoice.status,
        "currency": invoice.currency,
        "subtotal": invoice.subtotal,
        "discount": invoice.discount,
        "discount_name": invoice.discount_name or None,
        "total": invoice.total,
        "credit_applied": invoice.credit_applied,
        "amount_due": invoice.amount_due,
        "period_start": invoice.period_start,
        "period_end": invoice.period_end,
        "due_date": invoice.due_date,
    }


def _ledger_entry(invoice: Invoice, at: datetime, deferred: int) -> ledger.NewEntry | None:
    """
    Receivable takes the total; revenue and tax give it. A negative total becomes invoice credit (policies.md 24).

    `deferred` of it is revenue of days to come (ADR 0044).
    """
    net, account_id, currency = invoice.total - invoice.tax, invoice.account_id, invoice.currency
    claim = LedgerKind.RECEIVABLE if invoice.total > 0 else LedgerKind.INVOICE_CREDIT
    legs: list[tuple[str, Any, int]] = [
        (claim, account_id, invoice.total),
        (LedgerKind.REVENUE, None, deferred - net),
        (LedgerKind.DEFERRED_REVENUE, None, -deferred),
        (LedgerKind.TAX, None, -invoice.tax),
    ]
    postings = [ledger.PostingSpec(kind, owner, currency, amount) for kind, owner, amount in legs if amount != 0]
    if not postings:
        return None
    return ledger.NewEntry(
        key=invoice_key(invoice),
        type="invoice",
        account_id=account_id,
        postings=postings,
        at=at,
        description="Invoice issued",
        metadata={"invoice_id": invoice.public_id},
        livemode=invoice.livemode,
    )


def _set_issue_columns(invoice: Invoice, *, at: datetime, due_days: int | None, method: str) -> None:
    account: Account = invoice.account
    terms = next(
        days
        for days in (due_days, invoice.due_days, account.net_terms_days, invoice.seller.due_days)
        if days is not None
    )
    issued: date = local_date(at, account.zone)
    invoice.finalized_at = at
    invoice.issue_date = issued
    invoice.due_date = issued + timedelta(days=terms)
    invoice.series = get_series(invoice.seller, "invoice", issue_date=issued)
    if invoice.amount_due == 0:
        invoice.status, invoice.paid_at, invoice.payment_method = InvoiceStatus.PAID, at, method
    else:
        invoice.status = InvoiceStatus.OPEN


def _assign_numbers(invoices: Sequence[Invoice]) -> None:
    """Take the next numbers of each counter; counters are locked in a fixed order until the transaction ends."""
    groups: dict[tuple[Any, str, bool], list[Invoice]] = defaultdict(list)
    for invoice in invoices:
        groups[invoice.seller_id, invoice.series, invoice.livemode].append(invoice)
    for (seller_id, series, livemode), members in sorted(groups.items(), key=lambda pair: str(pair[0])):
        last = take_numbers(seller_id=seller_id, series=series, livemode=livemode, count=len(members))
        for number, invoice in enumerate(members, start=last - len(members) + 1):
            invoice.number = number
            invoice.number_text = format_number(series, number)
