"""Imports of usage files: hand one in, watch it, see what is wrong with it."""

from __future__ import annotations

import csv
import uuid
from typing import Any, Final

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminFileFieldWidget, UnfoldAdminTextInputWidget, UnfoldBooleanSwitchWidget

from accounts.models import Account
from accounts.queries.access import find_account
from billing_site.backoffice.actions import Call, ReasonForm, service_action
from billing_site.backoffice.admin import BackOfficeAdmin, ReadOnlyInline
from billing_site.backoffice.display import NOTHING, link_display, link_to, status_badge, timestamp_display
from billing_site.backoffice.history import timeline_display
from metering.models import UsageImport, UsageImportError, UsageImportPhase, UsageImportStatus
from metering.queries.usage_imports import find_earlier_import, was_counted_before
from metering.services.usage_imports import NewUsageImport, cancel_import, start_import

PERMISSION: Final = "metering.import_usage"
_REFRESH_SECONDS: Final = 3


class ImportForm(ReasonForm):
    """The file, and whose usage it is where its lines do not say."""

    file = forms.FileField(
        label="File",
        help_text="CSV or JSON lines: service and quantity, and where wanted timestamp, account, unit, resource_id, "
        "actor_id, cost_center, metadata, dimensions and idempotency_key.",
        widget=UnfoldAdminFileFieldWidget(attrs={"accept": ".csv,.jsonl,.ndjson"}),
    )
    account = forms.CharField(
        label="Account",
        required=False,
        max_length=255,
        help_text="Id or external id; for lines that name no account themselves.",
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "acme/alice"}),
    )
    check_only = forms.BooleanField(
        label="Only check",
        required=False,
        help_text="Every line is checked and nothing is written.",
        widget=UnfoldBooleanSwitchWidget(),
    )
    field_order = ("file", "account", "check_only", "reason")

    def clean_account(self) -> Account | None:
        """Return the account that is named."""
        reference = self.cleaned_data["account"].strip()
        if not reference:
            return None
        found = find_account(Account.objects.select_related("test_clock"), reference)
        if found is None:
            raise forms.ValidationError("There is no account with this id or external id.")
        return found


class ImportErrorInline(ReadOnlyInline):
    """What is wrong, in the order of the file."""

    model = UsageImportError
    verbose_name_plural = "Wrong lines"
    fields = ("line", "where", "code", "detail")
    readonly_fields = fields

    @admin.display(description="Column")
    def where(self, error: UsageImportError) -> str:
        return error.column or NOTHING


def _is_open(usage_import: UsageImport) -> bool:
    return not usage_import.is_finished


