"""Dunning in the back office: where each unpaid invoice stands, what was tried, and what people may do about it."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.safestring import SafeString
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminDateWidget

from accounts.models import Account
from billing_site.backoffice.actions import Call, ReasonForm, service_action
from billing_site.backoffice.admin import BackOfficeAdmin, ReadOnlyInline
from billing_site.backoffice.admin.notices import render_notices
from billing_site.backoffice.display import (
    NOTHING,
    link_display,
    money,
    money_display,
    status_badge,
    timestamp_display,
)
from billing_site.backoffice.history import timeline_display
from billing_site.backoffice.page_links import PageLink, register_page_link
from billing_site.kernel.periods import local_midnight
from invoicing.admin.dunning_calendar import CALENDAR_PAGE, CalendarPage, explain_outcome
from invoicing.gateways.declines import describe_decline
from invoicing.models import DunningAttempt, DunningCase, DunningStatus, Invoice
from invoicing.services.collecting import collect_invoice
from invoicing.services.dunning_actions import cancel_case, hold_case, resume_case
from invoicing.services.dunning_mails import NOT_CHARGED

_TONES = {
    "running": "warning",
    "stopped": "bad",
    "held": "info",
    "paid": "good",
    "exhausted": "bad",
    "canceled": "neutral",
}


class HoldForm(ReasonForm):
    """Until when."""

    until = forms.DateField(
        required=False,
        label="Until",
        help_text="The day, where the account is, on which it goes on by itself. Empty: until somebody lets it go on.",
        widget=UnfoldAdminDateWidget(),
    )


class AttemptInline(ReadOnlyInline):
    """What was tried, and what came of it."""

    model = DunningAttempt
    verbose_name_plural = "Attempts"
    fields = ("number", "made", "state", "owed", "method_link", "why", "message", "next_shown")
    readonly_fields = fields
    ordering = ("made_at", "id")
    made = timestamp_display("made_at", description="Made")
    state = status_badge("outcome", tones={"failed": "bad", "paid": "good"})
    owed = money_display("amount", currency="case.invoice.currency", description="Owed then")
    method_link = link_display("method", description="Payment method")
    next_shown = timestamp_display("next_step_at", description="Next")

    @admin.display(description="Attempt")
    def number(self, row: DunningAttempt) -> str:
        return str(row.step) if row.step else "out of turn"

    @admin.display(description="Why")
    def why(self, row: DunningAttempt) -> str:
        return explain_outcome(row)

    def get_queryset(self, request: HttpRequest) -> QuerySet[DunningAttempt]:
        rows: QuerySet[DunningAttempt] = super().get_queryset(request)
        return rows.select_related("case__invoice__account", "method")


def _is_open(case: DunningCase) -> bool:
    return case.is_open


@admin.register(DunningCase)
class DunningCaseAdmin(CalendarPage, BackOfficeAdmin):
    """Cases open and end by themselves; people hold, resume or end them, or try now."""

    financial = True
    nav_icon = "notification_important"
    nav_order = 16
    nav_title = "Dunning"
    nav_pages = (CALENDAR_PAGE,)
    empty_title = "Nothing is in dunning"
    empty_text = "An invoice whose payment fails appears here, with when it is tried again and what comes after that."
    list_display = ("invoice_link", "account_link", "state", "owed", "steps", "next_shown", "opened")
    list_filter = ("status", "end_state", "campaign")
    list_select_related = ("invoice", "account", "campaign")
    search_fields = ("=invoice__number_text", "account__external_id__iexact", "account__email__iexact", "=account__id")
    search_help_text = "An exact invoice number, or the account's external id or e-mail"
    actions = ("hold", "resume", "cancel")
    actions_detail = ("retry", "hold", "resume", "cancel")
    inlines = (AttemptInline,)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("invoice_link", "account_link"),
                    ("state", "owed"),
                    ("steps", "next_shown"),
                    "sentence",
                )
            },
        ),
        ("Terms", {"fields": (("terms_from", "delays"), ("end_state", "mails_planned"))}),
        ("Mails", {"fields": ("mails",)}),
        ("History", {"fields": ("timeline",)}),
    )
    invoice_link = link_display("invoice", description="Invoice")
    account_link = link_display("account", description="Account")
    state = status_badge(tones=_TONES)
    next_shown = timestamp_display("next_step_at", description="Next step")
    opened = timestamp_display("opened_at", description="Since")
    timeline = timeline_display()

    def get_readonly_fields(self, request: HttpRequest, obj: DunningCase | None = None) -> tuple[str, ...]:
        names = [name for _, block in self.fieldsets for group in block["fields"] for name in _flat(group)]
        return tuple(names)

    @admin.display(description="To be paid")
    def owed(self, case: DunningCase) -> SafeString | str:
        return money(case.invoice.amount_remaining, case.invoice.currency)

    @admin.display(description="Attempt")
    def steps(self, case: DunningCase) -> str:
        return f"{case.step} of {len(case.delays_hours) + 1}"

    @admin.display(description="Where it stands")
    def sentence(self, case: DunningCase) -> str:
        return describe_standing(case)

    @admin.display(description="Terms of")
    def terms_from(self, case: DunningCase) -> str:
        return "the settings" if case.campaign is None else str(case.campaign)

    @admin.display(description="Hours between attempts")
    def delays(self, case: DunningCase) -> str:
        return ", ".join(map(str, case.delays_hours)) or "one attempt only"

    @admin.display(description="Mails")
    def mails_planned(self, case: DunningCase) -> str:
        terms = case.terms
        return ", ".join(terms.choose_message(step).replace("_", " ") for step in range(1, terms.attempts + 1))

    @admin.display(description="")
    def mails(self, case: DunningCase) -> SafeString | str:
        return render_notices(case.public_id, zone=case.account.timezone)

    # ---- actions ----------------------------------------------------------------------------------------------------
    @service_action(
        description="Try now",
        permission="invoicing.pay_invoice",
        effect="Stored money pays what it can, and the account's payment method is charged for the rest, at once. The "
        "times of the other attempts stay as they are.",
        allowed=_is_open,
        icon="replay",
        variant=ActionVariant.PRIMARY,
    )
    def retry(self, request: HttpRequest, case: DunningCase, call: Call) -> str:
        invoice, collection = collect_invoice(
            invoice_id=case.invoice_id, at=call.at, actor=call.actor, reason=call.reason
        )
        return f"{invoice} is paid." if collection.success else f"{invoice} is not paid: {collection.error}"

    @service_action(
        description="Hold",
        permission="invoicing.edit_dunning",
        effect="Nothing is tried and nothing is mailed until it goes on. A step that is due meanwhile is made then.",
        allowed=_is_open,
        form=HoldForm,
        icon="pause_circle",
    )
    def hold(self, request: HttpRequest, case: DunningCase, call: Call) -> str:
        day = call.data["until"]
        until = local_midnight(day, case.account.zone) if day is not None else None
        hold_case(case_id=case.pk, until=until, at=call.at, actor=call.actor, reason=call.reason)
        return f"{case.invoice} is held" + (f" until {day:%d %b %Y}." if day is not None else ".")

    @service_action(
        description="Let go on",
        permission="invoicing.edit_dunning",
        effect="What was held goes on where it was; a method that was given up is tried again, at the next step.",
        allowed=lambda case: (
            case.status in (DunningStatus.HELD, DunningStatus.STOPPED)
            and (case.status == DunningStatus.HELD or case.stop_reason != NOT_CHARGED)
        ),
        icon="play_circle",
    )
    def resume(self, request: HttpRequest, case: DunningCase, call: Call) -> str:
        done = resume_case(case_id=case.pk, at=call.at, actor=call.actor, reason=call.reason)
        return f"{case.invoice}: {describe_standing(done)}"

    @service_action(
        description="End dunning",
        permission="invoicing.cancel_dunning",
        effect="Nothing is tried or mailed any more. The invoice stays open, its subscription stays as it is.",
        allowed=_is_open,
        icon="notifications_off",
        variant=ActionVariant.DANGER,
    )
    def cancel(self, request: HttpRequest, case: DunningCase, call: Call) -> str:
        cancel_case(case_id=case.pk, at=call.at, actor=call.actor, reason=call.reason)
        return f"{case.invoice} is not in dunning any more."


def _flat(group: Any) -> tuple[str, ...]:
    return (group,) if isinstance(group, str) else tuple(group)


def describe_standing(case: DunningCase) -> str:
    """Return in a sentence where a case stands."""
    if case.status == DunningStatus.HELD:
        until = f" until {case.held_until:%d %b %Y %H:%M} UTC" if case.held_until is not None else ""
        return f"Held by a person{until}."
    if case.status == DunningStatus.STOPPED and case.stop_reason == NOT_CHARGED:
        return "Nobody charges it: it is asked for by mail, and stored money may pay it."
    if case.status == DunningStatus.STOPPED:
        return f"{describe_decline(case.stop_reason)} It is not tried again until another payment method comes."
    return {
        DunningStatus.RUNNING.value: "It is tried again at the next step.",
        DunningStatus.PAID.value: "It is paid.",
        DunningStatus.EXHAUSTED.value: "Every attempt failed: it was given up.",
        DunningStatus.CANCELED.value: "It ended before the invoice was paid.",
    }.get(case.status, NOTHING)


def _link_invoice(invoice: Invoice) -> PageLink | None:
    case = DunningCase.objects.filter(invoice=invoice).order_by("-id").values_list("pk", flat=True).first()
    if case is None:
        return None
    return PageLink("Dunning", reverse("admin:invoicing_dunningcase_change", args=[case]), "notification_important")


def _link_account(account: Account) -> PageLink | None:
    if not DunningCase.objects.filter(account=account).exists():
        return None
    url = reverse("admin:invoicing_dunningcase_changelist")
    return PageLink("Dunning", f"{url}?q={account.pk}", "notification_important")


register_page_link("invoicing.invoice", _link_invoice, name="dunning", permission="invoicing.view_dunningcase")
register_page_link("accounts.account", _link_account, name="dunning", permission="invoicing.view_dunningcase")
