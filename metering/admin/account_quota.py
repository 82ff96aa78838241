"""Limits of accounts: add, change, switch off, remove."""

from __future__ import annotations

from typing import Any, Final

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter, RelatedDropdownFilter
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget, UnfoldBooleanSwitchWidget

from accounts.models import Account
from billing_site.backoffice.actions import Call, service_action, staff_actor
from billing_site.backoffice.admin import BackOfficeAdmin
from billing_site.backoffice.display import (
    NOTHING,
    badge,
    format_quantity,
    instant,
    link_display,
    timestamp_display,
)
from billing_site.backoffice.history import timeline_display
from billing_site.kernel import clock
from catalog.pricing.breakdown import to_text
from metering.models import AccountQuota
from metering.queries.quotas import QuotaUse, get_quota_use
from metering.services.quotas import create_quota, delete_quota, update_quota

TONES: Final = {"ok": "good", "warning": "warning", "critical": "warning", "exceeded": "bad"}
# What callers of the service call the columns, and what the fields of the form are called as findings name them.
_FIELDS: Final = {
    "quota_limit": "limit",
    "warning_threshold_percent": "warning_percent",
    "enforce_hard_limit": "is_hard",
    "upgrade_plan_id": "upgrade_plan_key",
}


class AccountQuotaForm(forms.ModelForm):  # type: ignore[type-arg]
    """A limit as people write it. What is wrong the service says."""

    resource_type = forms.CharField(
        max_length=100,
        widget=UnfoldAdminTextInputWidget(),
        help_text="A meter's event name, a service, or a fixed resource type such as cpu_cores.",
    )
    quota_limit = forms.DecimalField(
        required=False,
        max_digits=38,
        decimal_places=12,
        label="Limit",
        widget=UnfoldAdminTextInputWidget(attrs={"inputmode": "decimal"}),
        help_text="In the unit below. Empty: unlimited.",
    )
    unit = forms.CharField(
        required=False, max_length=50, widget=UnfoldAdminTextInputWidget(), help_text="Empty: that of the resource."
    )
    warning_threshold_percent = forms.DecimalField(
        initial=80,
        max_digits=15,
        decimal_places=12,
        label="Warns from percent",
        widget=UnfoldAdminTextInputWidget(attrs={"inputmode": "decimal"}),
    )
    enforce_hard_limit = forms.BooleanField(
        required=False,
        initial=True,
        label="Hard limit",
        widget=UnfoldBooleanSwitchWidget(),
        help_text="Off: warns, and never blocks.",
    )
    upgrade_plan_id = forms.CharField(
        required=False,
        max_length=100,
        label="Upgrade plan",
        widget=UnfoldAdminTextInputWidget(),
        help_text="Empty: the cheapest plan that allows more.",
    )
    alert_recipients = forms.CharField(
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text="Mail addresses that are told at warning, critical and exceeded; one a line.",
    )

    class Meta:
        model = AccountQuota
        fields = ("account", "resource_name", "window", "feature", "overage_price", "is_active")
        help_texts = {
            "resource_name": "What people call it.",
            "feature": "Scope that it limits. Empty: those of the account's plans with a limit on the same meter.",
            "overage_price": "Minor units a unit, for display: what is billed comes from plan and prices.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        quota: AccountQuota = self.instance
        if quota._state.adding:
            return
        limit, price = quota.stated_limit, quota.overage_price
        self.initial = {
            **self.initial,
            "quota_limit": None if limit is None else to_text(limit),
            "unit": quota.unit,
            "overage_price": None if price is None else to_text(price),
            "warning_threshold_percent": to_text(quota.warning_percent),
            "enforce_hard_limit": quota.is_hard,
            "upgrade_plan_id": quota.upgrade_plan_key,
            "alert_recipients": "\n".join(quota.alert_recipients),
        }

    def _get_validation_exclusions(self) -> set[str]:
        return {field.name for field in AccountQuota._meta.get_fields()}

    def to_columns(self) -> dict[str, Any]:
        """Return what the service takes beside account and resource."""
        left_out = ("account", "resource_type")
        given = {_FIELDS.get(name, name): value for name, value in self.cleaned_data.items() if name not in left_out}
        given["alert_recipients"] = given["alert_recipients"].replace(",", "\n").split()
        return given


@admin.register(AccountQuota)
class AccountQuotaAdmin(BackOfficeAdmin):
    """What one account may use, on top of or instead of what its plan says."""

    form = AccountQuotaForm
    nav_icon = "speed"
    nav_order = 20
    nav_title = "Quotas"
    empty_title = "No account has a limit of its own"
    empty_text = "Plans limit what their subscribers use. A quota here replaces the plan's for one account."
    list_display = ("resource", "account_link", "shown_limit", "window", "mode", "state", "since")
    list_filter = (
        ("account", AutocompleteSelectFilter),
        ("meter", RelatedDropdownFilter),
        "window",
        "is_hard",
        "is_active",
    )
    list_filter_submit = True
    list_select_related = ("account", "meter")
    search_fields = ("account__name", "account__external_id__iexact", "meter__event_name__iexact", "resource_name")
    search_help_text = "Name of the account or resource, external id, or a meter's event name"
    autocomplete_fields = ("account",)
    actions_detail = ("remove",)
    readonly_fields = ("use", "meter_link", "public_id", "since", "timeline")
    account_link = link_display("account", description="Account", ordering="account__name")
    meter_link = link_display("meter", description="Meter")
    since = timestamp_display("created_at", zone="account.timezone", description="Created")
    timeline = timeline_display()
    _limits = (("quota_limit", "unit", "window"), ("enforce_hard_limit", "is_active"))
    _more = (("feature", "upgrade_plan_id"), ("warning_threshold_percent", "overage_price"), "alert_recipients")

    def get_fieldsets(self, request: HttpRequest, obj: AccountQuota | None = None) -> Any:
        if obj is None:
            return ((None, {"fields": ("account", ("resource_type", "resource_name"), *self._limits, *self._more)}),)
        head = (("account_link", "meter_link"), "use", "resource_name")
        tail = (("public_id", "since"),)
        return (
            (None, {"fields": (*head, *self._limits, *self._more, *tail)}),
            ("History", {"fields": ("timeline",)}),
        )

    def get_queryset(self, request: HttpRequest) -> QuerySet[AccountQuota]:
        rows: QuerySet[AccountQuota] = super().get_queryset(request)
        return rows.select_related("account__test_clock", "meter")

    def get_readonly_fields(self, request: HttpRequest, obj: AccountQuota | None = None) -> tuple[str, ...]:
        return self.readonly_fields if obj is None else ("account_link", *self.readonly_fields)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form_class = super().get_form(request, obj, change=change, **kwargs)
        if obj is not None:  # neither can change
            form_class.base_fields.pop("resource_type", None)
            form_class.base_fields.pop("account", None)
        return form_class

    def save_with_service(self, request: HttpRequest, form: ModelForm[AccountQuota], change: bool) -> AccountQuota:
        if not isinstance(form, AccountQuotaForm):
            raise TypeError("this page has a form of its own")
        account: Account = form.instance.account if change else form.cleaned_data["account"]
        at, actor, values = clock.now(account), staff_actor(request), form.to_columns()
        if change:
            return update_quota(quota_id=form.instance.pk, changes=values, at=at, actor=actor)
        return create_quota(
            account=account, resource_type=form.cleaned_data["resource_type"], **values, at=at, actor=actor
        )

    @admin.display(description="Resource", ordering="resource_type")
    def resource(self, quota: AccountQuota) -> str:
        return quota.resource_name or quota.meter.display_name

    @admin.display(description="Limit", ordering="limit")
    def shown_limit(self, quota: AccountQuota) -> str:
        return "Unlimited" if quota.stated_limit is None else f"{format_quantity(quota.stated_limit)} {quota.unit}"

    @admin.display(description="At the limit", ordering="is_hard")
    def mode(self, quota: AccountQuota) -> str:
        return "blocks" if quota.is_hard else "warns"

    @admin.display(description="State", ordering="is_active")
    def state(self, quota: AccountQuota) -> SafeString:
        return badge("active", "good") if quota.is_active else badge("off")

    @admin.display(description="Used now")
    def use(self, quota: Any) -> SafeString | str:
        """What the present bucket holds, how near the limit that is, and when the next one begins."""
        if quota._state.adding:
            return NOTHING
        # The page asks twice.
        if not hasattr(quota, "present_use"):
            at = clock.now(quota.account)
            quota.present_use = get_quota_use(account=quota.account, quota_id=quota.pk, at=at)
        found: QuotaUse = quota.present_use
        unit = found.quota.unit
        limit = "unlimited" if found.quota.limit is None else f"of {format_quantity(found.quota.limit)} {unit}"
        held = f", {format_quantity(found.reserved)} reserved" if found.reserved else ""
        shown = format_html(
            "{} {}{} {}",
            format_quantity(found.used),
            limit,
            held,
            badge(f"{found.percent:,} %", TONES[found.level]),
        )
        if found.resets_at is None:
            return shown
        return format_html("{} resets {}", shown, instant(found.resets_at, quota.account.timezone))

    @service_action(
        description="Remove",
        permission="metering.change_accountquota",
        effect="The limit is gone, and that of the account's plan applies again. What was counted is kept.",
        icon="delete",
        variant="danger",
    )
    def remove(self, request: HttpRequest, quota: AccountQuota, call: Call) -> HttpResponse:
        delete_quota(quota_id=quota.pk, at=call.at, actor=call.actor, reason=call.reason)
        self.message_user(request, f"“{quota}” was removed.")
        return HttpResponseRedirect(reverse("admin:metering_accountquota_changelist"))
