"""Pricing rules: add, look at, close."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from unfold.widgets import (
    UnfoldAdminSelect2Widget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from billing_site.backoffice.actions import Call, service_action, staff_actor
from billing_site.backoffice.display import NOTHING, badge, link_display, quantity_display, timestamp_display
from billing_site.backoffice.history import timeline_display
from billing_site.kernel import clock
from catalog.admin.amounts import describe_details, describe_terms
from catalog.admin.once import OnceAdmin, OnceForm
from catalog.models import Plan, PricingRule, RuleModel
from catalog.queries.pricing_rules import get_rule_terms
from catalog.services.documents import list_currencies
from catalog.services.pricing_rules import RuleTier, close_pricing_rule, create_pricing_rule


class TiersField(forms.CharField):
    """Tiers as text, one a line: bound, price per unit, flat amount; the last line has no bound."""

    def __init__(self, **kwargs: Any) -> None:
        widget = UnfoldAdminTextareaWidget(attrs={"rows": 5, "placeholder": "100, 10\n500, 5, 0\n-, 2"})
        super().__init__(**{"widget": widget, "required": False, **kwargs})

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value) or ""
        return [self._read(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]

    def _read(self, number: int, line: str) -> RuleTier:
        parts = [part.strip() for part in line.split(",")]
        try:
            if not 2 <= len(parts) <= 3:
                raise ValueError(line)
            bound = None if parts[0] in ("", "-") else Decimal(parts[0])
            return RuleTier(bound, Decimal(parts[1] or 0), int(parts[2] or 0) if len(parts) == 3 else 0)
        except (ValueError, InvalidOperation) as error:
            detail = f"Line {number} is not “bound, price per unit, flat amount”."
            raise forms.ValidationError(detail, code="invalid") from error


class PricingRuleForm(OnceForm):
    """A rule; prices are minor units, as in the catalog document."""

    plan_key = forms.ChoiceField(label="Plan", required=False, choices=(), widget=UnfoldAdminSelect2Widget())
    currency = forms.ChoiceField(choices=(), initial="usd", widget=UnfoldAdminSelectWidget())
    unit_price = forms.DecimalField(
        label="Unit price",
        required=False,
        max_digits=38,
        decimal_places=12,
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "0.00005"}),
        help_text="Minor units per unit of the meter: 0.5 in USD is half a cent. For the model per unit.",
    )
    tiers = TiersField(
        help_text="For tiered and volume, one a line: inclusive upper bound, price per unit, flat amount, in minor "
        "units. The last line has “-” for its bound."
    )

    class Meta:
        model = PricingRule
        fields = ("org_id", "meter", "model")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        keys = Plan.objects.order_by("key").values_list("key", flat=True).distinct()
        self.fields["plan_key"].choices = [("", "every plan"), *((key, key) for key in keys)]  # type: ignore[attr-defined]
        currencies = [(code, code.upper()) for code in sorted(list_currencies())]
        self.fields["currency"].choices = currencies  # type: ignore[attr-defined]


class StateFilter(admin.SimpleListFilter):
    """Open rules, or closed ones."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("open", "Open"), ("closed", "Closed")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[PricingRule]) -> QuerySet[PricingRule]:
        return queryset.filter(closed_at__isnull=self.value() == "open") if self.value() else queryset


@admin.register(PricingRule)
class PricingRuleAdmin(OnceAdmin):
    """Periods are rated with a rule, so it never changes: close it and add the new one."""

    form = PricingRuleForm
    nav_icon = "price_check"
    nav_order = 66
    empty_title = "No pricing rule yet"
    empty_text = "A rule prices a meter that no plan prices itself: for one plan, or for every plan."
    list_display = ("meter_link", "plan", "price", "state", "since", "until", "org_id")
    list_filter = (StateFilter, "model", "currency", "org_id")
    list_select_related = ("meter",)
    search_fields = ("meter__event_name", "meter__display_name", "plan_key")
    search_help_text = "Meter or plan"
    autocomplete_fields = ("meter",)
    actions = ("close",)
    actions_detail = ("close",)
    add_fieldsets = (
        (
            None,
            {
                "fields": (
                    ("meter", "plan_key"),
                    ("model", "currency"),
                    "unit_price",
                    "tiers",
                    "org_id",
                )
            },
        ),
    )
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("meter_link", "plan"),
                    ("price", "state"),
                    "details",
                    ("model", "shown_unit_price"),
                    ("since", "until"),
                    ("org_id", "public_id"),
                )
            },
        ),
        ("History", {"fields": ("timeline",)}),
    )
    readonly_fields = (
        "meter_link",
        "plan",
        "price",
        "state",
        "details",
        "shown_unit_price",
        "since",
        "until",
        "public_id",
        "timeline",
    )
    meter_link = link_display("meter", ordering="meter__event_name")
    shown_unit_price = quantity_display("unit_price", description="Unit price (minor units)")
    since = timestamp_display("valid_from", zone="", description="In force from")
    until = timestamp_display("closed_at", zone="", description="Closed")
    timeline = timeline_display(zone="")

    def get_queryset(self, request: HttpRequest) -> QuerySet[PricingRule]:
        rows: QuerySet[PricingRule] = super().get_queryset(request)
        return rows.select_related("meter")

    def save_with_service(self, request: HttpRequest, form: ModelForm[PricingRule], change: bool) -> PricingRule:
        values = form.cleaned_data
        return create_pricing_rule(
            org_id=values["org_id"],
            meter=values["meter"].public_id,
            plan_key=values["plan_key"],
            model=values["model"],
            currency=values["currency"],
            unit_price=values["unit_price"],
            tiers=values["tiers"],
            at=clock.now(),
            actor=staff_actor(request),
        )

    @admin.display(description="Plan", ordering="plan_key")
    def plan(self, rule: PricingRule) -> str:
        return rule.plan_key or "every plan"

    @admin.display(description="Price", ordering="unit_price")
    def price(self, rule: PricingRule) -> str:
        terms = get_rule_terms(rule)
        return describe_terms(terms) if rule.model == RuleModel.PER_UNIT else f"{rule.model}, {len(rule.tiers)} tiers"

    @admin.display(description="Tiers")
    def details(self, rule: PricingRule) -> SafeString | str:
        lines = describe_details(get_rule_terms(rule))
        return format_html_join("", "<div>{}</div>", [(line,) for line in lines]) or NOTHING

    @admin.display(description="State", ordering="closed_at")
    def state(self, rule: PricingRule) -> SafeString:
        return badge("in force", "good") if rule.is_open else badge("closed")

    @service_action(
        description="Close the rule",
        permission="catalog.close_pricingrule",
        effect="It ends now: periods that begin later are no longer priced by it. What was rated keeps its price.",
        allowed=lambda rule: rule.is_open,
        icon="event_busy",
        variant="danger",
    )
    def close(self, request: HttpRequest, rule: PricingRule, call: Call) -> str:
        close_pricing_rule(rule_id=rule.pk, at=call.at, actor=call.actor, reason=call.reason)
        return f"The rule {rule} is closed."
