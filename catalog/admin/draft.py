"""Catalog drafts: the document to edit, what is wrong with it, what it would change, and the way to publish it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Field, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.safestring import SafeString
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from billing_site.backoffice.actions import Call, ReasonForm, service_action, staff_actor
from billing_site.backoffice.admin import BackOfficeAdmin
from billing_site.backoffice.display import NOTHING, link_display, status_badge, timestamp_display
from billing_site.backoffice.history import timeline_display
from billing_site.kernel import clock
from catalog.admin.comparisons import describe_difference, document_display, render_difference, render_findings
from catalog.documents.findings import DocumentInvalid
from catalog.documents.formatting import format_document
from catalog.documents.normalising import normalise_document
from catalog.documents.parsing import DocumentUnreadable, parse_document
from catalog.models import CatalogDraft, DraftStatus
from catalog.queries.revisions import DEFAULT_ORG, find_active_revision
from catalog.services.documents import check_document
from catalog.services.drafts import DraftResult, create_draft, discard_draft, publish_draft, rebase_draft, update_draft
from catalog.services.publishing import compare_with

_HELP = (
    "JSON. Fees are whole minor units (2900 is 29.00 USD); prices per unit of a meter are decimals in quotes, in minor "
    'units ("0.00005"). A new draft that is left empty starts as a copy of the published catalog.'
)


class DocumentField(forms.CharField):
    """A JSON document to edit as text; unreadable text is refused with line and column and stays as typed."""

    def __init__(self, **kwargs: Any) -> None:
        widget = UnfoldAdminTextareaWidget(attrs={"rows": 36, "spellcheck": "false", "wrap": "off"})
        widget.attrs["class"] = f"{widget.attrs.get('class', '')} ch-code"
        super().__init__(**{"widget": widget, "strip": False, **kwargs})

    def prepare_value(self, value: Any) -> Any:
        return value if isinstance(value, str) else format_document(value)

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value) or ""
        if not text.strip():
            return None
        try:
            document = parse_document(text)
        except DocumentUnreadable as error:
            raise forms.ValidationError(str(error), code="unreadable") from error
        if not isinstance(document, dict):
            raise forms.ValidationError("A catalog document is a JSON object.", code="not_an_object")
        return document

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return bool(self.to_python(data) != initial)
        except forms.ValidationError:
            return True


class NewDraftForm(ReasonForm):
    """What a new draft needs besides its reason."""

    title = forms.CharField(max_length=200, widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "Spring prices"}))
    org_id = forms.CharField(
        label="Organization", max_length=100, initial=DEFAULT_ORG, widget=UnfoldAdminTextInputWidget()
    )


def _is_open(draft: CatalogDraft) -> bool:
    return draft.status == DraftStatus.DRAFT


def _is_outdated(draft: CatalogDraft) -> bool:
    active = find_active_revision(org_id=draft.org_id)
    return _is_open(draft) and draft.base_revision != (active.revision if active else None)


def _describe_publishing(drafts: Sequence[CatalogDraft]) -> str:
    parts = ["The document becomes the active catalog. New subscriptions get its prices; running ones keep theirs."]
    for draft in drafts:
        active = find_active_revision(org_id=draft.org_id)
        try:
            difference = compare_with(active, normalise_document(draft.document))
        except DocumentInvalid:
            continue
        parts.append(f"It replaces revision {active.revision}." if active else "It is the first one.")
        parts.append(describe_difference(difference))
    return " ".join(parts)


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
    """A document being edited. It may hold mistakes; only one without can be published."""

    nav_order = 10
    nav_title = "Catalog drafts"
    empty_title = "No draft yet"
    empty_text = "A draft starts as a copy of the published catalog. Edit it, compare it, publish it."
    list_display = ("title", "state", "org_id", "base", "created_by", "changed", "revision_link")
    list_filter = ("status", "org_id")
    list_select_related = ("published_revision",)
    search_fields = ("title", "created_by")
    actions_list = ("new_from_published",)
    actions_detail = ("publish", "rebase", "discard")
    readonly_fields = (
        "state",
        "base",
        "created_by",
        "since",
        "changed",
        "revision_link",
        "findings",
        "difference",
        "shown_document",
        "timeline",
    )
    state = status_badge()
    since = timestamp_display("created_at", zone="timezone", description="Started")
    changed = timestamp_display("updated_at", zone="timezone", description="Changed")
    revision_link = link_display("published_revision", description="Published as", ordering=False)
    shown_document = document_display()
    timeline = timeline_display()

    def get_queryset(self, request: HttpRequest) -> QuerySet[CatalogDraft]:
        rows: QuerySet[CatalogDraft] = super().get_queryset(request)
        return rows.select_related("published_revision").defer("published_revision__document")

    def has_change_permission(self, request: HttpRequest, obj: CatalogDraft | None = None) -> bool:
        return super().has_change_permission(request, obj) and (obj is None or _is_open(obj))

    def get_fieldsets(self, request: HttpRequest, obj: CatalogDraft | None = None) -> Any:
        if obj is None:
            return ((None, {"fields": (("title", "org_id"), "document")}),)
        editable = self.has_change_permission(request, obj)
        head = (("title", "state"), ("org_id", "base"), ("created_by", "changed"), "revision_link")
        sections: list[Any] = [(None, {"fields": head if not _is_open(obj) else head[:-1]})]
        sections.append(("Document", {"fields": ("document" if editable else "shown_document",)}))
        if _is_open(obj):
            sections.append(("Findings", {"fields": ("findings",)}))
            sections.append(("Changes to the published catalog", {"fields": ("difference",)}))
        return (*sections, ("History", {"fields": ("timeline",)}))

    def get_readonly_fields(self, request: HttpRequest, obj: CatalogDraft | None = None) -> Any:
        return self.readonly_fields if obj is None else (*self.readonly_fields, "org_id")

    def formfield_for_dbfield(self, db_field: Field[Any, Any], request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "document":
            return DocumentField(required=False, help_text=_HELP)
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def save_with_service(self, request: HttpRequest, form: ModelForm[CatalogDraft], change: bool) -> CatalogDraft:
        values, actor, at = form.cleaned_data, staff_actor(request), clock.now()
        result: DraftResult
        if change:
            document = values["document"] if values["document"] is not None else {}
            result = update_draft(
                draft_id=form.instance.pk, document=document, title=values["title"], at=at, actor=actor
            )
        else:
            result = create_draft(
                title=values["title"], org_id=values["org_id"], document=values["document"], at=at, actor=actor
            )
        if result.findings:
            messages.warning(request, f"{len(result.findings)} finding(s) keep this draft from being published yet.")
        return result.draft

    # ---- blocks -----------------------------------------------------------------------------------------------------
    @admin.display(description="Started from", ordering="base_revision")
    def base(self, draft: CatalogDraft) -> str:
        return f"Revision {draft.base_revision}" if draft.base_revision else NOTHING

    @admin.display(description="Findings")
    def findings(self, draft: CatalogDraft) -> SafeString:
        return render_findings(check_document(draft.document))

    @admin.display(description="Changes")
    def difference(self, draft: CatalogDraft) -> SafeString | str:
        active = find_active_revision(org_id=draft.org_id)
        try:
            difference = compare_with(active, normalise_document(draft.document))
        except DocumentInvalid:
            return "Mend the findings first: a document that cannot be read cannot be compared."
        return render_difference(
            difference,
            before=f"Published (revision {active.revision})" if active else "Published",
            after="This draft",
            nothing="This draft says the same as the published catalog.",
        )

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
        return HttpResponseRedirect(reverse("admin:catalog_catalogdraft_change", args=[result.draft.pk]))

    @service_action(
        description="Publish",
        permission="catalog.publish_catalogdraft",
        effect=_describe_publishing,
        warnings=_warn_before_publishing,
        allowed=_is_open,
        icon="publish",
        variant=ActionVariant.PRIMARY,
    )
    def publish(self, request: HttpRequest, draft: CatalogDraft, call: Call) -> str:
        result = publish_draft(draft_id=draft.pk, at=call.at, actor=call.actor, reason=call.reason)
        if not result.changed:
            return f"The document says what revision {result.revision.revision} says: that one stays active."
        return f"Revision {result.revision.revision} is the active catalog now."

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
