"""
Holding back what a run should not issue by itself, and closing a review.

The check runs on the drafts of a chunk before they are written: one query for what their accounts were invoiced before.
A held draft claims its period like any other; only issuing waits. Source: ADR 0043.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from billing_site.kernel.actors import Actor
from billing_site.platform.models.bulk import copy_rows
from billing_site.platform.services import events
from invoicing.calculation.review import ReviewFinding, check_total
from invoicing.models import BillingRun, Invoice, InvoiceReview, ReviewStatus
from invoicing.queries.reviews import HistoryKey, get_review_rules, load_issued_totals
from invoicing.services.drafting import DraftToWrite


def find_holds(drafts: Sequence[DraftToWrite]) -> list[DraftToWrite]:
    """
    Return the drafts in the same order, those that a person is to look at first marked with why.

    One query, none where no seller compares.
    """
    rules = {each.seller.pk: get_review_rules(each.seller) for each in drafts}
    keys = {_key(each) for each in drafts if rules[each.seller.pk].needs_history}
    totals = load_issued_totals(keys)
    return [
        each if finding is None else replace(each, finding=finding)
        for each in drafts
        for finding in [_check(each, totals, rules[each.seller.pk])]
    ]


def _check(each: DraftToWrite, totals: Mapping[HistoryKey, list[int]], rules: Any) -> ReviewFinding | None:
    currency = each.draft.facts.currency
    return check_total(each.draft.total, currency=currency, history=totals.get(_key(each), ()), rules=rules)


def _key(each: DraftToWrite) -> HistoryKey:
    return HistoryKey(each.account.pk, each.draft.facts.currency, (each.subscription or each.account).livemode)


def hold_invoices(
    held: Sequence[tuple[Invoice, ReviewFinding]], *, run: BillingRun, at: datetime, actor: Actor
) -> list[InvoiceReview]:
    """Put drafts into the review queue, with an event each. Two statements, however many there are."""
    reviews = [
        InvoiceReview(
            invoice=invoice,
            account=invoice.account,
            run=run,
            reason=finding.reason,
            history=list(finding.history),
            median=finding.median,
            factor=finding.factor,
            limit=finding.limit,
            held_at=at,
        )
        for invoice, finding in held
    ]
    copy_rows(reviews)
    events.emit_many(
        [
            events.NewEvent(
                "invoice.held",
                subject=review.invoice,
                account_id=review.account.pk,
                at=at,
                actor=actor,
                data=snapshot_review(review),
            )
            for review in reviews
        ]
    )
    return reviews


def close_review(invoice: Invoice, status: ReviewStatus, *, at: datetime, actor: Actor, reason: str) -> None:
    """
    Take a locked draft out of review and write what was decided; nothing for one that is not under review.

    The caller goes on to issue or void it, in the same transaction.
    """
    if not invoice.in_review:
        return
    invoice.in_review = False
    invoice.save(update_fields=["in_review", "updated_at"])
    InvoiceReview.objects.filter(invoice=invoice, status=ReviewStatus.WAITING).update(
        status=status, decided_at=at, decided_by=str(actor), decision_reason=reason, updated_at=at
    )


def snapshot_review(review: InvoiceReview) -> dict[str, Any]:
    """Return what an event says of a review; amounts are minor units."""
    invoice = review.invoice
    return {
        "id": invoice.public_id,
        "review_id": review.public_id,
        "status": invoice.status,
        "review_reason": review.reason,
        "currency": invoice.currency,
        "total": invoice.total,
        "history": review.history,
        "median": None if review.median is None else str(review.median),
        "factor": None if review.factor is None else str(review.factor),
        "limit": review.limit,
        "period_start": invoice.period_start,
        "period_end": invoice.period_end,
    }
