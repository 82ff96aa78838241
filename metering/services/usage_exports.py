"""
Quantities the payment provider is told: the rows, and what becomes of them. Nobody here speaks to a provider.

A quantity is asked for or found by comparing hours, claimed and committed, sent under its own identifier, and settled
in another transaction. A row that was claimed and never settled is claimed again. Source: contract chapters Usage
feed, Provider synchronisation; ADR 0035.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from accounts.models import Account
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import DomainError, InvalidState
from billing_site.platform.services import events
from catalog.models import Meter
from metering.models import ExportSource, ExportStatus, UsageExport, UsageExportCursor
from metering.queries.export_accounts import find_provider
from metering.queries.meters import load_meters
from metering.rating.export_rules import MAX_QUANTITY, QuantityMissing, derive_key, derive_quantity
from metering.services.feed_counting import COLLISION_WARNING, DERIVED_WARNING, pick_dimensions
from metering.services.ingest import MeterNotFound, NewUsageEvent, RecordedUsage, record_usage_events

LEASE: Final = timedelta(minutes=10)
"""How long a claimed quantity is left to whoever claimed it."""
IDENTIFIER_KEPT: Final = timedelta(hours=23)
"""Providers know an identifier again for a day: later a repeat might count twice."""
OLDEST_TIMESTAMP: Final = timedelta(days=35)
"""Providers take no usage that is older."""
WAITS: Final = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 30, 120, 360, 720, 1440, 1440, 1440))
"""What is waited after each failure; after the last nobody tries again by itself."""
MAX_IDENTIFIER: Final = 100
TOO_OLD: Final = "too_old"
OUTCOME_UNKNOWN: Final = "outcome_unknown"
_TOO_OLD_TEXT: Final = "The provider takes no usage that is older than 35 days."
_UNKNOWN_TEXT: Final = "It was sent and never answered, more than a day ago: sent again it might count twice."


class QuantityNotDerivable(DomainError):
    code, title, status = "quantity_not_derivable", "There is no quantity above zero", 400


class ExportKeyReused(DomainError):
    code, title, status = "idempotency_key_reused", "This key came with a different request", 422


@dataclass(frozen=True, slots=True)
class NewUsageExport:
    """
    A usage metric in no provider's dialect.

    `numbers` is `data` with exact numbers; a quantity that is not given is derived from it. `request_key` and
    `request_hash` are digests of the keyed request that asks, empty without a key.
    """

    event_id: str = ""
    event_type: str = ""
    feature: str = ""
    meter: str = ""
    quantity: int | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    numbers: Mapping[str, Any] = field(default_factory=dict)
    request_key: str = ""
    request_hash: str = ""


@dataclass(frozen=True, slots=True)
class RequestedExport:
    """
    What was asked for: the meter, the quantity and the key it counts under, and the row that the provider is told by.

    `created`: this call made the row. `is_repeat`: the same keyed request came before. Without a row the usage was
    counted before and is told with the total of its hour.
    """

    meter: Meter
    quantity: Decimal
    key: str
    export: UsageExport | None
    created: bool
    provider: str
    is_repeat: bool = False
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Claim:
    """A quantity to send now, under `export.identifier`. `was_uncertain`: an earlier attempt may have counted."""

    export: UsageExport
    was_uncertain: bool


@transaction.atomic
def request_export(
    *, account: Account, new: NewUsageExport, at: datetime, actor: Actor, now: datetime | None = None
) -> RequestedExport:
    """
    Count a metric and write down that the provider is to be told, both or neither; the row is claimed for the caller.

    A key seen before counts nothing. `at` is the account's present, at which it was used; `now` that of the sender,
    where they differ.
    :raises QuantityNotDerivable: without a quantity above zero. :raises MeterNotFound: for an unknown meter.
    :raises ExportKeyReused: when the request's key came with another request.
    """
    now = now or at
    if new.request_key:
        first = _load(UsageExport.objects.filter(request_key=new.request_key))
        if first is not None:
            if (first.account_id, first.request_hash) != (account.pk, new.request_hash):
                raise ExportKeyReused("Use a new key for a different request.")
            return _answer(first, created=False, is_repeat=True)
    quantity = _find_quantity(new)
    found = load_meters(org_ids=[account.org_id], references=[new.meter]).get(
        org_id=account.org_id, reference=new.meter
    )
    if found is None:
        raise MeterNotFound(f"There is no meter {new.meter[:100]!r}.")
    meter = found.meter
    given = new.event_id or (f"request:{new.request_key}" if new.request_key else "")
    key = given or derive_key(account=account.public_id, meter=meter.event_name, quantity=quantity)
    usage = _count(account, meter, quantity, key, new, at=at, actor=actor)
    warnings = () if given else (DERIVED_WARNING,) if usage.created else (DERIVED_WARNING, COLLISION_WARNING)
    known = _load(UsageExport.objects.filter(account=account, meter=meter, idempotency_key=key))
    if known is not None:
        return _answer(known, created=False, warnings=warnings)
    provider = find_provider(account.pk) or settings.BILLING_PAYMENT_PROVIDER
    if not usage.created and UsageExportCursor.objects.filter(account=account).exists():
        return RequestedExport(meter, usage.row.value, key, None, created=False, provider=provider, warnings=warnings)
    row = UsageExport(
        account=account,
        meter=meter,
        source=ExportSource.REQUEST,
        idempotency_key=key,
        event_type=new.event_type,
        feature=new.feature,
        quantity=usage.row.value,
        timestamp=usage.row.timestamp,
        hour=floor_hour(usage.row.timestamp),
        provider=provider,
        attempts=1,
        next_attempt_at=now + LEASE,
        uncertain_since=now,
        requested_at=at,
        request_key=new.request_key,
        request_hash=new.request_hash,
        livemode=account.livemode,
    )
    row.identifier = _choose_identifier(row)
    row.save(force_insert=True)
    return _answer(row, created=True, warnings=warnings)


@transaction.atomic
def claim_exports(*, at: datetime, limit: int, export_id: UUID | None = None) -> list[Claim]:
    """
    Return up to `limit` quantities to send now, longest due first, and leave them to the caller for ten minutes.

    What the provider would not take any more, and what may have been counted more than a day ago, is given up instead.
    With `export_id` only that one, if nobody else holds it.
    """
    due = UsageExport.objects.select_for_update(skip_locked=True, of=("self",)).filter(next_attempt_at__isnull=False)
    due = due.filter(next_attempt_at__lte=at) if export_id is None else due.filter(pk=export_id)
    rows = list(due.select_related("account__test_clock", "meter").order_by("next_attempt_at", "id")[:limit])
    claims = []
    for row in rows:
        if export_id is not None and row.uncertain_since is not None and (row.next_attempt_at or at) > at:
            continue  # somebody is sending it at this moment
        present = row.account.clock_time or at
        if row.timestamp < present - OLDEST_TIMESTAMP:
            _give_up(row, TOO_OLD, _TOO_OLD_TEXT)
        elif row.uncertain_since is not None and row.uncertain_since < at - IDENTIFIER_KEPT:
            _give_up(row, OUTCOME_UNKNOWN, _UNKNOWN_TEXT)
        else:
            claims.append(Claim(row, was_uncertain=row.uncertain_since is not None))
            row.attempts += 1
            row.next_attempt_at = at + LEASE
            row.uncertain_since = row.uncertain_since or at
        row.save(update_fields=["attempts", "next_attempt_at", "uncertain_since", "status", "reason_code", "reason"])
    return claims


@transaction.atomic
def settle_exported(*, export_id: UUID, provider_event_id: str, at: datetime) -> UsageExport:
    """Record that the provider counted a quantity and return the row; one that is settled already stays as it is."""
    row = UsageExport.objects.select_for_update(of=("self",)).select_related("account", "meter").get(pk=export_id)
    if row.is_exported:
        return row
    row.status, row.exported_at, row.next_attempt_at = ExportStatus.EXPORTED, at, None
    row.provider_event_id, row.uncertain_since, row.reason_code, row.reason = provider_event_id[:255], None, "", ""
    row.save()
    return row


@transaction.atomic
def settle_failed(
    *, claim: Claim, code: str, detail: str, at: datetime, is_certain: bool, is_final: bool = False
) -> UsageExport:
    """
    Record that a quantity was not told and why, and return the row, due again after a wait.

    `is_certain`: this attempt was surely not counted. `is_final`: no repeat would do better, so nobody tries by itself.
    """
    row = UsageExport.objects.select_for_update(of=("self",)).select_related("account", "meter").get(pk=claim.export.pk)
    if row.is_exported:
        return row
    row.status, row.reason_code, row.reason = ExportStatus.FAILED, code[:50], detail[:500]
    if is_certain and not claim.was_uncertain:
        row.uncertain_since = None
    is_last = is_final or row.attempts > len(WAITS)
    row.next_attempt_at = None if is_last else at + WAITS[row.attempts - 1]
    row.save()
    return row


@transaction.atomic
def retry_export(*, export_id: UUID, at: datetime, actor: Actor, reason: str) -> UsageExport:
    """
    Have a failed quantity tried again from the beginning and return it; who asks answers for it not counting twice.

    :raises InvalidState: unless it failed.
    """
    row = UsageExport.objects.select_for_update(of=("self",)).select_related("account", "meter").get(pk=export_id)
    if row.status != ExportStatus.FAILED:
        raise InvalidState(f"Only a failed export is tried again; this one is {row.status}.", current_status=row.status)
    before = {"status": row.status, "reason_code": row.reason_code, "attempts": row.attempts}
    row.status, row.attempts, row.next_attempt_at, row.uncertain_since = ExportStatus.PENDING, 0, at, None
    row.save()
    events.emit(
        "usage_export.retried",
        subject=row,
        account_id=row.account_id,
        at=at,
        actor=actor,
        data={"id": row.public_id, "status": row.status, "identifier": row.identifier, "quantity": str(row.quantity)},
        previous=before,
        reason=reason,
    )
    return row


def floor_hour(moment: datetime) -> datetime:
    """Return the start of the UTC hour `moment` lies in."""
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def insert_totals(rows: Sequence[UsageExport], *, present: datetime, at: datetime) -> None:
    """Write totals of hours to be told. Those too old for the provider, at the account's `present`, are given up."""
    for row in rows:
        row.idempotency_key = row.identifier = row.public_id
        if row.timestamp < present - OLDEST_TIMESTAMP:
            _give_up(row, TOO_OLD, _TOO_OLD_TEXT)
        else:
            row.next_attempt_at = at
    if rows:
        UsageExport.objects.bulk_create(rows, batch_size=500)


