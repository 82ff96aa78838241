"""Tax rates: add, look at, end."""

from __future__ import annotations

from datetime import UTC
from decimal import Decimal

from babel import Locale
from django import forms
from django.contrib import admin
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminSelect2Widget, UnfoldAdminTextInputWidget

from billing_site.backoffice.actions import Call, service_action, staff_actor
from billing_site.backoffice.display import badge, format_quantity, timestamp_display
from billing_site.backoffice.history import timeline_display
from billing_site.kernel import clock
from billing_site.kernel.countries import list_countries
from catalog.admin.once import OnceAdmin, OnceForm, warn_of_references
from catalog.models import TaxRate
from catalog.services.tax_rates import create_tax_rate, delete_tax_rate, end_tax_rate


def _name_countries() -> list[tuple[str, str]]:
    names = Locale.parse("en").territories
    named = sorted(((code, f"{names[code]} ({code})") for code in list_countries()), key=lambda choice: choice[1])
    return [("", "–"), *named]


class TaxRateForm(OnceForm):
    """A rate in percent."""

    rate = forms.DecimalField(
        label="Rate (percent)",
        max_digits=13,
        decimal_places=10,
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "19"}),
        help_text="19 is 19 %; 8.875 is 8.875 %.",
    )
    country = forms.ChoiceField(choices=_name_countries, widget=UnfoldAdminSelect2Widget())
    state = forms.CharField(
        required=False,
        max_length=100,
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "CA"}),
        help_text="Code of the state, as accounts have it. Empty: the whole country.",
    )

    class Meta:
        model = TaxRate
        fields = (
            "org_id",
            "name",
            "code",
            "rate",
            "country",
            "state",
            "inclusive",
            "combinable",
            "is_default",
            "valid_from",
            "valid_to",
        )
        help_texts = {
            "inclusive": "Prices hold the tax already.",
            "combinable": "Adds to other rates of the place. Of those that do not, one applies.",
            "is_default": "Chosen among rates of the same place that do not add up.",
            "valid_from": "First day. Empty: always.",
            "valid_to": "Last day. Empty: until further notice.",
        }


@admin.register(TaxRate)
class TaxRateAdmin(OnceAdmin):
    """Invoices are computed with a rate, so it never changes: end it and add the new one."""

    form = TaxRateForm
    nav_icon = "percent"
    nav_order = 64
    empty_title = "No tax rate yet"
    empty_text = "Without a rate no tax is charged. Add the rates of the places your customers are in."
    list_display = ("name", "place", "percent", "kind", "state_now", "valid_from", "valid_to", "org_id")
    list_filter = ("country", "inclusive", "combinable", "org_id")
    search_fields = ("name", "code", "=country", "=state")
    search_help_text = "Name, code, country or state"
    ordering = ("country", "state", "name")
    actions = ("end",)
    actions_detail = ("end", "remove")
    add_fieldsets = (
        (
            None,
            {
                "fields": (
                    ("name", "code"),
                    ("country", "state"),
                    ("rate", "org_id"),
                    ("valid_from", "valid_to"),
                    "inclusive",
                    "combinable",
                    "is_default",
                )
            },
        ),
    )
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("name", "code"),
                    ("place", "percent"),
                    ("inclusive", "combinable", "is_default"),
                    ("valid_from", "valid_to"),
                    ("state_now", "ended_on"),
                    ("org_id", "public_id"),
                    "since",
                )
            },
        ),
        ("History", {"fields": ("timeline",)}),
    )
    readonly_fields = ("place", "percent", "state_now", "public_id", "since", "timeline")
    since = timestamp_display("created_at", zone="", description="Created")
    timeline = timeline_display(zone="")

    def save_with_service(self, request: HttpRequest, form: ModelForm[TaxRate], change: bool) -> TaxRate:
        values = dict(form.cleaned_data)
        percent: Decimal = values.pop("rate")
        return create_tax_rate(
            **values,
            rate=percent.scaleb(-2),
            at=clock.now(),
            actor=staff_actor(request),
        )

    @admin.display(description="Place", ordering="country")
    def place(self, rate: TaxRate) -> str:
        return rate.jurisdiction

    @admin.display(description="Rate", ordering="rate")
    def percent(self, rate: TaxRate) -> str:
        return f"{format_quantity(rate.rate.scaleb(2))} %"

    @admin.display(description="Kind")
    def kind(self, rate: TaxRate) -> str:
        parts = ["inclusive" if rate.inclusive else "on top", "adds up" if rate.combinable else "stands alone"]
        return ", ".join([*parts, "default"] if rate.is_default else parts)

    @admin.display(description="State", ordering="ended_on")
    def state_now(self, rate: TaxRate) -> SafeString:
        today = clock.now().astimezone(UTC).date()
        if rate.holds_on(today):
            return badge("in force", "good")
        is_coming = rate.ended_on is None and rate.valid_from is not None and rate.valid_from > today
        return badge("scheduled", "info") if is_coming else badge("ended")

    @service_action(
        description="End",
        permission="catalog.end_taxrate",
        effect="From today (UTC) on no document has it any more. Documents of earlier days, and issued ones, keep it.",
        allowed=lambda rate: rate.ended_on is None,
        icon="event_busy",
        variant="danger",
    )
    def end(self, request: HttpRequest, rate: TaxRate, call: Call) -> str:
        ended = end_tax_rate(rate_id=rate.pk, at=call.at, actor=call.actor, reason=call.reason)
        return f"{ended} of {ended.jurisdiction} ended on {ended.ended_on}."

    @service_action(
        description="Remove",
        permission="catalog.delete_taxrate",
        effect="It is removed as if it had never been made. Possible only while no document has it.",
        warnings=warn_of_references,
        icon="delete",
        variant="danger",
    )
    def remove(self, request: HttpRequest, rate: TaxRate, call: Call) -> HttpResponse:
        delete_tax_rate(rate_id=rate.pk, at=call.at, actor=call.actor, reason=call.reason)
        return self.leave(request, f"{rate} of {rate.jurisdiction} was removed.")
