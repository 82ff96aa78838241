"""Jobs: long work that finance asks for, watched while it is done, read and downloaded when it is over."""

from __future__ import annotations

import uuid
from typing import Final
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.template.defaultfilters import filesizeformat
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import slugify

from accounts.models import Account
from billing_site.backoffice.actions import Call, service_action, staff_actor
from billing_site.backoffice.display import (
    NOTHING,
    format_instant,
    link_display,
    status_badge,
    timestamp_display,
)
from billing_site.backoffice.history import timeline_display
from billing_site.backoffice.page_links import PageLink, register_page_link
from billing_site.kernel import clock
from billing_site.kernel.errors import DomainError
from catalog.models import CatalogDraft
from invoicing.admin.billing_job_result import describe_outcome, describe_request, render_result
from invoicing.admin.live_page import LivePageAdmin, render_block
from invoicing.admin.new_billing_job import (
    AccountDataForm,
    DryRunForm,
    JournalForm,
    ReportForm,
    ShadowForm,
    WhatIfForm,
)
from invoicing.models import BillingJob, JobStatus
from invoicing.queries.account_export import is_large_export
from invoicing.services.account_exports import export_account
from invoicing.services.billing_jobs import cancel_job, open_job_file, start_job

PERMISSION: Final = "invoicing.start_billingjob"
_TYPES: Final = {
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "zip": "application/zip",
}


