"""
Where an account stands: subscriptions, features, quotas and money in two queries, however long its history is.

Source: contract chapter Entitlements (Status view).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import Exists, F, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.fields import CharField
from django.db.models.functions import Cast, JSONObject

from accounts.models import (
    Account,
    Hold,
    HoldStatus,
    LedgerAccount,
    LedgerKind,
    PaymentMethod,
    PaymentMethodStatus,
    ProviderType,
    Subscription,
)
from accounts.models.subscription import RUNNING_STATUSES
from billing_site.kernel.periods import Period
from catalog.models import Enforcement, Plan, PlanVersionFeature, Price, QuotaRule
from metering.rating.windows import get_bucket
from metering.stores import Quantity, QuantityRequest, sum_quantities

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
_ACCESS: Final = ("active", "trialing")
ZERO: Final = Decimal(0)


@dataclass(frozen=True, slots=True)
class QuotaUse:
    """How much of a quota is used in its present bucket, in the meter's unit."""

    feature: str
    meter_event_name: str
    window: str
    used: Decimal
    limit: Decimal
    is_hard: bool
    bucket: Period
    upgrade_plan_id: str

    @property
    def remaining(self) -> Decimal:
        return max(ZERO, self.limit - self.used)

    @property
    def exceeded(self) -> bool:
        return self.used >= self.limit


@dataclass(frozen=True, slots=True)
class BillingStatus:
    """
    The state of an account. `credit_balance` is prepaid money available, minor units of the account's currency.

    `status` is that of the best subscription, `missing` without any; `plan_id` and `provider` are that one's.
    `features` and `usage` are those of every subscription that gives access.
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
        stopping = [use for use in self.usage if use.is_hard and use.exceeded]
        return max(stopping, key=lambda use: use.bucket.end, default=None)


def get_status(*, account: Account, at: datetime) -> BillingStatus:
    """Return where `account` stands at `at`. Two queries; one when no plan in force has a quota."""
    found: Any = _load(account, at)
    subscriptions: list[dict[str, Any]] = sorted(
        found.listed_subscriptions, key=lambda each: _BEST_FIRST.index(_SHOWN[each["status"]])
    )
    running = [each for each in subscriptions if _gives_access(each, at)]
    best = subscriptions[0] if subscriptions else None
    return BillingStatus(
        account=account,
        status="missing" if best is None else _SHOWN[best["status"]],
        plan_id=None if best is None else best["plan_id"],
        provider=None if best is None else _name_provider(best),
        features=tuple(dict.fromkeys(feature for each in running for feature in _list_features(each))),
        usage=tuple(_measure(account, running, at)),
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
        Account.objects.filter(pk=account.pk)
        .annotate(
            prepaid_balance=Subquery(pot.values("balance")[:1]),
            held=Subquery(holds.order_by().values("account").annotate(total=Sum("amount")).values("total")),
            has_payment_method=Exists(
                PaymentMethod.objects.filter(account=OuterRef("pk"), status=PaymentMethodStatus.ATTACHED)
            ),
            listed_subscriptions=ArraySubquery(_list_subscriptions(OuterRef("pk")).values(entry=_SUBSCRIPTION)),
        )
        .only("pk")
        .get()
    )


def _list_subscriptions(account_id: OuterRef) -> QuerySet[Subscription]:
    """Return what is running, the newest first, and else the last that ran: as many as there are products, or one."""
    running = Q(status__in=RUNNING_STATUSES)
    newest = Subscription.objects.filter(account_id=OuterRef("account_id")).order_by("-id").values("pk")[:1]
    features = PlanVersionFeature.objects.filter(plan_version=OuterRef("plan_version")).order_by("position", "id")
    return (
        Subscription.objects.filter(running | Q(pk=Subquery(newest)), account_id=account_id)
        .order_by("-id")
        .annotate(
            listed_features=ArraySubquery(features.values("feature__key")),
            listed_quotas=ArraySubquery(_list_quotas().values(entry=_QUOTA)),
        )
    )


def _list_quotas() -> QuerySet[QuotaRule]:
    """Return the quota rules of a subscription's plan, with the cheapest plan that allows more."""
    rules = QuotaRule.objects.filter(plan_version=OuterRef("plan_version")).order_by("feature__key", "window", "id")
    as_tight = QuotaRule.objects.filter(
        plan_version=OuterRef("current_version"),
        meter=OuterRef(OuterRef("meter")),
        window=OuterRef(OuterRef("window")),
        limit__lte=OuterRef(OuterRef("limit")),
    )
    fee = Price.objects.filter(
        plan_version=OuterRef("current_version"), meter__isnull=True, currency=OuterRef(OuterRef(OuterRef("currency")))
    )
    roomier = Plan.objects.filter(
        ~Exists(as_tight),
        product=OuterRef("plan_version__plan__product"),
        is_active=True,
        current_version__contact_sales=False,
    ).annotate(fee=Subquery(fee.order_by("unit_amount").values("unit_amount")[:1]))
    cheapest = roomier.exclude(pk=OuterRef("plan_version__plan")).order_by(F("fee").asc(nulls_last=True), "key")
    return rules.annotate(roomier_plan=Subquery(cheapest.values("key")[:1]))


