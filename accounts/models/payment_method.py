"""Payment methods: what an account pays with. Only the provider's names of them are kept, never a card number."""

from __future__ import annotations

from typing import Final

import pgtrigger
from django.db import models
from django.db.models import F, Q

from accounts.models.account import Account
from accounts.models.ledger_triggers import kept_triggers
from billing_site.platform.models.base import Identified, Timestamped
from billing_site.platform.models.triggers import IndexScanTrigger, StrictTrigger


class PaymentMethodType(models.TextChoices):
    CARD = "card"
    BANK_ACCOUNT = "bank_account"
    BALANCE = "balance"


class PaymentMethodStatus(models.TextChoices):
    PENDING = "pending"
    ATTACHED = "attached"
    REFUSED = "refused"
    DETACHED = "detached"


# What may follow what. A refused or detached method is history.
PAYMENT_METHOD_TRANSITIONS: Final[dict[str, frozenset[str]]] = {
    "pending": frozenset({"attached", "refused"}),
    "attached": frozenset({"detached"}),
    "refused": frozenset(),
    "detached": frozenset(),
}
# Types that money can be taken from by a payment provider.
PROVIDER_TYPES: Final = (PaymentMethodType.CARD, PaymentMethodType.BANK_ACCOUNT)


def _refuse(message: str, constraint: str, code: str = "check_violation") -> str:
    return (
        f"RAISE EXCEPTION USING ERRCODE = '{code}', MESSAGE = {message}, "
        f"TABLE = 'payment_methods', CONSTRAINT = '{constraint}';"
    )


_NOT_THAT_WAY = _refuse(
    "format('payment method %s cannot go from %s to %s', OLD.id, OLD.status, NEW.status)",
    "payment_methods_ends_once",
    "restrict_violation",
)
_NO_DEFAULT = _refuse("format('account %s has methods and no default', NEW.account_id)", "payment_methods_has_default")

PAYMENT_METHOD_TRIGGERS = [
    *kept_triggers("payment_methods", "id", "account_id", "type", "livemode"),
    StrictTrigger(
        name="ends_once",
        when=pgtrigger.Before,
        operation=pgtrigger.UpdateOf("status"),
        level=pgtrigger.Row,
        func=f"""
            IF NEW.status <> OLD.status AND NOT (
                (OLD.status = 'pending' AND NEW.status IN ('attached', 'refused'))
                OR (OLD.status = 'attached' AND NEW.status = 'detached')
            ) THEN
                {_NOT_THAT_WAY}
            END IF;
            RETURN NEW;
        """,
    ),
    # At most one default is a unique index; that there is one is looked at when everything is written.
    IndexScanTrigger(
        name="has_default",
        when=pgtrigger.After,
        operation=pgtrigger.Insert | pgtrigger.UpdateOf("status", "is_default"),
        level=pgtrigger.Row,
        timing=pgtrigger.Deferred,
        func=f"""
            IF EXISTS (
                SELECT FROM payment_methods WHERE account_id = NEW.account_id AND status = 'attached'
            ) AND NOT EXISTS (
                SELECT FROM payment_methods WHERE account_id = NEW.account_id AND is_default
            ) THEN
                {_NO_DEFAULT}
            END IF;
            RETURN NULL;
        """,  # noqa: S608 — constants only
    ),
]


