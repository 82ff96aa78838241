"""Meters of an organization and of the catalog it sells from."""

from __future__ import annotations

from django.db.models import Exists, OuterRef, Q, QuerySet

from billing_site.kernel.errors import DomainError
from catalog.models import Meter
from catalog.queries.revisions import find_catalog_org, list_owners


class MeterNotFound(DomainError):
    code, title, status = "meter_not_found", "No meter has this id or event name", 404


def list_meters(*, org_id: str, event_name: str = "") -> QuerySet[Meter]:
    """
    Return the active meters of the organization and of the catalog it sells from, or only the one with `event_name`.

    A meter of its own hides the catalog's meter with the same event name.
    """
    owner = find_catalog_org(org_id=org_id)
    meters = Meter.objects.filter(org_id__in={org_id, owner}, is_active=True)
    if owner != org_id:
        own = Meter.objects.filter(org_id=org_id, event_name=OuterRef("event_name"))
        meters = meters.exclude(Q(org_id=owner) & Exists(own))
    return meters.filter(event_name=event_name) if event_name else meters


def get_meter(*, org_id: str, reference: str) -> Meter:
    """
    Return a meter by public id or event name, the organization's own before the catalog's.

    By id a retired meter is found too.
    :raises MeterNotFound: if neither the organization nor the catalog it sells from has it.
    """
    name = reference.strip()
    key = Meter.parse_id(name)
    wanted = Q(event_name=name, is_active=True) if key is None else Q(pk=key)
    meters = Meter.objects.filter(wanted, org_id__in=list_owners(org_id=org_id))
    found = sorted(meters, key=lambda meter: meter.org_id != org_id)
    if not found:
        raise MeterNotFound(f"There is no meter {name[:100]!r}.")
    return found[0]
