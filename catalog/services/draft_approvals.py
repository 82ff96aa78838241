"""
Drafts that a second person publishes: submitted, locked, then approved or handed back.

Source: contract chapter Catalog document (Publishing); ADR 0017.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any, Final

from django.db import transaction

from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import DomainError, InvalidState, NotFound
from billing_site.platform.models import Approval
from billing_site.platform.services.approvals import (
    ApprovalChanged,
    ApprovalKind,
    Request,
    cancel,
    register_kind,
    request_approval,
)
from catalog.models import CatalogDraft, DraftStatus
from catalog.services.documents import read_document
from catalog.services.drafts import close_as_published, emit_draft, lock_open_draft
from catalog.services.publishing import preview_document, publish_document

KIND: Final = "catalog.publish"
PERMISSION: Final = "catalog.approve_catalog"


class DraftChangesNothing(DomainError):
    code, title, status = "draft_changes_nothing", "The draft says what is published already", 409


def register_catalog_approvals() -> None:
    """Tell the platform how an approved draft is published. Called when the app starts."""
    register_kind(
        ApprovalKind(
            name=KIND,
            title="Publish a catalog",
            permission=PERMISSION,
            execute=_publish_submitted_draft,
            release=_reopen_submitted_draft,
        )
    )


@transaction.atomic
def submit_draft(*, draft_id: uuid.UUID, at: datetime, actor: Actor, reason: str) -> CatalogDraft:
    """
    Lock the draft and ask for its publication; another person approves that.

    :raises CatalogInvalid: with every finding. :raises DraftChangesNothing: if it says what is published.
    :raises RevisionConflict: if another revision was published since the draft was started or rebased.
    :raises InvalidState: unless it is a draft. :raises ValidationFailed: without a reason.
    """
    draft = lock_open_draft(draft_id)
    base = draft.base_revision or 0
    preview = preview_document(org_id=draft.org_id, document=draft.document, if_match=base)
    if preview.active is not None and preview.difference.is_empty:
        raise DraftChangesNothing(f"Revision {preview.active.revision} says the same; there is nothing to approve.")
    document_hash = preview.content.compute_hash()
    payload: dict[str, Any] = {
        "draft": draft.public_id,
        "title": draft.title,
        "org_id": draft.org_id,
        "replaces_revision": base,
        "document_hash": document_hash,
        "changes": preview.difference.summarise(),
    }
    title = f"Publish “{draft.title}” as the catalog of {draft.org_id}"
    draft.approval = request_approval(Request(KIND, draft, title, payload), at=at, actor=actor, reason=reason)
    draft.status, draft.submitted_hash = DraftStatus.SUBMITTED, document_hash
    draft.save(update_fields=["status", "submitted_hash", "approval", "updated_at"])
    emit_draft(
        "submitted",
        draft,
        at=at,
        actor=actor,
        reason=reason,
        data={"document_hash": document_hash, "approval": draft.approval.public_id},
        previous={"status": DraftStatus.DRAFT},
    )
    return draft


def withdraw_draft(*, draft_id: uuid.UUID, at: datetime, actor: Actor, reason: str = "") -> CatalogDraft:
    """
    Take a submitted draft back, so that it can be edited again.

    :raises InvalidState: unless it waits for approval. :raises NotFound: if there is no such draft.
    """
    draft = CatalogDraft.objects.filter(pk=draft_id).first()
    if draft is None:
        raise NotFound("catalog_draft")
    if draft.status != DraftStatus.SUBMITTED or draft.approval_id is None:
        raise InvalidState("This draft does not wait for approval.", current_status=draft.status)
    # The approval is locked first, here as when it is decided.
    cancel(approval_id=draft.approval_id, at=at, actor=actor, comment=reason)
    draft.refresh_from_db()
    return draft


def find_submitted_draft(approval: Approval) -> CatalogDraft | None:
    """Return the draft a request is about, or None."""
    key = CatalogDraft.parse_id(approval.subject_id)
    return None if key is None else CatalogDraft.objects.filter(pk=key).first()


def _publish_submitted_draft(approval: Approval, at: datetime, actor: Actor) -> dict[str, Any]:
    draft = _lock_submitted_draft(approval)
    if draft is None:
        raise ApprovalChanged("The draft does not wait for this approval any more.")
    payload = approval.payload
    if read_document(draft.document).compute_hash() != payload["document_hash"]:
        raise ApprovalChanged("The draft's document is not the one that was submitted; it cannot be approved.")
    result = publish_document(
        org_id=payload["org_id"],
        document=draft.document,
        at=at,
        actor=actor,
        reason=approval.reason,
        if_match=payload["replaces_revision"],
    )
    data = {"approval": approval.public_id, "requested_by": approval.requested_by}
    close_as_published(draft, result, at=at, actor=actor, reason=approval.comment, data=data)
    return {"revision": result.revision.revision, "revision_id": result.revision.public_id}


def _reopen_submitted_draft(approval: Approval, at: datetime, actor: Actor) -> None:
    draft = _lock_submitted_draft(approval)
    if draft is None:
        return
    draft.status, draft.submitted_hash = DraftStatus.DRAFT, ""
    draft.save(update_fields=["status", "submitted_hash", "updated_at"])
    emit_draft(
        "reopened",
        draft,
        at=at,
        actor=actor,
        reason=approval.comment,
        data={"approval": approval.public_id, "decision": approval.status},
        previous={"status": DraftStatus.SUBMITTED},
    )


def _lock_submitted_draft(approval: Approval) -> CatalogDraft | None:
    """Return the draft that waits for this very approval, under its lock, or None."""
    return (
        CatalogDraft.objects.select_for_update(of=("self",))
        .filter(approval=approval, status=DraftStatus.SUBMITTED)
        .first()
    )
