"""
The pages of one draft: overview, changes, document and history, and the frame they share with the editor.

Each is a page of its own with a link of its own; what a person may do stands in the header.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.middleware.csrf import get_token
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.text import slugify

from billing_site.backoffice.actions import error_text, staff_actor
from billing_site.backoffice.approvals import render_waiting, show_actor
from billing_site.backoffice.history import render_timeline
from billing_site.kernel import clock
from billing_site.kernel.errors import DomainError
from billing_site.platform.models import ApprovalStatus, Event
from catalog.admin.comparisons import Comparison, compare_contents, render_comparison
from catalog.admin.draft_forms import DocumentForm
from catalog.admin.draft_impact import Impact, build_impact
from catalog.admin.draft_overview import build_overview
from catalog.admin.editor_document import SINGULAR, find_index
from catalog.documents.content import CatalogContent
from catalog.documents.findings import Findings
from catalog.documents.formatting import format_document
from catalog.documents.normalising import read_valid_document
from catalog.models import CatalogDraft, CatalogRevision, DraftStatus
from catalog.queries.revisions import find_active_revision
from catalog.services.documents import check_document
from catalog.services.drafts import hash_document, update_draft

if TYPE_CHECKING:
    from catalog.admin.draft import CatalogDraftAdmin

SHOWN_EVENTS: Final = 50
TABS: Final = (("change", "Overview"), ("changes", "Changes"), ("document", "JSON"), ("log", "History"))


def page_url(name: str, draft: CatalogDraft, *arguments: object) -> str:
    """Return the address of a page of a draft."""
    return reverse(f"admin:catalog_catalogdraft_{name}", args=[draft.pk, *arguments])


@dataclass
class DraftPage:
    """One request for a page of a draft: who asks, for what, and what the pages say about it."""

    admin: CatalogDraftAdmin
    request: HttpRequest
    draft: CatalogDraft

    @classmethod
    def open(cls, admin: CatalogDraftAdmin, request: HttpRequest, pk: uuid.UUID | str) -> DraftPage:
        """
        Return the page of a draft.

        :raises Http404: if there is none. :raises PermissionDenied: if the person may not see it.
        """
        draft = admin.get_object(request, str(pk))
        if draft is None:
            raise Http404("No such draft.")
        if not admin.has_view_permission(request, draft):
            raise PermissionDenied
        return cls(admin, request, draft)

    # ---- what the pages are made of ---------------------------------------------------------------------------------
    @cached_property
    def is_editable(self) -> bool:
        return self.admin.has_change_permission(self.request, self.draft)

    def require_editable(self) -> None:
        """:raises PermissionDenied: unless this person may change the draft as it is."""
        if not self.is_editable:
            raise PermissionDenied

    @cached_property
    def findings(self) -> Findings:
        return check_document(self.draft.document)

    @cached_property
    def active(self) -> CatalogRevision | None:
        """What the draft is compared with: the active revision; for a published draft the one it replaced."""
        published = self.draft.published_revision
        if published is None:
            return find_active_revision(org_id=self.draft.org_id)
        earlier = CatalogRevision.objects.filter(org_id=self.draft.org_id, revision__lt=published.revision)
        return earlier.order_by("-revision").first()

    @cached_property
    def content(self) -> CatalogContent | None:
        """The draft's document, read; None while it has findings."""
        return None if self.findings else read_valid_document(self.draft.document)

    @cached_property
    def active_content(self) -> CatalogContent | None:
        return None if self.active is None else read_valid_document(self.active.document)

    @cached_property
    def comparison(self) -> Comparison | None:
        """What the draft changes; None while its document cannot be read."""
        if self.content is None:
            return None
        undo = self._find_undo_url if self.is_editable else None
        return compare_contents(self.active_content, self.content, find_url=self._find_entry_url, find_undo_url=undo)

    def _find_undo_url(self, section: str, _key: str) -> str:
        return page_url("undo", self.draft, section) if section in SINGULAR else ""

    def _find_entry_url(self, section: str, key: str) -> str:
        index = find_index(self.draft.document, section, key) if self.is_editable and section != "prices" else None
        return "" if index is None else page_url("entry", self.draft, section, index)

    @cached_property
    def is_outdated(self) -> bool:
        return self.draft.status == DraftStatus.DRAFT and self.draft.base_revision != (
            self.active.revision if self.active else None
        )

    def build_impact(self) -> Impact | None:
        """Return what the draft means for running subscriptions; None while its document cannot be read."""
        if self.comparison is None:
            return None
        asked = self.request.GET.get("impact") == "money"
        return build_impact(self.draft, self.comparison, at=clock.now(), asked_for_money=asked)

    # ---- drawing ----------------------------------------------------------------------------------------------------
    def render(self, template: str, *, tab: str, status: int = 200, **context: Any) -> HttpResponse:
        """Return a page in the frame of the draft."""
        change_count = len(self.comparison.entries) if self.comparison else None
        frame = {
            **self.admin.admin_site.each_context(self.request),
            "title": str(self.draft),
            "opts": self.admin.model._meta,
            "original": self.draft,
            "draft": self.draft,
            "state": self.admin.state(self.draft),
            "is_editable": self.is_editable,
            "actions_detail": self.admin.list_detail_actions(self.request, self.draft),
            "tabs": [
                {
                    "title": title,
                    "url": page_url(name, self.draft),
                    "is_current": name == tab,
                    "count": change_count if name == "changes" else None,
                }
                for name, title in TABS
            ],
            "messages_above": list(self.list_notices()),
            "created_by": show_actor(self.draft.created_by),
            "export_url": page_url("export", self.draft),
        }
        return TemplateResponse(self.request, template, {**frame, **context}, status=status)

    def list_notices(self) -> Sequence[dict[str, Any]]:
        """Return what stands above every page: the state of the draft and the next step."""
        draft = self.draft
        approval = draft.approval
        match draft.status:
            case DraftStatus.SUBMITTED if approval is not None:
                url = reverse("admin:platform_approval_change", args=[approval.pk])
                return [{"block": render_waiting(approval, self.request.user), "url": url, "link": "Open the request"}]
            case DraftStatus.PUBLISHED:
                return [{"tone": "good", "icon": "check_circle", "text": self._describe_publication()}]
            case DraftStatus.DISCARDED:
                return [{"tone": "neutral", "icon": "delete", "text": "This draft was discarded."}]
        notices = []
        if approval is not None and approval.status == ApprovalStatus.REJECTED:
            text = f"{show_actor(approval.decided_by)} handed this back: “{approval.comment}”"
            notices.append({"tone": "bad", "icon": "undo", "text": text})
        if self.is_outdated:
            text = "Another revision was published since this draft was started. Look at the changes, then rebase it."
            notices.append({"tone": "warning", "icon": "merge", "text": text})
        if self.findings:
            count = len(self.findings)
            text = f"{count} finding{' keeps' if count == 1 else 's keep'} this draft from being published."
            url = f"{page_url('change', draft)}#findings"
            notices.append({"tone": "warning", "icon": "warning", "text": text, "url": url, "link": "Show"})
        elif self.comparison is not None and self.comparison.is_empty:
            text = "This draft says the same as the published catalog."
            notices.append({"tone": "neutral", "icon": "info", "text": text})
        return notices

    def _describe_publication(self) -> str:
        published, approval = self.draft.published_revision, self.draft.approval
        if published is None:
            return "This draft was published."
        who = show_actor(published.published_by)
        if approval is not None and approval.status == ApprovalStatus.APPROVED:
            who = f"{show_actor(approval.requested_by)}, approved by {show_actor(approval.decided_by)}"
        return f"Published as revision {published.revision} by {who}."


