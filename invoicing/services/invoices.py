"""Use cases on one invoice: finalize and void. Source: contract chapter Invoices."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Q

from accounts.models import LedgerEntry
from accounts.services import ledger
from accounts.services.account_locks import lock_account
from accounts.services.discounts import give_month_back
from accounts.services.stored_money import lock_stored_money
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import InvalidState, NotFound
from billing_site.kernel.ids import encode_id
from billing_site.platform.services import events
from invoicing.models import (
    Invoice,
    InvoiceLine,
    InvoiceMember,
    InvoiceStatus,
    LineType,
    PaymentAllocation,
    ReviewStatus,
)
from invoicing.queries.members import list_billed_subscriptions, lock_subscriptions_of
from invoicing.queries.pending_charges import select_waiting
from invoicing.services.activation import activate_paid
from invoicing.services.crediting import give_back_credits, sum_later_credits
from invoicing.services.dunning import record_paid
from invoicing.services.issuing import issue_invoices, snapshot_invoice
from invoicing.services.revenue import invoice_key, take_back_revenue
from invoicing.services.review_holds import close_review
from invoicing.services.sellers import snapshot_seller
from invoicing.services.traces import snapshot_account


def lock_invoice(invoice_id: uuid.UUID) -> Invoice:
    """
    Return the invoice locked for the transaction, with account and seller loaded; lock the account before.

    :raises NotFound: if there is none.
    """
    found = (
        Invoice.objects.select_for_update(of=("self",))
        .select_related("account__test_clock", "seller")
        .filter(id=invoice_id)
        .first()
    )
    if found is None:
        raise NotFound("invoice")
    return found


def lock_parties(invoice_id: uuid.UUID) -> None:
    """
    Lock the account of an invoice, then its subscriptions, before the invoice itself.

    Everything that moves an account's money holds the first; billing counts months of discounts, and payments change
    the status, under the second.
    :raises NotFound: if there is no such invoice.
    """
    account_id = Invoice.objects.filter(id=invoice_id).values_list("account_id", flat=True).first()
    if account_id is None:
        raise NotFound("invoice")
    lock_account(account_id)
    lock_subscriptions_of([invoice_id])


def find_void_obstacle(invoice: Invoice) -> str:
    """
    Return why an invoice cannot be voided, as a sentence; empty when it can. Comes with its seller.

    Source: policies, rule 26; contract chapter Invoices.
    """
    instead = "Correct it with a credit note and a new invoice."
    if not invoice.can_become(InvoiceStatus.VOID):
        issued = invoice.status in (InvoiceStatus.PAID, InvoiceStatus.UNCOLLECTIBLE)
        return "Only an unpaid draft or open invoice can be voided." + (f" {instead}" if issued else "")
    if invoice.number is not None and not invoice.seller.voiding_allowed:
        country = f" in {invoice.seller.country}" if invoice.seller.country else ""
        return f"The seller does not void invoices that are issued{country}. {instead}"
    if invoice.amount_paid > sum_later_credits(invoice):
        return f"Something was paid on it. {instead}"
    if PaymentAllocation.objects.filter(invoice=invoice, is_open=True).exists():
        return "A payment of it is under way; wait until it is settled."
    later = InvoiceLine.objects.filter(original_line__invoice=invoice, is_reversed=False).exclude(invoice=invoice)
    if (named := later.select_related("invoice").order_by("-id").first()) is not None:
        return f"{named.invoice} bills more usage of a period of this one: void that first."
    return _find_given_back(invoice)


def _find_given_back(invoice: Invoice) -> str:
    """Return that unused time of the invoice was given back elsewhere, or will be; empty when it was not."""
    owners = list_billed_subscriptions([invoice]).get(invoice.pk)
    if not owners or invoice.number is None:
        return ""
    lines = [encode_id(InvoiceLine.id_prefix, key) for key in invoice.lines.values_list("id", flat=True)]
    credits = InvoiceLine.objects.filter(
        Q(subscription__in=owners) | Q(invoice__subscription__in=owners),
        type=LineType.PRORATION,
        is_reversed=False,
        trace__charge__credits__line__in=lines,
    )
    if (named := credits.exclude(invoice=invoice).select_related("invoice").order_by("-id").first()) is not None:
        return f"{named.invoice} gives unused time of this one back: void that first, or credit this one instead."
    waiting = select_waiting().filter(subscription__in=owners, facts__credits__line__in=lines)
    if waiting.exclude(invoice=invoice).exists():
        return "What is given back of it waits for the next invoice. Correct it with a credit note."
    return ""


def list_used_discounts(invoice: Invoice) -> list[uuid.UUID]:
    """Return the discounts of which an invoice used a month. One query for an invoice of several subscriptions."""
    if not invoice.is_grouped:
        return [] if invoice.subscription_discount_id is None else [invoice.subscription_discount_id]
    members = InvoiceMember.objects.filter(invoice=invoice, discount__isnull=False).order_by("position")
    return list(members.values_list("discount_id", flat=True))


@transaction.atomic
def finalize_invoice(
    *, invoice_id: uuid.UUID, at: datetime, actor: Actor, due_days: int | None = None, reason: str = ""
) -> Invoice:
    """
    Number a draft, let stored money pay, fix its amounts, post it and make it payable; due 0 is paid at once.

    It says of seller and account what they are now, not when it was drafted; the e-mail address is the draft's.
    :raises InvalidState: if it is not a draft, or a person has to release it from review first.
    """
    lock_parties(invoice_id)
    invoice = lock_invoice(invoice_id)
    if invoice.status != InvoiceStatus.DRAFT:
        raise InvalidState("Only a draft can be finalized.", current_status=invoice.status)
    if invoice.in_review:
        raise InvalidState("The draft is under review; release it there.", current_status=invoice.status)
    _take_snapshots(invoice)
    money = lock_stored_money(account_ids=[invoice.account_id], at=at, actor=actor)
    return issue_invoices([invoice], at=at, actor=actor, money=money, due_days=due_days, reason=reason)[0]


def _take_snapshots(invoice: Invoice) -> None:
    """Take seller and account as they are; one that moved since stays where the draft's tax was computed for."""
    seller, account = snapshot_seller(invoice.seller), snapshot_account(invoice.account)
    if _is_same_place(seller, invoice.seller_snapshot):
        invoice.seller_snapshot = seller
    if _is_same_place(account, invoice.account_snapshot):
        address = invoice.account_snapshot.get("email")
        invoice.account_snapshot = account | ({"email": address} if address else {})
    invoice.save(update_fields=["seller_snapshot", "account_snapshot", "updated_at"])


