"""Subscriptions and their items."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from django.db import models
from django.db.models import Q

from accounts.models.account import Account, CollectionMethod
from accounts.models.payment_method import PaymentMethod
from accounts.terms.cycles import Cycle
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
# A payment may take a subscription out of one of these.
WAITING_STATUSES = ("incomplete", "past_due", "unpaid")
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


# What waits for the next period, as one: `Subscription.drop_pending_change` forgets it.
PENDING_COLUMNS: Final = (
    "pending_plan_version",
    "pending_quantity",
    "pending_interval",
    "pending_interval_count",
    "pending_anchor_date",
)


class Alignment(models.TextChoices):
    ANNIVERSARY = "anniversary"
    CALENDAR = "calendar"


class ProviderType(models.TextChoices):
    INTERNAL = "internal"
    STRIPE = "stripe"
    MANUAL_GRANT = "manual_grant"


class Subscription(Identified, Timestamped):
    """
    An account's use of one plan version.

    Boundaries are computed from `anchor_date` in `timezone`, never from the previous period. They are billed one after
    the other: `next_boundary` is the running number of the next one and `next_billing_at` its instant, or null when
    nothing will be billed. A boundary bills everything in arrears of the period it closes and the fee in advance of the
    one it opens; the first period may be a stub. The pending columns say what takes over when the next period opens;
    what that boundary closes is still priced as it was. `revision` counts the changes of terms, so that two people who
    saw the same terms cannot both change them. Source: policies, rules 5 to 8 and 11.
    """

    id_prefix = "sub"

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="subscriptions")
    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="+")
    plan_version = models.ForeignKey(PlanVersion, on_delete=models.PROTECT, related_name="+")
    pending_plan_version = models.ForeignKey(
        PlanVersion, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    pending_quantity = models.PositiveIntegerField(null=True, blank=True)
    pending_interval = models.CharField(max_length=5, choices=PriceInterval, blank=True)
    pending_interval_count = models.PositiveSmallIntegerField(null=True, blank=True)
    pending_anchor_date = models.DateField(null=True, blank=True)
    status = models.CharField(max_length=10, choices=SubscriptionStatus)
    quantity = models.PositiveIntegerField(default=1)
    currency = models.CharField(max_length=3)
    interval = models.CharField(max_length=5, choices=PriceInterval)
    interval_count = models.PositiveSmallIntegerField(default=1)
    timezone = models.CharField(max_length=64)
    anchor_date = models.DateField()
    alignment = models.CharField(max_length=11, choices=Alignment, default=Alignment.ANNIVERSARY)
    billing_cycle_anchor = models.DateField(null=True, blank=True)
    current_period_start = models.DateTimeField()
    current_period_end = models.DateTimeField()
    next_boundary = models.IntegerField(default=0)
    next_billing_at = models.DateTimeField(null=True, blank=True)
    # Set by a renewal ahead of time: usage since then is billed with the running period, which begins later.
    usage_from = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField()
    trial_start = models.DateTimeField(null=True, blank=True)
    trial_end = models.DateTimeField(null=True, blank=True)
    cancel_at_period_end = models.BooleanField(default=False)
    cancellation_reason = models.CharField(max_length=50, blank=True)
    canceled_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    paused_at = models.DateTimeField(null=True, blank=True)
    resume_at = models.DateTimeField(null=True, blank=True)
    # When a start that waits for its first payment is canceled.
    incomplete_until = models.DateTimeField(null=True, blank=True)
    revision = models.PositiveIntegerField(default=0)
    collection_method = models.CharField(
        max_length=20, choices=CollectionMethod, default=CollectionMethod.CHARGE_AUTOMATICALLY
    )
    # Null: the default method of the account.
    default_payment_method = models.ForeignKey(
        PaymentMethod, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    provider_type = models.CharField(max_length=12, choices=ProviderType, default=ProviderType.INTERNAL)
    billed_by_provider = models.BooleanField(default=False)
    # What a payment provider told last. Its features, when it names some, count instead of the plan's.
    provider = models.CharField(max_length=50, blank=True)
    provider_subscription_id = models.CharField(max_length=255, blank=True)
    provider_features = models.JSONField(null=True, blank=True)
    provider_updated_at = models.DateTimeField(null=True, blank=True)
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
            models.CheckConstraint(
                condition=Q(resume_at__isnull=True) | Q(status="paused"), name="subscriptions_resumes_only_from_pause"
            ),
            models.CheckConstraint(
                condition=Q(incomplete_until__isnull=True) | Q(status="incomplete"),
                name="subscriptions_waits_only_incomplete",
            ),
            models.CheckConstraint(
                condition=Q(pending_interval="", pending_interval_count__isnull=True, pending_anchor_date__isnull=True)
                | Q(
                    ~Q(pending_interval=""),
                    pending_interval_count__gte=1,
                    pending_anchor_date__isnull=False,
                    pending_plan_version__isnull=False,
                ),
                name="subscriptions_pending_interval_whole",
            ),
            models.UniqueConstraint(
                fields=["provider", "provider_subscription_id"],
                condition=~Q(provider_subscription_id=""),
                name="subscriptions_provider_id_once",
            ),
            models.CheckConstraint(
                condition=Q(provider_subscription_id="") | ~Q(provider=""), name="subscriptions_provider_named"
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
            # The sweep that ends pauses.
            models.Index(fields=["resume_at"], condition=Q(resume_at__isnull=False), name="subscriptions_to_resume"),
            # The sweep that invoices usage at a threshold.
            models.Index(fields=["id"], condition=Q(billing_threshold__isnull=False), name="subscriptions_threshold"),
            # The sweep that cancels what was not paid in time.
            models.Index(
                fields=["incomplete_until"],
                condition=Q(incomplete_until__isnull=False),
                name="subscriptions_unpaid_starts",
            ),
        ]
        permissions = [("approve_subscription_grant", "Can approve plans given away above the limit")]

    def __str__(self) -> str:
        return f"{self.public_id} ({self.status})"

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    @property
    def billing_interval(self) -> Interval:
        return Interval.parse(self.interval, self.interval_count)

    @property
    def cycle(self) -> Cycle:
        """Where the boundaries lie."""
        return Cycle(self.anchor_date, self.billing_interval, self.zone)

    @property
    def next_cycle(self) -> Cycle:
        """Where the boundaries lie once the running period is over."""
        if not self.pending_interval:
            return self.cycle
        interval = Interval.parse(self.pending_interval, self.pending_interval_count or 1)
        return Cycle(self.pending_anchor_date or self.anchor_date, interval, self.zone)

    @property
    def has_pending_change(self) -> bool:
        """Tell whether plan, quantity or interval change when the next period opens."""
        return self.pending_plan_version_id is not None or self.pending_quantity is not None

    def drop_pending_change(self) -> None:
        """Forget, in memory, what was to take over with the next period."""
        self.pending_plan_version = None
        self.pending_quantity = None
        self.pending_interval, self.pending_interval_count, self.pending_anchor_date = "", None, None

    @property
    def current_period(self) -> Period:
        return Period(self.current_period_start, self.current_period_end)

    @property
    def bills_at_start(self) -> bool:
        """Tell whether the running period is still to be billed in advance, as at a start without a trial."""
        return self.next_billing_at is not None and self.next_billing_at < self.current_period_end

    @property
    def is_billed_here(self) -> bool:
        """Tell whether this product invoices it: a plan given away, or billed by a provider, is not."""
        return self.provider_type == ProviderType.INTERNAL and not self.billed_by_provider

    @property
    def threshold(self) -> int | None:
        """
        The unbilled usage at which it is invoiced early, minor units: its own, else its account's in that currency.

        Comes with its account loaded.
        """
        if self.billing_threshold is not None or self.account.currency != self.currency:
            return self.billing_threshold
        return self.account.billing_threshold

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
    happens first, to claim the periods it is billed for. An item that ended, but whose last stretch is billed with the
    running period, says in `unbilled_from` where that stretch begins.
    """

    id_prefix = "si"

    subscription = models.ForeignKey(Subscription, on_delete=models.PROTECT, related_name="items")
    price = models.ForeignKey(Price, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    meter = models.ForeignKey(Meter, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    billing_mode = models.CharField(max_length=8, choices=BillingMode)
    quantity = models.PositiveIntegerField(default=0)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    unbilled_from = models.DateTimeField(null=True, blank=True)
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
            models.CheckConstraint(
                condition=Q(unbilled_from__isnull=True)
                | Q(ended_at__isnull=False, unbilled_from__lt=models.F("ended_at")),
                name="subscription_items_unbilled_has_ended",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.subscription_id} {self.price_id or self.meter_id}"

    def is_sold_by(self, subscription: Subscription) -> bool:
        """Tell whether the item's price is for the interval by which the subscription is billed."""
        price = self.price
        return price is None or (price.interval, price.interval_count) == (
            subscription.interval,
            subscription.interval_count,
        )

    def is_current(self, at: datetime) -> bool:
        """Tell whether the item is in force at `at`."""
        return self.started_at <= at and (self.ended_at is None or at < self.ended_at)
