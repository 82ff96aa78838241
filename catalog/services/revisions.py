"""Older revisions: comparing two of them, and publishing one of them again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import ValidationFailed
from catalog.documents.differences import DocumentDifference, diff_documents
from catalog.documents.normalising import read_valid_document
from catalog.models import CatalogRevision
from catalog.queries.revisions import get_revision
from catalog.services.publishing import IfMatch, PublishResult, publish_document

MAX_REASON = 1_000


@dataclass(frozen=True, slots=True)
class RevisionComparison:
    """What publishing `new` over `old` changed, or would change."""

    old: CatalogRevision
    new: CatalogRevision
    difference: DocumentDifference


def compare_revisions(*, org_id: str, old: int, new: int | None = None) -> RevisionComparison:
    """
    Return what revision `new` (None: the active one) changes against revision `old`. Either may be the older.

    :raises CatalogEmpty: if nothing was published yet.
    :raises NotFound: if the organization has no such revision.
    """
    before, after = get_revision(org_id=org_id, number=old), get_revision(org_id=org_id, number=new)
    difference = diff_documents(read_valid_document(before.document), read_valid_document(after.document))
    return RevisionComparison(before, after, difference)


def republish_revision(
    *, org_id: str, number: int, reason: str, at: datetime, actor: Actor, if_match: IfMatch = None
) -> PublishResult:
    """
    Publish the document of an older revision again, as a new revision that says where it came from.

    It is checked as it would be today. When it says what the active revision says, that one stays. `if_match` is as in
    `publish_document`.
    :raises ValidationFailed: without a reason.
    :raises CatalogEmpty, NotFound: if there is no such revision.
    :raises CatalogInvalid: with every finding, if today's rules refuse the old document.
    :raises RevisionConflict: if another revision is active than `if_match` says.
    """
    cleaned = reason.strip()
    if not cleaned:
        raise ValidationFailed.of("/reason", "required", "Say why the older catalog comes back.")
    if len(cleaned) > MAX_REASON:
        raise ValidationFailed.of("/reason", "too_long", f"A reason has at most {MAX_REASON:,} characters.")
    revision = get_revision(org_id=org_id, number=number)
    return publish_document(
        org_id=org_id,
        document=revision.document,
        at=at,
        actor=actor,
        reason=cleaned,
        if_match=if_match,
        republished=revision.revision,
    )
