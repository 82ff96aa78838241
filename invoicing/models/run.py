"""Billing runs: what was due, and what became of each subscription."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from accounts.models import Account, Subscription
from billing_site.platform.models.base import Identified, Timestamped


class RunScope(models.TextChoices):
    ORG = "org", "one organization"
    ACCOUNT = "account", "one account"


class RunStatus(models.TextChoices):
    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"


# A paused run still holds its organization: nothing is billed there until it goes on or is canceled.
UNFINISHED_RUNS = ("pending", "running", "paused")
WORKABLE_RUNS = ("pending", "running")
RUN_TRANSITIONS: dict[str, frozenset[str]] = {
    "pending": frozenset({"running", "paused", "completed", "failed", "canceled"}),
    "running": frozenset({"paused", "completed", "failed", "canceled"}),
    "paused": frozenset({"running", "canceled"}),
    "completed": frozenset({"running"}),
    "failed": frozenset({"running"}),
    "canceled": frozenset(),
}


class BillingRun(Identified, Timestamped):
    """
    One pass over what is due in a scope as of an instant: planned once, then worked off row by row.

    `FAILED` means the run itself could not go on; a subscription that fails is an outcome of a completed run. A paused
    one goes on where it was; a canceled one leaves what it had not billed to the next run.
    `working_since` is when it last began to be worked off: what was settled since tells how fast it is. `request_key`
    ties a run to the request that asked for it, so that a repeat answers from the rows.
    """

    id_prefix = "run"

    org_id = models.CharField(max_length=100)
    scope = models.CharField(max_length=10, choices=RunScope)
    account = models.ForeignKey(Account, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    as_of = models.DateTimeField()
    max_subscriptions = models.PositiveIntegerField(null=True, blank=True)
    status = models.CharField(max_length=10, choices=RunStatus, default=RunStatus.PENDING)
    requested_by = models.CharField(max_length=255)
    reason = models.TextField(blank=True)
    request_key = models.CharField(max_length=64, blank=True)
    request_hash = models.CharField(max_length=64, blank=True)
    remaining = models.PositiveIntegerField(default=0)
    error = models.TextField(blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    working_since = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    livemode = models.BooleanField(default=False)

    class Meta:
        db_table = "billing_runs"
        ordering = ["-id"]
        constraints = [
            # One run per organization at a time.
            models.UniqueConstraint(
                fields=["org_id"],
                condition=Q(scope="org", status__in=UNFINISHED_RUNS),
                name="billing_runs_one_per_org",
            ),
            models.UniqueConstraint(
                fields=["request_key", "org_id"], condition=~Q(request_key=""), name="billing_runs_request_once"
            ),
            models.CheckConstraint(
                condition=Q(scope="account", account__isnull=False) | Q(scope="org", account__isnull=True),
                name="billing_runs_scope_matches_account",
            ),
            models.CheckConstraint(
                condition=Q(status__in=("completed", "failed", "canceled"), finished_at__isnull=False)
                | Q(status__in=UNFINISHED_RUNS, finished_at__isnull=True),
                name="billing_runs_finished_has_time",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.org_id} as of {self.as_of:%Y-%m-%d %H:%M}Z"

    def can_become(self, status: str) -> bool:
        """Tell whether the transition table allows `status` next."""
        return status in RUN_TRANSITIONS[self.status]


class OutcomeStatus(models.TextChoices):
    PENDING = "pending"
    ISSUED = "issued"
    NOTHING_TO_BILL = "nothing_to_bill"
    HELD = "held_for_review", "held for review"
    FAILED = "failed"
    CANCELED = "canceled", "not billed, run canceled"


class RunOutcome(Identified):
    """
    What a run did with one subscription. Claimed with SKIP LOCKED; a failed one can be retried alone.

    Subscriptions of an account that wants one invoice are claimed together: `leader` is the first of them, which is
    claimed, and its own for itself; empty for what is billed alone.
    """

    id_prefix = "out"

    run = models.ForeignKey(BillingRun, on_delete=models.PROTECT, related_name="outcomes")
    subscription = models.ForeignKey(Subscription, on_delete=models.PROTECT, related_name="+")
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="+")
    leader = models.UUIDField(null=True, blank=True)
    status = models.CharField(max_length=15, choices=OutcomeStatus, default=OutcomeStatus.PENDING)
    invoice_count = models.PositiveIntegerField(default=0)
    last_invoice = models.ForeignKey("Invoice", null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    attempts = models.PositiveIntegerField(default=0)
    error_code = models.CharField(max_length=50, blank=True)
    error_detail = models.TextField(blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "billing_run_outcomes"
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["run", "subscription"], name="billing_run_outcomes_once"),
            models.CheckConstraint(
                condition=~Q(status="issued") | Q(invoice_count__gte=1, last_invoice__isnull=False),
                name="billing_run_outcomes_issued_has_invoice",
            ),
            models.CheckConstraint(
                condition=~Q(status="failed") | ~Q(error_code=""), name="billing_run_outcomes_failed_has_error"
            ),
            models.CheckConstraint(
                condition=~Q(status="held_for_review") | Q(last_invoice__isnull=False),
                name="billing_run_outcomes_held_has_draft",
            ),
        ]
        indexes = [
            # What is left of a run, in the order it is worked off.
            models.Index(fields=["run", "id"], condition=Q(status="pending"), name="billing_run_outcomes_open"),
            # Who is billed with the one that was claimed.
            models.Index(fields=["leader"], condition=Q(leader__isnull=False), name="billing_run_outcomes_leader"),
        ]

    def __str__(self) -> str:
        return f"{self.subscription_id} {self.status}"
