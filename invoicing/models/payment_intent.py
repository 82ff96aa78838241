"""Payments through a provider: what is to be paid, where it stands, and which invoices it pays."""

from __future__ import annotations

from typing import Final

import pgtrigger
from django.db import models
from django.db.models import F, Q

from accounts.models import Account, LedgerEntry, PaymentMethod
from accounts.models.ledger_triggers import kept_triggers
from billing_site.platform.models.base import Identified, Timestamped
from billing_site.platform.models.triggers import StrictTrigger
from invoicing.models.invoice import Invoice


class IntentStatus(models.TextChoices):
    REQUIRES_PAYMENT_METHOD = "requires_payment_method"
    REQUIRES_CONFIRMATION = "requires_confirmation"
    REQUIRES_ACTION = "requires_action"
    PROCESSING = "processing"
    REQUIRES_CAPTURE = "requires_capture"
    SUCCEEDED = "succeeded"
    CANCELED = "canceled"


class IntentPurpose(models.TextChoices):
    INTENT = "intent", "payment"
    INVOICE = "invoice"
    TOPUP = "topup", "top-up"


class CaptureMethod(models.TextChoices):
    AUTOMATIC = "automatic"
    MANUAL = "manual"


class PendingCall(models.TextChoices):
    """What the provider was asked of a payment and has not answered yet."""

    PAY = "pay"
    CAPTURE = "capture"
    CANCEL = "cancel"


INTENT_TRANSITIONS: Final[dict[str, frozenset[str]]] = {
    "requires_payment_method": frozenset(
        {"requires_confirmation", "processing", "requires_action", "requires_capture", "succeeded", "canceled"}
    ),
    "requires_confirmation": frozenset(
        {"requires_payment_method", "processing", "requires_action", "requires_capture", "succeeded", "canceled"}
    ),
    "processing": frozenset(
        {"requires_payment_method", "requires_action", "requires_capture", "succeeded", "canceled"}
    ),
    "requires_action": frozenset(
        {"requires_payment_method", "processing", "requires_capture", "succeeded", "canceled"}
    ),
    "requires_capture": frozenset({"succeeded", "canceled"}),
    "succeeded": frozenset(),
    "canceled": frozenset(),
}
UNSETTLED_STATUSES: Final = ("processing", "requires_action", "requires_capture")
"""Money may still come of these without anybody asking again."""
ENDED_STATUSES: Final = ("succeeded", "canceled")
_ALLOWED: Final = " OR ".join(
    f"(OLD.status = '{before}' AND NEW.status IN ({', '.join(repr(after) for after in sorted(others))}))"
    for before, others in INTENT_TRANSITIONS.items()
    if others
)

INTENT_TRIGGERS = [
    *kept_triggers("payment_intents", "id", "account_id", "purpose", "amount", "currency", "livemode"),
    StrictTrigger(
        name="ends_once",
        when=pgtrigger.Before,
        operation=pgtrigger.UpdateOf("status"),
        level=pgtrigger.Row,
        func=f"""
            IF NEW.status <> OLD.status AND NOT ({_ALLOWED}) THEN
                RAISE EXCEPTION USING ERRCODE = 'restrict_violation',
                    MESSAGE = format('payment %s cannot go from %s to %s', OLD.id, OLD.status, NEW.status),
                    TABLE = 'payment_intents', CONSTRAINT = 'payment_intents_ends_once';
            END IF;
            RETURN NEW;
        """,
    ),
]


