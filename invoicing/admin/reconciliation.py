"""Comparisons with payment providers: each run, and every difference with both sides side by side."""

from __future__ import annotations

import json
from typing import Any, Final

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from billing_site.backoffice.actions import Call, service_action
from billing_site.backoffice.admin import BackOfficeAdmin
from billing_site.backoffice.display import (
    NOTHING,
    format_money,
    link_display,
    link_to_id,
    status_badge,
    timestamp_display,
)
from billing_site.backoffice.history import timeline_display
from billing_site.kernel import jobs
from invoicing.models import Drift, DriftStatus, ReconciliationRun
from invoicing.services.drifts import accept_drift, repair_drift
from invoicing.services.provider_reconciliation import JOB, start_reconciliation

_MONEY: Final = ("amount", "received", "refunded")
_ORDER: Final[tuple[str, ...]] = ("status", *_MONEY)
_NAMES: Final = {"is_deleted": "Deleted"}
COMPARE = "invoicing.start_reconciliation"
DECIDE = "invoicing.mark_drift"


@admin.register(ReconciliationRun)
class ReconciliationRunAdmin(BackOfficeAdmin):
    """When we compared with a provider, how much, and what stopped it."""

    financial = True
    nav_icon = "compare_arrows"
    nav_order = 62
    nav_title = "Comparisons"
    empty_title = "Nothing was compared yet"
    empty_text = "Every night our payments are held against the provider's. “Compare now” does it at once."
    list_display = ("name", "provider_type", "compared", "found_new", "progress", "started")
    list_filter = ("provider_type",)
    actions_list = ("compare_now",)
    fields = (
        ("name", "provider_type"),
        ("since", "until"),
        ("compared", "found_new"),
        ("progress", "attempts"),
        ("started", "finished"),
        "error",
    )
    readonly_fields = ("name", "found_new", "progress", "started", "finished")
    started = timestamp_display("started_at", description="Started")
    finished = timestamp_display("finished_at", description="Finished")

    @admin.display(description="Comparison", ordering="id")
    def name(self, run: ReconciliationRun) -> str:
        return _capitalize(str(run))

    @admin.display(description="New differences", ordering="found")
    def found_new(self, run: ReconciliationRun) -> int:
        return run.found

    @admin.display(description="State")
    def progress(self, run: ReconciliationRun) -> str:
        if run.finished_at is not None:
            return "Given up" if run.position else "Finished"
        return f"At {run.position}s" + (", stopped" if run.error else "")

    @service_action(
        description="Compare now",
        permission=COMPARE,
        effect="Payments, refunds, disputes and customers of the last days are read at the provider and compared. "
        "Nothing is changed by that.",
    )
    def compare_now(self, request: HttpRequest, run: ReconciliationRun | None, call: Call) -> str:
        started = start_reconciliation(at=call.at)
        jobs.enqueue(JOB, run_id=str(started.pk))
        return f"The {started} is under way."


@admin.register(Drift)
class DriftAdmin(BackOfficeAdmin):
    """Differences between us and a provider."""

    financial = True
    nav_icon = "difference"
    nav_order = 61
    nav_title = "Differences"
    empty_title = "No differences"
    empty_text = "What we have and what the payment provider has are the same."
    list_display = ("what", "state", "account_link", "ours_shown", "theirs_shown", "seen")
    list_filter = ("status", "kind", "object_kind", "provider_type")
    search_fields = ("=ref", "=subject_id")
    search_help_text = "Id of the object, ours or the provider's"
    list_select_related = ("account", "run")
    actions_detail = ("repair", "accept")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("what", "state"),
                    ("account_link", "provider_type"),
                    ("our_id", "their_id"),
                    ("ours_shown", "theirs_shown"),
                    ("first_seen", "seen"),
                    ("settled", "settled_by_shown"),
                    "comment",
                )
            },
        ),
        ("History", {"fields": ("timeline",)}),
    )
    readonly_fields = (
        *("what", "state", "account_link", "our_id", "their_id", "ours_shown", "theirs_shown"),
        *("first_seen", "seen", "settled", "settled_by_shown", "timeline"),
    )
    state = status_badge(tones={"open": "warning", "repaired": "good"})
    account_link = link_display("account", description="Account")
    first_seen = timestamp_display("first_seen_at", description="First seen")
    seen = timestamp_display("last_seen_at", description="Last seen")
    settled = timestamp_display("settled_at", description="Settled")
    timeline = timeline_display()

    @admin.display(description="Difference", ordering="id")
    def what(self, drift: Drift) -> str:
        return _capitalize(str(drift))

    @admin.display(description="Our id")
    def our_id(self, drift: Drift) -> SafeString | str:
        return link_to_id(drift.subject_id, drift.subject_id) if drift.subject_id else NOTHING

    @admin.display(description="The provider's id")
    def their_id(self, drift: Drift) -> str:
        return drift.ref or NOTHING

    @admin.display(description="Settled by")
    def settled_by_shown(self, drift: Drift) -> str:
        return drift.settled_by.removeprefix("staff:") or NOTHING

    @admin.display(description="We have")
    def ours_shown(self, drift: Drift) -> SafeString | str:
        return _show(drift.ours, drift.theirs)

    @admin.display(description="The provider has")
    def theirs_shown(self, drift: Drift) -> SafeString | str:
        return _show(drift.theirs, drift.ours)

    @service_action(
        description="Repair",
        permission=DECIDE,
        effect="The object is read at the provider anew and recorded, as its webhook would have done.",
        allowed=lambda drift: drift.status == DriftStatus.OPEN,
    )
    def repair(self, request: HttpRequest, drift: Drift, call: Call) -> str:
        repair_drift(drift_id=drift.pk, at=call.at, actor=call.actor, reason=call.reason)
        return f"Repaired: {drift}."

    @service_action(
        description="Accept",
        permission=DECIDE,
        effect="The difference stays as it is and is told again only when it changes.",
        allowed=lambda drift: drift.status == DriftStatus.OPEN,
    )
    def accept(self, request: HttpRequest, drift: Drift, call: Call) -> str:
        accept_drift(drift_id=drift.pk, at=call.at, actor=call.actor, reason=call.reason)
        return f"Accepted: {drift}."


def _capitalize(text: str) -> str:
    return text[:1].upper() + text[1:]


def _show(side: dict[str, Any], other: dict[str, Any]) -> SafeString | str:
    """Return what one side has, one line each; what the other has otherwise is in bold type."""
    if not side:
        return NOTHING
    names = [name for name in _ORDER if name in side]
    names += sorted(name for name in side if name not in (*_ORDER, "currency"))
    lines = []
    for name in names:
        text = _show_value(side[name], side.get("currency", "") if name in _MONEY else "")
        line = format_html("{}: {}", _NAMES.get(name, _capitalize(name)), text)
        differs = bool(other) and side[name] != other.get(name)
        lines.append((format_html("<strong>{}</strong>", line) if differs else line,))
    return format_html_join("", '<div class="whitespace-nowrap">{}</div>', lines)


def _show_value(value: Any, currency: str) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and currency:
        return format_money(value, currency)
    return value.replace("_", " ") if isinstance(value, str) else json.dumps(value)
