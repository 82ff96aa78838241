"""A site of its own for these tests: test clocks with a form and actions, so that no domain page is needed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

from accounts.models import TestClock
from billing_site.backoffice.actions import Call, ReasonForm, service_action
from billing_site.backoffice.admin import BackOfficeAdmin
from billing_site.backoffice.site import BackOfficeSite
from billing_site.kernel.errors import InvalidState, ValidationFailed

site = BackOfficeSite(name="admin")
calls: list[tuple[str, Call]] = []


def rename_clock(*, clock_id: Any, name: str) -> TestClock:
    """Stand in for a service: writes first, then may refuse."""
    TestClock.objects.update_or_create(
        id=clock_id, defaults={"name": name, "now_at": datetime.fromisoformat("2026-01-01T00:00Z")}
    )
    if name == "taken":
        raise ValidationFailed.of("/name", "duplicate", "That name is taken.")
    if name == "frozen":
        raise InvalidState("Clocks are frozen today.", current_status="frozen")
    return TestClock.objects.get(id=clock_id)


class AdvanceForm(ReasonForm):
    days = forms.IntegerField(min_value=1)


class ClockAdmin(BackOfficeAdmin):
    list_display = ("name", "now_at")
    fields = ("name",)
    actions = ("stamp",)
    actions_detail = ("stamp", "advance")
    actions_list = ("stamp_all",)

    def save_with_service(self, request: HttpRequest, form: Any, change: bool) -> TestClock:
        return rename_clock(clock_id=form.instance.id, name=form.cleaned_data["name"])

    @service_action(
        description="Stamp",
        permission="stamp_testclock",
        effect="The clock is stamped.",
        warnings=lambda clocks: [f"{clock.name} is old" for clock in clocks if clock.name == "old"],
        allowed=lambda clock: clock.name != "done",
        refuses=lambda user, clock: "This clock is yours." if clock.name == f"{user.username}'s own" else "",
    )
    def stamp(self, request: HttpRequest, clock: TestClock, call: Call) -> str:
        if clock.name == "broken":
            raise InvalidState("This clock is broken.", current_status="broken")
        calls.append((clock.name, call))
        return f"{clock.name} stamped."

    @service_action(description="Advance", permission="stamp_testclock", form=AdvanceForm, variant="danger")
    def advance(self, request: HttpRequest, clock: TestClock, call: Call) -> None:
        calls.append((clock.name, call))

    @service_action(description="Stamp all", permission="accounts.stamp_testclock")
    def stamp_all(self, request: HttpRequest, nothing: None, call: Call) -> None:
        calls.append(("all", call))


class LockedClockAdmin(BackOfficeAdmin):
    """What a page is like that defines no service."""


site.register(TestClock, ClockAdmin)


def docs(request: HttpRequest) -> HttpResponse:
    return HttpResponse('<div id="swagger-ui"></div><script>start()</script>')


def data(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"ok": True})


urlpatterns = [
    path("back/", site.urls),
    path("docs", docs),
    path("data", data),
]
