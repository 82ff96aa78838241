"""Subscription schedules: phases that a subscription goes through, one after the other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from django.db import models
from django.db.models import F, Q

from accounts.models.account import Account
from accounts.models.subscription import Subscription
from accounts.terms.phases import PhaseTerms, next_step_at
from billing_site.platform.models.base import Identified, Timestamped
from catalog.models import PriceInterval


class ScheduleStatus(models.TextChoices):
    NOT_STARTED = "not_started"
    ACTIVE = "active"
    COMPLETED = "completed"
    RELEASED = "released"
    CANCELED = "canceled"


class EndBehavior(models.TextChoices):
    RELEASE = "release"
    CANCEL = "cancel"


class PhaseProration(models.TextChoices):
    CREATE_PRORATIONS = "create_prorations"
    NONE = "none"


# A schedule in one of these holds its subscription: a second one for it is refused.
UNFINISHED_SCHEDULES: Final = ("not_started", "active")

# What may follow what; an end is final.
SCHEDULE_TRANSITIONS: Final[dict[str, frozenset[str]]] = {
    ScheduleStatus.NOT_STARTED: frozenset({ScheduleStatus.ACTIVE, ScheduleStatus.RELEASED, ScheduleStatus.CANCELED}),
    ScheduleStatus.ACTIVE: frozenset({ScheduleStatus.COMPLETED, ScheduleStatus.RELEASED, ScheduleStatus.CANCELED}),
    ScheduleStatus.COMPLETED: frozenset(),
    ScheduleStatus.RELEASED: frozenset(),
    ScheduleStatus.CANCELED: frozenset(),
}


class SubscriptionSchedule(Identified, Timestamped):
    """
    What becomes of a subscription, and when. `subscription` is null until a phase starts one.

    `entered` is the number of the phase entered last (0 for the first), null for none; `next_step_at` the instant of
    what comes next, null when nothing will. Nothing from that instant on is billed before the step is done. A step that
    was refused leaves `failure_code`, `failure_detail` and `failed_at` until it succeeds.
    Source: contract chapter Schedules.
    """

    id_prefix = "sched"

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="schedules")
    subscription = models.ForeignKey(
        Subscription, null=True, blank=True, on_delete=models.PROTECT, related_name="schedules"
    )
    status = models.CharField(max_length=11, choices=ScheduleStatus, default=ScheduleStatus.NOT_STARTED)
    start_date = models.DateTimeField()
    end_behavior = models.CharField(max_length=7, choices=EndBehavior, default=EndBehavior.RELEASE)
    currency = models.CharField(max_length=3)
    entered = models.PositiveSmallIntegerField(null=True, blank=True)
    next_step_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    failed_at = models.DateTimeField(null=True, blank=True)
    failure_code = models.CharField(max_length=50, blank=True)
    failure_detail = models.TextField(blank=True)
    revision = models.PositiveIntegerField(default=1)
    livemode = models.BooleanField(default=False)
    metadata = models.JSONField(default=dict, blank=True)

    class Meta:
        db_table = "subscription_schedules"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["subscription"],
                condition=Q(status__in=UNFINISHED_SCHEDULES),
                name="subscription_schedules_one_unfinished",
            ),
            models.CheckConstraint(
                condition=Q(status="not_started", entered__isnull=True)
                | Q(status__in=("active", "completed"), entered__isnull=False, subscription__isnull=False)
                | Q(status__in=("released", "canceled")),
                name="subscription_schedules_status_matches_phase",
            ),
            models.CheckConstraint(
                condition=Q(entered__isnull=True) | Q(subscription__isnull=False),
                name="subscription_schedules_entered_has_subscription",
            ),
            models.CheckConstraint(
                condition=Q(status__in=UNFINISHED_SCHEDULES, ended_at__isnull=True)
                | (~Q(status__in=UNFINISHED_SCHEDULES) & Q(ended_at__isnull=False, next_step_at__isnull=True)),
                name="subscription_schedules_ended_has_time",
            ),
            models.CheckConstraint(
                condition=~Q(status="not_started") | Q(next_step_at__isnull=False, next_step_at=F("start_date")),
                name="subscription_schedules_unstarted_waits",
            ),
            models.CheckConstraint(
                condition=Q(failed_at__isnull=True, failure_code="")
                | (Q(failed_at__isnull=False) & ~Q(failure_code="")),
                name="subscription_schedules_failure_has_code",
            ),
        ]
        indexes = [
            # The sweep: what is due, oldest first.
            models.Index(
                fields=["next_step_at", "id"],
                condition=Q(next_step_at__isnull=False),
                name="subscription_schedules_due",
            ),
            models.Index(fields=["account", "-id"], name="subscription_schedules_account"),
        ]

    def __str__(self) -> str:
        return f"{self.public_id} ({self.status})"

    @property
    def is_unfinished(self) -> bool:
        return self.status in UNFINISHED_SCHEDULES

    def can_become(self, status: str) -> bool:
        """Tell whether the transition table allows `status` next."""
        return status in SCHEDULE_TRANSITIONS[self.status]

    def find_next_step(self, phases: Iterable[SchedulePhase]) -> None:
        """Set `next_step_at` to what comes after the phase entered last."""
        self.next_step_at = next_step_at([phase.terms for phase in phases], entered=self.entered)


class SchedulePhase(models.Model):
    """
    One phase `[start, end)`; the last may be open-ended.

    `items` are what the caller sent. `quantity` and `interval` are what they mean, null and empty for "as it is":
    price ids change with each version of a plan, what was agreed does not. `trial_end` is as asked; the trial lasts
    until the next local midnight.
    """

    schedule = models.ForeignKey(SubscriptionSchedule, on_delete=models.CASCADE, related_name="phases")
    position = models.PositiveSmallIntegerField()
    plan_key = models.CharField(max_length=100)
    items = models.JSONField(default=list, blank=True)
    quantity = models.PositiveIntegerField(null=True, blank=True)
    interval = models.CharField(max_length=5, choices=PriceInterval, blank=True)
    start = models.DateTimeField()
    end = models.DateTimeField(null=True, blank=True)
    trial_end = models.DateTimeField(null=True, blank=True)
    proration_behavior = models.CharField(
        max_length=17, choices=PhaseProration, default=PhaseProration.CREATE_PRORATIONS
    )

    class Meta:
        db_table = "schedule_phases"
        ordering = ["schedule", "position"]
        constraints = [
            models.UniqueConstraint(fields=["schedule", "position"], name="schedule_phases_position_once"),
            models.UniqueConstraint(
                fields=["schedule"], condition=Q(end__isnull=True), name="schedule_phases_one_open_end"
            ),
            models.CheckConstraint(
                condition=Q(end__isnull=True) | Q(end__gt=F("start")), name="schedule_phases_forward"
            ),
            models.CheckConstraint(
                condition=Q(quantity__isnull=True) | Q(quantity__gte=1), name="schedule_phases_quantity_positive"
            ),
            models.CheckConstraint(
                condition=Q(trial_end__isnull=True)
                | (Q(trial_end__gt=F("start")) & (Q(end__isnull=True) | Q(trial_end__lte=F("end")))),
                name="schedule_phases_trial_within",
            ),
        ]

    def __str__(self) -> str:
        return f"phase {self.position + 1}: {self.plan_key}"

    @property
    def terms(self) -> PhaseTerms:
        return PhaseTerms(self.start, self.end, self.trial_end)
