"""Dunning: how invoices that could not be collected are asked for again, and where each of them stands."""

from __future__ import annotations

from typing import Final

import pgtrigger
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from accounts.models import Account, PaymentMethod
from accounts.models.ledger_triggers import kept_triggers
from billing_site.platform.models.base import Identified, Timestamped
from billing_site.platform.models.triggers import StrictTrigger, append_only_triggers
from catalog.models import Plan
from invoicing.calculation.dunning import Terms, read_terms
from invoicing.models.invoice import Invoice


class DunningEnd(models.TextChoices):
    UNPAID = "unpaid", "the subscription is unpaid"
    CANCEL = "cancel", "the subscription is canceled"
    FREE_PLAN = "free_plan", "the subscription gives way to the free plan"


class DunningMessage(models.TextChoices):
    FAILED = "failed", "payment failed"
    RETRY = "retry", "failed again"
    LAST_NOTICE = "last_notice", "last notice"
    ENDED = "ended", "it is over"
    NONE = "none", "no mail"


def _delays() -> list[int]:
    return []


class DunningCampaign(Identified, Timestamped):
    """
    Terms by which unpaid invoices are asked for: of some accounts, of some plans. The settings say the rest.

    `delays_hours[n - 1]` hours after attempt n comes the next; `messages` names the mail after each attempt, the last
    one included, and is empty for the usual ones. What a case began with it keeps: an edit is for those to come.
    """

    id_prefix = "dc"

    org_id = models.CharField(max_length=100, verbose_name="Organization")
    name = models.CharField(max_length=100)
    delays_hours = ArrayField(models.PositiveIntegerField(), default=_delays, blank=True, verbose_name="Hours between")
    end_state = models.CharField(
        max_length=9, choices=DunningEnd, default=DunningEnd.UNPAID, verbose_name="After the last attempt"
    )
    messages = ArrayField(models.CharField(max_length=11, choices=DunningMessage), default=list, blank=True)
    on_overdue = models.BooleanField(
        default=False,
        verbose_name="Also what nobody charges",
        help_text="Invoices that are sent, or of accounts without a payment method: by mail, once they are overdue.",
    )
    is_active = models.BooleanField(default=True, verbose_name="In use")

    class Meta:
        db_table = "dunning_campaigns"
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["org_id", "name"], name="dunning_campaigns_name_once"),
            models.CheckConstraint(condition=Q(end_state__in=DunningEnd.values), name="dunning_campaigns_end_known"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def terms(self) -> Terms:
        """What it says, as plain terms."""
        return read_terms(
            delays_hours=self.delays_hours,
            end_state=self.end_state,
            messages=self.messages,
            on_overdue=self.on_overdue,
            name=self.name,
        )


class DunningPlan(Identified):
    """That a campaign is for the subscriptions of a plan; a plan has one at most."""

    id_prefix = "dpl"

    campaign = models.ForeignKey(DunningCampaign, on_delete=models.CASCADE, related_name="plans")
    plan = models.OneToOneField(Plan, on_delete=models.PROTECT, related_name="+")

    class Meta:
        db_table = "dunning_plans"
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.plan}: {self.campaign}"


class DunningAccount(Identified):
    """That a campaign is for an account, whatever its plans; an account has one at most."""

    id_prefix = "dac"

    campaign = models.ForeignKey(DunningCampaign, on_delete=models.CASCADE, related_name="accounts")
    account = models.OneToOneField(Account, on_delete=models.PROTECT, related_name="+")

    class Meta:
        db_table = "dunning_accounts"
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.account}: {self.campaign}"


class DunningStatus(models.TextChoices):
    RUNNING = "running"
    STOPPED = "stopped", "no payment method is tried"
    HELD = "held", "held by a person"
    PAID = "paid"
    EXHAUSTED = "exhausted"
    CANCELED = "canceled"


DUNNING_TRANSITIONS: Final[dict[str, frozenset[str]]] = {
    "running": frozenset({"stopped", "held", "paid", "exhausted", "canceled"}),
    "stopped": frozenset({"running", "held", "paid", "exhausted", "canceled"}),
    "held": frozenset({"running", "stopped", "paid", "canceled"}),
    "paid": frozenset(),
    "exhausted": frozenset(),
    "canceled": frozenset(),
}
OPEN_CASES: Final = ("running", "stopped", "held")
STEPPING_CASES: Final = ("running", "stopped")
_ALLOWED: Final = " OR ".join(
    f"(OLD.status = '{before}' AND NEW.status IN ({', '.join(repr(after) for after in sorted(others))}))"
    for before, others in DUNNING_TRANSITIONS.items()
    if others
)

CASE_TRIGGERS = [
    *kept_triggers(
        "dunning_cases", "id", "account_id", "invoice_id", "delays_hours", "end_state", "messages", "opened_at"
    ),
    StrictTrigger(
        name="ends_once",
        when=pgtrigger.Before,
        operation=pgtrigger.UpdateOf("status"),
        level=pgtrigger.Row,
        func=f"""
            IF NEW.status <> OLD.status AND NOT ({_ALLOWED}) THEN
                RAISE EXCEPTION USING ERRCODE = 'restrict_violation',
                    MESSAGE = format('dunning case %s cannot go from %s to %s', OLD.id, OLD.status, NEW.status),
                    TABLE = 'dunning_cases', CONSTRAINT = 'dunning_cases_ends_once';
            END IF;
            RETURN NEW;
        """,
    ),
]


