"""Cost centers: add, change, move, deactivate, remove; and the tree on an account's page."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from accounts.models import Account, CostCenter
from accounts.queries.currencies import require_currency
from accounts.services.cost_centers import (
    MAX_DESCRIPTION,
    create_cost_center,
    delete_cost_center,
    update_cost_center,
)
from billing_site.backoffice.actions import Call, service_action, staff_actor
from billing_site.backoffice.admin import BackOfficeAdmin
from billing_site.backoffice.display import (
    NOTHING,
    badge,
    format_amount,
    format_money,
    format_period,
    link_display,
    link_to,
    money,
    money_display,
    timestamp_display,
)
from billing_site.backoffice.history import timeline_display
from billing_site.kernel import clock
from billing_site.kernel.errors import ValidationFailed
from billing_site.kernel.money import parse_major
from invoicing.queries.allocation import CenterCost, allocate_running_month

_SHOWN = 200


class CostCenterForm(forms.ModelForm):  # type: ignore[type-arg]
    """A center with its budget in major units. What else is wrong the service says."""

    description = forms.CharField(
        required=False, max_length=MAX_DESCRIPTION, widget=UnfoldAdminTextareaWidget(attrs={"rows": 3})
    )
    monthly_budget = forms.CharField(
        required=False,
        max_length=30,
        widget=UnfoldAdminTextInputWidget(),
        help_text="In major units, such as 250.00. Empty: no limit.",
    )
    currency = forms.CharField(
        required=False, max_length=3, widget=UnfoldAdminTextInputWidget(), help_text="Empty: the account's."
    )

    class Meta:
        model = CostCenter
        fields = ("account", "parent", "name", "code", "description", "is_active")
        help_texts = {
            "code": "What usage names it by; once per account.",
            "parent": "Empty: at the top.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        center: CostCenter = self.instance
        if not center._state.adding:
            self.initial.setdefault("currency", center.currency)
            if center.budget is not None:
                self.initial.setdefault("monthly_budget", format_amount(center.budget, center.currency))

    def _get_validation_exclusions(self) -> set[str]:
        return {field.name for field in CostCenter._meta.get_fields()}


@admin.register(CostCenter)
class CostCenterAdmin(BackOfficeAdmin):
    """What an account spends its usage on."""

    form = CostCenterForm
    nav_icon = "account_tree"
    nav_order = 25
    empty_title = "No cost center yet"
    empty_text = "Cost centers split an account's usage by team or project. Add one here, or through the API."
    list_display = ("name", "code", "account_link", "parent_link", "shown_budget", "state")
    list_filter = ("is_active", "currency")
    list_select_related = ("account", "parent")
    search_fields = ("code", "name", "account__name", "account__external_id__iexact")
    search_help_text = "Code, name, or the account's name or external id"
    autocomplete_fields = ("account", "parent")
    actions_detail = ("remove",)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("account", "parent"),
                    ("name", "code"),
                    ("monthly_budget", "currency"),
                    "description",
                    "is_active",
                    "running_month",
                    ("public_id", "since"),
                )
            },
        ),
        ("History", {"fields": ("timeline",)}),
    )
    readonly_fields = ("public_id", "since", "running_month", "timeline")
    account_link = link_display("account", description="Account", ordering="account__name")
    parent_link = link_display("parent", description="Below", ordering="parent__name")
    shown_budget = money_display("budget", description="Monthly budget")
    since = timestamp_display("created_at", zone="account.timezone", description="Created")
    timeline = timeline_display()

    def get_queryset(self, request: HttpRequest) -> QuerySet[CostCenter]:
        rows: QuerySet[CostCenter] = super().get_queryset(request)
        return rows.select_related("account__test_clock", "parent")

    def get_readonly_fields(self, request: HttpRequest, obj: CostCenter | None = None) -> tuple[str, ...]:
        return self.readonly_fields if obj is None else ("account", *self.readonly_fields)

    def save_with_service(self, request: HttpRequest, form: ModelForm[CostCenter], change: bool) -> CostCenter:
        given = form.cleaned_data
        account: Account = form.instance.account if change else given["account"]
        currency = require_currency(given["currency"] or account.currency)
        parent: CostCenter | None = given["parent"]
        values = {
            **{name: given[name] for name in ("name", "code", "description", "is_active")},
            "parent_id": None if parent is None else parent.pk,
            "budget": _read_budget(given["monthly_budget"], currency),
            "currency": currency,
        }
        at, actor = clock.now(account), staff_actor(request)
        if change:
            return update_cost_center(center_id=form.instance.pk, changes=values, at=at, actor=actor)
        return create_cost_center(account=account, **values, at=at, actor=actor)

    @admin.display(description="Cost this month")
    def running_month(self, center: CostCenter) -> SafeString | str:
        """What the center and all below it cost in the calendar month, and how much of the budget that is."""
        if center._state.adding:
            return NOTHING
        found = allocate_running_month(center.account, at=clock.now(center.account))
        item = next(item for item in found.items if item.center.pk == center.pk)
        return format_html("{} {}", money(item.rolled_up, found.currency), render_budget_use(item))

    @admin.display(description="State", ordering="is_active")
    def state(self, center: CostCenter) -> SafeString:
        return state_badge(center)

    @service_action(
        description="Remove",
        permission="accounts.change_costcenter",
        effect="It is removed. Possible only while nothing is below it and no usage names it; others are deactivated.",
        icon="delete",
        variant="danger",
    )
    def remove(self, request: HttpRequest, center: CostCenter, call: Call) -> HttpResponse:
        delete_cost_center(center_id=center.pk, at=call.at, actor=call.actor, reason=call.reason)
        self.message_user(request, f"{center} was removed.")
        return HttpResponseRedirect(reverse("admin:accounts_account_change", args=[center.account_id]))


def _read_budget(text: str, currency: str) -> int | None:
    if not text.strip():
        return None
    try:
        return parse_major(text.strip().replace(",", ""), currency)
    except ValueError as error:
        raise ValidationFailed.of("/monthly_budget", "invalid", f"{error}.") from error


def render_budget_use(item: CenterCost) -> SafeString | str:
    """Return how much of its budget a center has used, as a badge; a dash without a budget."""
    used = item.budget_used_percent
    if used is None:
        return NOTHING
    return badge(f"{used:,} %", "bad" if used >= 100 else "warning" if used >= 80 else "good")


def state_badge(center: CostCenter) -> SafeString:
    """Return whether usage may name the center, as a badge."""
    return badge("active", "good") if center.is_active else badge("inactive")


def render_tree(account: Account) -> SafeString | str:
    """
    Return the account's cost centers with what they cost in the running month, each below its parent, as a table.

    At most the first 200. Costs are those of the allocation report: rolled up, after discounts, before tax.
    """
    if not CostCenter.objects.filter(account_id=account.pk).exists():
        return NOTHING
    found = allocate_running_month(account, at=clock.now(account))
    rows = format_html_join(
        "",
        "<tr><td>{}{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
        (
            (
                "\N{EM SPACE}" * (item.depth - 1) + "\N{BOX DRAWINGS LIGHT UP AND RIGHT} " if item.depth else "",
                link_to(item.center, item.center.name),
                item.center.code,
                money(item.rolled_up, found.currency),
                money(item.center.budget, item.center.currency),
                render_budget_use(item),
                state_badge(item.center),
            )
            for item in found.items[:_SHOWN]
        ),
    )
    more = len(found.items) - _SHOWN
    left_out = f"{more:,} more are in the list of cost centers. " if more > 0 else ""
    left_out += (
        f"Costs of {format_period(found.period.start, found.period.end, account.timezone)}:"
        f" {format_money(found.total, found.currency)} in all,"
        f" {format_money(found.unallocated, found.currency)} of it without a center."
    )
    return format_html(
        '<div class="ch-scroll"><table class="ch-table"><thead><tr><th>Name</th><th>Code</th><th>This month</th>'
        "<th>Monthly budget</th><th>Used</th>"
        '<th>State</th></tr></thead><tbody>{}</tbody></table></div><p class="ch-muted">{}</p>',
        rows,
        left_out,
    )
