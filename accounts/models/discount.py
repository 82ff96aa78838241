"""What a subscription gets taken off its invoices, and the coupons that accounts used."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from django.db import models
from django.db.models import F, Q

from accounts.models.account import Account
from accounts.models.credit_grant import CreditGrant
from accounts.models.subscription import Subscription
from billing_site.platform.models.base import Identified, Timestamped
from billing_site.platform.models.triggers import append_only_triggers
from catalog.models import Coupon
from catalog.models.promises import kept_promise_triggers


class DiscountEnd(models.TextChoices):
    USED_UP = "used_up"
    REPLACED = "replaced"
    REMOVED = "removed"


class SubscriptionDiscount(Identified, Timestamped):
    """
    A discount on the invoices of one subscription: `percent_off`, or `amount_off` in minor units of `currency`.

    In force until `ended_at`; one at a time. `duration_months` counts invoices, null meaning until it is removed;
    `months_left` is how many of them there still are. `meters` (names) and `plans` (keys) limit what it takes from;
    empty is everything. What was promised never changes. Source: contract chapter Coupons and discounts; ADR 0022.
    """

    id_prefix = "dis"

    subscription = models.ForeignKey(Subscription, on_delete=models.PROTECT, related_name="discounts")
    coupon = models.ForeignKey(Coupon, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    name = models.CharField(max_length=255, blank=True)
    percent_off = models.DecimalField(max_digits=15, decimal_places=12, null=True, blank=True)
    amount_off = models.BigIntegerField(null=True, blank=True)
    currency = models.CharField(max_length=3, blank=True)
    meters = models.JSONField(default=list, blank=True)
    plans = models.JSONField(default=list, blank=True)
    duration_months = models.PositiveSmallIntegerField(null=True, blank=True)
    months_left = models.PositiveSmallIntegerField(null=True, blank=True)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    end_reason = models.CharField(max_length=8, choices=DiscountEnd, blank=True)
    created_by = models.CharField(max_length=255)

    class Meta:
        db_table = "subscription_discounts"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["subscription"],
                condition=Q(ended_at__isnull=True),
                name="subscription_discounts_one_in_force",
            ),
            models.CheckConstraint(
                condition=Q(percent_off__gt=0, percent_off__lte=100, amount_off__isnull=True, currency="")
                | (Q(percent_off__isnull=True, amount_off__gt=0) & ~Q(currency="")),
                name="subscription_discounts_percent_or_amount",
            ),
            models.CheckConstraint(
                condition=Q(duration_months__isnull=True, months_left__isnull=True)
                | Q(duration_months__gt=0, months_left__gte=0, months_left__lte=F("duration_months")),
                name="subscription_discounts_months_in_range",
            ),
            models.CheckConstraint(
                condition=Q(months_left__isnull=True) | Q(months_left__gt=0) | Q(ended_at__isnull=False),
                name="subscription_discounts_used_up_has_ended",
            ),
            models.CheckConstraint(
                condition=Q(ended_at__isnull=True, end_reason="") | (Q(ended_at__isnull=False) & ~Q(end_reason="")),
                name="subscription_discounts_end_has_reason",
            ),
        ]
        triggers = kept_promise_triggers("subscription_discounts", may_change=("months_left", "ended_at", "end_reason"))

    def __str__(self) -> str:
        return self.name or self.public_id

    @property
    def discount_value(self) -> Decimal:
        """Percent for a percentage, else minor units of `currency`."""
        return self.percent_off if self.percent_off is not None else Decimal(self.amount_off or 0)

    def use_month(self, at: datetime) -> None:
        """Count one invoice, in memory; the last one ends the discount at `at`."""
        if self.months_left is None:
            return
        self.months_left -= 1
        if not self.months_left:
            self.ended_at, self.end_reason = at, DiscountEnd.USED_UP


class CouponRedemption(Identified):
    """
    That an account used a coupon, once: it became a discount of `subscription`, or credit. Never changes.

    One that was used on a single document names that by its public id and became a discount there.
    """

    id_prefix = "red"

    coupon = models.ForeignKey(Coupon, on_delete=models.PROTECT, related_name="+")
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="coupon_redemptions")
    subscription = models.ForeignKey(Subscription, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    document_id = models.CharField(max_length=64, blank=True)
    discount = models.OneToOneField(
        SubscriptionDiscount, null=True, blank=True, on_delete=models.PROTECT, related_name="redemption"
    )
    credit_grant = models.OneToOneField(
        CreditGrant, null=True, blank=True, on_delete=models.PROTECT, related_name="redemption"
    )
    redeemed_at = models.DateTimeField()
    redeemed_by = models.CharField(max_length=255)

    class Meta:
        db_table = "coupon_redemptions"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["coupon", "account"], name="coupon_redemptions_once_per_account"),
            models.CheckConstraint(
                condition=Q(document_id="", discount__isnull=False, credit_grant__isnull=True)
                | Q(document_id="", discount__isnull=True, credit_grant__isnull=False)
                | (~Q(document_id="") & Q(discount__isnull=True, credit_grant__isnull=True)),
                name="coupon_redemptions_discount_or_credit",
            ),
            models.CheckConstraint(
                condition=Q(subscription__isnull=False, document_id="")
                | (Q(subscription__isnull=True) & ~Q(document_id="")),
                name="coupon_redemptions_subscription_or_document",
            ),
        ]
        triggers = append_only_triggers("coupon_redemptions")

    def __str__(self) -> str:
        return f"{self.coupon.code} by {self.account}"