# ---- pages ----------------------------------------------------------------------------------------------------------
def show_overview(page: DraftPage) -> HttpResponse:
    """Answer the overview; posting to it gives the draft another title."""
    if page.request.method == "POST":
        return _rename(page)
    draft = page.draft
    published = page.active_content.as_editable_document() if page.active_content else None
    overview = build_overview(draft.document, published, page.findings)
    impact = page.build_impact()
    return page.render("catalog/draft_overview.html", tab="change", overview=overview, impact=impact)


def _rename(page: DraftPage) -> HttpResponse:
    page.require_editable()
    draft, title = page.draft, page.request.POST.get("title", "")
    try:
        update_draft(
            draft_id=draft.pk, document=draft.document, title=title, at=clock.now(), actor=staff_actor(page.request)
        )
    except DomainError as error:
        messages.error(page.request, error_text(error))
    return HttpResponseRedirect(page_url("change", draft))


def show_changes(page: DraftPage) -> HttpResponse:
    """Answer what the draft changes, side by side with what is published."""
    active = page.active
    block = "Mend the findings first: a document that cannot be read cannot be compared."
    if page.comparison is not None:
        block = render_comparison(
            page.comparison,
            before=f"Published (revision {active.revision})" if active else "Published",
            after="This draft",
            nothing="This draft says the same as the published catalog.",
            csrf_token=get_token(page.request),
        )
    impact = page.build_impact()
    return page.render("catalog/draft_changes.html", tab="changes", comparison_block=block, impact=impact)


def show_document(page: DraftPage) -> HttpResponse:
    """Answer the document as text; posting stores another one, typed or from a file."""
    request, draft = page.request, page.draft
    seen = hash_document(draft.document)
    if request.method != "POST":
        form = DocumentForm(initial={"document": draft.document})
        return page.render("catalog/draft_document.html", tab="document", form=form, seen=seen)
    page.require_editable()
    form = DocumentForm(request.POST, request.FILES)
    status = 200
    if form.is_valid():
        try:
            result = update_draft(
                draft_id=draft.pk,
                document=form.get_document(),
                at=clock.now(),
                actor=staff_actor(request),
                seen=request.POST.get("seen") or None,
                what="document edited as JSON",
            )
        except DomainError as error:
            status = 409
            for finding in error.errors[:20]:
                form.add_error(
                    "document", f"{finding.pointer}: {finding.detail}" if finding.pointer else finding.detail
                )
            if not error.errors:
                form.add_error(None, error.detail)
        else:
            say_saved(request, result.findings)
            return HttpResponseRedirect(page_url("document", draft))
    return page.render(
        "catalog/draft_document.html", tab="document", form=form, seen=request.POST.get("seen", seen), status=status
    )


def show_log(page: DraftPage) -> HttpResponse:
    """Answer what happened to the draft."""
    events = Event.objects.filter(object_id=page.draft.public_id).order_by("-id")[:SHOWN_EVENTS]
    return page.render("catalog/draft_log.html", tab="log", timeline=render_timeline(list(events)))


def export_document(page: DraftPage) -> HttpResponse:
    """Answer the document as a file, as it is edited."""
    name = slugify(f"{page.draft.org_id} {page.draft.title}") or "catalog"
    response = HttpResponse(format_document(page.draft.document), content_type="application/json; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}.json"'
    return response


def say_saved(request: HttpRequest, findings: Findings) -> None:
    """Tell that a draft was saved, and what keeps it from being published."""
    if findings:
        count = len(findings)
        messages.warning(
            request, f"Saved. {count} finding{' keeps' if count == 1 else 's keep'} this draft from being published."
        )
    else:
        messages.success(request, "Saved.")
