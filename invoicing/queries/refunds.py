"""Refunds as callers see them."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.db.models import QuerySet

from accounts.queries.access import visible_accounts
from billing_site.kernel.actors import Principal
from billing_site.kernel.errors import NotFound
from invoicing.models import PaymentIntent, Refund


def list_batch(batch: UUID) -> list[Refund]:
    """Return the refunds of one request in the order they were written."""
    rows = Refund.objects.select_related("account__test_clock", "payment_intent", "invoice", "credit_note", "approval")
    return list(rows.filter(batch=batch).order_by("id"))


def visible_refunds(principal: Principal) -> QuerySet[Refund]:
    """Return the refunds the caller may see: public callers see their own."""
    rows = Refund.objects.select_related("account__test_clock", "payment_intent", "invoice", "credit_note", "approval")
    if principal.is_internal:
        return rows if principal.org is None else rows.filter(account__org_id=principal.org)
    return rows.filter(account__in=visible_accounts(principal))


def get_visible_refund(principal: Principal, reference: str) -> Refund:
    """
    Return a refund by its id.

    :raises NotFound: if the caller sees none.
    """
    key = Refund.parse_id(reference)
    found = visible_refunds(principal).filter(pk=key).first() if key else None
    if found is None:
        raise NotFound("refund")
    return found


def get_visible_payment(principal: Principal, reference: str) -> PaymentIntent:
    """
    Return a payment that a caller may name, with its account.

    :raises NotFound: if the caller sees none.
    """
    key = PaymentIntent.parse_id(reference)
    rows = PaymentIntent.objects.select_related("account__test_clock")
    if not principal.is_internal:
        rows = rows.filter(account__in=visible_accounts(principal))
    elif principal.org is not None:
        rows = rows.filter(account__org_id=principal.org)
    found = rows.filter(pk=key).first() if key else None
    if found is None:
        raise NotFound("payment_intent")
    return found


def sum_batch(refunds: Sequence[Refund]) -> int:
    """Return what the refunds of one request come to, minor units; what failed and was tried again counts once."""
    tried_again = {refund.retry_of_id for refund in refunds}
    return sum(refund.amount for refund in refunds if refund.pk not in tried_again)
