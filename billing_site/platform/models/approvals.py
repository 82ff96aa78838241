"""Approvals: what one person asked for and another one decided, kept as it was."""

from __future__ import annotations

from typing import ClassVar, Final

import pgtrigger
from django.db import models
from django.db.models import F, Q

from billing_site.platform.models.base import Identified
from billing_site.platform.models.triggers import StrictTrigger

_TABLE: Final = "approvals"
_DECIDED_COLUMNS: Final = "'status', 'decided_by', 'decided_at', 'comment', 'executed_at', 'result'"


def _refuse(what: str) -> str:
    return (
        f"RAISE EXCEPTION USING ERRCODE = 'restrict_violation', "
        f"MESSAGE = format('{what}: %s refused', TG_OP), TABLE = '{_TABLE}', CONSTRAINT = '{_TABLE}_immutable';"
    )


class ApprovalStatus(models.TextChoices):
    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    CANCELED = "canceled"
    EXPIRED = "expired"


class Approval(Identified):
    """
    A request for something that no one may do alone.

    `payload` says what exactly will be done; `payload_hash` is its SHA-256, checked again when it is done. `amount`
    (minor units of `currency`) is the money it moves, where it moves any. `requested_by` and `decided_by` are actors
    as text. The row starts pending; what was asked for never changes, and a decision is final.
    """

    id_prefix: ClassVar[str] = "apr"

    kind = models.CharField(max_length=60)
    title = models.CharField(max_length=255)
    subject_type = models.CharField(max_length=60)
    subject_id = models.CharField(max_length=100)
    account_id = models.UUIDField(null=True, blank=True)
    payload = models.JSONField(default=dict)
    payload_hash = models.CharField(max_length=64)
    amount = models.BigIntegerField(null=True, blank=True)
    currency = models.CharField(max_length=3, blank=True, default="")
    requested_by = models.CharField(max_length=266)
    requested_at = models.DateTimeField()
    reason = models.TextField()
    expires_at = models.DateTimeField()
    status = models.CharField(max_length=8, choices=ApprovalStatus, default=ApprovalStatus.PENDING)
    decided_by = models.CharField(max_length=266, blank=True, default="")
    decided_at = models.DateTimeField(null=True, blank=True)
    comment = models.TextField(blank=True, default="")
    executed_at = models.DateTimeField(null=True, blank=True)
    result = models.JSONField(default=dict, blank=True)

    class Meta:
        db_table = _TABLE
        ordering = ["-id"]
        permissions = [("decide_approval", "Can decide what others ask for")]
        constraints = [
            models.CheckConstraint(
                condition=~Q(status__in=["approved", "rejected"]) | ~Q(decided_by=F("requested_by")),
                name="approvals_second_person",
            ),
            models.CheckConstraint(
                condition=~Q(status="approved") | ~Q(decided_by__startswith="system:"), name="approvals_by_a_person"
            ),
            models.CheckConstraint(
                condition=Q(status="pending", decided_by="", decided_at__isnull=True)
                | (~Q(status="pending") & ~Q(decided_by="") & Q(decided_at__isnull=False)),
                name="approvals_decided_by_status",
            ),
            models.CheckConstraint(
                condition=Q(status="approved", executed_at__isnull=False)
                | (~Q(status="approved") & Q(executed_at__isnull=True)),
                name="approvals_executed_when_approved",
            ),
            models.CheckConstraint(
                condition=Q(amount__isnull=True, currency="") | (Q(amount__isnull=False) & ~Q(currency="")),
                name="approvals_amount_has_currency",
            ),
            models.CheckConstraint(condition=Q(expires_at__gt=F("requested_at")), name="approvals_expire_later"),
            models.CheckConstraint(condition=~Q(reason=""), name="approvals_have_a_reason"),
            models.UniqueConstraint(
                fields=["kind", "subject_id"], condition=Q(status="pending"), name="approvals_one_pending"
            ),
        ]
        indexes = [
            models.Index(fields=["expires_at"], condition=Q(status="pending"), name="approvals_due"),  # the sweep
            models.Index(fields=["subject_id", "-id"], name="approvals_subject"),  # the requests about one object
        ]
        triggers = [
            StrictTrigger(
                name="begins_pending",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                level=pgtrigger.Row,
                func=f"IF NEW.status <> 'pending' THEN {_refuse('an approval begins open')} END IF; RETURN NEW;",
            ),
            StrictTrigger(
                name="decided_once",
                when=pgtrigger.Before,
                operation=pgtrigger.Update,
                level=pgtrigger.Row,
                func=f"""
                IF OLD.status <> 'pending' OR to_jsonb(NEW) - ARRAY[{_DECIDED_COLUMNS}]
                    IS DISTINCT FROM to_jsonb(OLD) - ARRAY[{_DECIDED_COLUMNS}]
                THEN {_refuse("an approval is decided once and never rewritten")} END IF;
                RETURN NEW;
                """,
            ),
            StrictTrigger(
                name="keep_rows",
                when=pgtrigger.Before,
                operation=pgtrigger.Delete,
                level=pgtrigger.Row,
                func=_refuse("approvals are kept"),
            ),
            StrictTrigger(
                name="keep_table",
                when=pgtrigger.Before,
                operation=pgtrigger.Truncate,
                level=pgtrigger.Statement,
                func=_refuse("approvals are kept"),
            ),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def is_pending(self) -> bool:
        return self.status == ApprovalStatus.PENDING
