"""What was told about quotas, to look at: which level of which quota, when, and who got mail."""

from __future__ import annotations

from django.contrib import admin
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter, RelatedDropdownFilter

from billing_site.backoffice.admin import BackOfficeAdmin
from billing_site.backoffice.admin.notices import render_notices
from billing_site.backoffice.display import (
    NOTHING,
    format_period_text,
    format_quantity,
    link_display,
    link_to_id,
    status_badge,
    timestamp_display,
)
from catalog.models import QuotaWindow
from metering.models import QuotaAlert
from metering.services.quota_alerts import name_quota

_TONES = {"warning": "info", "critical": "warning", "exceeded": "bad"}


@admin.register(QuotaAlert)
class QuotaAlertAdmin(BackOfficeAdmin):
    """Levels that quotas have reached, once per level and bucket."""

    financial = True
    nav_title = "Quota alerts"
    nav_icon = "notification_important"
    nav_order = 13
    empty_title = "No quota is nearly used up"
    empty_text = "A line is written when a quota passes its warning, nears its limit, or reaches it."
    list_display = ("reached", "account_link", "meter_link", "use", "window_shown", "when", "told")
    list_display_links = ("reached",)
    list_filter = (
        ("account", AutocompleteSelectFilter),
        ("meter", RelatedDropdownFilter),
        "level",
        "window",
        "source",
        "is_hard",
    )
    list_filter_submit = True
    list_select_related = ("account", "meter")
    search_fields = ("account__name", "account__external_id__iexact", "meter__event_name")
    search_help_text = "The account's name or external id, a meter, or an id such as qal_…"
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("account_link", "reached"),
                    ("meter_link", "use"),
                    ("window_shown", "bucket"),
                    ("quota_shown", "consequence"),
                    ("when", "upgrade_plan_key"),
                    "public_id",
                )
            },
        ),
        ("Messages", {"fields": ("messages_out",)}),
    )
    reached = status_badge("level", tones=_TONES, description="Level", ordering=False)
    account_link = link_display("account", description="Account", ordering="account__name")
    meter_link = link_display("meter", description="Meter", ordering=False)
    when = timestamp_display("fired_at", description="When", ordering="id")

    @admin.display(description="Used")
    def use(self, alert: QuotaAlert) -> SafeString:
        return format_html(
            "{} of {} {} ({} %)",
            format_quantity(alert.used),
            format_quantity(alert.limit),
            alert.unit,
            f"{alert.percent:,}",
        )

    @admin.display(description="Window")
    def window_shown(self, alert: QuotaAlert) -> str:
        return alert.window.replace("_", " ")

    @admin.display(description="Bucket")
    def bucket(self, alert: QuotaAlert) -> str:
        if alert.window == QuotaWindow.TOTAL:
            return "ever"
        # Calendar windows are UTC's; a billing period is the account's.
        zone = alert.account.timezone if alert.window == QuotaWindow.BILLING_PERIOD else "UTC"
        return format_period_text(alert.bucket_start, alert.bucket_end, zone)

    @admin.display(description="Quota")
    def quota_shown(self, alert: QuotaAlert) -> SafeString | str:
        public_id = name_quota(alert)
        whose = "the account's own" if alert.source == "account" else "of the plan"
        return format_html("{} ({})", link_to_id(public_id, public_id), whose)

    @admin.display(description="Above the limit")
    def consequence(self, alert: QuotaAlert) -> str:
        return "refused" if alert.is_hard else "goes on"

    @admin.display(description="Told")
    def told(self, alert: QuotaAlert) -> str:
        return ", ".join(["event", *(f"mail to {address}" for address in alert.recipients)])

    @admin.display(description="Mail")
    def messages_out(self, alert: QuotaAlert) -> SafeString | str:
        return render_notices(alert.public_id, zone=alert.account.timezone) if alert.recipients else NOTHING
