"""Limits that one account has, on top of or instead of those of its plan."""

from __future__ import annotations

from decimal import Decimal

from django.db import models
from django.db.models import Q

from accounts.models import Account
from billing_site.platform.models.base import Identified, Timestamped
from catalog.models import Meter, QuotaWindow


class AccountQuota(Identified, Timestamped):
    """
    One limit. It replaces the quotas that the account's plans have for the same meter and window.

    `stated_limit` is in `unit` as its maker wrote it, `limit` the same in the meter's unit, which decides; null is
    unlimited. `resource_type` is the word the meter was named by. `feature` is the scope it belongs to; empty, those
    that the account's plans limit by the same meter.
    """

    id_prefix = "aq"

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="quotas", db_index=False)
    meter = models.ForeignKey(Meter, on_delete=models.PROTECT, related_name="account_quotas")
    resource_type = models.CharField(max_length=100)
    resource_name = models.CharField(max_length=255, blank=True)
    feature = models.CharField(max_length=100, blank=True)
    window = models.CharField(max_length=14, choices=QuotaWindow, default=QuotaWindow.BILLING_PERIOD)
    stated_limit = models.DecimalField(max_digits=38, decimal_places=12, null=True, blank=True)
    unit = models.CharField(max_length=50)
    limit = models.DecimalField(max_digits=38, decimal_places=12, null=True, blank=True)
    warning_percent = models.DecimalField(max_digits=15, decimal_places=12, default=Decimal(80))
    is_hard = models.BooleanField(default=True)
    overage_price = models.DecimalField(max_digits=38, decimal_places=12, null=True, blank=True)
    upgrade_plan_key = models.CharField(max_length=100, blank=True)
    alert_recipients = models.JSONField(default=list, blank=True)
    is_active = models.BooleanField(default=True)

    class Meta:
        db_table = "account_quotas"
        ordering = ["-id"]
        constraints = [
            # Also the look-up of an account's quotas.
            models.UniqueConstraint(fields=["account", "meter", "window"], name="account_quotas_one_per_window"),
            models.CheckConstraint(condition=Q(window__in=QuotaWindow.values), name="account_quotas_window_known"),
            models.CheckConstraint(
                condition=Q(limit__isnull=True, stated_limit__isnull=True) | Q(limit__gte=0, stated_limit__gte=0),
                name="account_quotas_limit_not_negative",
            ),
            models.CheckConstraint(
                condition=Q(warning_percent__gt=0, warning_percent__lte=100), name="account_quotas_warning_is_percent"
            ),
            models.CheckConstraint(condition=Q(overage_price__gte=0), name="account_quotas_overage_not_negative"),
            models.CheckConstraint(condition=~Q(resource_type=""), name="account_quotas_resource_given"),
        ]
        indexes = [models.Index(fields=["account", "-id"], name="account_quotas_newest")]  # the account's page

    def __str__(self) -> str:
        shown = "unlimited" if self.stated_limit is None else f"{self.stated_limit.normalize():f} {self.unit}"
        return f"{self.resource_name or self.resource_type}: {shown} per {self.window}"
