"""
Publishing a catalog document: all or nothing, as a new immutable revision.

Source: contract chapter Catalog document (Publishing).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import Max

from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import DomainError
from billing_site.kernel.locks import acquire_lock
from billing_site.platform.services import events
from catalog.documents.content import CatalogContent
from catalog.documents.differences import DocumentDifference, diff_documents
from catalog.documents.normalising import read_valid_document
from catalog.models import CatalogRevision
from catalog.queries.revisions import find_active_revision
from catalog.services.documents import read_document
from catalog.services.entries import store_content
from catalog.services.meters import list_kept_meters, require_kept_meanings

IfMatch = int | Collection[int] | None


class RevisionConflict(DomainError):
    code, title, status = "revision_conflict", "Another revision is active", 412


@dataclass(frozen=True, slots=True)
class PublishResult:
    """The active revision after publishing; `changed` is False when the document was the active one already."""

    revision: CatalogRevision
    changed: bool
    difference: DocumentDifference


@dataclass(frozen=True, slots=True)
class PublishPreview:
    """What publishing would do. `active` is None when nothing was published yet."""

    content: CatalogContent
    active: CatalogRevision | None
    difference: DocumentDifference


def preview_document(*, org_id: str, document: object, if_match: IfMatch = None) -> PublishPreview:
    """
    Return what publishing `document` would change; nothing is written.

    :raises CatalogContainsSecret, CatalogInvalid, RevisionConflict: as publishing would.
    """
    content = read_document(document)
    active = find_active_revision(org_id=org_id)
    _require_match(active, if_match)
    require_kept_meanings(content, org_id=org_id)
    return PublishPreview(content, active, compare_with(active, content))


@transaction.atomic
def publish_document(
    *,
    org_id: str,
    document: object,
    at: datetime,
    actor: Actor,
    reason: str = "",
    if_match: IfMatch = None,
    republished: int | None = None,
) -> PublishResult:
    """
    Make `document` the organization's active catalog and return its revision.

    A plan gets a new version only if its content changed; what the document no longer names becomes inactive. A
    document that says the same as the active one keeps the revision. `if_match` names the revision the caller has
    seen (0: none yet), or several. `republished` is the number of the older revision the document is from.
    :raises CatalogContainsSecret, CatalogInvalid: with every finding; also when a meter in use would count otherwise.
    :raises RevisionConflict: if another revision is active than `if_match` says.
    """
    content = read_document(document)
    acquire_lock("catalog", org_id)
    active = find_active_revision(org_id=org_id)
    _require_match(active, if_match)
    document_hash = content.compute_hash()
    difference = compare_with(active, content)
    if active is not None and active.document_hash == document_hash:
        return PublishResult(active, changed=False, difference=difference)
    require_kept_meanings(content, org_id=org_id)
    if active is not None:
        CatalogRevision.objects.filter(pk=active.pk).update(is_active=False)
    last = CatalogRevision.objects.filter(org_id=org_id).aggregate(last=Max("revision"))["last"] or 0
    revision = CatalogRevision.objects.create(
        org_id=org_id,
        revision=last + 1,
        document=content.as_document(),
        document_hash=document_hash,
        published_at=at,
        published_by=str(actor),
        reason=reason,
    )
    store_content(content, revision=revision, at=at, kept_meters=list_kept_meters(org_id=org_id))
    events.emit(
        "catalog.published",
        subject=revision,
        account_id=None,
        at=at,
        actor=actor,
        data={
            "org_id": org_id,
            "revision": revision.revision,
            "document_hash": document_hash,
            "difference": difference.summarise(),
            **({} if republished is None else {"republished": republished}),
        },
        previous={"revision": active.revision if active else None},
        reason=reason,
    )
    return PublishResult(revision, changed=True, difference=difference)


def compare_with(active: CatalogRevision | None, content: CatalogContent) -> DocumentDifference:
    """Return what `content` changes against a published revision."""
    return diff_documents(None if active is None else read_valid_document(active.document), content)


def _require_match(active: CatalogRevision | None, if_match: IfMatch) -> None:
    if if_match is None:
        return
    number = active.revision if active else 0
    named = {if_match} if isinstance(if_match, int) else set(if_match)
    if number not in named:
        what = f"Revision {number} is active now" if number else "Nothing is published yet"
        raise RevisionConflict(f"{what}; look at it before publishing over it.", active_revision=number or None)