def _load(rows: Any) -> UsageExport | None:
    found: UsageExport | None = rows.select_related("account", "meter").first()
    return found


def _answer(
    row: UsageExport, *, created: bool, is_repeat: bool = False, warnings: tuple[str, ...] = ()
) -> RequestedExport:
    return RequestedExport(
        row.meter, row.quantity, row.idempotency_key, row, created, row.provider, is_repeat, warnings
    )


def _find_quantity(new: NewUsageExport) -> int:
    if new.quantity is not None:
        if not 0 < new.quantity <= MAX_QUANTITY:
            raise QuantityNotDerivable("The quantity is not above zero.")
        return new.quantity
    try:
        return derive_quantity(new.numbers)
    except QuantityMissing as missing:
        raise QuantityNotDerivable(str(missing)) from missing


def _count(
    account: Account, meter: Meter, quantity: int, key: str, new: NewUsageExport, *, at: datetime, actor: Actor
) -> RecordedUsage:
    center = new.data.get("cost_center")
    event = NewUsageEvent(
        account=account,
        meter=meter.public_id,
        quantity=Decimal(quantity),
        timestamp=at,
        idempotency_key=key,
        dimensions=pick_dimensions(meter, new.data),
        metadata={name: value for name in ("event_type", "feature") if (value := getattr(new, name))},
        cost_center=center if isinstance(center, str) and len(center) <= 255 else "",
    )
    [recorded] = record_usage_events(events=[event], at=at, actor=actor, unknown_centers="keep")
    return recorded


def _choose_identifier(row: UsageExport) -> str:
    """
    Return the idempotency key, or a digest where the provider could not tell it from another's.

    Providers know identifiers of up to 100 characters over all customers; our keys are one account's and meter's.
    """
    key = row.idempotency_key
    is_taken = UsageExport.objects.filter(provider=row.provider, identifier=key).filter(
        ~Q(account_id=row.account_id) | ~Q(meter_id=row.meter_id)
    )
    if len(key) <= MAX_IDENTIFIER and key.isascii() and not is_taken.exists():
        return key
    parts = (str(row.account_id), str(row.meter_id), key)
    return f"key:{hashlib.sha256(chr(31).join(parts).encode()).hexdigest()}"


def _give_up(row: UsageExport, code: str, detail: str) -> None:
    row.status, row.next_attempt_at, row.reason_code, row.reason = ExportStatus.FAILED, None, code, detail
