"""Credit that was given or bought, what pays with it, and who it paid."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.db import models
from django.db.models import F, Q

from accounts.models.account import Account
from accounts.models.ledger import LedgerEntry
from accounts.models.ledger_triggers import kept_triggers
from accounts.models.subscription import Subscription
from accounts.terms.burning import BurnableGrant, Recurrence
from billing_site.kernel.ids import encode_id
from billing_site.kernel.periods import Interval
from billing_site.platform.models.base import Identified
from billing_site.platform.models.triggers import append_only_triggers
from catalog.models import Meter, PriceInterval

# How the `once_key` of credit that comes with a plan begins.
INCLUDED_KEY = "plan-included:"
# What was granted stays; what is left, its end and its next renewal move.
_FIXED = (
    "id",
    "account_id",
    "entry_id",
    "subscription_id",
    "amount",
    "currency",
    "promotional",
    "priority",
    "effective_at",
    "expires_at",
    "interval",
    "interval_count",
    "anchor_date",
    "timezone",
    "period_index",
    "recurring_amount",
    "rollover_minimum",
    "rollover_maximum",
    "renewed_from_id",
    "rolled_over",
)


class CreditGrant(Identified):
    """
    Credit with its own order, end and meters. Usable in `[effective_at, expires_at)` until it is spent or void.

    Minor units of `currency`: `amount` = `remaining` + `released` (by end or voiding) + what it paid. A recurring grant
    is one row per period: `renews_at` is when the next row follows, null once it did; `recurring_amount` is what each
    period begins with besides `rolled_over`. Periods count from `anchor_date` in `timezone`.
    Source: contract chapter Credits; policies, rule 23.
    """

    id_prefix = "cgr"

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="credit_grants")
    subscription = models.ForeignKey(Subscription, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    entry = models.OneToOneField(LedgerEntry, on_delete=models.PROTECT, related_name="+")
    name = models.CharField(max_length=255, blank=True)
    amount = models.BigIntegerField()
    remaining = models.BigIntegerField()
    released = models.BigIntegerField(default=0)
    currency = models.CharField(max_length=3)
    priority = models.IntegerField(default=0)
    promotional = models.BooleanField(default=True)
    tags = models.CharField(max_length=255, blank=True)
    # A grant that may exist once per account has one: `starter-credit`, `plan-included:sub_…:2026-03-01`.
    once_key = models.CharField(max_length=255, blank=True)
    effective_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True, blank=True)
    expired_at = models.DateTimeField(null=True, blank=True)
    voided_at = models.DateTimeField(null=True, blank=True)
    voided_by = models.CharField(max_length=255, blank=True)
    void_reason = models.CharField(max_length=500, blank=True)
    interval = models.CharField(max_length=5, choices=PriceInterval, blank=True)
    interval_count = models.PositiveSmallIntegerField(default=1)
    anchor_date = models.DateField(null=True, blank=True)
    timezone = models.CharField(max_length=64, blank=True)
    period_index = models.PositiveIntegerField(default=0)
    recurring_amount = models.BigIntegerField(null=True, blank=True)
    rollover_minimum = models.BigIntegerField(default=0)
    rollover_maximum = models.BigIntegerField(default=0)
    rolled_over = models.BigIntegerField(default=0)
    renewed_from = models.OneToOneField(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="renewed_as"
    )
    renews_at = models.DateTimeField(null=True, blank=True)
    created_by = models.CharField(max_length=255)
    metadata = models.JSONField(default=dict, blank=True)
    livemode = models.BooleanField(default=False)
    created_at = models.DateTimeField()

    class Meta:
        db_table = "credit_grants"
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=Q(amount__gt=0), name="credit_grants_amount_positive"),
            models.CheckConstraint(
                condition=Q(remaining__gte=0, released__gte=0, amount__gte=F("remaining") + F("released")),
                name="credit_grants_remaining_in_range",
            ),
            models.CheckConstraint(condition=Q(currency__regex="^[a-z]{3}$"), name="credit_grants_currency_lower_case"),
            models.CheckConstraint(
                condition=Q(expires_at__isnull=True) | Q(expires_at__gt=F("effective_at")),
                name="credit_grants_dates_in_order",
            ),
            models.CheckConstraint(
                condition=Q(voided_at__isnull=True, voided_by="", void_reason="")
                | (Q(voided_at__isnull=False, remaining=0, renews_at__isnull=True) & ~Q(voided_by="")),
                name="credit_grants_voided_has_person",
            ),
            models.CheckConstraint(
                condition=Q(expired_at__isnull=True) | Q(expires_at__isnull=False, remaining=0),
                name="credit_grants_expired_has_end",
            ),
            models.CheckConstraint(
                condition=Q(
                    recurring_amount__isnull=True,
                    interval="",
                    anchor_date__isnull=True,
                    renews_at__isnull=True,
                    renewed_from__isnull=True,
                )
                | (
                    Q(recurring_amount__gt=0, interval_count__gte=1, anchor_date__isnull=False)
                    & Q(expires_at__isnull=False, rollover_minimum__gte=0, rollover_maximum__gte=F("rollover_minimum"))
                    & ~Q(interval="")
                ),
                name="credit_grants_recurrence_whole",
            ),
            models.CheckConstraint(
                condition=Q(renews_at__isnull=True) | Q(renews_at=F("expires_at")), name="credit_grants_renews_at_end"
            ),
            models.UniqueConstraint(
                fields=["account", "once_key"], condition=~Q(once_key=""), name="credit_grants_once_per_account"
            ),
        ]
        indexes = [
            # What an account can pay with.
            models.Index(
                fields=["account", "currency", "priority"], condition=Q(remaining__gt=0), name="credit_grants_usable"
            ),
            models.Index(fields=["account", "-id"], name="credit_grants_of_account"),  # the list of one account
            # The sweeps: what ends, and what renews.
            models.Index(
                fields=["expires_at"],
                condition=Q(remaining__gt=0, expires_at__isnull=False, renews_at__isnull=True),
                name="credit_grants_expiring",
            ),
            models.Index(fields=["renews_at"], condition=Q(renews_at__isnull=False), name="credit_grants_renewing"),
        ]
        permissions = [("approve_credit_grant", "Can approve credit grants above the limit")]
        triggers = kept_triggers("credit_grants", *_FIXED)

    def __str__(self) -> str:
        return self.name or self.tags or self.public_id

    @property
    def is_voided(self) -> bool:
        return self.voided_at is not None

    @property
    def is_included(self) -> bool:
        """Whether it came with a period of its subscription's plan."""
        return self.subscription_id is not None and self.once_key.startswith(INCLUDED_KEY)

    @property
    def subscription_public_id(self) -> str | None:
        return None if self.subscription_id is None else encode_id(Subscription.id_prefix, self.subscription_id)

    @property
    def spent(self) -> int:
        """What it paid so far, minor units."""
        return self.amount - self.remaining - self.released

    @property
    def recurrence(self) -> Recurrence | None:
        """How it is set back, or None when it is given once."""
        if self.recurring_amount is None or self.anchor_date is None:
            return None
        return Recurrence(
            amount=self.recurring_amount,
            interval=Interval.parse(self.interval, self.interval_count),
            anchor=self.anchor_date,
            zone=ZoneInfo(self.timezone),
            rollover_minimum=self.rollover_minimum,
            rollover_maximum=self.rollover_maximum,
        )

    def as_burnable(self, **changes: Any) -> BurnableGrant:
        """Return what decides whether and when it pays. Its meters must have been fetched along."""
        facts: dict[str, Any] = {
            "id": self.public_id,
            "remaining": self.remaining,
            "currency": self.currency,
            "effective_at": self.effective_at,
            "created_at": self.created_at,
            "priority": self.priority,
            "expires_at": self.expires_at,
            "promotional": self.promotional,
            "subscription": self.subscription_public_id,
            "voided": self.is_voided,
            "included": self.is_included,
        }
        if "meters" not in changes:
            facts["meters"] = frozenset(row.meter.event_name for row in self.limits.all())
        return BurnableGrant(**{**facts, **changes})

    def is_ended(self, at: datetime) -> bool:
        """Tell whether its end has come."""
        return self.expires_at is not None and self.expires_at <= at


