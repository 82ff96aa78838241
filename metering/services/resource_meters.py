"""The meter behind the name of a resource, made where a fixed resource type is named for the first time."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import ValidationFailed
from catalog.models import Aggregation, Meter
from catalog.services.meters import MeterExists, create_meter
from metering.queries.meters import load_meters
from metering.queries.resources import RESOURCE_TYPES, FoundResource, UnknownResource, find_resource


def resolve_resource(*, org_id: str, name: str, at: datetime, actor: Actor) -> tuple[Meter, str]:
    """
    Return the meter that a resource type, service name or event name means, and the unit the name implies.

    :raises ValidationFailed: when it is none of them.
    """
    try:
        found = find_resource(org_id=org_id, name=name)
    except UnknownResource as error:
        raise ValidationFailed.of("/resource_type", "unknown_resource", str(error)) from error
    if found is None:
        found = _make_meter(org_id, name.strip().lower(), at=at, actor=actor)
    return found.meter, found.unit


def ensure_meter(
    *,
    org_id: str,
    event_name: str,
    name: str,
    unit: str,
    at: datetime,
    actor: Actor,
    aggregation: str = Aggregation.SUM,
    dimensions: Sequence[str] = (),
    reason: str = "",
) -> Meter:
    """Return the meter with this event name that counts for an organization, made when there is none."""
    found = _find(org_id, event_name)
    if found is not None:
        return found
    # Somebody may make it at the same moment.
    with suppress(MeterExists):
        create_meter(
            org_id=org_id,
            name=name,
            event_name=event_name,
            unit=unit,
            aggregation=aggregation,
            dimensions=dimensions,
            at=at,
            actor=actor,
            reason=reason,
        )
    found = _find(org_id, event_name)
    if found is None:
        raise RuntimeError(f"the meter {event_name} was made and is not there")
    return found


def _find(org_id: str, event_name: str) -> Meter | None:
    found = load_meters(org_ids=[org_id], references=[event_name]).get(org_id=org_id, reference=event_name)
    return None if found is None else found.meter


def _make_meter(org_id: str, name: str, *, at: datetime, actor: Actor) -> FoundResource:
    resource = RESOURCE_TYPES[name]
    ensure_meter(
        org_id=org_id,
        event_name=name,
        name=name.replace("_", " ").capitalize(),
        unit=resource.unit,
        aggregation=resource.aggregation,
        at=at,
        actor=actor,
        reason="The first quota on this resource.",
    )
    found = find_resource(org_id=org_id, name=name)
    if found is None:
        raise RuntimeError(f"the meter {name} was made and is not there")
    return found
