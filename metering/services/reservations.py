"""
Reservations: room under the hard limits of a meter, taken before work starts, so that parallel work never passes them.

Whoever takes room holds one lock per account and meter, and with it in hand sees all use and every other reservation.
What was recorded without a reservation is never refused and takes no lock. Source: ADR 0031.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q, QuerySet

from accounts.models import Account, AccountStatus
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import DomainError, FieldError, InvalidState, NotFound, ValidationFailed
from billing_site.kernel.ids import encode_id
from billing_site.kernel.locks import acquire_lock
from billing_site.platform.services import events
from catalog.models import Aggregation, Meter
from catalog.pricing.breakdown import to_text
from metering.models import QuotaReservation, ReservationStatus
from metering.queries.meters import MeterNotFound
from metering.queries.quotas import QuotaUse, find_stopping, list_quota_uses
from metering.queries.resources import UnknownResource, find_resource, is_gauge
from metering.rating import UnitNotConvertible, convert_quantity
from metering.services.ingest import NewUsageEvent, RecordedUsage, record_usage_events

MAX_LIFETIME: Final = timedelta(days=1)
# A meter that counts has an event for each; this many are written with one commit.
MAX_COUNTED: Final = 1_000
SWEEP_CHUNK: Final = 500
_MAX: Final = Decimal(10) ** 26  # numeric(38, 12)
_ZERO: Final = Decimal(0)


class QuotaExceeded(DomainError):
    """Members name the quota that stops it, of several the one that resets last; quantities in the meter's unit."""

    code, title, status, retryable = "quota_exceeded", "More than a hard limit leaves", 429, True

    def __init__(self, use: QuotaUse, requested: Decimal) -> None:
        shown = describe_use(use, requested)
        detail = f"{shown['requested']} of {shown['meter_event_name']} do not fit: {shown['remaining']} are left."
        super().__init__(detail, quota=shown)


class ReservationExpired(DomainError):
    """The end of the reservation has come, and what it was for no longer fits. Member `quota` as for quota_exceeded."""

    code, title, status = "quota_reservation_expired", "The reservation has expired and its room is taken", 409

    def __init__(self, use: QuotaUse, requested: Decimal) -> None:
        super().__init__("Its end has come, and what it was for no longer fits.", quota=describe_use(use, requested))


class MeterNotReservable(DomainError):
    code, title, status = "meter_not_reservable", "Only sums and counts can be reserved", 422


@dataclass(frozen=True, slots=True)
class UsedFor:
    """What the event of a commit says beside its quantity."""

    resource_id: str = ""
    actor_id: str = ""
    cost_center: str = ""
    dimensions: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)


@transaction.atomic
def reserve_quota(
    *,
    account: Account,
    resource: str,
    quantity: Decimal,
    at: datetime,
    unit: str = "",
    lifetime: timedelta | None = None,
    metadata: dict[str, Any] | None = None,
) -> QuotaReservation:
    """
    Set `quantity` of a resource aside until `at` plus `lifetime` (exclusive) and return the reservation.

    It must fit beside use and open reservations under every hard limit in force, whatever the window. `quantity` is in
    `unit`, or in that of the resource.
    :raises QuotaExceeded: when it does not fit. :raises MeterNotFound: when nothing counts the resource.
    :raises MeterNotReservable: for a gauge, a maximum or a distinct count. :raises InvalidState: for a closed account.
    :raises ValidationFailed: for a quantity or a time that will not do.
    """
    if account.status != AccountStatus.ACTIVE:
        raise InvalidState("The account is closed.", current_status=account.status)
    ends_after = timedelta(seconds=settings.BILLING_QUOTA_RESERVATION_SECONDS) if lifetime is None else lifetime
    if not timedelta(0) < ends_after <= MAX_LIFETIME:
        raise ValidationFailed.of("/expires_in", "out_of_range", "A reservation lasts a second to a day.")
    meter, implied = _find_meter(account, resource)
    quantity = _measure(meter, quantity, unit or implied)
    if quantity == _ZERO:
        raise ValidationFailed.of("/quantity", "min_value", "Reserve something above zero.")
    _lock(account.pk, meter.pk)
    if stopping := _find_stopping(account, meter, quantity, at):
        raise QuotaExceeded(stopping, quantity)
    return QuotaReservation.objects.create(
        account=account,
        meter=meter,
        quantity=quantity,
        metadata=metadata or {},
        created_at=at,
        expires_at=at + ends_after,
    )


