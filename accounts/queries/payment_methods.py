"""
The payment methods of accounts. Callers see attached ones only; the others are history.

Source: contract chapter Payments.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.db.models import Exists, OuterRef, Prefetch, QuerySet

from accounts.models import (
    Account,
    AccountStatus,
    LedgerEntry,
    PaymentMethod,
    PaymentMethodStatus,
    ProviderType,
    Subscription,
    SubscriptionItem,
    SubscriptionStatus,
)
from accounts.models.payment_method import PROVIDER_TYPES
from accounts.queries.access import WRITING_ROLES, require_role, visible_accounts
from accounts.queries.prices import is_free
from billing_site.kernel.actors import Principal
from billing_site.kernel.errors import NotFound

# A subscription in one of these will be paid for, or already should have been.
_PAYING_STATUSES: Final = (
    SubscriptionStatus.INCOMPLETE,
    SubscriptionStatus.TRIALING,
    SubscriptionStatus.ACTIVE,
    SubscriptionStatus.PAST_DUE,
    SubscriptionStatus.UNPAID,
)


def list_attached() -> QuerySet[PaymentMethod]:
    """Return every attached method, with its account."""
    return PaymentMethod.objects.filter(status=PaymentMethodStatus.ATTACHED).select_related("account__test_clock")


def list_payment_methods(accounts: QuerySet[Account], *, type: str | None = None) -> QuerySet[PaymentMethod]:
    """Return the attached methods of `accounts`, all or of one type."""
    methods = list_attached().filter(account__in=accounts.order_by())
    return methods if type is None else methods.filter(type=type)


def get_payment_method(principal: Principal, reference: str, *, write: bool = False) -> PaymentMethod:
    """
    Return an attached method by its id.

    :raises NotFound: when there is none, or the caller does not see its account.
    :raises AccountForbidden: with `write`, when a public caller only reads on that account.
    """
    key = PaymentMethod.parse_id(reference)
    rows = list_payment_methods(visible_accounts(principal))
    method = None if key is None else rows.filter(pk=key).first()
    if method is None:
        raise NotFound("payment_method")
    if write:
        require_role(principal, method.account, WRITING_ROLES)
    return method


def find_own_method(account_id: UUID, reference: str) -> PaymentMethod:
    """
    Return an attached method of one account by its id.

    :raises NotFound: when the account has none with this id.
    """
    key = PaymentMethod.parse_id(reference)
    method = None if key is None else list_attached().filter(account_id=account_id, pk=key).first()
    if method is None:
        raise NotFound("payment_method", "The account has no such payment method.")
    return method


def has_verified_method(account_id: UUID) -> bool:
    """Tell whether a method on file was verified by a hold."""
    return PaymentMethod.objects.filter(
        account_id=account_id, status=PaymentMethodStatus.ATTACHED, verified_at__isnull=False
    ).exists()


def has_chargeable_method(account_id: UUID) -> bool:
    """Tell whether a method is on file that a provider can take money from; the prepaid balance is none."""
    return PaymentMethod.objects.filter(
        account_id=account_id, status=PaymentMethodStatus.ATTACHED, type__in=PROVIDER_TYPES
    ).exists()


def count_payment_methods(account_id: UUID) -> int:
    """Return how many methods are attached."""
    return PaymentMethod.objects.filter(account_id=account_id, status=PaymentMethodStatus.ATTACHED).count()


def has_paid_subscription(account_id: UUID) -> bool:
    """Tell whether a subscription runs that costs something; one given by staff does not."""
    items = SubscriptionItem.objects.filter(ended_at__isnull=True).select_related("price")
    running = Subscription.objects.filter(account_id=account_id, status__in=_PAYING_STATUSES).exclude(
        provider_type=ProviderType.MANUAL_GRANT
    )
    for subscription in running.prefetch_related(Prefetch("items", items)):
        prices = [item.price for item in subscription.items.all()]
        # A meter without a price is there because a rule or a quota's overage charged for it.
        if any(price is None for price in prices) or not is_free(price for price in prices if price is not None):
            return True
    return False


def list_owed_starter_credit(*, tag: str, since: datetime, limit: int) -> list[UUID]:
    """
    Return open accounts that have a method verified and no entry tagged `tag`.

    Looked at are methods whose rows were made at or after `since`; at most `limit` accounts.
    """
    given = LedgerEntry.objects.filter(account=OuterRef("account"), tags=tag)
    methods = PaymentMethod.objects.filter(
        status=PaymentMethodStatus.ATTACHED,
        verified_at__isnull=False,
        created_at__gte=since,
        account__status=AccountStatus.ACTIVE,
    )
    found = methods.filter(~Exists(given)).order_by("account_id").values_list("account_id", flat=True).distinct()
    return list(found[:limit])


def describe_payment_method(method: PaymentMethod) -> dict[str, Any]:
    """Return what an event stores: the method after the change. What the provider calls it stays inside."""
    return {
        "id": method.public_id,
        "type": method.type,
        "status": method.status,
        "name": method.name,
        "is_default": method.is_default,
        "card": method.card,
        "bank_account": method.bank_account,
        "billing_address": method.billing_address,
        "provider_type": method.provider_type,
        "verified_at": method.verified_at,
        "metadata": method.metadata,
    }
