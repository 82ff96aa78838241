"""Dunning campaigns: for whom which terms hold, and what the mails look like."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final, cast

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from unfold.widgets import UnfoldAdminSelectMultipleWidget, UnfoldAdminTextInputWidget

from accounts.models import Account
from billing_site.backoffice.actions import staff_actor
from billing_site.backoffice.admin import BackOfficeAdmin
from billing_site.backoffice.display import NOTHING
from billing_site.backoffice.history import timeline_display
from billing_site.backoffice.page_links import PageLink, register_page_link
from billing_site.kernel import clock
from billing_site.kernel.periods import local_date
from catalog.models import Plan
from invoicing.calculation.dunning import MESSAGES, Message
from invoicing.documents.dunning_mail import Reminder
from invoicing.documents.words import list_languages
from invoicing.models import DunningCampaign, Invoice
from invoicing.services.dunning_campaigns import CampaignValues, create_campaign, update_campaign
from invoicing.services.dunning_mails import build_letter, render_letter

_SAMPLES: Final = 50


class CampaignForm(ModelForm):  # type: ignore[type-arg]
    delays_hours = forms.CharField(
        required=False,
        label="Hours between attempts",
        help_text="With commas: 24, 72, 168 tries again a day after the first attempt, three days later, and a week "
        "after that. Empty: it is not tried again.",
        widget=UnfoldAdminTextInputWidget(),
    )
    messages = forms.CharField(
        required=False,
        label="Mails",
        help_text="After each attempt, the last one included: failed, retry, last_notice, ended or none. Empty: the "
        "usual ones.",
        widget=UnfoldAdminTextInputWidget(),
    )
    plans = forms.ModelMultipleChoiceField(
        queryset=Plan.objects.order_by("org_id", "key"),
        required=False,
        help_text="Invoices of their subscriptions. A plan that had another campaign changes over.",
        widget=UnfoldAdminSelectMultipleWidget(),
    )
    accounts = forms.CharField(
        required=False,
        help_text="Ids or external ids, with commas: whatever their plans say.",
        widget=UnfoldAdminTextInputWidget(),
    )

    class Meta:
        model = DunningCampaign
        fields = ("org_id", "name", "delays_hours", "end_state", "messages", "on_overdue", "is_active")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk is not None and not self.instance._state.adding:
            self.initial["delays_hours"] = ", ".join(map(str, self.instance.delays_hours))
            self.initial["messages"] = ", ".join(self.instance.messages)
            self.initial["plans"] = [link.plan_id for link in self.instance.plans.all()]
            owned = self.instance.accounts.select_related("account")
            self.initial["accounts"] = ", ".join(link.account.external_id or link.account.public_id for link in owned)

    def clean_delays_hours(self) -> list[int]:
        parts = [part.strip() for part in self.cleaned_data["delays_hours"].split(",") if part.strip()]
        if not all(part.isdigit() and len(part) < 6 for part in parts):
            raise forms.ValidationError("Whole hours with commas, such as 24, 72, 168.")
        return [int(part) for part in parts]

    def clean_messages(self) -> list[str]:
        return [part.strip() for part in self.cleaned_data["messages"].split(",") if part.strip()]

    def clean_accounts(self) -> list[Account]:
        found = []
        for name in filter(None, (part.strip() for part in self.cleaned_data["accounts"].split(","))):
            key = Account.parse_id(name)
            rows = Account.objects.filter(pk=key) if key else Account.objects.filter(external_id__iexact=name)
            account = rows.first()
            if account is None:
                raise forms.ValidationError(f"There is no account {name!r:.80}.")
            found.append(account)
        return found

    def _post_clean(self) -> None:
        """Leave the instance as it is: the service writes it, and says what is wrong with the terms."""


@admin.register(DunningCampaign)
class DunningCampaignAdmin(BackOfficeAdmin):
    """What is under way keeps the terms that it began with; an edit is for what is still to begin."""

    form = CampaignForm
    nav_icon = "campaign"
    nav_order = 17
    empty_title = "No campaign yet"
    empty_text = (
        "Without one the settings hold: BILLING_DUNNING_DELAYS_HOURS and BILLING_DUNNING_END. Add one to ask some "
        "plans or accounts differently."
    )
    list_display = ("name", "org_id", "delays", "end_state", "on_overdue", "is_active")
    list_filter = ("is_active", "end_state", "org_id")
    search_fields = ("name", "=org_id")
    readonly_fields = ("timeline",)
    fieldsets = (
        (None, {"fields": (("name", "org_id"), ("delays_hours", "end_state"), "messages")}),
        ("For", {"fields": ("plans", "accounts"), "description": "An account's own campaign wins, then its plan's."}),
        ("Reach", {"fields": (("on_overdue", "is_active"),)}),
        ("History", {"fields": ("timeline",)}),
    )
    timeline = timeline_display()

    def get_queryset(self, request: HttpRequest) -> QuerySet[DunningCampaign]:
        rows: QuerySet[DunningCampaign] = super().get_queryset(request)
        return rows.prefetch_related("plans")

    def get_readonly_fields(self, request: HttpRequest, obj: DunningCampaign | None = None) -> tuple[str, ...]:
        return (*self.readonly_fields, "org_id") if obj is not None else self.readonly_fields

    @admin.display(description="Hours between attempts")
    def delays(self, campaign: DunningCampaign) -> str:
        return ", ".join(map(str, campaign.delays_hours)) or NOTHING

    def save_with_service(self, request: HttpRequest, form: ModelForm[Any], change: bool) -> DunningCampaign:
        data, at, actor = form.cleaned_data, clock.now(), staff_actor(request)
        values = CampaignValues(
            name=data["name"],
            delays_hours=data["delays_hours"],
            end_state=data["end_state"],
            messages=data["messages"],
            on_overdue=data["on_overdue"],
            is_active=data["is_active"],
            plans=list(data["plans"]),
            accounts=data["accounts"],
        )
        if change:
            return update_campaign(campaign_id=form.instance.pk, values=values, at=at, actor=actor)
        return create_campaign(org_id=data.get("org_id") or "default", values=values, at=at, actor=actor)

    # ---- what the mails look like -----------------------------------------------------------------------------------
    def get_urls(self) -> list[URLPattern]:
        page = self.admin_site.admin_view(self.show_mail)
        own = path("<uuid:pk>/mails/", page, name="invoicing_dunningcampaign_mails")
        return [own, *super().get_urls()]

    def show_mail(self, request: HttpRequest, pk: Any) -> HttpResponse:
        """Answer how a mail of the campaign reads for an invoice that exists. Sends nothing."""
        campaign = DunningCampaign.objects.filter(pk=pk).first()
        if campaign is None or not self.has_view_permission(request, campaign):
            raise Http404("No such campaign.")
        samples = list(
            Invoice.objects.filter(org_id=campaign.org_id, number__isnull=False)
            .select_related("account", "seller")
            .order_by("-id")[:_SAMPLES]
        )
        message = request.GET.get("message", "failed")
        message = message if message in MESSAGES and message != "none" else "failed"
        language = request.GET.get("language", "")
        invoice = next((each for each in samples if each.number_text == request.GET.get("invoice")), None)
        invoice = invoice or (samples[0] if samples else None)
        mail = None
        if invoice is not None:
            letter = build_letter([invoice], [_imagine(campaign, invoice, cast(Message, message))], locale=language)
            mail = render_letter(letter)
        context = {
            **self.admin_site.each_context(request),
            "title": f"Mails of {campaign}",
            "campaign": campaign,
            "back": reverse("admin:invoicing_dunningcampaign_change", args=[campaign.pk]),
            "messages_known": [each for each in MESSAGES if each != "none"],
            "languages": list_languages(),
            "samples": samples,
            "chosen": {"message": message, "language": language, "invoice": invoice},
            "mail": mail,
        }
        return TemplateResponse(request, "invoicing/dunning_preview.html", context)


def _imagine(campaign: DunningCampaign, invoice: Invoice, message: Message) -> Reminder:
    """Return what would be said of an invoice after a decline for lack of money."""
    terms = campaign.terms
    hours = terms.delays_hours[-1 if message == "last_notice" else 0] if terms.delays_hours else 0
    next_at = clock.now(invoice.account) + timedelta(hours=hours)
    return Reminder(
        number=invoice.number_text,
        amount=invoice.amount_remaining or invoice.amount_due or invoice.total,
        currency=invoice.currency,
        message=message,
        next_on=local_date(next_at, invoice.account.zone) if message != "ended" and hours else None,
        due_date=invoice.due_date,
        reason="insufficient_funds",
        has_subscription=invoice.subscription_id is not None or invoice.is_grouped,
        end_state=terms.end_state,
    )


def _link_mails(campaign: DunningCampaign) -> PageLink:
    return PageLink("Look at mails", reverse("admin:invoicing_dunningcampaign_mails", args=[campaign.pk]), "preview")


register_page_link("invoicing.dunningcampaign", _link_mails, name="mails", permission="invoicing.view_dunningcampaign")
