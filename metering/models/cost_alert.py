"""Cost alerts: what an account wants to be told about its costs, and when it was."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from django.db import models
from django.db.models import F, Q

from accounts.models.account import Account
from billing_site.platform.models.base import Identified, Timestamped


class ThresholdType(models.TextChoices):
    ABSOLUTE = "absolute"
    PERCENTAGE_OF_BUDGET = "percentage_of_budget"
    DAILY_RATE = "daily_rate"
    ANOMALY = "anomaly"


class AlertScope(models.TextChoices):
    """What an alert looks at, and how long it is silent after it fired. A month is a spend alert's."""

    PERIOD = "period"
    DAY = "day"
    MONTH = "month"


class AlertStatus(models.TextChoices):
    ARMED = "armed"
    TRIGGERED = "triggered"
    DISMISSED = "dismissed"


# What may follow what. A new period, and a new threshold, arm again.
ALERT_TRANSITIONS: Final[dict[str, frozenset[str]]] = {
    AlertStatus.ARMED: frozenset({AlertStatus.TRIGGERED, AlertStatus.DISMISSED}),
    AlertStatus.TRIGGERED: frozenset({AlertStatus.ARMED, AlertStatus.DISMISSED}),
    AlertStatus.DISMISSED: frozenset({AlertStatus.ARMED}),
}
BY_AMOUNT: Final = frozenset({ThresholdType.ABSOLUTE, ThresholdType.DAILY_RATE})
BY_DAY: Final = frozenset({ThresholdType.DAILY_RATE, ThresholdType.ANOMALY})
_SUBJECTS: Final[dict[str, str]] = {
    ThresholdType.ABSOLUTE: "Cost of the billing period",
    ThresholdType.PERCENTAGE_OF_BUDGET: "Share of the budget",
    ThresholdType.DAILY_RATE: "Usage of a day",
    ThresholdType.ANOMALY: "Unusual day",
}


class CostAlert(Identified, Timestamped):
    """
    One wish to be told. A spend alert is an absolute one over the UTC calendar month (`scope`).

    `threshold_amount` is minor units of `currency`. `arming` counts the thresholds it has had: each may fire once in a
    period. `silent_until` is the end of the period in which it fired or was dismissed, and `next_check_at` when it is
    looked at next at the latest, both by the account's clock. A deleted alert stays for its history.
    """

    id_prefix = "alert"

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="+", db_index=False)
    threshold_type = models.CharField(max_length=20, choices=ThresholdType, default=ThresholdType.ABSOLUTE)
    scope = models.CharField(max_length=6, choices=AlertScope)
    title = models.CharField(max_length=255, blank=True)
    threshold_amount = models.BigIntegerField(null=True, blank=True)
    threshold_percent = models.DecimalField(max_digits=38, decimal_places=12, null=True, blank=True)
    currency = models.CharField(max_length=3)
    notify_email = models.EmailField(blank=True)
    notify_slack = models.BooleanField(default=False)
    status = models.CharField(max_length=9, choices=AlertStatus, default=AlertStatus.ARMED)
    arming = models.PositiveIntegerField(default=1)
    triggered_at = models.DateTimeField(null=True, blank=True)
    triggered_value = models.BigIntegerField(null=True, blank=True)
    silent_until = models.DateTimeField(null=True, blank=True)
    next_check_at = models.DateTimeField()
    deleted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "cost_alerts"
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(threshold_type="absolute", scope__in=["period", "month"])
                | Q(threshold_type="percentage_of_budget", scope="period")
                | Q(threshold_type__in=["daily_rate", "anomaly"], scope="day"),
                name="cost_alerts_scope_fits_type",
            ),
            models.CheckConstraint(
                condition=Q(
                    threshold_type__in=["absolute", "daily_rate"],
                    threshold_amount__gt=0,
                    threshold_percent__isnull=True,
                )
                | Q(
                    threshold_type__in=["percentage_of_budget", "anomaly"],
                    threshold_amount__isnull=True,
                    threshold_percent__gt=0,
                ),
                name="cost_alerts_threshold_fits_type",
            ),
            models.CheckConstraint(
                condition=Q(
                    status="armed",
                    silent_until__isnull=True,
                    triggered_at__isnull=True,
                    triggered_value__isnull=True,
                )
                | (~Q(status="armed") & Q(silent_until__isnull=False)),
                name="cost_alerts_silent_unless_armed",
            ),
            models.CheckConstraint(
                condition=~Q(status="triggered") | Q(triggered_at__isnull=False, triggered_value__isnull=False),
                name="cost_alerts_triggered_has_time",
            ),
        ]
        indexes = [
            # The lists of an account, and what its usage may make fire.
            models.Index(
                fields=["account", "-id"], condition=Q(deleted_at__isnull=True), name="cost_alerts_of_account"
            ),
            models.Index(fields=["next_check_at"], condition=Q(deleted_at__isnull=True), name="cost_alerts_due"),
        ]

    def __str__(self) -> str:
        return self.title or self.subject

    @property
    def subject(self) -> str:
        """What it is about, in a few words."""
        return "Spend of the month" if self.is_spend_alert else _SUBJECTS[self.threshold_type]

    @property
    def is_spend_alert(self) -> bool:
        """Whether it is about the spend of a calendar month."""
        return self.scope == AlertScope.MONTH

    @property
    def kind(self) -> str:
        """How events call it."""
        return "spend_alert" if self.is_spend_alert else "cost_alert"

    def is_silent(self, at: datetime) -> bool:
        """Tell whether it has had its say in the period around `at`."""
        return self.silent_until is not None and at < self.silent_until

    def get_status(self, at: datetime) -> str:
        """Return the state at `at`: what fired or was dismissed in an earlier period is armed."""
        return self.status if self.is_silent(at) else AlertStatus.ARMED

    def can_become(self, status: str) -> bool:
        """Tell whether the table above allows the step."""
        return status in ALERT_TRANSITIONS[self.status]


class CostAlertFiring(Identified):
    """
    One time an alert fired. `value` and `threshold` are minor units of `currency`, as they were then.

    `details` are the numbers behind them, as the event has them. An alert fires once per period and threshold, whoever
    looks at it: that is the unique constraint.
    """

    id_prefix = "alf"

    alert = models.ForeignKey(CostAlert, on_delete=models.CASCADE, related_name="firings", db_index=False)
    arming = models.PositiveIntegerField()
    period_start = models.DateTimeField()
    period_end = models.DateTimeField()
    fired_at = models.DateTimeField()
    value = models.BigIntegerField()
    threshold = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    details = models.JSONField(default=dict, blank=True)

    class Meta:
        db_table = "cost_alert_firings"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["alert", "period_start", "arming"], name="cost_alert_firings_once_per_period"
            ),
            models.CheckConstraint(condition=Q(period_end__gt=F("period_start")), name="cost_alert_firings_period"),
        ]

    def __str__(self) -> str:
        return f"{self.alert} at {self.fired_at:%Y-%m-%d %H:%M}"