@admin.register(UsageImport)
class UsageImportAdmin(BackOfficeAdmin):
    """Files of usage on their way into the books."""

    financial = True
    nav_icon = "upload_file"
    nav_order = 20
    nav_title = "Imports"
    empty_title = "No file was imported yet"
    empty_text = (
        "“Import a file” takes CSV or JSON lines, checks every line first and writes all of them or none. The same "
        "file counts once, however often it is imported."
    )
    list_display = ("name", "state", "progress", "outcome", "account_link", "requested_by", "requested")
    list_display_links = ("name",)
    list_filter = ("status", "check_only")
    list_select_related = ("account",)
    search_fields = ("file_name", "=file_hash", "=requested_by")
    search_help_text = "File name, SHA-256 of a file, who asked, or an id such as uim_…"
    actions_list = ("import_file",)
    actions_detail = ("cancel_import",)
    inlines = (ImportErrorInline,)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("name", "state"),
                    ("progress", "outcome"),
                    ("counted", "known"),
                    ("account_link", "kind"),
                    ("requested", "finished"),
                    ("requested_by", "public_id"),
                    "reason",
                    "earlier",
                    "file_hash",
                    "wrong_lines",
                )
            },
        ),
        ("History", {"fields": ("timeline",)}),
    )
    readonly_fields = (
        *("name", "state", "progress", "outcome", "counted", "known", "account_link"),
        *("kind", "requested", "finished", "public_id", "earlier", "wrong_lines", "timeline"),
    )
    state = status_badge(tones={"succeeded": "good", "running": "info", "pending": "info"})
    account_link = link_display("account", description="Account")
    requested = timestamp_display("requested_at", description="Requested")
    finished = timestamp_display("finished_at", description="Finished")
    timeline = timeline_display()

    @admin.display(description="File", ordering="file_name")
    def name(self, usage_import: UsageImport) -> str:
        return usage_import.file_name

    @admin.display(description="Kind")
    def kind(self, usage_import: UsageImport) -> str:
        return "Only a check" if usage_import.check_only else "Check, then write"

    @admin.display(description="Progress")
    def progress(self, usage_import: UsageImport) -> SafeString:
        done, total = _measure_progress(usage_import)
        label = "Done" if usage_import.status == UsageImportStatus.SUCCEEDED else _describe_phase(usage_import)
        return format_html(
            '<span class="ch-progress"><progress max="{}" value="{}" aria-label="Progress"></progress>'
            ' <span class="ch-number">{}</span></span>',
            max(total, 1),
            done,
            label,
        )

    @admin.display(description="Result")
    def outcome(self, usage_import: UsageImport) -> str:
        return describe_outcome(usage_import)

    @admin.display(description="Lines counted now")
    def counted(self, usage_import: UsageImport) -> str:
        return f"{usage_import.created_count:,}"

    @admin.display(description="Lines counted before")
    def known(self, usage_import: UsageImport) -> str:
        return f"{usage_import.duplicate_count:,}"

    @admin.display(description="Imported before")
    def earlier(self, usage_import: UsageImport) -> SafeString | str:
        found = find_earlier_import(usage_import)
        return NOTHING if found is None else link_to(found, f"{found.file_name}, {found.requested_at:%d %b %Y %H:%M}")

    @admin.display(description="Wrong lines")
    def wrong_lines(self, usage_import: UsageImport) -> SafeString | str:
        if not usage_import.error_count:
            return NOTHING
        address = reverse("admin:metering_usageimport_errors", args=[usage_import.pk])
        return format_html(
            '{} <a class="ch-link" href="{}">Download as CSV</a>', f"{usage_import.error_count:,}", address
        )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[UsageImport], search_term: str
    ) -> tuple[QuerySet[UsageImport], bool]:
        key = UsageImport.parse_id(search_term.strip())
        if key is not None:
            return queryset.filter(pk=key), False
        rows, duplicates = super().get_search_results(request, queryset, search_term)
        return rows, duplicates

    def get_inlines(self, request: HttpRequest, obj: UsageImport | None = None) -> Any:
        """An import without wrong lines has no list of them."""
        return self.inlines if obj is not None and obj.error_count else ()

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """While the import is on, the page comes back by itself."""
        response = super().changeform_view(request, object_id, form_url, extra_context)
        found = self.get_object(request, object_id) if object_id else None
        if found is not None and not found.is_finished and isinstance(response, HttpResponse):
            response["Refresh"] = str(_REFRESH_SECONDS)
        return response

    # ---- the wrong lines as a file ----------------------------------------------------------------------------------
    def get_urls(self) -> list[URLPattern]:
        own = path(
            "<uuid:import_id>/errors.csv",
            self.admin_site.admin_view(self.download_errors),
            name="metering_usageimport_errors",
        )
        return [own, *super().get_urls()]

    def download_errors(self, request: HttpRequest, import_id: uuid.UUID) -> HttpResponse:
        """Answer the wrong lines as CSV: line, column, code, detail."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        found = UsageImport.objects.filter(pk=import_id).first()
        if found is None:
            raise Http404("No such import.")
        response = HttpResponse(content_type="text/csv; charset=utf-8")
        response["Content-Disposition"] = f'attachment; filename="{found.public_id}-errors.csv"'
        writer = csv.writer(response)
        writer.writerow(["line", "column", "code", "detail"])
        writer.writerows(found.errors.values_list("line", "column", "code", "detail"))
        return response

    # ---- actions ----------------------------------------------------------------------------------------------------
    @service_action(
        description="Import a file",
        permission=PERMISSION,
        effect="Every line is checked first. If one is wrong, nothing is written and you see which. Lines that were "
        "counted before, through whatever door, are known by their keys and change nothing.",
        form=ImportForm,
        icon="upload_file",
        variant="primary",
        confirm_label="Import",
    )
    def import_file(self, request: HttpRequest, _: None, call: Call) -> HttpResponse:
        file = call.data["file"]
        new = NewUsageImport(
            file_name=file.name,
            account=call.data["account"],
            check_only=call.data["check_only"],
            reason=call.reason,
        )
        started = start_import(new=new, content=file.chunks(), at=call.at, actor=call.actor)
        messages.success(request, f"{started.file_name} is here. Its lines are being checked.")
        return HttpResponseRedirect(reverse("admin:metering_usageimport_change", args=[started.pk]))

    @service_action(
        description="Call off",
        permission=PERMISSION,
        effect="The import stops behind the lines that are being written. What was written stays counted; the same "
        "file again goes on with the rest.",
        allowed=_is_open,
        icon="cancel",
        variant="danger",
        url_path="cancel",
    )
    def cancel_import(self, request: HttpRequest, usage_import: UsageImport, call: Call) -> str:
        cancel_import(import_id=usage_import.pk, at=call.at, actor=call.actor, reason=call.reason)
        return "The import is called off."


def _measure_progress(usage_import: UsageImport) -> tuple[int, int]:
    """Return (done, total) of the bar. While lines are checked their number is not known, and the bar stays empty."""
    if usage_import.status == UsageImportStatus.SUCCEEDED:
        return 1, 1
    if usage_import.phase == UsageImportPhase.CHECK:
        return 0, 1
    return usage_import.lines_done, usage_import.lines_total or 1


def _describe_phase(usage_import: UsageImport) -> str:
    if usage_import.phase == UsageImportPhase.CHECK:
        return f"{usage_import.lines_done:,} checked"
    return f"{usage_import.lines_done:,} of {usage_import.lines_total or 0:,} written"


def describe_outcome(usage_import: UsageImport) -> str:
    """Return what an import came to, as a sentence."""
    total = f"{usage_import.lines_total or 0:,}"
    match usage_import.status:
        case UsageImportStatus.FAILED:
            return usage_import.error_detail
        case UsageImportStatus.CANCELED:
            return f"Called off: {usage_import.lines_done:,} lines were {_DONE[usage_import.phase]}."
        case UsageImportStatus.SUCCEEDED if usage_import.check_only:
            return f"All {total} lines are right. Nothing was written."
        case UsageImportStatus.SUCCEEDED if was_counted_before(usage_import):
            return f"Every one of {total} lines had been counted before: nothing changed."
        case UsageImportStatus.SUCCEEDED:
            return f"{usage_import.created_count:,} counted, {usage_import.duplicate_count:,} known before."
    return NOTHING


_DONE: Final = {UsageImportPhase.CHECK.value: "checked, none written", UsageImportPhase.WRITE.value: "written"}