class CreditGrantMeter(Identified):
    """A meter whose usage a grant may pay. A grant without any pays every line and tax."""

    id_prefix = "cgm"

    grant = models.ForeignKey(CreditGrant, on_delete=models.PROTECT, related_name="limits")
    meter = models.ForeignKey(Meter, on_delete=models.PROTECT, related_name="+")

    class Meta:
        db_table = "credit_grant_meters"
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["grant", "meter"], name="credit_grant_meters_once")]
        triggers = append_only_triggers("credit_grant_meters")

    def __str__(self) -> str:
        return f"{self.grant_id} pays {self.meter_id}"


class CreditBurn(Identified):
    """
    That a grant paid `amount` of one charge. Minor units of the grant's currency; never changed.

    `charge` is what the payer calls the line it paid for, `meter` the event name of a usage line. What was undone has a
    second row with the amount below zero that `reverses` the first.
    """

    id_prefix = "cbn"

    grant = models.ForeignKey(CreditGrant, on_delete=models.PROTECT, related_name="burns")
    entry = models.ForeignKey(LedgerEntry, on_delete=models.PROTECT, related_name="+")
    charge = models.CharField(max_length=255)
    meter = models.CharField(max_length=100, blank=True)
    amount = models.BigIntegerField()
    reverses = models.OneToOneField("self", null=True, blank=True, on_delete=models.PROTECT, related_name="reversed_by")
    created_at = models.DateTimeField()

    class Meta:
        db_table = "credit_burns"
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(amount__gt=0, reverses__isnull=True) | Q(amount__lt=0, reverses__isnull=False),
                name="credit_burns_sign_tells_reversal",
            ),
            models.UniqueConstraint(fields=["entry", "grant", "charge"], name="credit_burns_once"),
        ]
        triggers = append_only_triggers("credit_burns")

    def __str__(self) -> str:
        return f"{self.amount} for {self.charge}"
