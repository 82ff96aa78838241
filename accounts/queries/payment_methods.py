"""
The payment methods of accounts. Callers see attached ones only; the others are history.

Source: contract chapter Payments.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db.models import Exists, F, OuterRef, Prefetch, Q, QuerySet

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


def has_paid_subscription(account_id: UUID, *, charged_on: UUID | None = None) -> bool:
    """
    Tell whether a subscription runs that costs something; one given by staff does not.

    With `charged_on`, the account's default: one that does not name another method.
    """
    items = SubscriptionItem.objects.filter(ended_at__isnull=True).select_related("price")
    running = Subscription.objects.filter(account_id=account_id, status__in=_PAYING_STATUSES).exclude(
        provider_type=ProviderType.MANUAL_GRANT
    )
    if charged_on is not None:
        running = running.filter(Q(default_payment_method__isnull=True) | Q(default_payment_method=charged_on))
    for subscription in running.prefetch_related(Prefetch("items", items)):
        prices = [item.price for item in subscription.items.all()]
        # A meter without a price is there because a rule or a quota's overage charged for it.
        if any(price is None for price in prices) or not is_free(price for price in prices if price is not None):
            return True
    return False


def list_expiring_cards(
    *, at: datetime, notice_days: int, on_test_clock: bool, limit: int, after: PaymentMethod | None = None
) -> list[PaymentMethod]:
    """
    Return default cards that end within `notice_days` or a little more, and were not told of, first to end first.

    `at` is the wall clock; those of accounts on a test clock are asked for apart, and go by it. Zones are left to the
    caller: a day more on both sides. `after` is the last one seen.
    """
    ahead, behind = timedelta(days=notice_days + 1), timedelta(days=2)
    now_at = F("account__test_clock__now_at")
    when = (
        Q(account__test_clock__isnull=False, expires_on__gte=now_at - behind, expires_on__lte=now_at + ahead)
        if on_test_clock
        else Q(account__test_clock__isnull=True, expires_on__range=((at - behind).date(), (at + ahead).date()))
    )
    untold = Q(expiry_told__isnull=True) | ~Q(expiry_told=F("expires_on"))
    rows = PaymentMethod.objects.filter(
        when, untold, is_default=True, expires_on__isnull=False, account__status=AccountStatus.ACTIVE
    )
    if after is not None:
        rows = rows.filter(Q(expires_on__gt=after.expires_on) | Q(expires_on=after.expires_on, pk__gt=after.pk))
    return list(rows.select_related("account__test_clock").order_by("expires_on", "pk")[:limit])


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
