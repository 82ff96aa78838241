"""Coupons: a code and what it takes off."""

from __future__ import annotations

from decimal import Decimal

from django.db import models
from django.db.models import F, Q

from billing_site.platform.models.base import Identified, Timestamped
from catalog.models.promises import kept_promise_triggers

CODE_PATTERN = r"^[A-Z0-9-]{3,64}$"


class DiscountType(models.TextChoices):
    PERCENTAGE = "percentage"
    FIXED_AMOUNT = "fixed_amount"
    CREDIT = "credit"


class Coupon(Identified, Timestamped):
    """
    A promotion code of one organization.

    Either `percent_off` (above 0, at most 100) or `amount_off` in minor units of `currency`. What it promises never
    changes; it can only be deactivated, which stops new uses. `applicable_plan_ids` are plan keys, none meaning every
    plan; `duration_months` counts invoices, null meaning the next one only.
    Source: contract chapter Coupons and discounts.
    """

    id_prefix = "coup"

    org_id = models.CharField(max_length=100)
    code = models.CharField(max_length=64)
    description = models.TextField(blank=True)
    discount_type = models.CharField(max_length=12, choices=DiscountType)
    percent_off = models.DecimalField(max_digits=15, decimal_places=12, null=True, blank=True)
    amount_off = models.BigIntegerField(null=True, blank=True)
    currency = models.CharField(max_length=3, blank=True)
    max_redemptions = models.PositiveIntegerField(null=True, blank=True)
    redemption_count = models.PositiveIntegerField(default=0)
    starts_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    applicable_plan_ids = models.JSONField(default=list, blank=True)
    duration_months = models.PositiveSmallIntegerField(null=True, blank=True)
    is_active = models.BooleanField(default=True)
    deactivated_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "coupons"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["org_id", "code"], name="coupons_code_once"),
            models.CheckConstraint(condition=Q(code__regex=CODE_PATTERN), name="coupons_code_upper_case"),
            models.CheckConstraint(
                condition=Q(
                    discount_type="percentage",
                    percent_off__gt=0,
                    percent_off__lte=100,
                    amount_off__isnull=True,
                    currency="",
                )
                | (
                    Q(discount_type__in=("fixed_amount", "credit"), percent_off__isnull=True, amount_off__gt=0)
                    & ~Q(currency="")
                ),
                name="coupons_value_fits_type",
            ),
            models.CheckConstraint(
                condition=Q(max_redemptions__isnull=True) | Q(max_redemptions__gt=0),
                name="coupons_max_redemptions_positive",
            ),
            models.CheckConstraint(
                condition=Q(max_redemptions__isnull=True) | Q(redemption_count__lte=F("max_redemptions")),
                name="coupons_not_used_too_often",
            ),
            models.CheckConstraint(
                condition=Q(duration_months__isnull=True)
                | Q(duration_months__gt=0, discount_type__in=("percentage", "fixed_amount")),
                name="coupons_duration_positive",
            ),
            models.CheckConstraint(
                condition=Q(starts_at__isnull=True) | Q(expires_at__isnull=True) | Q(starts_at__lt=F("expires_at")),
                name="coupons_start_before_expiry",
            ),
            models.CheckConstraint(
                condition=Q(is_active=True, deactivated_at__isnull=True)
                | Q(is_active=False, deactivated_at__isnull=False),
                name="coupons_deactivated_has_time",
            ),
        ]
        indexes = [models.Index(fields=["org_id", "-id"], name="coupons_org_newest")]  # coupon list of an organization
        triggers = kept_promise_triggers(
            "coupons",
            may_change=("is_active", "deactivated_at", "redemption_count"),
            once="NOT OLD.is_active AND (NEW.is_active OR NEW.deactivated_at IS DISTINCT FROM OLD.deactivated_at)",
            deletable="OLD.redemption_count = 0",
        )

    def __str__(self) -> str:
        return self.code

    @property
    def discount_value(self) -> Decimal:
        """Percent for a percentage, else minor units of `currency`."""
        return self.percent_off if self.percent_off is not None else Decimal(self.amount_off or 0)