@transaction.atomic
def commit_reservation(
    *,
    reservation_id: UUID,
    at: datetime,
    actor: Actor,
    quantity: Decimal | None = None,
    unit: str = "",
    used_for: UsedFor | None = None,
) -> QuotaReservation:
    """
    Count what was really used, by default what was reserved, and return the reservation. Both happen, or neither.

    Up to what was reserved always counts; more than that, or anything once the end has come, while it still fits.
    Committing the same quantity again changes nothing. A refusal leaves the reservation as it was.
    :raises QuotaExceeded: when more was used than was reserved and that does not fit.
    :raises ReservationExpired: when the end has come and what was used no longer fits.
    :raises InvalidState: when it was released, or committed with another quantity.
    :raises ValidationFailed: for a quantity or an event that will not do. :raises NotFound: when there is none.
    """
    found = _get(reservation_id)
    account, meter = found.account, found.meter
    used = found.quantity if quantity is None else _measure(meter, quantity, unit or meter.unit)
    _lock(account.pk, meter.pk)
    reservation = QuotaReservation.objects.select_for_update().get(pk=reservation_id)
    if reservation.status == ReservationStatus.COMMITTED and reservation.committed_quantity == used:
        return reservation
    if not reservation.can_become(ReservationStatus.COMMITTED):
        raise InvalidState(
            f"The reservation is {reservation.status}; that is final.", current_status=reservation.status
        )
    is_held = reservation.is_held(at)
    missing = used - reservation.quantity if is_held else used
    if missing > _ZERO and (stopping := _find_stopping(account, meter, missing, at)):
        raise QuotaExceeded(stopping, missing) if is_held else ReservationExpired(stopping, missing)
    # A server whose clock is behind must not count into a bucket that was decided before.
    moment = max(at, reservation.created_at)
    recorded = _record(reservation, account, meter, used, used_for or UsedFor(), at=moment, actor=actor)
    reservation.status, reservation.ended_at = ReservationStatus.COMMITTED, moment
    reservation.committed_quantity = used
    reservation.event_id = recorded[0].row.id if recorded else None
    reservation.save(update_fields=["status", "ended_at", "committed_quantity", "event_id"])
    return reservation


@transaction.atomic
def release_reservation(
    *, reservation_id: UUID, at: datetime, actor: Actor | None = None, reason: str = ""
) -> QuotaReservation:
    """
    Give the room back and return the reservation; one that holds nothing any more stays as it is.

    Somebody other than the holder gives a `reason`, and that is written down as an event.
    :raises InvalidState: when it was committed. :raises NotFound: when there is none.
    """
    _get(reservation_id)
    reservation = QuotaReservation.objects.select_for_update().get(pk=reservation_id)
    if reservation.status == ReservationStatus.COMMITTED:
        raise InvalidState("The reservation is committed; that is final.", current_status=reservation.status)
    if not reservation.can_become(ReservationStatus.RELEASED):
        return reservation
    _end([reservation], ReservationStatus.RELEASED, at)
    if reason and actor is not None:
        events.emit(
            "quota_reservation.released",
            subject=reservation,
            account_id=reservation.account_id,
            at=at,
            actor=actor,
            data={"status": reservation.status, "quantity": to_text(reservation.quantity)},
            previous={"status": ReservationStatus.OPEN},
            reason=reason,
        )
    return reservation


def expire_reservations(*, at: datetime) -> int:
    """
    Note the end of every open reservation whose end has come, some hundreds in a transaction, and return how many.

    An account on a test clock counts by that clock. Their room is free before this is run; what somebody is committing
    at this moment is left to them.
    """
    total = 0
    while done := _expire_chunk(at):
        total += done
    return total


def describe_use(use: QuotaUse, requested: Decimal) -> dict[str, Any]:
    """Return what a refusal says of the quota that stops it."""
    quota = use.quota
    return {
        "id": quota.public_id,
        "meter_event_name": quota.meter_event_name,
        "window": quota.window,
        "limit": to_text(quota.limit or _ZERO),
        "used": to_text(use.used),
        "reserved": to_text(use.reserved),
        "requested": to_text(requested),
        "remaining": to_text(use.remaining or _ZERO),
        "resets_at": None if use.resets_at is None else use.resets_at.isoformat().replace("+00:00", "Z"),
        "upgrade_plan_id": quota.upgrade_plan_id,
    }


def _lock(account_id: UUID, meter_id: UUID) -> None:
    acquire_lock("quota", str(account_id), str(meter_id))


def _get(reservation_id: UUID) -> QuotaReservation:
    rows = QuotaReservation.objects.select_related("account__test_clock", "meter")
    found = rows.filter(pk=reservation_id).first()
    if found is None:
        raise NotFound("quota_reservation")
    return found


