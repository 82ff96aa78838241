"""Alerts about costs: what each asks for, where it stands, what it fired and whom it told; dismissed with a reason."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import Max, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from billing_site.backoffice.actions import Call, service_action
from billing_site.backoffice.admin import BackOfficeAdmin, ReadOnlyInline
from billing_site.backoffice.admin.notices import render_notices
from billing_site.backoffice.display import (
    NOTHING,
    badge,
    format_money,
    format_period_text,
    format_quantity,
    instant,
    link_display,
    money_display,
    timestamp_display,
)
from billing_site.backoffice.history import timeline_display
from billing_site.kernel import clock
from metering.models import AlertScope, CostAlert, CostAlertFiring, ThresholdType
from metering.services.cost_alerts import dismiss_cost_alert

_TONES = {"armed": "info", "triggered": "warning", "dismissed": "neutral"}
_ZONE = "alert.account.timezone"


class FiringInline(ReadOnlyInline):
    """What the alert fired, newest first."""

    model = CostAlertFiring
    verbose_name_plural = "Fired"
    fields = ("fired", "came_to", "told_from", "period", "explained")
    readonly_fields = fields
    ordering = ("-id",)
    fired = timestamp_display("fired_at", zone=_ZONE, description="When")
    came_to = money_display("value", description="Came to")
    told_from = money_display("threshold", description="Told from")

    @admin.display(description="Period")
    def period(self, firing: CostAlertFiring) -> str:
        # Days and spend months are UTC, whatever the zone of the account.
        zone = firing.alert.account.timezone if firing.alert.scope == AlertScope.PERIOD else "UTC"
        return format_period_text(firing.period_start, firing.period_end, zone)

    @admin.display(description="Because of")
    def explained(self, firing: CostAlertFiring) -> str:
        details, currency = firing.details, firing.currency
        if "budget" in details:
            return f"a budget of {format_money(details['budget'], currency)}"
        if "mean" in details:
            return f"a mean of {format_money(details['mean'], currency)} over {details['days_of_data']} days"
        return NOTHING

    def get_queryset(self, request: HttpRequest) -> QuerySet[CostAlertFiring]:
        rows: QuerySet[CostAlertFiring] = super().get_queryset(request)
        return rows.select_related("alert__account")


class KindFilter(admin.SimpleListFilter):
    """What the alert looks at."""

    title = "kind"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return [("spend", "Spend of the month"), *((each.value, str(each.label)) for each in ThresholdType)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[CostAlert]) -> QuerySet[CostAlert]:
        chosen = self.value()
        if chosen == "spend":
            return queryset.filter(scope=AlertScope.MONTH)
        return queryset.filter(threshold_type=chosen).exclude(scope=AlertScope.MONTH) if chosen else queryset


def _can_be_dismissed(alert: CostAlert) -> bool:
    at = clock.now(alert.account)
    return alert.deleted_at is None and not (alert.is_silent(at) and alert.status == "dismissed")


@admin.register(CostAlert)
class CostAlertAdmin(BackOfficeAdmin):
    """Cost alerts and spend alerts of all accounts."""

    financial = True
    nav_title = "Cost alerts"
    nav_icon = "notifications_active"
    nav_order = 12
    empty_title = "No alert yet"
    empty_text = "Accounts ask for alerts through the API: about a period, a day, a month, or a share of a budget."
    list_display = ("what", "account_link", "tells_from", "state", "last_fired", "channels")
    list_filter = (("account", AutocompleteSelectFilter), KindFilter, "status", "notify_slack")
    list_filter_submit = True
    list_select_related = ("account__test_clock",)
    search_fields = ("title", "account__name", "account__external_id__iexact", "=notify_email")
    search_help_text = "Title, mail address, the account's name or external id, or an id such as alert_…"
    actions_detail = ("dismiss",)
    inlines = (FiringInline,)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("account_link", "state"),
                    ("kind_shown", "tells_from"),
                    ("title", "channels"),
                    ("last_fired", "silent"),
                    ("created", "public_id"),
                )
            },
        ),
        ("Messages", {"fields": ("messages_out",)}),
        ("History", {"fields": ("timeline",)}),
    )
    readonly_fields = (
        *("account_link", "state", "kind_shown", "tells_from", "channels", "last_fired", "silent", "created"),
        *("public_id", "messages_out", "timeline"),
    )
    account_link = link_display("account", description="Account", ordering="account__name")
    created = timestamp_display("created_at", description="Created")
    silent = timestamp_display("silent_until", description="Says nothing until")
    timeline = timeline_display()

    def get_queryset(self, request: HttpRequest) -> QuerySet[CostAlert]:
        rows: QuerySet[CostAlert] = super().get_queryset(request)
        return rows.select_related("account__test_clock").annotate(fired_last=Max("firings__fired_at"))

    @admin.display(description="Alert", ordering="title")
    def what(self, alert: CostAlert) -> str:
        return str(alert)

    @admin.display(description="Kind")
    def kind_shown(self, alert: CostAlert) -> str:
        return alert.subject

    @admin.display(description="Told from")
    def tells_from(self, alert: CostAlert) -> str:
        if alert.threshold_amount is not None:
            return format_money(alert.threshold_amount, alert.currency)
        of = "the budget" if alert.threshold_type == ThresholdType.PERCENTAGE_OF_BUDGET else "the week before"
        return f"{format_quantity(alert.threshold_percent)} % of {of} ({alert.currency.upper()})"

    @admin.display(description="State", ordering="status")
    def state(self, alert: CostAlert) -> SafeString:
        if alert.deleted_at is not None:
            return badge("removed")
        status = str(alert.get_status(clock.now(alert.account)))
        return badge(status, _TONES[status])

    @admin.display(description="Last fired", ordering="fired_last")
    def last_fired(self, alert: CostAlert) -> SafeString | str:
        return instant(getattr(alert, "fired_last", None), alert.account.timezone)

    @admin.display(description="Told by")
    def channels(self, alert: CostAlert) -> str:
        address = alert.account.email if alert.is_spend_alert else alert.notify_email
        told = [f"mail to {address}"] if address else []
        return ", ".join(["event", *told, *(["chat"] if alert.notify_slack else [])])

    @admin.display(description="Mail and chat")
    def messages_out(self, alert: CostAlert) -> SafeString | str:
        return render_notices(alert.public_id, zone=alert.account.timezone)

    @service_action(
        description="Dismiss",
        permission="metering.dismiss_costalert",
        effect="It says nothing until its next period begins, then it is armed again.",
        allowed=_can_be_dismissed,
        icon="notifications_off",
    )
    def dismiss(self, request: HttpRequest, alert: CostAlert, call: Call) -> str:
        dismissed = dismiss_cost_alert(alert_id=alert.pk, at=call.at, actor=call.actor, reason=call.reason)
        return f"{dismissed} says nothing until its next period."
