"""Meters of the active catalog."""

from __future__ import annotations

from django.db.models import Q, QuerySet

from billing_site.kernel.errors import DomainError
from catalog.models import Meter
from catalog.queries.revisions import find_catalog_org


class MeterNotFound(DomainError):
    code, title, status = "meter_not_found", "No meter has this id or event name", 404


def list_meters(*, org_id: str, event_name: str = "") -> QuerySet[Meter]:
    """Return the active meters of the catalog the organization uses, optionally only the one with `event_name`."""
    meters = Meter.objects.filter(org_id=find_catalog_org(org_id=org_id), is_active=True)
    return meters.filter(event_name=event_name) if event_name else meters


def get_meter(*, org_id: str, reference: str) -> Meter:
    """
    Return a meter by public id or event name. By id a retired meter is found too.

    :raises MeterNotFound: if the catalog the organization uses does not have it.
    """
    name = reference.strip()
    key = Meter.parse_id(name)
    wanted = Q(event_name=name, is_active=True) if key is None else Q(pk=key)
    meter = Meter.objects.filter(wanted, org_id=find_catalog_org(org_id=org_id)).first()
    if meter is None:
        raise MeterNotFound(f"There is no meter {name[:100]!r}.")
    return meter
