"""
Where the quotas of accounts come from: their subscriptions' plans and limits of their own, in one query for many.

The rows stand as JSON on annotated accounts, so that whoever asks for more about an account asks in the same query.
"""

from __future__ import annotations

import json
from copy import copy
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import Exists, F, OuterRef, Q, QuerySet, Subquery, Sum, Value
from django.db.models.fields import CharField, DateTimeField
from django.db.models.functions import Cast, Coalesce, JSONObject

from accounts.models import Account, Subscription
from accounts.models.subscription import RUNNING_STATUSES
from billing_site.kernel.statements import prepared_cursor
from catalog.models import Plan, PlanVersionFeature, Price, QuotaRule
from metering.models import AccountQuota, QuotaReservation, ReservationStatus

ACCESS_STATUSES: Final = ("active", "trialing")
_LISTED: Final = ("listed_subscriptions", "listed_quotas", "listed_reservations")
# They stand in the statement where an account and a moment are filled in.
_SOME_ACCOUNT: Final = UUID(int=0)
_SOME_MOMENT: Final = datetime(1, 1, 1, tzinfo=UTC)


def with_quota_sources(accounts: QuerySet[Account], *, at: datetime) -> QuerySet[Account]:
    """
    Annotate accounts with `listed_subscriptions`, `listed_quotas` and `listed_reservations`.

    Subscriptions are those that are running, the newest first, and else the last that ran, each with the features and
    quota rules of its plan. Quotas are the account's own, inactive ones too. Reservations are what is held of each
    meter at `at`, by an account on a test clock at that clock's time.
    """
    return accounts.annotate(
        listed_subscriptions=ArraySubquery(_list_subscriptions(OuterRef("pk")).values(entry=_SUBSCRIPTION)),
        listed_quotas=ArraySubquery(_list_account_quotas().values(entry=_ACCOUNT_QUOTA)),
        listed_reservations=ArraySubquery(
            _sum_reservations(at).values(entry=JSONObject(meter_id="meter_id", held=Cast("held", CharField())))
        ),
    )


def load_quota_sources(account: Account, *, at: datetime) -> Account:
    """
    Return a copy of an account with what `with_quota_sources` annotates, as it is stored at this moment. One query.

    Its statement is long and always the same, so that a process writes it once and the server prepares it.
    """
    sql, template = _write_statement()
    given: dict[Any, Any] = {_SOME_ACCOUNT: account.pk, _SOME_MOMENT: at}
    with prepared_cursor() as cursor:
        cursor.execute(sql, [given.get(each, each) for each in template])
        row: Any = cursor.fetchone() or ([], [], [])
    found = copy(account)
    for name, entries in zip(_LISTED, row, strict=True):
        setattr(found, name, [json.loads(each) if isinstance(each, str) else each for each in entries])
    return found


@cache
def _write_statement() -> tuple[str, tuple[Any, ...]]:
    rows = with_quota_sources(Account.objects.filter(pk=_SOME_ACCOUNT), at=_SOME_MOMENT)
    sql, params = rows.values_list(*_LISTED).query.sql_with_params()
    return sql, tuple(params)


def gives_access(subscription: dict[str, Any], *, at: datetime) -> bool:
    """Tell whether its features count: active, trialing, or past due for a few days where the site allows it."""
    if subscription["status"] in ACCESS_STATUSES:
        return True
    grace = timedelta(days=settings.BILLING_PAST_DUE_GRACE_DAYS)
    since = datetime.fromisoformat(subscription["current_period_start"])
    return bool(subscription["status"] == "past_due" and at < since + grace)


def list_features(subscription: dict[str, Any]) -> list[str]:
    """Return the features that the provider's last update named, while active or trialing; else the plan's."""
    named: list[str] | None = subscription["provider_features"]
    if named is None:
        return list(subscription["features"])
    return named if subscription["status"] in ACCESS_STATUSES else []


def _list_subscriptions(account_id: OuterRef) -> QuerySet[Subscription]:
    """Return as many as there are products, or one."""
    running = Q(status__in=RUNNING_STATUSES)
    newest = Subscription.objects.filter(account_id=OuterRef("account_id")).order_by("-id").values("pk")[:1]
    features = PlanVersionFeature.objects.filter(plan_version=OuterRef("plan_version")).order_by("position", "id")
    return (
        Subscription.objects.filter(running | Q(pk=Subquery(newest)), account_id=account_id)
        .order_by("-id")
        .annotate(
            listed_features=ArraySubquery(features.values("feature__key")),
            listed_quotas=ArraySubquery(_list_plan_quotas().values(entry=_PLAN_QUOTA)),
        )
    )


