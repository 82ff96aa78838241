"""Subscriptions and their items."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from django.db import models
from django.db.models import Q

from accounts.models.account import Account, CollectionMethod
from billing_site.kernel.periods import Interval, Period
from billing_site.platform.models.base import Identified, Timestamped
from catalog.models import Meter, PlanVersion, Price, PriceInterval, Product


class SubscriptionStatus(models.TextChoices):
    INCOMPLETE = "incomplete"
    TRIALING = "trialing"
    ACTIVE = "active"
    PAST_DUE = "past_due"
    UNPAID = "unpaid"
    PAUSED = "paused"
    CANCELED = "canceled"


# A subscription in one of these occupies its product: a second one for the same product is refused.
RUNNING_STATUSES = ("incomplete", "trialing", "active", "past_due", "unpaid", "paused")
# The billing cycle picks subscriptions in one of these.
BILLABLE_STATUSES = ("trialing", "active", "past_due")

SUBSCRIPTION_TRANSITIONS: dict[str, frozenset[str]] = {
    "incomplete": frozenset({"active", "canceled"}),
    "trialing": frozenset({"active", "paused", "canceled"}),
    "active": frozenset({"past_due", "paused", "canceled"}),
    "past_due": frozenset({"active", "unpaid", "canceled"}),
    "unpaid": frozenset({"active", "canceled"}),
    "paused": frozenset({"trialing", "active", "canceled"}),
    "canceled": frozenset(),
}


class ProviderType(models.TextChoices):
    INTERNAL = "internal"
    STRIPE = "stripe"
    MANUAL_GRANT = "manual_grant"


class Subscription(Identified, Timestamped):
    """
    An account's use of one plan version.

    Boundary number k is computed from `anchor_date` in `timezone` (both fixed at the start), never from the previous
    period. `next_boundary` is the number of the boundary that the next billing settles: at boundary k the fee in
    advance of period k and everything in arrears of period k - 1. `next_billing_at` is its instant, or null when
    nothing will be billed. `pending_plan_version` takes over when the next period opens; what that boundary closes is
    still priced by the old one. Source: policies.md 5 to 8.
    """

    id_prefix = "sub"

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="subscriptions")
    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="+")
    plan_version = models.ForeignKey(PlanVersion, on_delete=models.PROTECT, related_name="+")
    pending_plan_version = models.ForeignKey(
        PlanVersion, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    status = models.CharField(max_length=10, choices=SubscriptionStatus)
    quantity = models.PositiveIntegerField(default=1)
    currency = models.CharField(max_length=3)
    interval = models.CharField(max_length=5, choices=PriceInterval)
    interval_count = models.PositiveSmallIntegerField(default=1)
    timezone = models.CharField(max_length=64)
    anchor_date = models.DateField()
    current_period_start = models.DateTimeField()
    current_period_end = models.DateTimeField()
    next_boundary = models.IntegerField(default=0)
    next_billing_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField()
    trial_start = models.DateTimeField(null=True, blank=True)
    trial_end = models.DateTimeField(null=True, blank=True)
    cancel_at_period_end = models.BooleanField(default=False)
    cancellation_reason = models.CharField(max_length=50, blank=True)
    canceled_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    paused_at = models.DateTimeField(null=True, blank=True)
    collection_method = models.CharField(
        max_length=20, choices=CollectionMethod, default=CollectionMethod.CHARGE_AUTOMATICALLY
    )
    provider_type = models.CharField(max_length=12, choices=ProviderType, default=ProviderType.INTERNAL)
    billing_threshold = models.BigIntegerField(null=True, blank=True)
    livemode = models.BooleanField(default=False)
    metadata = models.JSONField(default=dict, blank=True)

    class Meta:
        db_table = "subscriptions"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["account", "product"],
                condition=Q(status__in=RUNNING_STATUSES),
                name="subscriptions_one_running_per_product",
            ),
            models.CheckConstraint(condition=Q(quantity__gte=1), name="subscriptions_quantity_positive"),
            models.CheckConstraint(
                condition=Q(current_period_end__gt=models.F("current_period_start")),
                name="subscriptions_period_not_empty",
            ),
            models.CheckConstraint(
                condition=Q(status="canceled", ended_at__isnull=False)
                | (~Q(status="canceled") & Q(ended_at__isnull=True)),
                name="subscriptions_canceled_has_end",
            ),
            models.CheckConstraint(
                condition=~Q(status="trialing") | Q(trial_end__isnull=False),
                name="subscriptions_trialing_has_trial_end",
            ),
            models.CheckConstraint(
                condition=~Q(status="paused") | Q(paused_at__isnull=False), name="subscriptions_paused_has_time"
            ),
        ]
        indexes = [
            # The billing cycle: what is due, oldest first.
            models.Index(
                fields=["next_billing_at", "id"],
                condition=Q(status__in=BILLABLE_STATUSES, next_billing_at__isnull=False),
                name="subscriptions_due",
            ),
            models.Index(fields=["account", "-id"], name="subscriptions_of_account"),
        ]

    def __str__(self) -> str:
        return f"{self.public_id} ({self.status})"

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    @property
    def billing_interval(self) -> Interval:
        return Interval.parse(self.interval, self.interval_count)

    @property
    def current_period(self) -> Period:
        return Period(self.current_period_start, self.current_period_end)

    @property
    def is_running(self) -> bool:
        return self.status in RUNNING_STATUSES

    def can_become(self, status: str) -> bool:
        """Tell whether the transition table allows `status` next."""
        return status in SUBSCRIPTION_TRANSITIONS[self.status]


class BillingMode(models.TextChoices):
    LICENSED = "licensed"
    METERED = "metered"


class SubscriptionItem(Identified, Timestamped):
    """
    What a subscription is billed for: a fee times quantity (licensed) or a metered price (quantity 0).

    An item without a price is a meter that a pricing rule or the overage of a quota prices; it is made when that
    happens first, to claim the periods it is billed for.
    """

    id_prefix = "si"

    subscription = models.ForeignKey(Subscription, on_delete=models.PROTECT, related_name="items")
    price = models.ForeignKey(Price, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    meter = models.ForeignKey(Meter, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    billing_mode = models.CharField(max_length=8, choices=BillingMode)
    quantity = models.PositiveIntegerField(default=0)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    metadata = models.JSONField(default=dict, blank=True)

    class Meta:
        db_table = "subscription_items"
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["subscription", "price"],
                condition=Q(ended_at__isnull=True),
                name="subscription_items_price_once",
            ),
            models.UniqueConstraint(
                fields=["subscription", "meter"],
                condition=Q(ended_at__isnull=True, meter__isnull=False),
                name="subscription_items_meter_once",
            ),
            models.CheckConstraint(
                condition=Q(billing_mode="licensed", meter__isnull=True, quantity__gte=1, price__isnull=False)
                | Q(billing_mode="metered", meter__isnull=False, quantity=0),
                name="subscription_items_mode_matches",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.subscription_id} {self.price_id or self.meter_id}"

    def is_current(self, at: datetime) -> bool:
        """Tell whether the item is in force at `at`."""
        return self.started_at <= at and (self.ended_at is None or at < self.ended_at)
