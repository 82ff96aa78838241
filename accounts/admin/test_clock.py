"""Test clocks: make one, put accounts on it, advance it."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.forms import ModelForm
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminTextInputWidget

from accounts.models import TestClock
from accounts.services.test_clocks import advance_test_clock, create_test_clock
from billing_site.backoffice.actions import Call, ReasonForm, service_action, staff_actor
from billing_site.backoffice.admin import BackOfficeAdmin
from billing_site.backoffice.display import timestamp_display
from billing_site.kernel import clock


class AdvanceForm(ReasonForm):
    """Where to."""

    to = forms.DateTimeField(
        label="Advance to (UTC)", widget=UnfoldAdminTextInputWidget(attrs={"type": "datetime-local", "step": "1"})
    )


@admin.register(TestClock)
class TestClockAdmin(BackOfficeAdmin):
    """Time that stands still until somebody advances it; in test mode only."""

    __test__ = False
    nav_icon = "schedule"
    nav_order = 90
    empty_title = "No test clock yet"
    empty_text = "A test clock lets accounts live through months in minutes: add one, then choose it on an account."
    list_display = ("name", "shows", "made")
    search_fields = ("name",)
    actions_detail = ("advance",)
    fields = ("name", "now_at")
    shows = timestamp_display("now_at", zone="", description="Shows")
    made = timestamp_display("created_at", zone="", description="Made")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return not settings.BILLING_LIVEMODE and super().has_add_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Once made, a clock is only advanced."""
        return False

    def save_with_service(self, request: HttpRequest, form: ModelForm[TestClock], change: bool) -> TestClock:
        return create_test_clock(
            name=form.cleaned_data["name"],
            now_at=form.cleaned_data["now_at"],
            at=clock.now(),
            actor=staff_actor(request),
        )

    @service_action(
        description="Advance",
        permission="accounts.advance_testclock",
        effect="Every account on this clock moves to that instant; what becomes due is billed by the next cycle.",
        allowed=lambda _clock: not settings.BILLING_LIVEMODE,
        form=AdvanceForm,
        icon="fast_forward",
    )
    def advance(self, request: HttpRequest, test_clock: TestClock, call: Call) -> str:
        moved = advance_test_clock(
            clock_id=test_clock.pk, to=call.data["to"], at=clock.now(), actor=call.actor, reason=call.reason
        )
        return f"{moved.name} shows {moved.now_at:%Y-%m-%d %H:%M} UTC."
