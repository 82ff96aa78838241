"""Published documents: the active one of an organization, older ones, and whose catalog an organization sells from."""

from __future__ import annotations

from typing import Final

from django.db.models import Case, IntegerField, Value, When

from billing_site.kernel.errors import DomainError, NotFound
from catalog.models import CatalogRevision

DEFAULT_ORG: Final = "default"


class CatalogEmpty(DomainError):
    code, title, status = "catalog_empty", "No catalog was published yet", 404


def find_active_revision(*, org_id: str) -> CatalogRevision | None:
    """Return the active document of the organization itself, or None."""
    return CatalogRevision.objects.filter(org_id=org_id, is_active=True).first()


def find_applicable_revision(*, org_id: str) -> CatalogRevision | None:
    """Return the active document the organization sells from: its own, else that of `default`, else None."""
    own_first = Case(When(org_id=org_id, then=Value(0)), default=Value(1), output_field=IntegerField())
    candidates = CatalogRevision.objects.filter(org_id__in={org_id, DEFAULT_ORG}, is_active=True)
    return candidates.defer("document").order_by(own_first).first()


def find_catalog_org(*, org_id: str) -> str:
    """Return the organization whose catalog this one sells from. One query."""
    revision = find_applicable_revision(org_id=org_id)
    return revision.org_id if revision else org_id


def get_revision(*, org_id: str, number: int | None = None) -> CatalogRevision:
    """
    Return the organization's active document, or its revision `number`.

    :raises CatalogEmpty: if nothing was published yet.
    :raises NotFound: if it has no revision with that number.
    """
    if number is None:
        revision = find_active_revision(org_id=org_id)
        if revision is None:
            raise CatalogEmpty("Nothing was published for this organization yet.")
        return revision
    revision = CatalogRevision.objects.filter(org_id=org_id, revision=number).first()
    if revision is None:
        if not CatalogRevision.objects.filter(org_id=org_id).exists():
            raise CatalogEmpty("Nothing was published for this organization yet.")
        raise NotFound("catalog_revision", f"There is no revision {number}.")
    return revision
