"""Plan moves: subscriptions taken to another version of their plan, planned once and worked off row by row."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from accounts.models import Account, Subscription
from billing_site.platform.models.base import Identified, Timestamped
from catalog.models import Plan, PlanVersion


class MoveTiming(models.TextChoices):
    NOW = "now", "at once"
    PERIOD_END = "period_end", "when the next period begins"


class MoveStatus(models.TextChoices):
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


class PlanMove(Identified, Timestamped):
    """
    A request to take subscriptions of a plan to one of its versions.

    `FAILED` means that none of them could be taken; some failures among others leave it completed, and named.
    `request_key` ties it to the request that asked for it, so that a repeat answers the same move.
    """

    id_prefix = "mov"

    org_id = models.CharField(max_length=100)
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="+")
    to_version = models.ForeignKey(PlanVersion, on_delete=models.PROTECT, related_name="+")
    timing = models.CharField(max_length=10, choices=MoveTiming)
    status = models.CharField(max_length=10, choices=MoveStatus, default=MoveStatus.RUNNING)
    requested_by = models.CharField(max_length=255)
    reason = models.CharField(max_length=500)
    request_key = models.CharField(max_length=64, blank=True)
    request_hash = models.CharField(max_length=64, blank=True)
    requested_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "plan_moves"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["plan"], condition=Q(status="running"), name="plan_moves_one_running_per_plan"
            ),
            models.UniqueConstraint(
                fields=["request_key", "org_id"], condition=~Q(request_key=""), name="plan_moves_request_once"
            ),
            models.CheckConstraint(condition=~Q(reason=""), name="plan_moves_reason_given"),
            models.CheckConstraint(
                condition=Q(status="running", finished_at__isnull=True)
                | (~Q(status="running") & Q(finished_at__isnull=False)),
                name="plan_moves_finished_has_time",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.plan.key} to version {self.to_version.version}"


class MoveOutcome(models.TextChoices):
    PENDING = "pending"
    APPLIED = "applied"
    FAILED = "failed"


class PlanMoveItem(Identified):
    """What a move did with one subscription. Claimed with SKIP LOCKED."""

    id_prefix = "movi"

    move = models.ForeignKey(PlanMove, on_delete=models.PROTECT, related_name="items")
    subscription = models.ForeignKey(Subscription, on_delete=models.PROTECT, related_name="+")
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="+")
    from_version = models.ForeignKey(PlanVersion, on_delete=models.PROTECT, related_name="+")
    status = models.CharField(max_length=10, choices=MoveOutcome, default=MoveOutcome.PENDING)
    error_code = models.CharField(max_length=50, blank=True)
    error_detail = models.TextField(blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "plan_move_items"
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["move", "subscription"], name="plan_move_items_once"),
            models.CheckConstraint(
                condition=~Q(status="failed") | ~Q(error_code=""), name="plan_move_items_failed_has_error"
            ),
        ]
        indexes = [
            # What is left of a move, in the order it is worked off.
            models.Index(fields=["move", "id"], condition=Q(status="pending"), name="plan_move_items_open"),
        ]

    def __str__(self) -> str:
        return f"{self.subscription_id} {self.status}"
