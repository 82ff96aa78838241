"""Disputes: to read, to answer with evidence before the deadline, or to accept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.widgets import (
    UnfoldAdminEmailInputWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from billing_site.backoffice.actions import Call, ObjectForm, service_action
from billing_site.backoffice.admin import BackOfficeAdmin
from billing_site.backoffice.display import (
    NOTHING,
    format_money,
    link_display,
    link_to,
    money_display,
    status_badge,
    timestamp_display,
)
from billing_site.backoffice.history import timeline_display
from billing_site.kernel import clock
from invoicing.models import ANSWERABLE_STATUSES, Dispute, PaymentAllocation
from invoicing.services.dispute_answers import EVIDENCE_FIELDS, MAX_EVIDENCE, accept_dispute, hand_in_evidence

ANSWER = "invoicing.answer_dispute"
TONES = {
    "needs_response": "bad",
    "warning_needs_response": "warning",
    "under_review": "info",
    "warning_under_review": "info",
    "won": "good",
    "lost": "bad",
    "warning_closed": "neutral",
}
_NOW, _KEEP = "now", "keep"


class EvidenceForm(ObjectForm):
    """What speaks for us. What is left as it is stays."""

    customer_name = forms.CharField(max_length=500, required=False, widget=UnfoldAdminTextInputWidget())
    customer_email_address = forms.EmailField(
        max_length=254, required=False, label="Customer's e-mail", widget=UnfoldAdminEmailInputWidget()
    )
    product_description = forms.CharField(
        max_length=MAX_EVIDENCE, required=False, widget=UnfoldAdminTextareaWidget(attrs={"rows": 3})
    )
    service_date = forms.CharField(
        max_length=100,
        required=False,
        label="When it was delivered",
        widget=UnfoldAdminTextInputWidget(),
    )
    uncategorized_text = forms.CharField(
        max_length=MAX_EVIDENCE,
        required=False,
        label="Everything else",
        help_text="Usage, logins, mails: why the payment is rightful.",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 8}),
    )
    when = forms.ChoiceField(
        choices=[(_NOW, "hand it in now, for good"), (_KEEP, "only keep it at the provider")],
        label="Then",
        widget=UnfoldAdminSelectWidget(),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in EVIDENCE_FIELDS:
            self.fields[name].initial = self.obj.evidence.get(name, "")


def _is_answerable(dispute: Dispute) -> bool:
    return dispute.status in ANSWERABLE_STATUSES


def _is_open(dispute: Dispute) -> bool:
    return not dispute.is_decided


def _foresee_accepting(disputes: Sequence[Dispute]) -> str:
    return " ".join(
        "The inquiry is closed; no money moves."
        if dispute.is_inquiry
        else f"{format_money(dispute.amount, dispute.currency)} are lost and written off"
        + (f", and {format_money(dispute.fee, dispute.currency)} of fees." if dispute.fee else ".")
        + " The invoice stays paid. This cannot be taken back."
        for dispute in disputes
    )


def _warn_of_refunds(disputes: Sequence[Dispute]) -> Iterable[str]:
    for dispute in disputes:
        if dispute.payment_intent.amount_refunded:
            given = format_money(dispute.payment_intent.amount_refunded, dispute.currency)
            yield f"{given} of this payment were refunded already: say so in the evidence instead."


@admin.register(Dispute)
class DisputeAdmin(BackOfficeAdmin):
    """Contested payments. What becomes of one the provider says; here it is answered in time."""

    financial = True
    nav_icon = "gavel"
    nav_order = 14
    empty_title = "No dispute"
    empty_text = "When a card holder contests a payment with the bank, it appears here with its deadline."
    list_display = ("label", "account_link", "state", "shown_amount", "reason", "due", "time_left", "opened")
    list_filter = ("status", "reason", "currency", "provider_type")
    list_select_related = ("account__test_clock",)
    search_fields = (*("=provider_ref", "account__external_id__iexact", "account__email__iexact", "account__name"),)
    search_help_text = "An id such as dp_…, the provider's name of it, or the account's name, id or e-mail"
    actions_detail = ("answer", "accept")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("public_id", "state"),
                    ("account_link", "payment_link"),
                    ("shown_amount", "shown_held"),
                    ("reason", "shown_fee"),
                    ("due", "time_left"),
                    ("opened", "closed"),
                    "invoices",
                )
            },
        ),
        ("Evidence", {"fields": ("shown_evidence", ("submitted", "call_error"))}),
        ("At the provider", {"fields": (("provider_type", "provider_ref"), "pending_call")}),
        ("History", {"fields": ("timeline",)}),
    )
    readonly_fields = (
        *("public_id", "state", "account_link", "payment_link", "shown_amount", "shown_held", "shown_fee", "due"),
        *("time_left", "opened", "closed", "invoices", "shown_evidence", "submitted", "timeline"),
    )
    state = status_badge(tones=TONES)
    account_link = link_display("account", description="Account", ordering="account__name")
    payment_link = link_display("payment_intent", description="Payment")
    shown_amount = money_display("amount", description="Disputed")
    shown_held = money_display("held", description="Held")
    shown_fee = money_display("fee", description="Fee when lost")
    due = timestamp_display("evidence_due_by", description="Evidence due by")
    opened = timestamp_display("opened_at", description="Opened")
    closed = timestamp_display("closed_at", description="Decided")
    submitted = timestamp_display("submitted_at", description="Handed in")
    timeline = timeline_display()

    @admin.display(description="Dispute", ordering="id")
    def label(self, dispute: Dispute) -> str:
        return dispute.public_id

    @admin.display(description="Time left")
    def time_left(self, dispute: Dispute) -> SafeString | str:
        if dispute.evidence_due_by is None or dispute.status not in ANSWERABLE_STATUSES:
            return NOTHING
        left = dispute.evidence_due_by - clock.now(dispute.account)
        if left.total_seconds() <= 0:
            return format_html('<span class="ch-badge ch-bad">{}</span>', "too late")
        days, hours = left.days, left.seconds // 3600
        text = f"{days} day{'' if days == 1 else 's'}" if days else f"{hours} hour{'' if hours == 1 else 's'}"
        return format_html('<span class="ch-badge ch-{}">{}</span>', "bad" if days < 3 else "info", text)

    @admin.display(description="It paid")
    def invoices(self, dispute: Dispute) -> SafeString | str:
        rows = PaymentAllocation.objects.filter(intent=dispute.payment_intent_id, applied__gt=0)
        links = [(link_to(row.invoice),) for row in rows.select_related("invoice")]
        return format_html_join(", ", "{}", links) if links else NOTHING

    @admin.display(description="")
    def shown_evidence(self, dispute: Dispute) -> SafeString | str:
        given = [(name, dispute.evidence[name]) for name in EVIDENCE_FIELDS if dispute.evidence.get(name)]
        if not given:
            return "Nothing was written yet: “Answer with evidence” above."
        rows = ((name.replace("_", " ").capitalize(), text) for name, text in given)
        return format_html_join("", "<p><strong>{}</strong><br>{}</p>", rows)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Dispute]:
        rows: QuerySet[Dispute] = super().get_queryset(request)
        return rows.select_related("account__test_clock", "payment_intent")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Dispute], search_term: str
    ) -> tuple[QuerySet[Dispute], bool]:
        key = Dispute.parse_id(search_term)
        if key is not None:
            return queryset.filter(pk=key), False
        rows, duplicates = super().get_search_results(request, queryset, search_term)
        return rows, duplicates

    @service_action(
        description="Answer with evidence",
        permission=ANSWER,
        effect="What you write goes to the payment provider. Handed in it cannot be changed any more.",
        allowed=_is_answerable,
        form=EvidenceForm,
        confirm_label="Send it",
        icon="fact_check",
    )
    def answer(self, request: HttpRequest, dispute: Dispute, call: Call) -> str:
        submit = call.data["when"] == _NOW
        answered = hand_in_evidence(
            dispute_id=dispute.pk,
            evidence={name: call.data[name] for name in EVIDENCE_FIELDS},
            submit=submit,
            at=call.at,
            actor=call.actor,
            reason=call.reason,
        )
        return f"The evidence is handed in: {answered.get_status_display()}." if submit else "The evidence is kept."

    @service_action(
        description="Accept",
        permission=ANSWER,
        effect=_foresee_accepting,
        warnings=_warn_of_refunds,
        allowed=_is_open,
        confirm_label="Accept it",
        icon="flag",
        variant="danger",
    )
    def accept(self, request: HttpRequest, dispute: Dispute, call: Call) -> str:
        done = accept_dispute(dispute_id=dispute.pk, at=call.at, actor=call.actor, reason=call.reason)
        return f"The dispute is {done.get_status_display()}."
