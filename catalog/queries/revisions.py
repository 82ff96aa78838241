"""Published documents: the active one of an organization, older ones, and whose catalog an organization sells from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import Case, IntegerField, OuterRef, Q, QuerySet, Value, When

from billing_site.kernel.errors import DomainError, NotFound
from catalog.models import CatalogRevision, Product

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


def list_candidates(*, org_ids: Iterable[str] | QuerySet[CatalogRevision, str]) -> QuerySet[CatalogRevision]:
    """
    Return the active documents, contents left out, that organizations may sell from: their own and that of `default`.

    Each has `withheld`: the keys of products that were archived while plans of theirs are named.
    """
    archived = Product.objects.filter(org_id=OuterRef("org_id"), is_active=False, plans__is_active=True)
    revisions = CatalogRevision.objects.filter(Q(org_id__in=org_ids) | Q(org_id=DEFAULT_ORG), is_active=True)
    return revisions.defer("document").annotate(
        withheld=ArraySubquery(archived.order_by("key").distinct().values("key"))
    )


def list_owners(*, org_id: str) -> set[str]:
    """
    Return whose meters, pricing rules and coupons count for the organization: its own, and those of the catalog it
    sells from. One query.
    """
    return {org_id, find_catalog_org(org_id=org_id)}


def list_revisions(*, org_id: str) -> QuerySet[CatalogRevision]:
    """Return everything the organization published, without the documents."""
    return CatalogRevision.objects.filter(org_id=org_id).defer("document")


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
