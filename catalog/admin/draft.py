"""Catalog drafts: the list, what may be done with a draft, and the addresses of its pages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.db.models import Field, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from unfold.enums import ActionVariant

from billing_site.backoffice.actions import Call, service_action, staff_actor
from billing_site.backoffice.admin import BackOfficeAdmin
from billing_site.backoffice.approvals import has_asked, register_effect, show_actor
from billing_site.backoffice.display import NOTHING, json_block, link_display, status_badge, timestamp_display
from billing_site.kernel import clock
from billing_site.platform.models import Approval
from catalog.admin import draft_pages, editor_views
from catalog.admin.comparisons import compare_contents, describe_difference, render_comparison
from catalog.admin.draft_forms import HELP, DocumentField, NewDraftForm
from catalog.admin.draft_impact import build_impact
from catalog.admin.draft_pages import DraftPage, page_url
from catalog.documents.findings import DocumentInvalid
from catalog.documents.normalising import normalise_document, read_valid_document
from catalog.models import CatalogDraft, CatalogRevision, DraftStatus
from catalog.queries.revisions import find_active_revision
from catalog.services.documents import check_document
from catalog.services.draft_approvals import KIND, find_submitted_draft, submit_draft, withdraw_draft
from catalog.services.drafts import DraftResult, create_draft, discard_draft, publish_draft, rebase_draft
from catalog.services.publishing import compare_with

PagePath = tuple[str, str, Callable[..., HttpResponse]]


def _is_open(draft: CatalogDraft) -> bool:
    return draft.status == DraftStatus.DRAFT


def _is_submitted(draft: CatalogDraft) -> bool:
    return draft.status == DraftStatus.SUBMITTED


def _is_submittable(draft: CatalogDraft) -> bool:
    return _is_open(draft) and settings.BILLING_CATALOG_APPROVAL


def _is_publishable(draft: CatalogDraft) -> bool:
    return _is_open(draft) and not settings.BILLING_CATALOG_APPROVAL


def _is_outdated(draft: CatalogDraft) -> bool:
    active = find_active_revision(org_id=draft.org_id)
    return _is_open(draft) and draft.base_revision != (active.revision if active else None)


def _refuse_others(user: Any, draft: CatalogDraft) -> str:
    is_own = draft.approval is not None and has_asked(user, draft.approval)
    return "" if is_own else "Only the person who submitted it can take it back; others reject the request."


def _describe_change(drafts: Sequence[CatalogDraft]) -> list[str]:
    parts = []
    for draft in drafts:
        active = find_active_revision(org_id=draft.org_id)
        try:
            difference = compare_with(active, normalise_document(draft.document))
        except DocumentInvalid:
            continue
        parts.append(f"It replaces revision {active.revision}." if active else "It is the first one.")
        parts.append(describe_difference(difference))
    return parts


def _describe_publishing(drafts: Sequence[CatalogDraft]) -> str:
    first = "The document becomes the active catalog. New subscriptions get its prices; running ones keep theirs."
    return " ".join([first, *_describe_change(drafts)])


def _describe_submitting(drafts: Sequence[CatalogDraft]) -> str:
    first = (
        "The draft is locked and waits for another person. Once approved, its document becomes the active catalog: new "
        "subscriptions get its prices, running ones keep theirs."
    )
    return " ".join([first, *_describe_change(drafts)])


def _warn_before_publishing(drafts: Sequence[CatalogDraft]) -> Iterable[str]:
    for draft in drafts:
        if findings := check_document(draft.document):
            first = findings.items[0]
            count = len(findings)
            yield f"{count} finding(s) keep “{draft}” from being published; first {first.pointer}: {first.detail}"
        if _is_outdated(draft):
            yield f"Another revision was published since “{draft}” was started. Compare, then rebase it."


@admin.register(CatalogDraft)
class CatalogDraftAdmin(BackOfficeAdmin):
    """A document being edited. It may hold mistakes; only one without can be submitted and published."""

    nav_order = 10
    nav_title = "Catalog drafts"
    empty_title = "No draft yet"
    empty_text = "A draft starts as a copy of the published catalog. Edit it, compare it, submit it."
    list_display = ("title", "state", "org_id", "base", "author", "changed", "revision_link")
    list_filter = ("status", "org_id")
    list_select_related = ("published_revision",)
    search_fields = ("title", "created_by")
    actions_list = ("new_from_published",)
    actions_detail = ("submit", "publish", "take_back", "rebase", "discard")
    fieldsets = ((None, {"fields": (("title", "org_id"), "document")}),)
    state = status_badge(tones={"submitted": "info"})
    changed = timestamp_display("updated_at", zone="timezone", description="Changed")
    revision_link = link_display("published_revision", description="Published as", ordering=False)

    def get_queryset(self, request: HttpRequest) -> QuerySet[CatalogDraft]:
        rows: QuerySet[CatalogDraft] = super().get_queryset(request)
        return rows.select_related("published_revision", "approval").defer("published_revision__document")

    def has_change_permission(self, request: HttpRequest, obj: CatalogDraft | None = None) -> bool:
        return super().has_change_permission(request, obj) and (obj is None or _is_open(obj))

    def formfield_for_dbfield(self, db_field: Field[Any, Any], request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "document":
            return DocumentField(required=False, help_text=HELP)
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def save_with_service(self, request: HttpRequest, form: ModelForm[CatalogDraft], change: bool) -> CatalogDraft:
        values = form.cleaned_data
        result: DraftResult = create_draft(
            title=values["title"],
            org_id=values["org_id"].strip(),
            document=values["document"],
            at=clock.now(),
            actor=staff_actor(request),
        )
        if result.findings:
            messages.warning(request, f"{len(result.findings)} finding(s) keep this draft from being published yet.")
        return result.draft

    def response_add(self, request: HttpRequest, obj: CatalogDraft, post_url_continue: str | None = None) -> Any:
        messages.success(request, f"“{obj}” is started: edit it here.")
        return HttpResponseRedirect(page_url("change", obj))

    # ---- pages ------------------------------------------------------------------------------------------------------
    def get_urls(self) -> list[URLPattern]:
        part = "<str:section>/<int:index>"
        pages: list[PagePath] = [
            ("changes", "changes/", draft_pages.show_changes),
            ("document", "json/", draft_pages.show_document),
            ("log", "log/", draft_pages.show_log),
            ("export", "export/", draft_pages.export_document),
            ("undo", "<str:section>/undo/", editor_views.undo_change),
            ("quote", "plans/<int:index>/quote/", editor_views.answer_quote),
            ("copy", "plans/<int:index>/copy/", editor_views.copy_plan),
            ("remove", f"{part}/remove/", editor_views.drop_entry),
            ("entry", f"{part}/", editor_views.edit_entry),
        ]
        own = [self._make_path(name, f"<uuid:pk>/{where}", view) for name, where, view in pages]
        own.append(self._make_path("new_quote", "<uuid:pk>/plans/add/quote/", editor_views.answer_quote, index=None))
        own.append(self._make_path("new_entry", "<uuid:pk>/<str:section>/add/", editor_views.edit_entry, index=None))
        return [*own, *super().get_urls()]

    def _make_path(self, name: str, where: str, view: Callable[..., HttpResponse], **fixed: Any) -> URLPattern:
        def answer(request: HttpRequest, pk: Any, **arguments: Any) -> HttpResponse:
            return view(DraftPage.open(self, request, pk), **{**arguments, **fixed})

        made: URLPattern = path(where, self.admin_site.admin_view(answer), name=f"catalog_catalogdraft_{name}")
        return made

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Answer the overview in place of a form."""
        return draft_pages.show_overview(DraftPage.open(self, request, object_id))

    def list_detail_actions(self, request: HttpRequest, draft: CatalogDraft) -> list[Any]:
        """Return the buttons of the header, as its template draws them."""
        request.acted_on = draft  # type: ignore[attr-defined]  # known already: no second look
        offered = self.get_actions_detail(request, draft.pk)
        actions: list[Any] = self._get_actions_navigation(self.actions_detail, offered, str(draft.pk))
        return actions

    # ---- columns ----------------------------------------------------------------------------------------------------
    @admin.display(description="Started from", ordering="base_revision")
    def base(self, draft: CatalogDraft) -> str:
        return f"Revision {draft.base_revision}" if draft.base_revision else NOTHING

    @admin.display(description="Started by", ordering="created_by")
    def author(self, draft: CatalogDraft) -> str:
        return show_actor(draft.created_by)

    # ---- actions ----------------------------------------------------------------------------------------------------
    @service_action(
        description="New draft from the published catalog",
        permission="catalog.add_catalogdraft",
        effect="A draft is started as a copy of the organization's published catalog.",
        form=NewDraftForm,
        confirm_label="Start the draft",
        icon="edit_document",
    )
    def new_from_published(self, request: HttpRequest, obj: None, call: Call) -> HttpResponse:
        result = create_draft(
            title=call.data["title"],
            org_id=call.data["org_id"].strip(),
            at=call.at,
            actor=call.actor,
            reason=call.reason,
        )
        messages.success(request, f"“{result.draft}” is a copy of the published catalog: edit it here.")
        return HttpResponseRedirect(page_url("change", result.draft))

    @service_action(
        description="Submit for approval",
        permission="catalog.submit_catalogdraft",
        effect=_describe_submitting,
        warnings=_warn_before_publishing,
        allowed=_is_submittable,
        icon="how_to_reg",
        variant=ActionVariant.PRIMARY,
    )
    def submit(self, request: HttpRequest, draft: CatalogDraft, call: Call) -> str:
        submit_draft(draft_id=draft.pk, at=call.at, actor=call.actor, reason=call.reason)
        return f"“{draft}” is submitted: another person must approve it."

    @service_action(
        description="Publish",
        permission="catalog.publish_catalogdraft",
        effect=_describe_publishing,
        warnings=_warn_before_publishing,
        allowed=_is_publishable,
        icon="publish",
        variant=ActionVariant.PRIMARY,
    )
    def publish(self, request: HttpRequest, draft: CatalogDraft, call: Call) -> str:
        result = publish_draft(draft_id=draft.pk, at=call.at, actor=call.actor, reason=call.reason)
        if not result.changed:
            return f"The document says what revision {result.revision.revision} says: that one stays active."
        return f"Revision {result.revision.revision} is the active catalog now."

    @service_action(
        description="Take back",
        permission="catalog.submit_catalogdraft",
        effect="The request for approval is closed, and the draft can be edited again.",
        allowed=_is_submitted,
        refuses=_refuse_others,
        icon="undo",
    )
    def take_back(self, request: HttpRequest, draft: CatalogDraft, call: Call) -> str:
        withdraw_draft(draft_id=draft.pk, at=call.at, actor=call.actor, reason=call.reason)
        return f"“{draft}” is a draft again."

    @service_action(
        description="Rebase",
        permission="catalog.change_catalogdraft",
        effect="The draft counts as made from the revision that is active now. Its document stays as it is: what was "
        "published since and is not in the draft will be undone by publishing it.",
        allowed=_is_outdated,
        icon="merge",
    )
    def rebase(self, request: HttpRequest, draft: CatalogDraft, call: Call) -> str:
        rebased = rebase_draft(draft_id=draft.pk, at=call.at, actor=call.actor, reason=call.reason)
        return f"“{rebased}” is based on revision {rebased.base_revision} now."

    @service_action(
        description="Discard",
        permission="catalog.discard_catalogdraft",
        effect="The draft is closed without being published. Its document stays readable.",
        allowed=_is_open,
        icon="delete",
        variant=ActionVariant.DANGER,
    )
    def discard(self, request: HttpRequest, draft: CatalogDraft, call: Call) -> str:
        discard_draft(draft_id=draft.pk, at=call.at, actor=call.actor, reason=call.reason)
        return f"“{draft}” is discarded."


def render_publication(approval: Approval) -> SafeString | str:
    """Return what approving a submitted draft changes, side by side with the revision it replaces."""
    draft = find_submitted_draft(approval)
    number = approval.payload["replaces_revision"]
    try:
        content = None if draft is None else normalise_document(draft.document)
    except DocumentInvalid:
        content = None
    if draft is None or content is None or content.compute_hash() != approval.payload["document_hash"]:
        # Handed back and edited since: only the summary still says what was asked for.
        asked = json_block(approval.payload["changes"])
        return format_html("<p>The draft was edited since. What was asked for:</p>{}", asked)
    base = CatalogRevision.objects.filter(org_id=draft.org_id, revision=number).first()
    comparison = compare_contents(None if base is None else read_valid_document(base.document), content)
    block = render_comparison(comparison, before=f"Revision {number}" if number else "Before", after="This draft")
    context = {"block": block, "impact": build_impact(draft, comparison, at=clock.now())}
    return mark_safe(render_to_string("catalog/publication.html", context))  # noqa: S308 — escaped there


register_effect(KIND, render_publication, find_subject=find_submitted_draft)
