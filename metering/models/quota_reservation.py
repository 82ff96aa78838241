"""Reservations: room under hard limits, set aside before work starts."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import pgtrigger
from django.db import models
from django.db.models import F, Q

from accounts.models import Account
from billing_site.platform.models.base import Identified
from billing_site.platform.models.triggers import StrictTrigger
from catalog.models import Meter


class ReservationStatus(models.TextChoices):
    OPEN = "open"
    COMMITTED = "committed"
    RELEASED = "released"
    EXPIRED = "expired"


# What may follow what. Work that ends late is still counted where there is room for it.
RESERVATION_TRANSITIONS: Final[dict[str, frozenset[str]]] = {
    ReservationStatus.OPEN: frozenset(
        {ReservationStatus.COMMITTED, ReservationStatus.RELEASED, ReservationStatus.EXPIRED}
    ),
    ReservationStatus.EXPIRED: frozenset({ReservationStatus.COMMITTED}),
    ReservationStatus.COMMITTED: frozenset(),
    ReservationStatus.RELEASED: frozenset(),
}

_FIXED: Final = ("account_id", "meter_id", "quantity", "created_at", "expires_at")
_KEPT: Final = f"""
IF ({", ".join(f"OLD.{name}" for name in _FIXED)}) IS DISTINCT FROM ({", ".join(f"NEW.{name}" for name in _FIXED)}) THEN
    RAISE EXCEPTION USING ERRCODE = 'restrict_violation', TABLE = 'quota_reservations',
        CONSTRAINT = 'quota_reservations_kept', MESSAGE = format('reservation %s: what it holds is fixed', OLD.id);
END IF;
IF OLD.status IN ('committed', 'released') OR (OLD.status = 'expired' AND NEW.status <> 'committed') THEN
    RAISE EXCEPTION USING ERRCODE = 'restrict_violation', TABLE = 'quota_reservations',
        CONSTRAINT = 'quota_reservations_final', MESSAGE = format('reservation %s: %s is final', OLD.id, OLD.status);
END IF;
RETURN NEW;
"""


class QuotaReservation(Identified):
    """
    Room for `quantity` of a meter, in the meter's unit, that nobody else may use before `expires_at`.

    A committed one says what was really used, and by which event that is counted.
    """

    id_prefix = "qres"

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="+", db_index=False)
    meter = models.ForeignKey(Meter, on_delete=models.PROTECT, related_name="+", db_index=False)
    quantity = models.DecimalField(max_digits=38, decimal_places=12)
    committed_quantity = models.DecimalField(max_digits=38, decimal_places=12, null=True, blank=True)
    event_id = models.UUIDField(null=True, blank=True)
    status = models.CharField(max_length=9, choices=ReservationStatus, default=ReservationStatus.OPEN)
    metadata = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "quota_reservations"
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=Q(quantity__gt=0), name="quota_reservations_quantity_positive"),
            models.CheckConstraint(
                condition=Q(expires_at__gt=F("created_at")), name="quota_reservations_end_after_start"
            ),
            models.CheckConstraint(
                condition=Q(status="committed", committed_quantity__isnull=False, committed_quantity__gte=0)
                | (~Q(status="committed") & Q(committed_quantity__isnull=True, event_id__isnull=True)),
                name="quota_reservations_committed_has_quantity",
            ),
            models.CheckConstraint(
                condition=Q(status="open", ended_at__isnull=True) | (~Q(status="open") & Q(ended_at__isnull=False)),
                name="quota_reservations_ended_has_time",
            ),
        ]
        indexes = [
            # What is held of an account's meters, from the index alone.
            models.Index(
                fields=["account", "meter", "expires_at"],
                include=["quantity"],
                condition=Q(status="open"),
                name="quota_reservations_open",
            ),
            models.Index(fields=["expires_at"], condition=Q(status="open"), name="quota_reservations_due"),  # the sweep
            models.Index(fields=["account", "-id"], name="quota_reservations_newest"),  # the account's in the admin
        ]
        triggers = [
            StrictTrigger(
                name="reservation_ends_once",
                when=pgtrigger.Before,
                operation=pgtrigger.Update,
                level=pgtrigger.Row,
                func=_KEPT,
            )
        ]

    def __str__(self) -> str:
        return f"{self.quantity.normalize():f} reserved"

    def can_become(self, status: str) -> bool:
        """Tell whether the table above allows the step."""
        return status in RESERVATION_TRANSITIONS[self.status]

    def is_held(self, at: datetime) -> bool:
        """Tell whether it keeps its room at `at`, whether or not its end was noted."""
        return self.status == ReservationStatus.OPEN and self.expires_at > at

    def get_status(self, at: datetime) -> str:
        """Return the status as it is at `at`: one whose end has come is expired before that is noted."""
        passed = self.status == ReservationStatus.OPEN and self.expires_at <= at
        return ReservationStatus.EXPIRED if passed else self.status
