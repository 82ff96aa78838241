"""
Meters beside the catalog document: make one, archive it, and keep what is counted meaning the same.

Source: contract chapter Meters and usage.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from django.db import transaction
from django.db.models import Exists, OuterRef

from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import DomainError
from billing_site.kernel.locks import acquire_lock
from billing_site.platform.services import events
from catalog.documents.content import CatalogContent
from catalog.documents.findings import Finding, Findings, join_pointer, quote
from catalog.documents.vocabulary import IDENTIFIER
from catalog.models import Aggregation, ManagedBy, Meter, Price, PricingRule, QuotaRule
from catalog.queries.meters import MeterNotFound
from catalog.queries.references import require_unused
from catalog.queries.revisions import find_active_revision, list_owners
from catalog.services.checks import FieldChecks
from catalog.services.documents import refuse_document

_MAX_DIMENSIONS: Final = 50
_ARCHIVE: Final = "Archive it: usage is still taken, and nothing new is priced by it."


class MeterExists(DomainError):
    code, title, status = "meter_exists", "The event name is taken", 409


@transaction.atomic
def create_meter(
    *,
    org_id: str,
    name: str,
    event_name: str,
    at: datetime,
    actor: Actor,
    aggregation: str = Aggregation.SUM,
    unit: str = "",
    currency: str = "usd",
    dimensions: Sequence[str] = (),
    reason: str = "",
) -> Meter:
    """
    Define a meter that no catalog document has to name, and return it. Publishing a document does not retire it.

    :raises ValidationFailed: with every field that is wrong.
    :raises MeterExists: if the organization or the catalog it sells from has the event name, archived or not.
    """
    checks = FieldChecks()
    key = event_name.strip()
    meter = Meter(
        org_id=org_id,
        event_name=key,
        display_name=checks.read_text("name", name, max_length=255, required=True),
        unit=checks.read_text("unit", unit, max_length=50) or "unit",
        aggregation=aggregation,
        dimensions=list(dict.fromkeys(dimensions)),
        currency=checks.read_currency("currency", currency),
        lookup_key=key,
        managed_by=ManagedBy.API,
    )
    if not IDENTIFIER.fullmatch(key):
        rule = "1 to 100 letters, digits, “_”, “.”, “:” or “-”, beginning with a letter or digit."
        checks.add("/event_name", "invalid", f"An event name has {rule}")
    if aggregation not in Aggregation.values:
        checks.add("/aggregation_type", "invalid_choice", f"One of: {', '.join(Aggregation.values)}.")
    if len(meter.dimensions) > _MAX_DIMENSIONS:
        checks.add("/dimensions", "too_many", f"At most {_MAX_DIMENSIONS} dimensions.")
    for index, dimension in enumerate(dimensions):
        if not IDENTIFIER.fullmatch(dimension):
            checks.add(f"/dimensions/{index}", "invalid", "Letters, digits, “_”, “.”, “:” or “-”, at most 100.")
    checks.require_none()
    acquire_lock("catalog", org_id)
    taken = Meter.objects.filter(org_id__in=list_owners(org_id=org_id), event_name=key).first()
    if taken is not None:
        state = "" if taken.is_active else ", archived: restore it instead"
        raise MeterExists(f"There is a meter {key!r} already ({taken.public_id}{state}).", meter_id=taken.public_id)
    meter.save(force_insert=True)
    _emit("created", meter, at=at, actor=actor, reason=reason)
    return meter


@transaction.atomic
def archive_meter(*, meter_id: uuid.UUID, at: datetime, actor: Actor, reason: str = "") -> Meter:
    """
    Take a meter out of lists and return it. Its usage is still taken and billed; repeating it changes nothing.

    A catalog document that names it brings it back when it is published.
    :raises MeterNotFound: if there is no such meter.
    """
    return _set_active(meter_id, False, at=at, actor=actor, reason=reason)


@transaction.atomic
def restore_meter(*, meter_id: uuid.UUID, at: datetime, actor: Actor, reason: str = "") -> Meter:
    """
    Bring an archived meter back and return it; repeating it changes nothing.

    :raises MeterNotFound: if there is no such meter.
    """
    return _set_active(meter_id, True, at=at, actor=actor, reason=reason)


@transaction.atomic
def delete_meter(*, meter_id: uuid.UUID, at: datetime, actor: Actor, reason: str = "") -> None:
    """
    Remove a meter that nothing was ever priced by or counted on.

    :raises ObjectInUse: naming what uses it.
    :raises MeterNotFound: if there is no such meter.
    """
    meter = _lock_meter(meter_id)
    revision = find_active_revision(org_id=meter.org_id)
    named = revision is not None and any(
        meter.event_name == (entry.get("event_name") or entry.get("name")) for entry in revision.document["meters"]
    )
    require_unused(meter, instead=_ARCHIVE, also=["the published catalog"] if named else [])
    _emit("deleted", meter, at=at, actor=actor, reason=reason)
    meter.delete()


def require_kept_meanings(content: CatalogContent, *, org_id: str) -> None:
    """
    Make sure that a document changes neither unit nor aggregation of a meter that something is priced or limited by.

    What was counted already would mean something else. One query.
    :raises CatalogInvalid: with a finding `meter_in_use` for each such change.
    """
    used = {meter.event_name: meter for meter in _list_used_meters(org_id)} if content.meters else {}
    findings = []
    for index, entry in enumerate(content.meters):
        meter = used.get(entry.event_name)
        if meter is None:
            continue
        pointer = join_pointer("/meters", index)
        for name, before, after in (
            ("aggregation_type", meter.aggregation, entry.aggregation_type),
            ("unit", meter.unit, entry.unit),
        ):
            if before != after:
                what = f"This is {quote(before)} for what {quote(entry.event_name)} has counted so far, and plans or"
                detail = f"{what} pricing rules use it. Name a new meter to count in another way."
                findings.append(Finding(f"{pointer}/{name}", "meter_in_use", detail))
    if findings:
        raise refuse_document(Findings(tuple(findings)))


def list_kept_meters(*, org_id: str) -> set[str]:
    """Return the event names that publishing does not retire: made through the API, or priced by an open rule."""
    ruled = PricingRule.objects.filter(meter=OuterRef("pk"), closed_at__isnull=True)
    meters = Meter.objects.filter(org_id=org_id).annotate(is_ruled=Exists(ruled))
    return {meter.event_name for meter in meters if meter.is_ruled or meter.managed_by == ManagedBy.API}


def _list_used_meters(org_id: str) -> list[Meter]:
    used = (
        Exists(Price.objects.filter(meter=OuterRef("pk")))
        | Exists(QuotaRule.objects.filter(meter=OuterRef("pk")))
        | Exists(PricingRule.objects.filter(meter=OuterRef("pk")))
    )
    return list(Meter.objects.filter(used, org_id=org_id))


def _set_active(meter_id: uuid.UUID, is_active: bool, *, at: datetime, actor: Actor, reason: str) -> Meter:
    meter = _lock_meter(meter_id)
    if meter.is_active != is_active:
        meter.is_active = is_active
        meter.save(update_fields=["is_active", "updated_at"])
        what = "restored" if is_active else "archived"
        _emit(what, meter, at=at, actor=actor, reason=reason, previous={"is_active": not is_active})
    return meter


def _lock_meter(meter_id: uuid.UUID) -> Meter:
    meter = Meter.objects.filter(pk=meter_id).first()
    if meter is not None:
        # The catalog's lock comes before its rows, as publishing takes them.
        acquire_lock("catalog", meter.org_id)
        meter = Meter.objects.select_for_update().filter(pk=meter_id).first()
    if meter is None:
        raise MeterNotFound
    return meter


def _emit(
    what: str,
    meter: Meter,
    *,
    at: datetime,
    actor: Actor,
    reason: str,
    previous: dict[str, Any] | None = None,
) -> None:
    data = {
        "org_id": meter.org_id,
        "event_name": meter.event_name,
        "name": meter.display_name,
        "aggregation_type": meter.aggregation,
        "unit": meter.unit,
        "currency": meter.currency,
        "dimensions": meter.dimensions,
        "is_active": meter.is_active,
    }
    events.emit(
        f"meter.{what}",
        subject=meter,
        account_id=None,
        at=at,
        actor=actor,
        data=data,
        previous=previous,
        reason=reason,
    )
