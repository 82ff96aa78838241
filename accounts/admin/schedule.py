"""Schedules: what becomes of subscriptions and when, to look at; let go or canceled with a reason."""

from __future__ import annotations

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldBooleanSwitchWidget

from accounts.models import SchedulePhase, SubscriptionSchedule
from accounts.queries.schedules import with_phases
from billing_site.backoffice.actions import Call, ReasonForm, service_action
from billing_site.backoffice.admin import BackOfficeAdmin, ReadOnlyInline
from billing_site.backoffice.display import (
    NOTHING,
    badge,
    json_display,
    link_display,
    link_to,
    status_badge,
    timestamp_display,
)
from billing_site.backoffice.history import timeline_display
from invoicing.services.schedules import cancel_schedule, release_schedule

_ZONE = "account.timezone"


class PhaseInline(ReadOnlyInline):
    """The phases in order."""

    model = SchedulePhase
    verbose_name_plural = "Phases"
    fields = ("number", "plan_key", "how_many", "starts", "ends", "free_until", "proration_behavior", "standing")
    readonly_fields = fields
    ordering = ("position",)
    starts = timestamp_display("start", zone="schedule.account.timezone", description="From")
    ends = timestamp_display("end", zone="schedule.account.timezone", description="Until")
    free_until = timestamp_display("trial_end", zone="schedule.account.timezone", description="Free until")

    @admin.display(description="Phase")
    def number(self, phase: SchedulePhase) -> int:
        return phase.position + 1

    @admin.display(description="Quantity")
    def how_many(self, phase: SchedulePhase) -> str:
        return "as it is" if phase.quantity is None else f"{phase.quantity:,}"

    @admin.display(description="State")
    def standing(self, phase: SchedulePhase) -> SafeString:
        schedule = phase.schedule
        if schedule.entered is None or phase.position > schedule.entered:
            return badge("to come" if schedule.is_unfinished else "not reached")
        if phase.position == schedule.entered and schedule.is_unfinished:
            return badge("running", "good")
        return badge("over")

    def get_queryset(self, request: HttpRequest) -> QuerySet[SchedulePhase]:
        rows: QuerySet[SchedulePhase] = super().get_queryset(request)
        return rows.select_related("schedule__account")


class ScheduleInline(ReadOnlyInline):
    """The schedules of a subscription, newest first."""

    model = SubscriptionSchedule
    verbose_name_plural = "Schedules"
    fields = ("schedule", "state", "phase_count", "next_step", "end_behavior")
    readonly_fields = fields
    ordering = ("-id",)
    state = status_badge()
    next_step = timestamp_display("next_step_at", zone=_ZONE, description="Next step")

    @admin.display(description="Schedule")
    def schedule(self, schedule: SubscriptionSchedule) -> SafeString | str:
        return link_to(schedule, schedule.public_id)

    @admin.display(description="Phases")
    def phase_count(self, schedule: SubscriptionSchedule) -> str:
        return _describe_progress(schedule)

    def get_queryset(self, request: HttpRequest) -> QuerySet[SubscriptionSchedule]:
        rows: QuerySet[SubscriptionSchedule] = super().get_queryset(request)
        return with_phases(rows)


class CancelForm(ReasonForm):
    """Whether the subscription ends too."""

    cancel_subscription = forms.BooleanField(
        required=False,
        initial=True,
        widget=UnfoldBooleanSwitchWidget(),
        help_text="It ends at once; usage so far is invoiced, fees are not given back.",
    )


def _is_unfinished(schedule: SubscriptionSchedule) -> bool:
    return schedule.is_unfinished


