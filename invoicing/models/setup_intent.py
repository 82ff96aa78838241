"""Setups: methods that are saved through a provider without a payment."""

from __future__ import annotations

from typing import Final

import pgtrigger
from django.db import models
from django.db.models import Q

from accounts.models import Account, PaymentMethod
from accounts.models.ledger_triggers import kept_triggers
from billing_site.platform.models.base import Identified, Timestamped
from billing_site.platform.models.triggers import StrictTrigger


class SetupStatus(models.TextChoices):
    REQUIRES_PAYMENT_METHOD = "requires_payment_method"
    REQUIRES_CONFIRMATION = "requires_confirmation"
    REQUIRES_ACTION = "requires_action"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    CANCELED = "canceled"


class SetupUsage(models.TextChoices):
    OFF_SESSION = "off_session"
    ON_SESSION = "on_session"


class SetupCall(models.TextChoices):
    """What the provider was asked of a setup and has not answered yet."""

    CREATE = "create"
    CONFIRM = "confirm"
    CANCEL = "cancel"


SETUP_TRANSITIONS: Final[dict[str, frozenset[str]]] = {
    "requires_payment_method": frozenset(
        {"requires_confirmation", "requires_action", "processing", "succeeded", "canceled"}
    ),
    "requires_confirmation": frozenset(
        {"requires_payment_method", "requires_action", "processing", "succeeded", "canceled"}
    ),
    "requires_action": frozenset(
        {"requires_payment_method", "requires_confirmation", "processing", "succeeded", "canceled"}
    ),
    "processing": frozenset(
        {"requires_payment_method", "requires_confirmation", "requires_action", "succeeded", "canceled"}
    ),
    "succeeded": frozenset(),
    "canceled": frozenset(),
}
SETUP_ENDED: Final = ("succeeded", "canceled")

SETUP_TRIGGERS = [
    *kept_triggers("setup_intents", "id", "account_id", "usage", "provider_type", "livemode"),
    StrictTrigger(
        name="ends_once",
        when=pgtrigger.Before,
        operation=pgtrigger.UpdateOf("status"),
        level=pgtrigger.Row,
        func="""
            IF NEW.status <> OLD.status AND OLD.status IN ('succeeded', 'canceled') THEN
                RAISE EXCEPTION USING ERRCODE = 'restrict_violation',
                    MESSAGE = format('setup %s cannot go from %s to %s', OLD.id, OLD.status, NEW.status),
                    TABLE = 'setup_intents', CONSTRAINT = 'setup_intents_ends_once';
            END IF;
            RETURN NEW;
        """,
    ),
]


class SetupIntent(Identified, Timestamped):
    """
    The saving of one method. `method_ref` is the provider's name of it, `payment_method` our row once it is saved.

    `call_key` is the idempotency key of the call under way and `pending_call` says what was asked; both are committed
    before the call. `checked_at` is when the provider was last looked at. `last_error` is one plain sentence.
    """

    id_prefix = "seti"

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="+", db_index=False)
    status = models.CharField(max_length=23, choices=SetupStatus, default=SetupStatus.REQUIRES_PAYMENT_METHOD)
    usage = models.CharField(max_length=11, choices=SetupUsage, default=SetupUsage.OFF_SESSION)
    payment_method = models.ForeignKey(
        PaymentMethod, null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    method_ref = models.CharField(max_length=255, blank=True)
    provider_type = models.CharField(max_length=20)
    provider_ref = models.CharField(max_length=255, blank=True)
    client_secret = models.CharField(max_length=255, blank=True)
    pending_call = models.CharField(max_length=7, choices=SetupCall, blank=True)
    call_key = models.CharField(max_length=255, blank=True)
    calls = models.PositiveSmallIntegerField(default=0)
    called_at = models.DateTimeField(null=True, blank=True)
    checked_at = models.DateTimeField(null=True, blank=True)
    decline_reason = models.CharField(max_length=40, blank=True)
    last_error = models.CharField(max_length=500, blank=True)
    cancellation_reason = models.CharField(max_length=255, blank=True)
    canceled_at = models.DateTimeField(null=True, blank=True)
    succeeded_at = models.DateTimeField(null=True, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    livemode = models.BooleanField(default=False)

    class Meta:
        db_table = "setup_intents"
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(status="succeeded", succeeded_at__isnull=False, payment_method__isnull=False)
                | (~Q(status="succeeded") & Q(succeeded_at__isnull=True)),
                name="setup_intents_succeeded_has_method",
            ),
            models.CheckConstraint(
                condition=Q(status="canceled", canceled_at__isnull=False)
                | (~Q(status="canceled") & Q(canceled_at__isnull=True)),
                name="setup_intents_canceled_has_time",
            ),
            models.CheckConstraint(
                condition=Q(pending_call="") | (~Q(call_key="") & Q(called_at__isnull=False)),
                name="setup_intents_call_has_key",
            ),
            models.CheckConstraint(
                condition=Q(pending_call="") | ~Q(status__in=SETUP_ENDED), name="setup_intents_ended_is_answered"
            ),
            models.UniqueConstraint(
                fields=["provider_type", "provider_ref"],
                condition=~Q(provider_ref=""),
                name="setup_intents_ref_once",
            ),
        ]
        indexes = [
            models.Index(fields=["account", "-id"], name="setup_intents_of_account"),
            # The sweep: what was never answered, and what may have ended in a browser.
            models.Index(fields=["created_at"], condition=~Q(status__in=SETUP_ENDED), name="setup_intents_unsettled"),
        ]
        triggers = SETUP_TRIGGERS

    def __str__(self) -> str:
        return f"setup {self.public_id}"

    def can_become(self, status: str) -> bool:
        """Tell whether the transition table allows `status` next."""
        return status in SETUP_TRANSITIONS[self.status]