@admin.register(BillingJob)
class BillingJobAdmin(LivePageAdmin):
    """Started here, done in the background; the file is kept for some days."""

    financial = True
    nav_icon = "pending_actions"
    nav_order = 28
    nav_title = "Jobs"
    empty_title = "No job yet"
    empty_text = (
        "A dry run says what the next run would issue, a what-if what a month would have cost at other prices, a "
        "shadow re-run whether today's code comes to what was issued. They change nothing."
    )
    list_display = ("name", "asked", "state", "progress", "outcome", "requested_by", "requested")
    list_display_links = ("name",)
    list_filter = ("kind", "status")
    list_select_related = ("account",)
    search_fields = ("=requested_by", "reason", "=org_id", "=file_hash")
    search_help_text = "Who asked, reason, organization, or an id such as job_…"
    actions_list = ("dry_run", "what_if", "shadow", "account_data", "journal", "report")
    actions_detail = ("cancel",)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("name", "state"),
                    ("asked", "account_link"),
                    "live",
                    ("outcome", "file"),
                    ("requested", "finished"),
                    ("requested_by", "public_id"),
                    "reason",
                )
            },
        ),
        ("Result", {"fields": ("result",)}),
        ("History", {"fields": ("timeline",)}),
    )
    readonly_fields = (
        *("name", "state", "asked", "account_link", "live", "outcome", "file", "requested", "finished", "public_id"),
        *("result", "timeline"),
    )
    state = status_badge(tones={"succeeded": "good", "running": "info", "pending": "info"})
    account_link = link_display("account", description="Account")
    requested = timestamp_display("requested_at", description="Requested")
    finished = timestamp_display("finished_at", description="Finished")
    timeline = timeline_display()

    @admin.display(description="Job", ordering="kind")
    def name(self, job: BillingJob) -> str:
        label = job.get_kind_display()
        return label[:1].upper() + label[1:]

    @admin.display(description="Asked")
    def asked(self, job: BillingJob) -> str:
        return describe_request(job)

    @admin.display(description="Progress")
    def progress(self, job: BillingJob) -> SafeString:
        return format_html(
            '<span class="ch-progress"><progress max="{}" value="{}" aria-label="Progress"></progress>'
            ' <span class="ch-number">{}</span></span>',
            *_measure(job),
            _describe_progress(job),
        )

    @admin.display(description="Progress")
    def live(self, job: BillingJob) -> SafeString:
        return self.show_live(job)

    @admin.display(description="Outcome")
    def outcome(self, job: BillingJob) -> str:
        return describe_outcome(job)

    @admin.display(description="File")
    def file(self, job: BillingJob) -> SafeString | str:
        if not job.file_name:
            return NOTHING
        about = f"{job.file_name}, {filesizeformat(job.file_size)}"
        if not job.has_file:
            return f"{about}; dropped since"
        return format_html('<a class="ch-link" href="{}" download>{}</a>', _file_address(job), about)

    @admin.display(description="Result")
    def result(self, job: BillingJob) -> SafeString | str:
        return render_result(job) if job.summary else NOTHING

    def is_live(self, job: BillingJob) -> bool:
        return not job.is_finished

    def render_progress(self, job: BillingJob) -> SafeString:
        facts: list[tuple[str, SafeString | str]] = []
        if job.attempt > 1:
            facts.append(("Begun", f"{job.attempt} times"))
        if job.heartbeat_at and not job.is_finished:
            facts.append(("Last heard of", format_instant(job.heartbeat_at)))
        total = job.total if job.total is not None else job.done
        note = "" if job.is_finished else _NOTES[job.status]
        return render_block(done=job.done, total=total, facts=facts, note=note)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[BillingJob], search_term: str
    ) -> tuple[QuerySet[BillingJob], bool]:
        key = BillingJob.parse_id(search_term.strip())
        if key is not None:
            return queryset.filter(pk=key), False
        rows, duplicates = super().get_search_results(request, queryset, search_term)
        return rows, duplicates

    # ---- the file ---------------------------------------------------------------------------------------------------
    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.send_file)
        export = self.admin_site.admin_view(self.export_account)
        return [
            path("<uuid:job_id>/file/", view, name="invoicing_billingjob_file"),
            path("export/<uuid:account_id>/", export, name="invoicing_billingjob_export"),
            *super().get_urls(),
        ]

    def export_account(self, request: HttpRequest, account_id: uuid.UUID) -> HttpResponseBase:
        """Answer an account's data as a ZIP of CSV files at once; where there is much of it, lead to a job."""
        if not request.user.has_perm(PERMISSION):
            raise PermissionDenied
        account = get_object_or_404(Account.objects.select_related("test_clock"), pk=account_id)
        now = clock.now(account)
        if is_large_export(account, now=now):
            messages.info(request, "There is much data on this account: a job writes it to a file.")
            query = urlencode({"account": account.public_id})
            return HttpResponseRedirect(f"{reverse('admin:invoicing_billingjob_account_data')}?{query}")
        content = export_account(account=account, at=now, actor=staff_actor(request))
        response = StreamingHttpResponse(content, content_type=_TYPES["zip"])
        name = f"account-{slugify(account.external_id or account.public_id)}.zip"
        response["Content-Disposition"] = f'attachment; filename="{name}"'
        return response

    def send_file(self, request: HttpRequest, job_id: uuid.UUID) -> HttpResponseBase:
        """Answer the file of a job, piece by piece."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            job, pieces = open_job_file(job_id=job_id, at=clock.now(), actor=staff_actor(request))
        except DomainError as error:
            return HttpResponse(error.detail, status=error.status, content_type="text/plain")
        response = StreamingHttpResponse(pieces, content_type=_TYPES[job.file_name.rsplit(".", 1)[-1]])
        response["Content-Disposition"] = f'attachment; filename="{job.file_name}"'
        response["Content-Length"] = str(job.file_size)
        return response

    # ---- actions ----------------------------------------------------------------------------------------------------
    def _start(self, request: HttpRequest, call: Call) -> HttpResponse:
        job = start_job(new=call.data["job"], at=call.at, actor=call.actor)
        messages.success(request, f"The job is waiting for a worker: {self.name(job).lower()}.")
        return HttpResponseRedirect(reverse("admin:invoicing_billingjob_change", args=[job.pk]))

    @service_action(
        description="Dry run",
        permission=PERMISSION,
        effect="Computes what the next billing run of an organization would issue, line by line, with what would be "
        "held for review and what would fail. Nothing is written and nobody is billed.",
        form=DryRunForm,
        icon="science",
        variant="primary",
        confirm_label="Start",
        url_path="new-dry-run",
    )
    def dry_run(self, request: HttpRequest, _: None, call: Call) -> HttpResponse:
        return self._start(request, call)

    @service_action(
        description="What if",
        permission=PERMISSION,
        effect="Computes the issued invoices of a month again with the usage of then and the prices of another catalog "
        "document, and says what would change for whom. Nothing is written.",
        form=WhatIfForm,
        icon="price_change",
        confirm_label="Start",
        url_path="new-what-if",
    )
    def what_if(self, request: HttpRequest, _: None, call: Call) -> HttpResponse:
        return self._start(request, call)

    @service_action(
        description="Shadow re-run",
        permission=PERMISSION,
        effect="Computes the issued invoices of a month again with today's code and lists every value that is not what "
        "was issued. Nothing is written.",
        form=ShadowForm,
        icon="difference",
        confirm_label="Start",
        url_path="new-shadow",
    )
    def shadow(self, request: HttpRequest, _: None, call: Call) -> HttpResponse:
        return self._start(request, call)

    @service_action(
        description="Account data",
        permission=PERMISSION,
        effect="Writes the billing data of an account to a file: customer, subscriptions, invoices, payments, usage.",
        form=AccountDataForm,
        icon="download",
        confirm_label="Start",
        url_path="new-account-data",
    )
    def account_data(self, request: HttpRequest, _: None, call: Call) -> HttpResponse:
        return self._start(request, call)

    @service_action(
        description="Journal",
        permission=PERMISSION,
        effect="Writes the journal of a month to a file, with debits equal to credits, or says where they are not.",
        form=JournalForm,
        icon="menu_book",
        confirm_label="Start",
        url_path="new-journal",
    )
    def journal(self, request: HttpRequest, _: None, call: Call) -> HttpResponse:
        return self._start(request, call)

    @service_action(
        description="Report",
        permission=PERMISSION,
        effect="Computes a report and writes it to a file, for reports that take long on the page.",
        form=ReportForm,
        icon="monitoring",
        confirm_label="Start",
        url_path="new-report",
    )
    def report(self, request: HttpRequest, _: None, call: Call) -> HttpResponse:
        return self._start(request, call)

    @service_action(
        description="Call off",
        permission=PERMISSION,
        effect="The job stops at the next piece of work and leaves no file.",
        allowed=lambda job: not job.is_finished,
        icon="cancel",
        variant="danger",
    )
    def cancel(self, request: HttpRequest, job: BillingJob, call: Call) -> str:
        cancel_job(job_id=job.pk, at=call.at, actor=call.actor, reason=call.reason)
        return "The job is called off."


_NOTES: Final = {
    JobStatus.PENDING.value: "Waiting for a worker.",
    JobStatus.RUNNING.value: "A worker that stops is replaced by another one, which begins anew.",
}


def _file_address(job: BillingJob) -> str:
    return reverse("admin:invoicing_billingjob_file", args=[job.pk])


def _measure(job: BillingJob) -> tuple[int, int]:
    """Return (maximum, value) of the bar; empty while the total is not known."""
    if job.status == JobStatus.SUCCEEDED:
        return 1, 1
    return max(job.total or 0, 1), job.done if job.total else 0


def _describe_progress(job: BillingJob) -> str:
    if job.status == JobStatus.SUCCEEDED or job.total is None:
        return f"{job.done:,} done"
    return f"{job.done:,} of {job.total:,}"


def _link_from_draft(draft: CatalogDraft) -> PageLink | None:
    if draft.status not in ("draft", "submitted"):
        return None
    return PageLink("What if", f"{reverse('admin:invoicing_billingjob_what_if')}?draft={draft.pk}", "price_change")


def _link_to_file(job: BillingJob) -> PageLink | None:
    return PageLink("Download", _file_address(job), "download") if job.has_file else None


def _link_from_account(account: Account) -> PageLink:
    return PageLink("Export data", reverse("admin:invoicing_billingjob_export", args=[account.pk]), "download")


register_page_link("accounts.account", _link_from_account, name="invoicing.export", permission=PERMISSION)
register_page_link("invoicing.billingjob", _link_to_file, name="invoicing.file")
register_page_link("catalog.catalogdraft", _link_from_draft, name="invoicing.whatif", permission=PERMISSION)
