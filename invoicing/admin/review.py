"""The review queue: what billing runs held back, why, beside what the account is used to; release or discard."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from billing_site.backoffice.actions import Call, service_action
from billing_site.backoffice.admin import BackOfficeAdmin
from billing_site.backoffice.approvals import register_effect
from billing_site.backoffice.display import (
    NOTHING,
    badge,
    format_day,
    format_money,
    format_quantity,
    link_display,
    link_to,
    money_display,
    period_display,
    status_badge,
    timestamp_display,
)
from billing_site.backoffice.history import timeline_display
from billing_site.kernel.money import round_to_minor
from billing_site.platform.models import Approval
from billing_site.platform.services.approvals import find_pending
from invoicing.admin.explanations import explain_lines
from invoicing.models import InvoiceReview, ReviewReason, ReviewStatus
from invoicing.queries.reviews import count_waiting, list_compared
from invoicing.services.reviews import RELEASE_KIND, discard_review, find_review, release_or_request

_TONES = {"waiting": "warning", "released": "good", "discarded": "neutral"}


def _is_waiting(review: InvoiceReview) -> bool:
    return review.status == ReviewStatus.WAITING


def _describe_release(reviews: Sequence[InvoiceReview]) -> str:
    text = (
        "The draft gets the next number and today's date, stored credit and prepaid money pay what they can, it is "
        "posted to the ledger and can never be changed again."
    )
    if any(review.invoice.seller.review_approval for review in reviews):
        text += " Another person must approve it first."
    return text


@admin.register(InvoiceReview)
class InvoiceReviewAdmin(BackOfficeAdmin):
    """Drafts that wait for a person; what was decided stays to be read."""

    financial = True
    nav_icon = "fact_check"
    nav_order = 15
    nav_title = "Review queue"
    empty_title = "Nothing waits for review"
    empty_text = (
        "A billing run holds an invoice back when it is far from what the account is used to, below zero, or above an "
        "amount; the seller says where that begins."
    )
    list_display = ("name", "state", "account_link", "shown_total", "why", "usual", "covered", "run_link", "held")
    list_filter = ("status", "reason", "invoice__currency")
    list_select_related = ("account", "invoice__seller", "run")
    search_fields = ("account__external_id__iexact", "account__email__iexact", "account__name")
    search_help_text = "The account's name, external id or e-mail"
    actions = ("release", "discard")
    actions_detail = ("release", "discard")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("name", "state"),
                    ("account_link", "shown_total"),
                    ("invoice_link", "run_link"),
                    ("covered", "held"),
                    "sentence",
                    ("decided", "decided_by"),
                    "decision_reason",
                )
            },
        ),
        ("Beside the account's own", {"fields": ("comparison",)}),
        ("Why this amount", {"fields": ("explanation",)}),
        ("History", {"fields": ("timeline",)}),
    )
    readonly_fields = (
        *("name", "state", "account_link", "shown_total", "invoice_link", "run_link", "covered", "held"),
        *("sentence", "decided", "comparison", "explanation", "timeline"),
    )
    state = status_badge(tones=_TONES)
    account_link = link_display("account", description="Account", ordering="account__name")
    invoice_link = link_display("invoice", description="Invoice")
    run_link = link_display("run", description="Billing run")
    shown_total = money_display("invoice.total", "invoice.currency", description="Total", ordering="invoice__total")
    covered = period_display("invoice.period_start", "invoice.period_end")
    held = timestamp_display("held_at", description="Held")
    decided = timestamp_display("decided_at", description="Decided")

    def nav_badge(self, request: HttpRequest) -> str:
        return str(count_waiting() or "")

    def get_queryset(self, request: HttpRequest) -> QuerySet[InvoiceReview]:
        rows: QuerySet[InvoiceReview] = super().get_queryset(request)
        return rows.select_related("account__test_clock", "invoice__seller", "invoice__account", "run")

    @admin.display(description="Review", ordering="id")
    def name(self, review: InvoiceReview) -> str:
        return f"…{review.public_id[-6:]}"

    @admin.display(description="Why", ordering="reason")
    def why(self, review: InvoiceReview) -> SafeString:
        return badge(review.get_reason_display(), "bad" if review.reason == ReviewReason.NEGATIVE else "warning")

    @admin.display(description="Usual")
    def usual(self, review: InvoiceReview) -> str:
        return NOTHING if review.median is None else _show_median(review.median, review.invoice.currency)

    @admin.display(description="Held because")
    def sentence(self, review: InvoiceReview) -> SafeString | str:
        waiting = find_pending(kind=RELEASE_KIND, subject=review) if _is_waiting(review) else None
        text = describe_reason(review)
        if waiting is None:
            return text
        return format_html("{} {}", text, link_to(waiting, "Its release waits for another person."))

    @admin.display(description="")
    def comparison(self, review: InvoiceReview) -> SafeString:
        currency = review.invoice.currency
        rows = [
            {
                "link": link_to(invoice),
                "date": format_day(invoice.issue_date) if invoice.issue_date else NOTHING,
                "total": format_money(invoice.total, currency),
            }
            for invoice in list_compared(review)
        ]
        context = {
            "total": format_money(review.invoice.total, currency),
            "rows": rows,
            "median": "" if review.median is None else _show_median(review.median, currency),
        }
        return mark_safe(render_to_string("invoicing/review_comparison.html", context))  # noqa: S308 — escaped there

    @admin.display(description="")
    def explanation(self, review: InvoiceReview) -> SafeString:
        return explain_lines(review.invoice)

    @admin.display(description="History")
    def timeline(self, review: InvoiceReview) -> Any:
        return timeline_display()(review.invoice)

    @service_action(
        description="Release",
        permission="invoicing.release_invoicereview",
        effect=_describe_release,
        allowed=_is_waiting,
        icon="task_alt",
        variant="primary",
        describe=lambda review: f"{review.account}, {format_money(review.invoice.total, review.invoice.currency)}",
    )
    def release(self, request: HttpRequest, review: InvoiceReview, call: Call) -> str:
        done = release_or_request(review_id=review.pk, at=call.at, actor=call.actor, reason=call.reason)
        if isinstance(done, Approval):
            return f"{done.title} waits for the approval of another person."
        return f"{done} is issued: {format_money(done.total, done.currency)}."

    @service_action(
        description="Discard",
        permission="invoicing.void_invoice",
        effect="The draft becomes void without a number. What had waited for it, and its usage, come with the next "
        "invoice of the subscription; its fees are let off: no run bills them again.",
        allowed=_is_waiting,
        icon="block",
        variant="danger",
        describe=lambda review: f"{review.account}, {format_money(review.invoice.total, review.invoice.currency)}",
    )
    def discard(self, request: HttpRequest, review: InvoiceReview, call: Call) -> str:
        discard_review(review_id=review.pk, at=call.at, actor=call.actor, reason=call.reason)
        return f"The draft of {review.account} is void."


def describe_reason(review: InvoiceReview) -> str:
    """Return why a draft was held, as a sentence with the numbers that were compared."""
    invoice = review.invoice
    total = format_money(invoice.total, invoice.currency)
    if review.reason == ReviewReason.NEGATIVE:
        return f"{total} is below zero."
    if review.reason == ReviewReason.ABOVE_AMOUNT and review.limit is not None:
        return f"{total} is above {format_money(review.limit, invoice.currency)}, the seller's limit."
    if review.median is None or review.factor is None:
        return review.get_reason_display()
    usual = _show_median(review.median, invoice.currency)
    times = format_quantity(review.factor)
    return f"{total} is more than {times} × {usual}, the median of the last {len(review.history)}."


def _show_median(median: Decimal, currency: str) -> str:
    """A median may lie between two minor units; it is shown to a whole one."""
    return format_money(round_to_minor(median), currency)


def render_release(approval: Approval) -> SafeString | str:
    """Return what approving issues, and why it was held."""
    review = find_review(approval)
    if review is None:
        return "The review is gone."
    return format_html(
        "<p>{} is issued to {}. {}</p>", link_to(review.invoice), review.account, describe_reason(review)
    )


register_effect(RELEASE_KIND, render_release, find_subject=find_review)
