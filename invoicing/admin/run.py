"""Billing runs: start one, watch it, see what became of each subscription, retry what failed."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.conf import settings
from django.contrib import admin
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminDateWidget, UnfoldAdminSelectWidget

from accounts.models import Account
from billing_site.backoffice.actions import Call, ReasonForm, service_action
from billing_site.backoffice.admin import ReadOnlyInline
from billing_site.backoffice.display import NOTHING, badge, link_display, status_badge, timestamp_display
from billing_site.backoffice.history import timeline_display
from billing_site.kernel.periods import local_midnight
from invoicing.admin.live_page import LivePageAdmin, describe_rest, render_block
from invoicing.models import BillingRun, OutcomeStatus, RunOutcome, RunStatus
from invoicing.models.run import UNFINISHED_RUNS, WORKABLE_RUNS
from invoicing.queries.runs import RunProgress, measure_progress
from invoicing.services.run_control import cancel_run, pause_run, resume_run, retry_failed
from invoicing.services.runs import RunRequest, dispatch_run, plan_run

_UTC = ZoneInfo("UTC")
_OUTCOME_TONES = {"nothing_to_bill": "neutral", "held_for_review": "warning", "canceled": "neutral"}
_NOTES = {
    "paused": "Paused: nothing more is billed in this organization until the run is resumed or canceled.",
    "canceled": "Canceled: what was not billed is left to the next run.",
}


class StartRunForm(ReasonForm):
    """Which organization, and as of when."""

    org_id = forms.ChoiceField(label="Organization", widget=UnfoldAdminSelectWidget())
    as_of = forms.DateField(
        label="As of",
        required=False,
        help_text="Test mode only: bill as if this day (UTC) had begun. Empty: now.",
        widget=UnfoldAdminDateWidget(),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        orgs = Account.objects.order_by("org_id").values_list("org_id", flat=True).distinct()[:500]
        self.fields["org_id"].choices = [(org, org) for org in orgs]  # type: ignore[attr-defined]
        if settings.BILLING_LIVEMODE:
            del self.fields["as_of"]


class OutcomeInline(ReadOnlyInline):
    """One row per subscription, failures first."""

    model = RunOutcome
    verbose_name_plural = "Outcomes"
    fields = ("account_link", "plan", "state", "invoices", "invoice_link", "attempts", "problem")
    readonly_fields = fields
    account_link = link_display("account", description="Account")
    state = status_badge(tones=_OUTCOME_TONES)
    invoice_link = link_display("last_invoice", description="Newest invoice")

    @admin.display(description="Plan")
    def plan(self, row: RunOutcome) -> str:
        return row.subscription.plan_version.name

    @admin.display(description="Invoices")
    def invoices(self, row: RunOutcome) -> str:
        return str(row.invoice_count) if row.invoice_count else NOTHING

    @admin.display(description="What went wrong")
    def problem(self, row: RunOutcome) -> str:
        return f"{row.error_detail} ({row.error_code})" if row.error_code else NOTHING

    def get_queryset(self, request: HttpRequest) -> QuerySet[RunOutcome]:
        rows: QuerySet[RunOutcome] = super().get_queryset(request)
        return rows.select_related("account", "subscription__plan_version", "last_invoice").order_by(
            "-error_code", "id"
        )


def _count(status: OutcomeStatus) -> Count:
    return Count("outcomes", filter=Q(outcomes__status=status))


@admin.register(BillingRun)
class BillingRunAdmin(LivePageAdmin):
    """A run is started here or by the schedule; both leave the same rows."""

    financial = True
    nav_order = 20
    empty_title = "No billing run yet"
    empty_text = "The schedule looks every five minutes for what is due. “Start a billing run” does it now."
    list_display = ("name", "org_id", "state", "progress", "issued", "held", "failed", "as_of_shown", "requested_by")
    list_filter = ("status", "scope", "org_id")
    search_fields = ("=org_id", "=requested_by")
    actions_list = ("start_run",)
    actions_detail = ("pause", "resume", "retry", "cancel")
    inlines = (OutcomeInline,)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("name", "state"),
                    ("org_id", "as_of_shown"),
                    "live",
                    ("remaining", "requested_by"),
                    ("started", "finished"),
                )
            },
        ),
        ("History", {"fields": ("timeline",)}),
    )
    readonly_fields = (
        "name",
        "state",
        "live",
        "as_of_shown",
        "started",
        "finished",
        "timeline",
    )
    state = status_badge()
    as_of_shown = timestamp_display("as_of", description="As of", zone="zone")
    started = timestamp_display("started_at", description="Started", zone="zone")
    finished = timestamp_display("finished_at", description="Finished", zone="zone")
    timeline = timeline_display()

    def get_queryset(self, request: HttpRequest) -> QuerySet[BillingRun]:
        rows: QuerySet[BillingRun] = super().get_queryset(request)
        return rows.select_related("account").annotate(
            total_count=Count("outcomes"),
            issued_count=_count(OutcomeStatus.ISSUED),
            held_count=_count(OutcomeStatus.HELD),
            pending_count=_count(OutcomeStatus.PENDING),
            failed_count=_count(OutcomeStatus.FAILED),
        )

    @admin.display(description="Run", ordering="id")
    def name(self, run: BillingRun) -> str:
        return f"…{run.public_id[-6:]} {run.created_at:%d %b %Y}"

    @admin.display(description="Progress")
    def progress(self, run: Any) -> SafeString:
        total = run.total_count
        done = total - run.pending_count
        return format_html(
            '<span class="ch-progress"><progress max="{}" value="{}" aria-label="Progress"></progress>'
            ' <span class="ch-number">{} of {}</span></span>',
            max(total, 1),
            done if total else 1,
            done,
            total,
        )

    @admin.display(description="Issued")
    def issued(self, run: Any) -> SafeString:
        return _number(run.issued_count)

    @admin.display(description="Held for review")
    def held(self, run: Any) -> SafeString:
        return badge(f"{run.held_count:,}", "warning") if run.held_count else _number(0)

    @admin.display(description="Failed")
    def failed(self, run: Any) -> SafeString:
        if run.failed_count:
            return format_html('<span class="ch-badge ch-bad">{}</span>', run.failed_count)
        return _number(0)

    @admin.display(description="Progress")
    def live(self, run: BillingRun) -> SafeString:
        return self.show_live(run)

    def is_live(self, run: BillingRun) -> bool:
        return run.status in WORKABLE_RUNS

    def render_progress(self, run: BillingRun) -> SafeString:
        found = measure_progress(run)
        note = describe_rest(found.left, found.ends_at) or _NOTES.get(found.status, "")
        return render_block(done=found.done, total=found.total, facts=_list_facts(found), note=note)

    @service_action(
        description="Start a billing run",
        permission="invoicing.run_billingrun",
        effect="Everything that is due in the organization is billed and issued. A subscription that fails is reported"
        " and stops nobody; an invoice far from what its account is used to waits in the review queue.",
        form=StartRunForm,
        confirm_label="Start",
        icon="play_circle",
        variant="primary",
    )
    def start_run(self, request: HttpRequest, _: None, call: Call) -> HttpResponse:
        day = call.data.get("as_of")
        run = plan_run(
            org_id=call.data["org_id"],
            as_of=local_midnight(day, _UTC) if day else call.at,
            request=RunRequest(call.actor, reason=call.reason),
            livemode=settings.BILLING_LIVEMODE,
        )
        dispatch_run(run)
        return HttpResponseRedirect(reverse("admin:invoicing_billingrun_change", args=[run.pk]))

    @service_action(
        description="Retry what failed",
        permission="invoicing.retry_billingrun",
        effect="The failed subscriptions of this run are billed again; the others are left as they are.",
        allowed=lambda run: run.status not in UNFINISHED_RUNS and run.can_become("running") and run.failed_count > 0,
        icon="replay",
    )
    def retry(self, request: HttpRequest, run: BillingRun, call: Call) -> str:
        retry_failed(run_id=run.pk, at=call.at, actor=call.actor, reason=call.reason)
        return "The failed subscriptions are being billed again."

    @service_action(
        description="Pause",
        permission="invoicing.run_billingrun",
        effect="No further subscription is billed until the run is resumed; what is under way is finished first. The "
        "organization has no other run meanwhile.",
        allowed=lambda run: run.can_become(RunStatus.PAUSED),
        icon="pause_circle",
    )
    def pause(self, request: HttpRequest, run: BillingRun, call: Call) -> str:
        pause_run(run_id=run.pk, at=call.at, actor=call.actor, reason=call.reason)
        return "The run is paused."

    @service_action(
        description="Resume",
        permission="invoicing.run_billingrun",
        effect="The run goes on where it was.",
        allowed=lambda run: run.status == RunStatus.PAUSED,
        icon="play_circle",
        variant="primary",
    )
    def resume(self, request: HttpRequest, run: BillingRun, call: Call) -> str:
        resume_run(run_id=run.pk, at=call.at, actor=call.actor, reason=call.reason)
        return "The run goes on."

    @service_action(
        description="Cancel",
        permission="invoicing.cancel_billingrun",
        effect="The run ends here. What it issued stays issued; what it has not billed yet is left to the next run.",
        allowed=lambda run: run.can_become(RunStatus.CANCELED),
        confirm_label="Cancel the run",
        icon="cancel",
        variant="danger",
    )
    def cancel(self, request: HttpRequest, run: BillingRun, call: Call) -> str:
        cancel_run(run_id=run.pk, at=call.at, actor=call.actor, reason=call.reason)
        return "The run is canceled."


def _list_facts(found: RunProgress) -> list[tuple[str, SafeString | str]]:
    """Return the outcomes with their numbers; those that say something is wrong only where there are some."""
    counts = found.counts
    facts: list[tuple[str, SafeString | str]] = [
        ("Issued", _number(counts[OutcomeStatus.ISSUED])),
        ("Nothing to bill", _number(counts[OutcomeStatus.NOTHING_TO_BILL])),
    ]
    held, failed, canceled = (
        counts[status] for status in (OutcomeStatus.HELD, OutcomeStatus.FAILED, OutcomeStatus.CANCELED)
    )
    facts.append(("Held for review", badge(f"{held:,}", "warning") if held else _number(0)))
    facts.append(("Failed", badge(f"{failed:,}", "bad") if failed else _number(0)))
    return [*facts, ("Not billed", _number(canceled))] if canceled else facts


def _number(value: int) -> SafeString:
    return format_html('<span class="ch-number">{}</span>', f"{value:,}")
