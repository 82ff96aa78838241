"""Drafts: a catalog document that finance staff edit until it is published or discarded."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db import transaction

from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import InvalidState, NotFound, ValidationFailed
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
    _emit("created", draft, at=at, actor=actor, reason=reason)
    return DraftResult(draft, findings)


@transaction.atomic
def update_draft(
    *, draft_id: uuid.UUID, document: dict[str, Any], at: datetime, actor: Actor, title: str | None = None
) -> DraftResult:
    """
    Store an edited document, findings or not, and return what is wrong with it.

    :raises CatalogContainsSecret: if something in it looks like a secret; nothing is stored.
    :raises CatalogInvalid: if it cannot be stored.
    :raises InvalidState: if the draft is published or discarded.
    """
    draft = _lock_open_draft(draft_id)
    findings = _require_storable(document)
    new_title = draft.title if title is None else _clean_title(title)
    if draft.document != document or draft.title != new_title:
        draft.document, draft.title = document, new_title
        draft.save(update_fields=["document", "title", "updated_at"])
        _emit("updated", draft, at=at, actor=actor, data={"findings": len(findings)})
    return DraftResult(draft, findings)


@transaction.atomic
def publish_draft(*, draft_id: uuid.UUID, at: datetime, actor: Actor, reason: str = "") -> PublishResult:
    """
    Publish the draft's document and close the draft.

    :raises RevisionConflict: if another revision was published since the draft was started or rebased.
    :raises CatalogInvalid: with every finding.
    :raises InvalidState: if the draft is published or discarded.
    """
    draft = _lock_open_draft(draft_id)
    result = publish_document(
        org_id=draft.org_id,
        document=draft.document,
        at=at,
        actor=actor,
        reason=reason,
        if_match=draft.base_revision or 0,
    )
    draft.status, draft.published_revision = DraftStatus.PUBLISHED, result.revision
    draft.save(update_fields=["status", "published_revision", "updated_at"])
    _emit("published", draft, at=at, actor=actor, reason=reason, data={"revision": result.revision.revision})
    return result


@transaction.atomic
def rebase_draft(*, draft_id: uuid.UUID, at: datetime, actor: Actor, reason: str = "") -> CatalogDraft:
    """
    Take the now active revision as the draft's base; its document stays as it is.

    For a draft whose author has seen the newer revision and wants to publish over it.
    :raises InvalidState: if the draft is published or discarded.
    """
    draft = _lock_open_draft(draft_id)
    active = find_active_revision(org_id=draft.org_id)
    previous, draft.base_revision = draft.base_revision, active.revision if active else None
    draft.save(update_fields=["base_revision", "updated_at"])
    _emit("rebased", draft, at=at, actor=actor, reason=reason, previous={"base_revision": previous})
    return draft


@transaction.atomic
def discard_draft(*, draft_id: uuid.UUID, at: datetime, actor: Actor, reason: str = "") -> CatalogDraft:
    """
    Close the draft without publishing it.

    :raises InvalidState: if it is published or discarded already.
    """
    draft = _lock_open_draft(draft_id)
    draft.status = DraftStatus.DISCARDED
    draft.save(update_fields=["status", "updated_at"])
    _emit("discarded", draft, at=at, actor=actor, reason=reason, previous={"status": DraftStatus.DRAFT})
    return draft


def _lock_open_draft(draft_id: uuid.UUID) -> CatalogDraft:
    draft = CatalogDraft.objects.select_for_update().filter(pk=draft_id).first()
    if draft is None:
        raise NotFound("catalog_draft")
    if draft.status != DraftStatus.DRAFT:
        raise InvalidState(f"This draft is {draft.status}; it stays as it is.", current_status=draft.status)
    return draft


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


def _emit(
    what: str,
    draft: CatalogDraft,
    *,
    at: datetime,
    actor: Actor,
    reason: str = "",
    data: dict[str, Any] | None = None,
    previous: dict[str, Any] | None = None,
) -> None:
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
