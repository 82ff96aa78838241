"""Refunding an invoice or a payment from its page: what is asked, what it comes to, what another person approves."""

from __future__ import annotations

from typing import Any, Final

from django import forms
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from billing_site.backoffice.actions import Call, ObjectForm
from billing_site.backoffice.approvals import register_effect
from billing_site.backoffice.display import format_day, format_money, link_to
from billing_site.backoffice.previews import Change, Prospect, previewed_action
from billing_site.kernel.errors import DomainError
from billing_site.kernel.money import parse_major
from billing_site.platform.models import Approval, ApprovalStatus
from invoicing.admin.crediting import CreditForm, show_paper
from invoicing.models import IntentStatus, Invoice, InvoiceStatus, PaymentIntent, Refund, RefundReason
from invoicing.queries.credit_notes import sum_credited
from invoicing.queries.refundable import sum_waiting
from invoicing.services.credit_requests import foresee_note
from invoicing.services.refund_approvals import find_asked_refunds, read_notes
from invoicing.services.refund_limits import get_refund_limit
from invoicing.services.refund_notes import REFUND_KIND
from invoicing.services.refunds import AskedRefund, RefundOutcome, create_refund

REFUND: Final = "invoicing.create_refund"
_EFFECT: Final = (
    "Money goes back the way it came: through the payment provider first, what stored money had paid becomes invoice "
    "credit. An invoice gets a credit note for it. The next page shows what it comes to; nothing happens before you "
    "have confirmed that."
)


def _reason_field() -> forms.ChoiceField:
    return forms.ChoiceField(
        choices=[("", "None"), *RefundReason.choices],
        required=False,
        label="Reason for the provider",
        help_text="Whether a second person must approve it depends on the amount and on this.",
        widget=UnfoldAdminSelectWidget(),
    )