class PaymentMethod(Identified, Timestamped):
    """
    One way an account pays.

    A row begins `pending`, before the provider is asked, and keeps what was sent as `provider_ref`; when it is attached
    that is the provider's own name of it. `verified_at` is set when a hold on it was authorised. `released_at` tells
    that the provider keeps nothing of a method that is not attached any more, or never was. Of the account's attached
    methods exactly one is the default. `expires_on` is a card's last good day, by its display data, and `expiry_told`
    the one that the account was warned of. `request_key` and `request_hash` recognise a repeat of the request.
    """

    id_prefix = "pm"

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="payment_methods", db_index=False)
    type = models.CharField(max_length=12, choices=PaymentMethodType, default=PaymentMethodType.CARD)
    status = models.CharField(max_length=8, choices=PaymentMethodStatus, default=PaymentMethodStatus.PENDING)
    provider_type = models.CharField(max_length=20)
    provider_ref = models.CharField(max_length=255, blank=True)
    name = models.CharField(max_length=255, blank=True)
    card = models.JSONField(default=dict, blank=True)
    bank_account = models.JSONField(default=dict, blank=True)
    billing_address = models.JSONField(default=dict, blank=True)
    is_default = models.BooleanField(default=False)
    decline_reason = models.CharField(max_length=40, blank=True)
    verified_at = models.DateTimeField(null=True, blank=True)
    attached_at = models.DateTimeField(null=True, blank=True)
    detached_at = models.DateTimeField(null=True, blank=True)
    released_at = models.DateTimeField(null=True, blank=True)
    expires_on = models.DateField(null=True, blank=True)
    expiry_told = models.DateField(null=True, blank=True)
    request_key = models.CharField(max_length=64, blank=True)
    request_hash = models.CharField(max_length=64, blank=True)
    livemode = models.BooleanField(default=False)
    metadata = models.JSONField(default=dict, blank=True)

    class Meta:
        db_table = "payment_methods"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["account"], condition=Q(is_default=True), name="payment_methods_one_default"
            ),
            models.UniqueConstraint(
                fields=["account", "provider_type", "provider_ref"],
                condition=Q(status="attached") & ~Q(provider_ref=""),
                name="payment_methods_ref_once",
            ),
            models.UniqueConstraint(
                fields=["account"],
                condition=Q(status="attached", type="balance"),
                name="payment_methods_balance_once",
            ),
            models.UniqueConstraint(
                fields=["request_key"], condition=~Q(request_key=""), name="payment_methods_request_once"
            ),
            models.CheckConstraint(
                condition=Q(is_default=False) | Q(status="attached"), name="payment_methods_default_is_attached"
            ),
            models.CheckConstraint(
                condition=Q(status__in=("attached", "detached"), attached_at__isnull=False)
                | Q(status__in=("pending", "refused"), attached_at__isnull=True, verified_at__isnull=True),
                name="payment_methods_attached_has_time",
            ),
            models.CheckConstraint(
                condition=Q(status="detached", detached_at__isnull=False)
                | (~Q(status="detached") & Q(detached_at__isnull=True)),
                name="payment_methods_detached_has_time",
            ),
            models.CheckConstraint(
                condition=(Q(status="refused") & ~Q(decline_reason="")) | (~Q(status="refused") & Q(decline_reason="")),
                name="payment_methods_refused_has_reason",
            ),
            models.CheckConstraint(
                condition=Q(type="balance", provider_ref="", verified_at__isnull=True)
                | (~Q(type="balance") & ~Q(provider_ref="")),
                name="payment_methods_provider_ref_given",
            ),
        ]
        indexes = [
            # The list of an account: the default first, then the newest.
            models.Index(
                fields=["account", "-is_default", "-id"],
                condition=Q(status="attached"),
                name="payment_methods_of_account",
            ),
            # The same over all accounts.
            models.Index(fields=["-is_default", "-id"], condition=Q(status="attached"), name="payment_methods_newest"),
            models.Index(fields=["account", "-id"], name="payment_methods_history"),  # the admin, ended ones included
            # What the provider still keeps for nothing, and what was never answered.
            models.Index(
                fields=["id"],
                condition=Q(status__in=("detached", "refused"), released_at__isnull=True),
                name="payment_methods_to_release",
            ),
            models.Index(fields=["created_at"], condition=Q(status="pending"), name="payment_methods_pending"),
            # Whom to warn that the card ends: those that were not warned of this very day.
            models.Index(
                fields=["expires_on", "id"],
                condition=Q(is_default=True, expires_on__isnull=False)
                & (Q(expiry_told__isnull=True) | ~Q(expiry_told=F("expires_on"))),
                name="payment_methods_expiring",
            ),
            # The sweep of starter credit.
            models.Index(
                fields=["created_at"],
                condition=Q(status="attached", verified_at__isnull=False),
                name="payment_methods_verified",
            ),
        ]
        triggers = PAYMENT_METHOD_TRIGGERS

    def __str__(self) -> str:
        return self.name or f"{self.get_type_display()} {self.public_id}"

    @property
    def is_attached(self) -> bool:
        return self.status == PaymentMethodStatus.ATTACHED

    @property
    def needs_provider(self) -> bool:
        """Whether a payment provider keeps it."""
        return self.type in PROVIDER_TYPES

    def can_become(self, status: str) -> bool:
        """Tell whether the transition table allows `status` next."""
        return status in PAYMENT_METHOD_TRANSITIONS[self.status]