def _is_same_place(now: Mapping[str, Any], then: Mapping[str, Any]) -> bool:
    return all(str(now.get(key) or "") == str(then.get(key) or "") for key in ("country", "state", "tax_id"))


@transaction.atomic
def void_invoice(*, invoice_id: uuid.UUID, at: datetime, actor: Actor, reason: str = "") -> Invoice:
    """
    Cancel a draft or open invoice: its ledger entry is reversed, its periods are free again, its number stays used.

    Invoice credit, credit grants and prepaid money that paid of it, at issue or later, come back, and a discount gets
    back the month that the invoice used. Usage that later lines bill on top of its own is billed from the beginning
    when the period is billed again, so those go first.
    :raises InvalidState: if it is neither draft nor open, or something else was paid on it, or its seller does not void
        what is issued, or a later invoice bills more of its usage.
    Source: policies, rule 26.
    """
    lock_parties(invoice_id)
    invoice = lock_invoice(invoice_id)
    before = {"status": invoice.status}
    if refusal := find_void_obstacle(invoice):
        raise InvalidState(refusal, current_status=invoice.status)
    close_review(invoice, ReviewStatus.DISCARDED, at=at, actor=actor, reason=reason)
    invoice.status, invoice.voided_at, invoice.void_reason = InvoiceStatus.VOID, at, reason
    invoice.amount_paid, invoice.next_attempt_at = 0, None
    invoice.save(update_fields=["status", "voided_at", "void_reason", "amount_paid", "next_attempt_at", "updated_at"])
    # Reversed lines give up their claim, so the period and its usage can be billed again.
    InvoiceLine.objects.filter(invoice=invoice).update(is_reversed=True)
    InvoiceMember.objects.filter(invoice=invoice).update(is_reversed=True)
    give_back_credits(invoice, at=at, actor=actor, reason=reason)
    entry = LedgerEntry.objects.filter(key=invoice_key(invoice)).first()
    if entry is not None:
        ledger.reverse_entry(entry=entry, at=at, key=f"void:{invoice.public_id}", description="Invoice voided")
        take_back_revenue(invoice, source=invoice_key(invoice), at=at)
    for discount_id in list_used_discounts(invoice):
        give_month_back(discount_id)
    events.emit(
        "invoice.voided",
        subject=invoice,
        account_id=invoice.account_id,
        at=at,
        actor=actor,
        data=snapshot_invoice(invoice),
        previous=before,
        reason=reason,
    )
    record_paid([invoice], at=at, actor=actor)
    if invoice.number is not None:
        activate_paid([invoice], at=at, actor=actor)
    return invoice