@admin.register(SubscriptionSchedule)
class SubscriptionScheduleAdmin(BackOfficeAdmin):
    """Which phases a subscription goes through, where it stands, and what went wrong on the way."""

    financial = True
    nav_icon = "event_upcoming"
    nav_order = 35
    nav_title = "Schedules"
    empty_title = "No schedule yet"
    empty_text = "A schedule is made through the API: a ramp of prices, a start in the future, an end that is agreed."
    list_display = ("__str__", "account_link", "plans", "state", "progress", "next_step", "trouble")
    list_filter = ("status", "end_behavior", "next_step_at")
    search_fields = ("account__name", "account__external_id__iexact", "account__email__iexact", "=phases__plan_key")
    search_help_text = "The account's name, external id or e-mail, a plan, or an id such as sched_…"
    actions_detail = ("release", "cancel")
    inlines = (PhaseInline,)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("account_link", "state"),
                    ("subscription_link", "progress"),
                    ("starts", "next_step"),
                    ("end_behavior", "ended"),
                    ("public_id", "revision"),
                )
            },
        ),
        ("Refused", {"fields": (("trouble", "failed"), "failure_detail")}),
        ("History", {"fields": ("shown_metadata", "timeline")}),
    )
    readonly_fields = (
        "account_link",
        "state",
        "subscription_link",
        "progress",
        "starts",
        "next_step",
        "end_behavior",
        "ended",
        "public_id",
        "revision",
        "trouble",
        "failed",
        "failure_detail",
        "shown_metadata",
        "timeline",
    )
    state = status_badge()
    account_link = link_display("account", description="Account", ordering="account__name")
    subscription_link = link_display("subscription", description="Subscription")
    starts = timestamp_display("start_date", zone=_ZONE, description="Starts")
    next_step = timestamp_display("next_step_at", zone=_ZONE, description="Next step")
    ended = timestamp_display("ended_at", zone=_ZONE, description="Ended")
    failed = timestamp_display("failed_at", zone=_ZONE, description="Last tried")
    shown_metadata = json_display("metadata", description="Metadata")
    timeline = timeline_display()

    @admin.display(description="Plans")
    def plans(self, schedule: SubscriptionSchedule) -> str:
        return " → ".join(phase.plan_key for phase in schedule.phases.all())

    @admin.display(description="Progress")
    def progress(self, schedule: SubscriptionSchedule) -> str:
        return _describe_progress(schedule)

    @admin.display(description="Trouble")
    def trouble(self, schedule: SubscriptionSchedule) -> SafeString | str:
        return badge(schedule.failure_code, "bad") if schedule.failure_code else NOTHING

    def get_queryset(self, request: HttpRequest) -> QuerySet[SubscriptionSchedule]:
        rows: QuerySet[SubscriptionSchedule] = super().get_queryset(request)
        return with_phases(rows)

    def get_fieldsets(self, request: HttpRequest, obj: SubscriptionSchedule | None = None) -> object:
        """Leave out trouble where there is none."""
        parts = super().get_fieldsets(request, obj)
        return [part for part in parts if part[0] != "Refused" or (obj is not None and obj.failure_code)]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[SubscriptionSchedule], search_term: str
    ) -> tuple[QuerySet[SubscriptionSchedule], bool]:
        key = SubscriptionSchedule.parse_id(search_term)
        if key is not None:
            return queryset.filter(pk=key), False
        rows, duplicates = super().get_search_results(request, queryset, search_term)
        return rows, duplicates

    @service_action(
        description="Release",
        permission="accounts.release_subscriptionschedule",
        effect="The subscription goes on as it is now; the phases to come are dropped.",
        allowed=_is_unfinished,
        icon="link_off",
    )
    def release(self, request: HttpRequest, schedule: SubscriptionSchedule, call: Call) -> str:
        release_schedule(schedule_id=schedule.pk, at=call.at, actor=call.actor, reason=call.reason)
        return f"The schedule of {schedule.account} is released."

    @service_action(
        description="Cancel",
        permission="accounts.cancel_subscriptionschedule",
        effect="The phases to come are dropped. Unless you say otherwise, the subscription ends at once.",
        allowed=_is_unfinished,
        form=CancelForm,
        confirm_label="Cancel the schedule",
        icon="event_busy",
        variant=ActionVariant.DANGER,
    )
    def cancel(self, request: HttpRequest, schedule: SubscriptionSchedule, call: Call) -> str:
        with_subscription = bool(call.data["cancel_subscription"])
        cancel_schedule(
            schedule_id=schedule.pk,
            cancel_subscription=with_subscription,
            at=call.at,
            actor=call.actor,
            reason=call.reason,
        )
        what = "and its subscription are" if with_subscription and schedule.subscription_id else "is"
        return f"The schedule of {schedule.account} {what} canceled."


def _describe_progress(schedule: SubscriptionSchedule) -> str:
    count = len(schedule.phases.all())
    return f"{0 if schedule.entered is None else schedule.entered + 1} of {count}"