class PaymentIntent(Identified, Timestamped):
    """
    One payment. Amounts are minor units of `currency`; `amount_received` less `amount_refunded` is what was kept.
    Triggers of refunds and disputes keep `amount_refunded`, `amount_refund_pending` (asked for, not decided) and
    `amount_disputed` (held by disputes, or lost).

    `call_key` is the idempotency key of the last call to the provider and `pending_call` says what of it is not
    answered yet; both are committed before the call, so whoever finds the row (answer, webhook, sweep) can ask again
    with the same key. `calls` counts them. `attempt` is the number of the invoice's attempt that this payment is.
    `fee` is what the provider kept, once it tells. `last_error` is one plain sentence, `decline_reason` our word for
    it.
    """

    id_prefix = "pi"

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="payment_intents", db_index=False)
    purpose = models.CharField(max_length=8, choices=IntentPurpose, default=IntentPurpose.INTENT)
    status = models.CharField(max_length=23, choices=IntentStatus, default=IntentStatus.REQUIRES_PAYMENT_METHOD)
    amount = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    capture_method = models.CharField(max_length=9, choices=CaptureMethod, default=CaptureMethod.AUTOMATIC)
    confirmation_method = models.CharField(max_length=9, choices=CaptureMethod, default=CaptureMethod.AUTOMATIC)
    amount_capturable = models.BigIntegerField(default=0)
    amount_received = models.BigIntegerField(default=0)
    amount_refunded = models.BigIntegerField(default=0)
    amount_refund_pending = models.BigIntegerField(default=0)
    amount_disputed = models.BigIntegerField(default=0)
    fee = models.BigIntegerField(default=0)
    payment_method = models.ForeignKey(
        PaymentMethod, null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    provider_type = models.CharField(max_length=20)
    provider_ref = models.CharField(max_length=255, blank=True)
    client_secret = models.CharField(max_length=255, blank=True)
    off_session = models.BooleanField(default=False)
    setup_future_usage = models.CharField(max_length=11, blank=True)
    description = models.CharField(max_length=500, blank=True)
    receipt_email = models.CharField(max_length=254, blank=True)
    attempt = models.PositiveSmallIntegerField(default=0)
    pending_call = models.CharField(max_length=7, choices=PendingCall, blank=True)
    pending_amount = models.BigIntegerField(null=True, blank=True)
    call_key = models.CharField(max_length=255, blank=True)
    calls = models.PositiveSmallIntegerField(default=0)
    called_at = models.DateTimeField(null=True, blank=True)
    # When the sweep last asked, by the wall clock.
    asked_at = models.DateTimeField(null=True, blank=True)
    decline_reason = models.CharField(max_length=40, blank=True)
    last_error = models.CharField(max_length=500, blank=True)
    cancellation_reason = models.CharField(max_length=255, blank=True)
    canceled_at = models.DateTimeField(null=True, blank=True)
    succeeded_at = models.DateTimeField(null=True, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    livemode = models.BooleanField(default=False)

    class Meta:
        db_table = "payment_intents"
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=Q(amount__gt=0), name="payment_intents_amount_positive"),
            models.CheckConstraint(
                condition=Q(
                    amount_capturable__gte=0,
                    amount_capturable__lte=F("amount"),
                    amount_received__gte=0,
                    amount_received__lte=F("amount"),
                    amount_refunded__gte=0,
                    amount_refunded__lte=F("amount_received"),
                ),
                name="payment_intents_amounts_within",
            ),
            models.CheckConstraint(
                condition=Q(amount_refund_pending__gte=0, amount_disputed__gte=0)
                & Q(amount_received__gte=F("amount_refunded") + F("amount_refund_pending")),
                name="payment_intents_refunds_within",
            ),
            models.CheckConstraint(
                condition=Q(status="succeeded", succeeded_at__isnull=False, amount_received__gt=0)
                | (~Q(status="succeeded") & Q(succeeded_at__isnull=True, amount_received=0)),
                name="payment_intents_succeeded_has_money",
            ),
            models.CheckConstraint(
                condition=Q(status="canceled", canceled_at__isnull=False)
                | (~Q(status="canceled") & Q(canceled_at__isnull=True)),
                name="payment_intents_canceled_has_time",
            ),
            models.CheckConstraint(
                condition=Q(pending_call="") | (~Q(call_key="") & Q(called_at__isnull=False)),
                name="payment_intents_call_has_key",
            ),
            models.CheckConstraint(
                condition=Q(pending_call="") | ~Q(status__in=ENDED_STATUSES), name="payment_intents_ended_is_answered"
            ),
            models.UniqueConstraint(
                fields=["provider_type", "provider_ref"],
                condition=~Q(provider_ref=""),
                name="payment_intents_ref_once",
            ),
        ]
        indexes = [
            models.Index(fields=["account", "-id"], name="payment_intents_of_account"),
            models.Index(fields=["status", "-id"], name="payment_intents_by_status"),
            # The sweep that asks the provider about what was never answered.
            models.Index(
                fields=["called_at"],
                condition=~Q(pending_call="") | Q(status="processing"),
                name="payment_intents_unanswered",
            ),
        ]
        triggers = INTENT_TRIGGERS

    def __str__(self) -> str:
        return self.description or f"payment {self.public_id}"

    @property
    def amount_refundable(self) -> int:
        """What was received and is neither given back, nor to be, nor disputed or lost so; minor units."""
        taken = self.amount_refunded + self.amount_refund_pending + self.amount_disputed
        return max(0, self.amount_received - taken)

    @property
    def is_unsettled(self) -> bool:
        """Whether money may still come of it without anybody asking again."""
        return self.status in UNSETTLED_STATUSES or bool(self.pending_call)

    def can_become(self, status: str) -> bool:
        """Tell whether the transition table allows `status` next."""
        return status in INTENT_TRANSITIONS[self.status]


class PaymentAllocation(Identified):
    """
    What a payment is to pay of an invoice, and in the end did, minor units of their currency.

    `amount` is what was planned; `applied` is None until the money came. `is_open` while the payment may still succeed
    by itself: at most one such of an invoice, so that nobody collects it twice.
    """

    id_prefix = "pal"

    intent = models.ForeignKey(PaymentIntent, on_delete=models.PROTECT, related_name="allocations", db_index=False)
    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="allocations")
    amount = models.BigIntegerField()
    applied = models.BigIntegerField(null=True, blank=True)
    entry = models.ForeignKey(LedgerEntry, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    is_open = models.BooleanField(default=False)

    class Meta:
        db_table = "payment_allocations"
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["intent", "invoice"], name="payment_allocations_once"),
            models.UniqueConstraint(
                fields=["invoice"], condition=Q(is_open=True), name="payment_allocations_one_collector"
            ),
            models.CheckConstraint(
                condition=Q(amount__gt=0) & (Q(applied__isnull=True) | Q(applied__gte=0)),
                name="payment_allocations_amount_positive",
            ),
            models.CheckConstraint(
                condition=Q(applied__isnull=True) | Q(is_open=False), name="payment_allocations_applied_is_closed"
            ),
        ]
        triggers = kept_triggers("payment_allocations", "id", "intent_id", "invoice_id", "amount")

    def __str__(self) -> str:
        return f"{self.amount} of {self.invoice}"