def _list_plan_quotas() -> QuerySet[QuotaRule]:
    """Return the quota rules of a subscription's plan, with the cheapest plan of the product that allows more."""
    rules = QuotaRule.objects.filter(plan_version=OuterRef("plan_version")).order_by("feature__key", "window", "id")
    roomier = _list_roomier_plans(currency=OuterRef(OuterRef(OuterRef("currency")))).filter(
        product=OuterRef("plan_version__plan__product")
    )
    return rules.annotate(
        roomier_plan=Subquery(roomier.exclude(pk=OuterRef("plan_version__plan")).values("key")[:1]),
    )


def _list_account_quotas() -> QuerySet[AccountQuota]:
    """Return the quotas of an account, with the cheapest plan that allows more of what one of its products sells."""
    subscribed = Subscription.objects.filter(account=OuterRef(OuterRef("account")), status__in=RUNNING_STATUSES)
    limiting = QuotaRule.objects.filter(
        plan_version=OuterRef("plan_version"), meter=OuterRef(OuterRef(OuterRef("meter")))
    )
    priced = Price.objects.filter(plan_version=OuterRef("plan_version"), meter=OuterRef(OuterRef(OuterRef("meter"))))
    selling = subscribed.filter(Exists(limiting) | Exists(priced))
    roomier = (
        _list_roomier_plans(currency=OuterRef(OuterRef("account__currency")))
        .filter(product__in=selling.values("product"))
        .exclude(pk__in=subscribed.values("plan_version__plan"))
    )
    return (
        AccountQuota.objects.filter(account=OuterRef("pk"))
        .order_by("feature", "meter__event_name", "window")
        .annotate(roomier_plan=Subquery(roomier.values("key")[:1]))
    )


def _sum_reservations(at: datetime) -> QuerySet[QuotaReservation]:
    """Return one row for each meter of an account that something is held of."""
    present = Coalesce(OuterRef("test_clock__now_at"), Value(at), output_field=DateTimeField())
    held = QuotaReservation.objects.filter(
        account=OuterRef("pk"), status=ReservationStatus.OPEN, expires_at__gt=present
    )
    return held.order_by().values("meter_id").annotate(held=Sum("quantity"))  # type: ignore[return-value]


def _list_roomier_plans(*, currency: OuterRef) -> QuerySet[Plan]:
    """
    Return the active plans with a higher limit or none for a quota's meter and window, the cheapest first.

    For a subquery of quota rows. Plans that only staff sell are left out.
    """
    as_tight = QuotaRule.objects.filter(
        plan_version=OuterRef("current_version"),
        meter=OuterRef(OuterRef("meter")),
        window=OuterRef(OuterRef("window")),
        limit__lte=OuterRef(OuterRef("limit")),
    )
    fee = Price.objects.filter(plan_version=OuterRef("current_version"), meter__isnull=True, currency=currency)
    return (
        Plan.objects.filter(~Exists(as_tight), is_active=True, current_version__contact_sales=False)
        .annotate(fee=Subquery(fee.order_by("unit_amount").values("unit_amount")[:1]))
        .order_by(F("fee").asc(nulls_last=True), "key")
    )


_METER: Final[dict[str, str]] = {
    "id": "id",
    "meter_id": "meter_id",
    "meter_event_name": "meter__event_name",
    "unit": "meter__unit",
    "aggregation": "meter__aggregation",
    "window": "window",
    "upgrade_plan_key": "upgrade_plan_key",
    "roomier_plan": "roomier_plan",
}
_PLAN_QUOTA: Final = JSONObject(
    **_METER,
    feature="feature__key",
    limit=Cast("limit", CharField()),
    overage_price=Cast("overage_price", CharField()),
    enforcement="enforcement",
    created_at="plan_version__created_at",
)
_ACCOUNT_QUOTA: Final = JSONObject(
    **_METER,
    feature="feature",
    limit=Cast("limit", CharField()),
    overage_price=Cast("overage_price", CharField()),
    is_hard="is_hard",
    resource_type="resource_type",
    resource_name="resource_name",
    warning_percent=Cast("warning_percent", CharField()),
    alert_recipients="alert_recipients",
    is_active="is_active",
    stated_limit=Cast("stated_limit", CharField()),
    stated_unit=F("unit"),
    created_at="created_at",
    updated_at="updated_at",
)
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
