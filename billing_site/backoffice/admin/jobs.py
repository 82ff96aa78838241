"""The beat schedules, to look at; they are declared in `billing_site/schedules.py`."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest
from django_celery_beat.models import PeriodicTask

from billing_site.backoffice.admin.base import BackOfficeAdmin
from billing_site.backoffice.display import timestamp_display


@admin.register(PeriodicTask)
class JobAdmin(BackOfficeAdmin):
    """When each job last ran, and how often."""

    financial = True
    nav_title = "Schedules"
    nav_icon = "schedule"
    nav_order = 20
    empty_title = "The scheduler has not started yet"
    empty_text = "Schedules are written here when Celery beat starts."
    ordering = ("name",)
    list_display = ("name", "task", "every", "enabled", "total_run_count", "last_run")
    fields = ("name", "task", "every", "enabled", "total_run_count", "last_run")
    readonly_fields = ("every", "last_run")
    list_select_related = ("interval", "crontab", "solar", "clocked")
    last_run = timestamp_display("last_run_at", description="Last run")

    @admin.display(description="Schedule")
    def every(self, job: PeriodicTask) -> str:
        return str(job.scheduler)

    def has_view_permission(self, request: HttpRequest, obj: PeriodicTask | None = None) -> bool:
        return bool(request.user.is_active and request.user.has_perm("platform.view_event"))

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)