def _gives_access(subscription: dict[str, Any], at: datetime) -> bool:
    """Tell whether its features count: active, trialing, or past due for a few days where the site allows it."""
    if subscription["status"] in _ACCESS:
        return True
    grace = timedelta(days=settings.BILLING_PAST_DUE_GRACE_DAYS)
    since = datetime.fromisoformat(subscription["current_period_start"])
    return bool(subscription["status"] == "past_due" and at < since + grace)


def _list_features(subscription: dict[str, Any]) -> list[str]:
    """Return the features that the provider's last update named, while active or trialing; else the plan's."""
    named: list[str] | None = subscription["provider_features"]
    if named is None:
        return list(subscription["features"])
    return named if subscription["status"] in _ACCESS else []


def _name_provider(subscription: dict[str, Any]) -> str:
    if subscription["provider"]:
        return str(subscription["provider"])
    return "stripe" if subscription["provider_type"] == ProviderType.STRIPE else "local"


def _measure(account: Account, subscriptions: Sequence[dict[str, Any]], at: datetime) -> list[QuotaUse]:
    """Return the use of every quota of the subscriptions, from the events of its bucket. One query for all."""
    asked: list[tuple[dict[str, Any], QuantityRequest]] = []
    for subscription in subscriptions:
        period = Period(
            datetime.fromisoformat(subscription["current_period_start"]),
            datetime.fromisoformat(subscription["current_period_end"]),
        )
        for rule in subscription["quotas"]:
            bucket = get_bucket(rule["window"], at=at, billing_period=period)
            asked.append((rule, QuantityRequest(account.pk, UUID(rule["meter_id"]), bucket)))
    found: dict[QuantityRequest, Quantity] = {}
    if asked:
        found = sum_quantities(list(dict.fromkeys(request for _, request in asked)))
    return [
        QuotaUse(
            feature=rule["feature"],
            meter_event_name=rule["meter_event_name"],
            window=rule["window"],
            used=found[request].quantity,
            limit=Decimal(rule["limit"]),
            is_hard=rule["enforcement"] == Enforcement.HARD,
            bucket=request.period,
            upgrade_plan_id=rule["upgrade_plan_key"] or rule["roomier_plan"] or "",
        )
        for rule, request in asked
    ]


_SUBSCRIPTION: Final = JSONObject(
    status="status",
    provider_type="provider_type",
    provider="provider",
    provider_features="provider_features",
    current_period_start="current_period_start",
    current_period_end="current_period_end",
    plan_id="plan_version__plan__key",
    features="listed_features",
    quotas="listed_quotas",
)
_QUOTA: Final = JSONObject(
    feature="feature__key",
    meter_id="meter_id",
    meter_event_name="meter__event_name",
    window="window",
    limit=Cast("limit", CharField()),
    enforcement="enforcement",
    upgrade_plan_key="upgrade_plan_key",
    roomier_plan="roomier_plan",
)
