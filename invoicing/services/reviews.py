"""
Deciding on held drafts: release them, which issues them, or discard them.

Where the seller asks for four eyes, a person in the admin asks for the release and another one gives it.
Source: ADR 0017 and 0043.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any, Final

from django.db import transaction

from accounts.services.stored_money import lock_stored_money
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import InvalidState, NotFound
from billing_site.kernel.money import Money
from billing_site.platform.models import Approval, ApprovalStatus
from billing_site.platform.services import events
from billing_site.platform.services.approvals import ApprovalKind, Request, register_kind, request_approval
from invoicing.models import Invoice, InvoiceReview, InvoiceStatus, ReviewStatus
from invoicing.services.invoices import lock_invoice, lock_parties, void_invoice
from invoicing.services.issuing import issue_invoices
from invoicing.services.review_holds import close_review, snapshot_review

RELEASE_KIND: Final = "invoicing.release_review"
RELEASE_PERMISSION: Final = "invoicing.approve_invoicereview"


class SecondPersonNeeded(InvalidState):
    code, title, status = "approval_required", "Another person must approve this", 403


def register_review_approvals() -> None:
    """Tell the platform what an approved release does. Called when the app starts."""
    register_kind(ApprovalKind(RELEASE_KIND, "Release an invoice from review", RELEASE_PERMISSION, _release_approved))


@transaction.atomic
def release_review(
    *, review_id: uuid.UUID, at: datetime, actor: Actor, reason: str = "", approval: Approval | None = None
) -> Invoice:
    """
    Issue a held draft as it is, numbered and dated now; stored money pays what it can.

    :raises NotFound: if there is no such review. :raises InvalidState: if it is decided already.
    :raises SecondPersonNeeded: if the seller wants another person to approve it, and `approval` is not that.
    """
    review = _lock_review(review_id)
    if needs_approval(review, actor) and not _is_granted(review, approval):
        raise SecondPersonNeeded("Another person must approve the release.", current_status=review.status)
    return _release(review, at=at, actor=actor, reason=reason)


def _release(review: InvoiceReview, *, at: datetime, actor: Actor, reason: str) -> Invoice:
    invoice = review.invoice
    money = lock_stored_money(account_ids=[invoice.account_id], at=at, actor=actor)
    close_review(invoice, ReviewStatus.RELEASED, at=at, actor=actor, reason=reason)
    events.emit(
        "invoice.released",
        subject=invoice,
        account_id=invoice.account_id,
        at=at,
        actor=actor,
        data=snapshot_review(review),
        reason=reason,
    )
    return issue_invoices([invoice], at=at, actor=actor, money=money, reason=reason)[0]


@transaction.atomic
def release_or_request(*, review_id: uuid.UUID, at: datetime, actor: Actor, reason: str) -> Invoice | Approval:
    """
    Release a held draft, or ask another person to where the seller wants that; return the invoice or the request.

    :raises DomainError: as `release_review`. :raises ApprovalAlreadyPending: while a request for it waits.
    """
    review = _lock_review(review_id)
    if not needs_approval(review, actor):
        return _release(review, at=at, actor=actor, reason=reason)
    invoice = review.invoice
    request = Request(
        RELEASE_KIND,
        review,
        f"Release the invoice of {review.account} from review",
        {"review": review.public_id, "invoice": invoice.public_id, "total": invoice.total},
        effect=Money(invoice.total, invoice.currency),
        account_id=review.account_id,
    )
    return request_approval(request, at=at, actor=actor, reason=reason)


@transaction.atomic
def discard_review(*, review_id: uuid.UUID, at: datetime, actor: Actor, reason: str) -> Invoice:
    """
    Void a held draft: it gets no number, and its periods are free to be billed again.

    :raises NotFound: if there is no such review. :raises InvalidState: if it is decided already.
    """
    review = _lock_review(review_id)
    return void_invoice(invoice_id=review.invoice_id, at=at, actor=actor, reason=reason)


def needs_approval(review: InvoiceReview, actor: Actor) -> bool:
    """Tell whether `actor` may not release it alone: the seller wants four eyes, and a person asks."""
    return actor.type == "staff" and review.invoice.seller.review_approval


def find_review(approval: Approval) -> InvoiceReview | None:
    """Return the review a request is about, or None."""
    key = InvoiceReview.parse_id(approval.subject_id)
    rows = InvoiceReview.objects.select_related("invoice__account", "account", "invoice__seller")
    return None if key is None else rows.filter(pk=key).first()


def _lock_review(review_id: uuid.UUID) -> InvoiceReview:
    """Lock account, subscription, invoice, then the review. Source: kernel.locks."""
    found = InvoiceReview.objects.filter(pk=review_id).values_list("invoice_id", flat=True).first()
    if found is None:
        raise NotFound("review")
    lock_parties(found)
    invoice = lock_invoice(found)
    review = InvoiceReview.objects.select_for_update(of=("self",)).select_related("account").get(pk=review_id)
    review.invoice = invoice
    if review.status != ReviewStatus.WAITING or invoice.status != InvoiceStatus.DRAFT:
        raise InvalidState("This was decided already.", current_status=review.status)
    return review


def _is_granted(review: InvoiceReview, approval: Approval | None) -> bool:
    return (
        approval is not None
        and approval.status == ApprovalStatus.APPROVED
        and (approval.kind, approval.subject_id) == (RELEASE_KIND, review.public_id)
        and approval.amount == review.invoice.total
    )


def _release_approved(approval: Approval, at: datetime, actor: Actor) -> dict[str, Any]:
    review = find_review(approval)
    if review is None:
        raise NotFound("review")
    issued = release_review(
        review_id=review.pk,
        at=review.account.clock_time or at,
        actor=actor,
        reason=approval.reason,
        approval=approval,
    )
    return {"invoice_id": issued.public_id, "number": issued.number_text}
