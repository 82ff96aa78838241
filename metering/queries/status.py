"""
Where an account stands: subscriptions, features, quotas and money in two queries, however long its history is.

Source: contract chapter Entitlements (Status view).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db.models import Exists, OuterRef, Subquery, Sum

from accounts.models import (
    Account,
    Hold,
    HoldStatus,
    LedgerAccount,
    LedgerKind,
    PaymentMethod,
    PaymentMethodStatus,
    ProviderType,
)
from metering.queries.quota_sources import gives_access, list_features, with_quota_sources
from metering.queries.quotas import QuotaUse, find_stopping, list_quotas_in_force, measure_quotas

# What a status is called in the view, the best first.
_SHOWN: Final = {
    "active": "active",
    "trialing": "active",
    "past_due": "past_due",
    "unpaid": "past_due",
    "paused": "paused",
    "incomplete": "incomplete",
    "canceled": "canceled",
}
_BEST_FIRST: Final = ("active", "past_due", "paused", "incomplete", "canceled")


@dataclass(frozen=True, slots=True)
class BillingStatus:
    """
    The state of an account. `credit_balance` is prepaid money available, minor units of the account's currency.

    `status` is that of the best subscription, `missing` without any; `plan_id` and `provider` are that one's.
    `features` are those of every subscription that gives access; `usage` is that of every limit in force.
    """

    account: Account
    status: str
    plan_id: str | None
    provider: str | None
    features: tuple[str, ...]
    usage: tuple[QuotaUse, ...]
    is_running: bool
    credit_balance: int
    has_payment_method: bool

    @property
    def exhausted(self) -> QuotaUse | None:
        """The hard quota that stops the account: of several the one that resets last."""
        return find_stopping(self.usage)


def get_status(*, account: Account, at: datetime) -> BillingStatus:
    """Return where `account` stands at `at`. Two queries, one more where gauges are limited; one without a quota."""
    found: Any = _load(account, at)
    subscriptions: list[dict[str, Any]] = sorted(
        found.listed_subscriptions, key=lambda each: _BEST_FIRST.index(_SHOWN[each["status"]])
    )
    running = [each for each in subscriptions if gives_access(each, at=at)]
    limited = [quota for quota in list_quotas_in_force(found, at=at) if quota.limit is not None]
    best = subscriptions[0] if subscriptions else None
    return BillingStatus(
        account=account,
        status="missing" if best is None else _SHOWN[best["status"]],
        plan_id=None if best is None else best["plan_id"],
        provider=None if best is None else _name_provider(best),
        features=tuple(dict.fromkeys(feature for each in running for feature in list_features(each))),
        usage=tuple(measure_quotas(limited)),
        is_running=bool(running),
        credit_balance=max(0, -(found.prepaid_balance or 0) - (found.held or 0)),
        has_payment_method=found.has_payment_method,
    )


def _load(account: Account, at: datetime) -> Account:
    """Return the account with its money, and its subscriptions with their features and quotas."""
    pot = LedgerAccount.objects.filter(account=OuterRef("pk"), kind=LedgerKind.PREPAID, currency=OuterRef("currency"))
    holds = Hold.objects.filter(
        account=OuterRef("pk"), status=HoldStatus.PENDING, currency=OuterRef("currency"), expires_at__gt=at
    )
    return (
        with_quota_sources(Account.objects.filter(pk=account.pk), at=at)
        .annotate(
            prepaid_balance=Subquery(pot.values("balance")[:1]),
            held=Subquery(holds.order_by().values("account").annotate(total=Sum("amount")).values("total")),
            has_payment_method=Exists(
                PaymentMethod.objects.filter(account=OuterRef("pk"), status=PaymentMethodStatus.ATTACHED)
            ),
        )
        .only("pk", "timezone")
        .get()
    )


def _name_provider(subscription: dict[str, Any]) -> str:
    if subscription["provider"]:
        return str(subscription["provider"])
    return "stripe" if subscription["provider_type"] == ProviderType.STRIPE else "local"
