"""The numbers of a portal's first screen."""

from __future__ import annotations

from dataclasses import dataclass

from accounts.models import Account, Subscription, SubscriptionStatus
from accounts.queries.invoice_credit import get_invoice_credit
from accounts.queries.payment_methods import count_payment_methods

ACTIVE_STATUSES = (SubscriptionStatus.ACTIVE, SubscriptionStatus.TRIALING)


@dataclass(frozen=True, slots=True)
class PortalOverview:
    """`balance` is invoice credit, minor units of `currency`."""

    account_id: str
    balance: int
    currency: str
    active_subscriptions: int
    payment_methods: int


def get_overview(*, account: Account, currency: str) -> PortalOverview:
    """Return the overview of an account, its credit in one currency. Three queries."""
    active = Subscription.objects.filter(account=account, status__in=ACTIVE_STATUSES).count()
    return PortalOverview(
        account_id=account.public_id,
        balance=get_invoice_credit(account_id=account.pk, currency=currency),
        currency=currency,
        active_subscriptions=active,
        payment_methods=count_payment_methods(account.pk),
    )
