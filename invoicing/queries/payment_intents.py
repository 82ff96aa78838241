"""Payments as callers see them."""

from __future__ import annotations

from django.db.models import Prefetch, QuerySet

from accounts.models import Account
from accounts.queries.access import WRITING_ROLES, require_role, visible_accounts
from billing_site.kernel.actors import Principal
from billing_site.kernel.errors import NotFound
from invoicing.models import PaymentAllocation, PaymentIntent


def list_payment_intents(accounts: QuerySet[Account]) -> QuerySet[PaymentIntent]:
    """Return the payments of some accounts with the invoices they pay."""
    allocations = PaymentAllocation.objects.select_related("invoice").order_by("invoice_id")
    return (
        PaymentIntent.objects.filter(account__in=accounts.order_by().values("pk"))
        .select_related("account__test_clock", "payment_method")
        .prefetch_related(Prefetch("allocations", queryset=allocations))
    )


def get_payment_intent(principal: Principal, reference: str, *, write: bool = False) -> PaymentIntent:
    """
    Return a payment that the caller may see.

    :raises NotFound: if there is none. :raises AccountForbidden: with `write`, for who only reads.
    """
    key = PaymentIntent.parse_id(reference)
    found = None if key is None else list_payment_intents(visible_accounts(principal)).filter(pk=key).first()
    if found is None:
        raise NotFound("payment_intent")
    if write:
        require_role(principal, found.account, WRITING_ROLES)
    return found