class RefundForm(CreditForm):
    """What to give back of an invoice. Cleaned, `wish` says it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["what"].label = "Give back"
        for name in ("disposition", "cause"):
            del self.fields[name]
        self.fields["refund_reason"] = _reason_field()
        self.fields["memo"].label = "Note on the credit note"
        lines = [name for name in self.fields if name.startswith("line_")]
        self.order_fields(["what", "amount", *lines, "refund_reason", "memo", "reason"])


class PaymentRefundForm(ObjectForm):
    """How much of a payment to give back."""

    amount = forms.CharField(max_length=30, required=False, widget=UnfoldAdminTextInputWidget())
    refund_reason = _reason_field()
    memo = forms.CharField(
        max_length=1000,
        required=False,
        label="Note on the credit note",
        help_text="The customer reads it, where an invoice was paid.",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        left = format_money(self.obj.amount_refundable, self.obj.currency)
        self.fields["amount"].help_text = f"In {self.obj.currency.upper()}; empty for all that is left: {left}."

    def clean_amount(self) -> int:
        """Return minor units, 0 for everything."""
        text = self.cleaned_data["amount"].strip()
        if not text:
            return 0
        try:
            amount = parse_major(text, self.obj.currency)
        except ValueError as error:
            raise forms.ValidationError(f"{text!r:.40} is no amount of {self.obj.currency.upper()}.") from error
        if amount <= 0:
            raise forms.ValidationError("More than nothing, or leave it empty.")
        return amount


def is_refundable(invoice: Invoice) -> bool:
    """Tell whether something of a paid invoice is left to give back."""
    return invoice.status == InvoiceStatus.PAID and sum_credited(invoice) + sum_waiting(invoice) < invoice.total


def _is_payment_refundable(intent: PaymentIntent) -> bool:
    return intent.status == IntentStatus.SUCCEEDED and intent.amount_refundable > 0


class RefundingActions:
    """The button of an invoice."""

    @previewed_action(
        description="Refund",
        permission=REFUND,
        effect=_EFFECT,
        allowed=is_refundable,
        form=RefundForm,
        confirm_label="Refund it",
        icon="currency_exchange",
        variant=ActionVariant.PRIMARY,
    )
    def refund(self, request: HttpRequest, invoice: Invoice, call: Call) -> Prospect:
        wish, data = call.data["wish"], call.data
        asked = AskedRefund(
            amount=wish.amount, lines=wish.lines, reason=data["refund_reason"], memo=data["memo"].strip()
        )
        outcome = create_refund(invoice_id=invoice.pk, asked=asked, at=call.at, actor=call.actor, reason=call.reason)
        return _foresee(outcome, asked)


class PaymentRefundingActions:
    """The button of a payment."""

    @previewed_action(
        description="Refund",
        permission=REFUND,
        effect=_EFFECT,
        allowed=_is_payment_refundable,
        form=PaymentRefundForm,
        confirm_label="Refund it",
        icon="currency_exchange",
        variant=ActionVariant.PRIMARY,
    )
    def refund(self, request: HttpRequest, intent: PaymentIntent, call: Call) -> Prospect:
        data = call.data
        asked = AskedRefund(amount=data["amount"], reason=data["refund_reason"], memo=data["memo"].strip())
        outcome = create_refund(intent_id=intent.pk, asked=asked, at=call.at, actor=call.actor, reason=call.reason)
        return _foresee(outcome, asked)


def _foresee(outcome: RefundOutcome, asked: AskedRefund) -> Prospect:
    """Return what a request came to, as the page shows it before and tells it after."""
    plan, rows, waits = outcome.plan, outcome.refunds, outcome.approval is not None
    if plan is None:
        raise ValueError("a repeat has no preview")
    total = format_money(plan.total, plan.currency)
    notes = []
    if waits:
        limit = format_money(get_refund_limit(asked.reason), plan.currency)
        notes.append(f"It is above {limit}: another person must approve it, and no money leaves before.")
    notes += [tell_way(row) for row in rows]
    page = "platform_approval_change" if waits else "invoicing_refund_change"
    return Prospect(
        message=f"A refund of {total} waits for the approval of another person."
        if waits
        else f"A refund of {total} is on its way.",
        changes=_compare(outcome),
        papers=[
            show_paper(note.invoice, note.foreseen, badge="waits for another person" if waits else "")
            for note in plan.notes
        ],
        notes=notes,
        url=reverse(f"admin:{page}", args=[outcome.approval.pk if outcome.approval else rows[0].pk]),
        confirm_label="Ask for it" if waits else "",
    )


def _compare(outcome: RefundOutcome) -> list[Change]:
    plan = outcome.plan
    if plan is None:
        return []
    found = []
    for note in plan.notes:
        left, total = note.foreseen.draft.facts.left, note.foreseen.draft.total
        found.append(
            Change(
                f"Left of {note.invoice}", format_money(left, plan.currency), format_money(left - total, plan.currency)
            )
        )
    return found


def tell_way(refund: Refund) -> str:
    """Return which way money goes back, as a sentence."""
    amount = format_money(refund.amount, refund.currency)
    if refund.payment_intent is None:
        return f"{amount} become invoice credit: stored money had paid them."
    intent = refund.payment_intent
    method = f" to {intent.payment_method}" if intent.payment_method is not None else ""
    when = f" of {format_day(intent.succeeded_at.date())}" if intent.succeeded_at else ""
    return f"{amount} go back through {intent.provider_type}{method}, of the payment{when}."


def render_refund(approval: Approval) -> SafeString | str:
    """Return what approving a refund gives back as things stand now, or what became of it."""
    rows = find_asked_refunds(approval)
    if not rows:
        return "The refund is gone."
    ways = format_html_join("", "<p>{}</p>", ((tell_way(row),) for row in rows))
    links = format_html_join(", ", "{}", ((link_to(row),) for row in rows))
    if approval.status != ApprovalStatus.PENDING:
        return format_html("{}<p>{}</p>", ways, links)
    parts = []
    try:
        for invoice, request, total in read_notes(approval):
            foreseen = foresee_note(invoice, request)
            notes = []
            if foreseen.draft.total != total:
                now = format_money(foreseen.draft.total, invoice.currency)
                notes.append(f"The invoice changed since: it would come to {now} now, and cannot be approved as it is.")
            context = {
                "invoice": link_to(invoice),
                "account": link_to(invoice.account),
                "paper": show_paper(invoice, foreseen),
                "notes": notes,
                "memo": request.memo,
            }
            parts.append(render_to_string("invoicing/credit_note_effect.html", context))
    except DomainError as error:
        return format_html("<p>It can no longer be refunded. {}</p>{}", error.detail, ways)
    reason = rows[0].get_reason_display() if rows[0].reason else ""
    said = format_html("<p>Reason for the provider: {}</p>", reason) if reason else SafeString("")
    return format_html("{}{}{}<p>{}</p>", mark_safe("".join(parts)), ways, said, links)  # noqa: S308 — escaped there


def _find_refund(approval: Approval) -> Refund | None:
    return next(iter(find_asked_refunds(approval)), None)


register_effect(REFUND_KIND, render_refund, find_subject=_find_refund)
