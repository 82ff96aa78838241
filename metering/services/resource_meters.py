"""The meter behind the name of a resource, made where a fixed resource type is named for the first time."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import ValidationFailed
from catalog.models import Meter
from catalog.services.meters import MeterExists, create_meter
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


def _make_meter(org_id: str, name: str, *, at: datetime, actor: Actor) -> FoundResource:
    resource = RESOURCE_TYPES[name]
    # A quota at the same moment may have made it.
    with suppress(MeterExists):
        create_meter(
            org_id=org_id,
            name=name.replace("_", " ").capitalize(),
            event_name=name,
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
