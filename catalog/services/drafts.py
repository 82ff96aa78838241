"""Drafts: a catalog document that finance staff edit until it is published or discarded."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.conf import settings
from django.db import transaction

from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import DomainError, InvalidState, NotFound, ValidationFailed
from billing_site.platform.services import events
from catalog.documents.content import CatalogContent, canonical_json
from catalog.documents.findings import Findings
from catalog.documents.normalising import read_valid_document
from catalog.documents.screening import screen_document
from catalog.models import CatalogDraft, DraftStatus
from catalog.queries.revisions import DEFAULT_ORG, find_active_revision
from catalog.services.documents import CatalogInvalid, check_document, refuse_document
from catalog.services.publishing import PublishResult, publish_document

_TITLE_LENGTH: Final = 200


class DraftChanged(DomainError):
    code, title, status = "draft_changed", "The draft was changed meanwhile", 409


class DraftNeedsApproval(DomainError):
    code, title, status = "draft_needs_approval", "Publishing takes a second person", 403


@dataclass(frozen=True, slots=True)
class DraftResult:
    """A stored draft and what still keeps it from being published."""

    draft: CatalogDraft
    findings: Findings


@transaction.atomic
def create_draft(
    *,
    title: str,
    at: datetime,
    actor: Actor,
    org_id: str = DEFAULT_ORG,
    document: dict[str, Any] | None = None,
    reason: str = "",
) -> DraftResult:
    """
    Start a draft from `document`, or from the organization's active catalog (an empty one when there is none).

    :raises CatalogContainsSecret: if something in the document looks like a secret; it is not stored.
    :raises CatalogInvalid: if it cannot be stored. Other findings are answered and may be mended later.
    :raises ValidationFailed: if the title is blank or too long.
    """
    active = find_active_revision(org_id=org_id)
    if document is None:
        content = CatalogContent() if active is None else read_valid_document(active.document)
        document = content.as_editable_document()
    findings = _require_storable(document)
    draft = CatalogDraft.objects.create(
        org_id=org_id,
        title=_clean_title(title),
        document=document,
        base_revision=active.revision if active else None,
        created_by=str(actor),
    )
    emit_draft("created", draft, at=at, actor=actor, reason=reason)
    return DraftResult(draft, findings)


@transaction.atomic
def update_draft(
    *,
    draft_id: uuid.UUID,
    document: dict[str, Any],
    at: datetime,
    actor: Actor,
    title: str | None = None,
    seen: str | None = None,
    what: str = "",
) -> DraftResult:
    """
    Store an edited document, findings or not, and return what is wrong with it.

    `seen` is the hash (`hash_document`) of the document that was edited; `what` says in words what was changed.
    :raises DraftChanged: if the draft holds another document than `seen` says.
    :raises CatalogContainsSecret: if something in it looks like a secret; nothing is stored.
    :raises CatalogInvalid: if it cannot be stored.
    :raises InvalidState: if the draft is submitted, published or discarded.
    """
    draft = lock_open_draft(draft_id)
    if seen is not None and hash_document(draft.document) != seen:
        raise DraftChanged("Somebody saved this draft while you edited it; look at it again before saving yours.")
    findings = _require_storable(document)
    new_title = draft.title if title is None else _clean_title(title)
    if draft.document != document or draft.title != new_title:
        draft.document, draft.title = document, new_title
        draft.save(update_fields=["document", "title", "updated_at"])
        emit_draft("updated", draft, at=at, actor=actor, data={"findings": len(findings)}, reason=what)
    return DraftResult(draft, findings)


@transaction.atomic
def publish_draft(*, draft_id: uuid.UUID, at: datetime, actor: Actor, reason: str = "") -> PublishResult:
    """
    Publish the draft's document and close the draft, by one person alone.

    :raises DraftNeedsApproval: where publishing takes two (`BILLING_CATALOG_APPROVAL`): submit it instead.
    :raises RevisionConflict: if another revision was published since the draft was started or rebased.
    :raises CatalogInvalid: with every finding.
    :raises InvalidState: if the draft is published or discarded.
    """
    draft = lock_open_draft(draft_id)
    if settings.BILLING_CATALOG_APPROVAL:
        raise DraftNeedsApproval("Submit the draft: another person approves it, and that publishes it.")
    result = publish_document(
        org_id=draft.org_id,
        document=draft.document,
        at=at,
        actor=actor,
        reason=reason,
        if_match=draft.base_revision or 0,
    )
    close_as_published(draft, result, at=at, actor=actor, reason=reason)
    return result


@transaction.atomic
def rebase_draft(*, draft_id: uuid.UUID, at: datetime, actor: Actor, reason: str = "") -> CatalogDraft:
    """
    Take the now active revision as the draft's base; its document stays as it is.

    For a draft whose author has seen the newer revision and wants to publish over it.
    :raises InvalidState: if the draft is published or discarded.
    """
    draft = lock_open_draft(draft_id)
    active = find_active_revision(org_id=draft.org_id)
    previous, draft.base_revision = draft.base_revision, active.revision if active else None
    draft.save(update_fields=["base_revision", "updated_at"])
    emit_draft("rebased", draft, at=at, actor=actor, reason=reason, previous={"base_revision": previous})
    return draft


@transaction.atomic
def discard_draft(*, draft_id: uuid.UUID, at: datetime, actor: Actor, reason: str = "") -> CatalogDraft:
    """
    Close the draft without publishing it.

    :raises InvalidState: if it is published or discarded already.
    """
    draft = lock_open_draft(draft_id)
    draft.status = DraftStatus.DISCARDED
    draft.save(update_fields=["status", "updated_at"])
    emit_draft("discarded", draft, at=at, actor=actor, reason=reason, previous={"status": DraftStatus.DRAFT})
    return draft


def lock_open_draft(draft_id: uuid.UUID) -> CatalogDraft:
    """
    Return the draft under its lock.

    :raises NotFound: if there is none. :raises InvalidState: unless it can be edited.
    """
    draft = CatalogDraft.objects.select_for_update().filter(pk=draft_id).first()
    if draft is None:
        raise NotFound("catalog_draft")
    if draft.status == DraftStatus.SUBMITTED:
        raise InvalidState("This draft waits for approval; take it back to change it.", current_status=draft.status)
    if draft.status != DraftStatus.DRAFT:
        raise InvalidState(f"This draft is {draft.status}; it stays as it is.", current_status=draft.status)
    return draft


def close_as_published(
    draft: CatalogDraft,
    result: PublishResult,
    *,
    at: datetime,
    actor: Actor,
    reason: str,
    data: dict[str, Any] | None = None,
) -> None:
    """Tie a locked draft to the revision its document became."""
    previous = {"status": draft.status}
    draft.status, draft.published_revision = DraftStatus.PUBLISHED, result.revision
    draft.save(update_fields=["status", "published_revision", "updated_at"])
    shown = {"revision": result.revision.revision, **(data or {})}
    emit_draft("published", draft, at=at, actor=actor, reason=reason, data=shown, previous=previous)


def hash_document(document: object) -> str:
    """Return the SHA-256 of a document as it stands, valid or not; the order of keys does not matter."""
    return hashlib.sha256(canonical_json(document).encode()).hexdigest()


def _require_storable(document: object) -> Findings:
    screened = screen_document(document)
    if not screened.is_valid:
        raise refuse_document(screened)
    if not isinstance(document, dict):
        raise CatalogInvalid("A catalog document is a JSON object.")
    return check_document(document)


def _clean_title(title: str) -> str:
    cleaned = " ".join(title.split())
    if not cleaned:
        raise ValidationFailed.of("/title", "blank", "A draft needs a title.")
    if len(cleaned) > _TITLE_LENGTH:
        raise ValidationFailed.of("/title", "too_long", f"A title has at most {_TITLE_LENGTH} characters.")
    return cleaned


def emit_draft(
    what: str,
    draft: CatalogDraft,
    *,
    at: datetime,
    actor: Actor,
    reason: str = "",
    data: dict[str, Any] | None = None,
    previous: dict[str, Any] | None = None,
) -> None:
    """Record what happened to a draft, in its transaction."""
    snapshot = {
        "org_id": draft.org_id,
        "title": draft.title,
        "status": draft.status,
        "base_revision": draft.base_revision,
        "document_length": len(canonical_json(draft.document)),
    }
    events.emit(
        f"catalog_draft.{what}",
        subject=draft,
        account_id=None,
        at=at,
        actor=actor,
        data={**snapshot, **(data or {})},
        previous=previous,
        reason=reason,
    )