def _find_meter(account: Account, resource: str) -> tuple[Meter, str]:
    try:
        found = find_resource(org_id=account.org_id, name=resource)
    except UnknownResource as error:
        raise MeterNotFound(f"{error}") from error
    if found is None:
        raise MeterNotFound(f"Nothing counts {resource.strip()[:100]!r} yet.")
    meter = found.meter
    adds_up = meter.aggregation in (Aggregation.SUM, Aggregation.COUNT)
    if not adds_up or is_gauge(event_name=meter.event_name, aggregation=meter.aggregation):
        raise MeterNotReservable(f"{meter.event_name} is no sum or count: two users of it do not add up.")
    return meter, found.unit


def _measure(meter: Meter, quantity: Decimal, unit: str) -> Decimal:
    """Return a quantity in the meter's unit. :raises ValidationFailed: when it will not do."""
    try:
        measured = convert_quantity(quantity, unit=unit, target=meter.unit)
    except UnitNotConvertible as error:
        raise ValidationFailed.of("/unit", "unit_not_convertible", f"{error}.") from error
    if not _ZERO <= measured < _MAX:
        raise ValidationFailed.of("/quantity", "out_of_range", "A quantity is zero or more.")
    if meter.aggregation == Aggregation.COUNT and (measured % 1 or measured > MAX_COUNTED):
        detail = f"{meter.event_name} counts events: a whole number, at most {MAX_COUNTED:,}."
        raise ValidationFailed.of("/quantity", "out_of_range", detail)
    return measured


def _find_stopping(account: Account, meter: Meter, requested: Decimal, at: datetime) -> QuotaUse | None:
    """
    Return the hard limit of the meter that `requested` more would pass. The lock is held.

    What is found to be over is noted at once: a holder whose clock is behind must not take it for its own again.
    """
    _expire(_select_due(at).filter(account=account, meter=meter).select_for_update(of=("self",)), at)
    return find_stopping(list_quota_uses(account=account, at=at, meter_id=meter.pk), requested=requested)


def _record(
    reservation: QuotaReservation,
    account: Account,
    meter: Meter,
    used: Decimal,
    used_for: UsedFor,
    *,
    at: datetime,
    actor: Actor,
) -> list[RecordedUsage]:
    """Record the use: one event, or one for each that a meter counts. Nothing was recorded under their keys before."""
    key = f"reservation:{reservation.public_id}"
    keys, each = [key], used
    if meter.aggregation == Aggregation.COUNT:
        keys, each = [f"{key}:{number}" for number in range(1, int(used) + 1)], Decimal(1)
    metadata = {**used_for.metadata, "quota_reservation": reservation.public_id}
    used_events = [
        NewUsageEvent(
            account,
            encode_id(Meter.id_prefix, meter.pk),
            each,
            timestamp=at,
            idempotency_key=key,
            resource_id=used_for.resource_id,
            actor_id=used_for.actor_id,
            dimensions=used_for.dimensions,
            metadata=metadata,
            cost_center=used_for.cost_center,
        )
        for key in keys
    ]
    if not used_events:
        return []
    try:
        recorded = record_usage_events(events=used_events, at=at, actor=actor)
    except ValidationFailed as error:
        # All events of a commit say the same, so the first finding of each field is enough.
        found = [_place(finding) for finding in error.errors if finding.pointer.startswith("/events/0/")]
        raise ValidationFailed(found[0].detail if found else error.detail, errors=found) from error
    if not all(entry.created for entry in recorded):
        raise InvalidState("Its key was used by another event.", current_status=reservation.status)
    return recorded


def _place(finding: FieldError) -> FieldError:
    return replace(finding, pointer=finding.pointer.removeprefix("/events/0"))


def _select_due(at: datetime) -> QuerySet[QuotaReservation]:
    clock = "account__test_clock__now_at"
    return QuotaReservation.objects.filter(
        Q(account__test_clock__isnull=True, expires_at__lte=at) | Q(**{f"{clock}__gte": F("expires_at")}),
        status=ReservationStatus.OPEN,
    )


@transaction.atomic
def _expire_chunk(at: datetime) -> int:
    due = _select_due(at).order_by("expires_at", "id")
    return _expire(due.select_for_update(of=("self",), skip_locked=True)[:SWEEP_CHUNK], at)


def _expire(due: QuerySet[QuotaReservation], at: datetime) -> int:
    return _end(list(due.select_related("account__test_clock")), ReservationStatus.EXPIRED, at)


def _end(rows: Sequence[QuotaReservation], status: ReservationStatus, at: datetime) -> int:
    for row in rows:
        row.status, row.ended_at = status, row.account.clock_time or at
    if rows:
        QuotaReservation.objects.bulk_update(rows, ["status", "ended_at"])
    return len(rows)