class DunningCase(Identified, Timestamped):
    """
    One invoice that could not be collected, from the first failure until it is paid or given up.

    It keeps the terms it began with. `step` is the number of the last attempt that counted. While it is open
    `next_step_at` is when the next one is due: `running`, the payment method is tried then; `stopped`, for
    `stop_reason`, stored money only; `held`, nothing happens until a person (or `held_until`) lets it go on.
    Of what ended `exhausted`, `settled_at` is set once the end state of its subscriptions is arranged.
    """

    id_prefix = "dun"

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="dunning_cases", db_index=False)
    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="dunning_cases", db_index=False)
    campaign = models.ForeignKey(
        DunningCampaign, null=True, blank=True, on_delete=models.PROTECT, related_name="cases", db_index=False
    )
    status = models.CharField(max_length=9, choices=DunningStatus, default=DunningStatus.RUNNING)
    step = models.PositiveSmallIntegerField(default=1)
    delays_hours = ArrayField(models.PositiveIntegerField(), default=_delays, blank=True)
    end_state = models.CharField(max_length=9, choices=DunningEnd, default=DunningEnd.UNPAID)
    messages = ArrayField(models.CharField(max_length=11, choices=DunningMessage), default=list, blank=True)
    opened_at = models.DateTimeField()
    next_step_at = models.DateTimeField(null=True, blank=True)
    stop_reason = models.CharField(max_length=40, blank=True)
    held_until = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    settled_at = models.DateTimeField(null=True, blank=True)
    livemode = models.BooleanField(default=False)

    class Meta:
        db_table = "dunning_cases"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["invoice"], condition=Q(status__in=OPEN_CASES), name="dunning_cases_one_open"
            ),
            models.CheckConstraint(
                condition=Q(status__in=OPEN_CASES, ended_at__isnull=True, next_step_at__isnull=False)
                | (~Q(status__in=OPEN_CASES) & Q(ended_at__isnull=False, next_step_at__isnull=True)),
                name="dunning_cases_ended_has_time",
            ),
            models.CheckConstraint(
                condition=~Q(status="stopped", stop_reason="") & (~Q(status="running") | Q(stop_reason="")),
                name="dunning_cases_stopped_has_reason",
            ),
            models.CheckConstraint(
                condition=Q(held_until__isnull=True) | Q(status="held"), name="dunning_cases_held_has_end"
            ),
            models.CheckConstraint(
                condition=Q(settled_at__isnull=True) | Q(status="exhausted"), name="dunning_cases_settled_is_exhausted"
            ),
            models.CheckConstraint(condition=Q(step__gte=1), name="dunning_cases_step_positive"),
        ]
        indexes = [
            models.Index(fields=["invoice", "-id"], name="dunning_cases_of_invoice"),
            models.Index(fields=["account", "-id"], name="dunning_cases_of_account"),
            models.Index(fields=["campaign"], condition=Q(campaign__isnull=False), name="dunning_cases_of_campaign"),
            # The calendar, and the sweep of steps at which no method is tried.
            models.Index(
                fields=["next_step_at", "id"], condition=Q(next_step_at__isnull=False), name="dunning_cases_due"
            ),
            models.Index(fields=["held_until"], condition=Q(held_until__isnull=False), name="dunning_cases_held"),
            # The sweep that arranges the end states.
            models.Index(
                fields=["id"], condition=Q(status="exhausted", settled_at__isnull=True), name="dunning_cases_to_settle"
            ),
        ]
        triggers = CASE_TRIGGERS

    def __str__(self) -> str:
        return f"dunning of {self.invoice}"

    @property
    def is_open(self) -> bool:
        return self.status in OPEN_CASES

    @property
    def terms(self) -> Terms:
        """The terms it began with."""
        return read_terms(delays_hours=self.delays_hours, end_state=self.end_state, messages=self.messages)

    def can_become(self, status: str) -> bool:
        """Tell whether the transition table allows `status` next."""
        return status in DUNNING_TRANSITIONS[self.status]


class AttemptOutcome(models.TextChoices):
    FAILED = "failed"
    NOT_TRIED = "not_tried", "no payment method was tried"
    PAID = "paid"


class DunningAttempt(Identified):
    """
    What was tried for a case, and what came of it. `step` 0: an attempt that somebody asked for, out of turn.

    `amount` is what remained to pay, minor units of the invoice's currency. `next_step_at` is what was decided then,
    `notice_id` the mail that tells it, where one does.
    """

    id_prefix = "dua"

    case = models.ForeignKey(DunningCase, on_delete=models.PROTECT, related_name="attempts")
    step = models.PositiveSmallIntegerField()
    made_at = models.DateTimeField()
    outcome = models.CharField(max_length=9, choices=AttemptOutcome)
    amount = models.BigIntegerField()
    method = models.ForeignKey(
        PaymentMethod, null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    decline_reason = models.CharField(max_length=40, blank=True)
    next_step_at = models.DateTimeField(null=True, blank=True)
    message = models.CharField(max_length=11, choices=DunningMessage, default=DunningMessage.NONE)
    notice_id = models.UUIDField(null=True, blank=True)

    class Meta:
        db_table = "dunning_attempts"
        ordering = ["made_at", "id"]
        constraints = [
            models.UniqueConstraint(fields=["case", "step"], condition=Q(step__gt=0), name="dunning_attempts_step_once")
        ]
        indexes = [
            models.Index(fields=["made_at", "id"], name="dunning_attempts_by_day"),  # the calendar
            # What a mail is to tell.
            models.Index(fields=["notice_id"], condition=Q(notice_id__isnull=False), name="dunning_attempts_of_notice"),
        ]
        triggers = append_only_triggers("dunning_attempts")

    def __str__(self) -> str:
        return f"{self.get_outcome_display()} on {self.made_at:%Y-%m-%d}"
