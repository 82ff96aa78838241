"""The operators' inbox: what is abnormal, what can be done about it, and what became of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from django import forms
from django.contrib import admin
from django.db.models import Case, QuerySet, Value, When
from django.http import HttpRequest
from django.urls import reverse
from django.utils.safestring import SafeString
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget

from billing_site.backoffice.actions import Call, ObjectForm, ReasonForm, service_action
from billing_site.backoffice.admin.base import BackOfficeAdmin
from billing_site.backoffice.approvals import show_actor
from billing_site.backoffice.display import (
    NOTHING,
    json_display,
    link_to_id,
    status_badge,
    timestamp_display,
)
from billing_site.backoffice.history import timeline_display
from billing_site.backoffice.panels import Cell, Metric, Panel, PanelContext, TablePanel, Tone, register_panel
from billing_site.kernel.ids import encode_id
from billing_site.platform.models import WorkItem, WorkItemSeverity, WorkItemStatus
from billing_site.platform.services.work_items import (
    HANDLE,
    WorkItemKind,
    WorkItemKindUnknown,
    act_on_work_item,
    close_work_item,
    get_kind,
    list_kinds,
)

SHOWN_ON_INDEX: Final = 5
ACCOUNT_PREFIX: Final = "acc"
_SEVERITIES: Final[dict[str, Tone]] = {
    WorkItemSeverity.CRITICAL.value: "bad",
    WorkItemSeverity.WARNING.value: "warning",
    WorkItemSeverity.INFO.value: "info",
}
_URGENCY: Final = Case(
    When(severity=WorkItemSeverity.CRITICAL, then=Value(0)),
    When(severity=WorkItemSeverity.WARNING, then=Value(1)),
    default=Value(2),
)


def find_kind(name: str) -> WorkItemKind | None:
    """Return the kind of an item, or None when the part of the product that knew it is gone."""
    try:
        return get_kind(name)
    except WorkItemKindUnknown:
        return None


def name_action(name: str) -> str:
    """Return an action's name as a person reads it: `Send again` of `send_again`."""
    return name.replace("_", " ").capitalize()


class ActForm(ObjectForm):
    """What to do, of what the kind offers; and a note, which may stay empty."""

    # Not `action`: lists post the name of the button under that name.
    what = forms.ChoiceField(label="What to do", widget=UnfoldAdminSelectWidget)
    reason = forms.CharField(
        label="Comment",
        required=False,
        max_length=500,
        help_text="Optional. Stored with your name.",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3, "placeholder": "The provider is back"}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        kinds = list_kinds() if self.obj is None else [find_kind(self.obj.kind)]
        names = sorted({name for kind in kinds if kind is not None for name in kind.actions})
        self.fields["what"].choices = [(name, name_action(name)) for name in names]  # type: ignore[attr-defined]


class DoneForm(ReasonForm):
    """A note may be left."""

    reason = forms.CharField(
        label="Comment",
        required=False,
        max_length=500,
        help_text="Optional. What was done, for whoever looks later.",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3, "placeholder": "Refunded by hand at the bank"}),
    )


class KindFilter(admin.SimpleListFilter):
    """What kind of thing it is, by its title."""

    title = "kind"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, str]]:
        return [(kind.name, kind.title) for kind in list_kinds()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[WorkItem]) -> QuerySet[WorkItem] | None:
        chosen = self.value()
        return queryset.filter(kind=chosen) if chosen else None


def _is_open(item: WorkItem) -> bool:
    return item.is_open


def _has_actions(item: WorkItem) -> bool:
    kind = find_kind(item.kind)
    return item.is_open and kind is not None and bool(kind.actions)


def _refuse(user: Any, item: WorkItem) -> str:
    kind = find_kind(item.kind)
    if kind is not None and kind.permission and not user.has_perm(kind.permission):
        return f"Your role does not let you handle “{kind.title}”."
    return ""


@admin.register(WorkItem)
class WorkItemAdmin(BackOfficeAdmin):
    """What services found abnormal. Rows come from them; people act on an item, or close it."""

    financial = True
    nav_title = "Work items"
    nav_icon = "inbox"
    nav_top = True
    empty_title = "Nothing abnormal"
    empty_text = "What the product cannot settle alone, such as an event that fails again and again, waits here."
    list_display = (
        "what",
        "kind_title",
        "urgency",
        "state",
        "subject",
        "account_short",
        "opened",
        "last_seen",
        "count",
    )
    list_filter = ("status", KindFilter, "severity")
    search_fields = ("title", "=subject_id", "closed_by")
    search_help_text = "Words of the title, the id of what it is about, or who closed it"
    actions = ("act", "mark_done", "dismiss")
    actions_detail = ("act", "mark_done", "dismiss")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("title", "state"),
                    ("kind_title", "urgency"),
                    ("about", "account_link"),
                    ("opened", "last_seen"),
                    ("occurrences", "public_id"),
                    "detail",
                )
            },
        ),
        ("What became of it", {"fields": (("closed_by_name", "closed"), "comment")}),
        ("Details", {"fields": ("shown_data",)}),
        ("History", {"fields": ("timeline",)}),
    )
    readonly_fields = (
        *("state", "kind_title", "urgency", "about", "account_link", "opened", "last_seen", "public_id"),
        *("closed_by_name", "closed", "shown_data", "timeline"),
    )
    state = status_badge(tones={"open": "warning", "done": "good", "dismissed": "neutral"}, description="State")
    urgency = status_badge("severity", tones=_SEVERITIES, description="Severity")
    opened = timestamp_display("opened_at", description="Opened", ordering="id")
    last_seen = timestamp_display("last_seen_at", description="Last seen")
    closed = timestamp_display("closed_at", description="Closed")
    shown_data = json_display("data", description="Data")
    timeline = timeline_display()

    def get_ordering(self, request: HttpRequest) -> Any:
        open_first = Case(When(status=WorkItemStatus.OPEN, then=Value(0)), default=Value(1))
        return (open_first, "-id")

    def get_fieldsets(self, request: HttpRequest, obj: WorkItem | None = None) -> Any:
        if obj is None or obj.is_open:
            return [section for section in self.fieldsets if section[0] != "What became of it"]
        return self.fieldsets

    def nav_badge(self, request: HttpRequest) -> str:
        waiting = WorkItem.objects.filter(status=WorkItemStatus.OPEN).count()
        return str(waiting) if waiting else ""

    # ---- columns ----------------------------------------------------------------------------------------------------
    @admin.display(description="What", ordering="title")
    def what(self, item: WorkItem) -> str:
        return item.title

    @admin.display(description="Kind", ordering="kind")
    def kind_title(self, item: WorkItem) -> str:
        kind = find_kind(item.kind)
        return item.kind if kind is None else kind.title

    @admin.display(description="About")
    def about(self, item: WorkItem) -> SafeString | str:
        return link_to_id(item.subject_id, f"{item.subject_type.replace('_', ' ')} {item.subject_id}")

    @admin.display(description="About", ordering="subject_type")
    def subject(self, item: WorkItem) -> SafeString | str:
        return link_to_id(item.subject_id, item.subject_type.replace("_", " ")) if item.subject_id else NOTHING

    @admin.display(description="Account")
    def account_short(self, item: WorkItem) -> SafeString | str:
        if item.account_id is None:
            return NOTHING
        public_id = encode_id(ACCOUNT_PREFIX, item.account_id)
        return link_to_id(public_id, f"{public_id[:12]}…")

    @admin.display(description="Account")
    def account_link(self, item: WorkItem) -> SafeString | str:
        if item.account_id is None:
            return NOTHING
        public_id = encode_id(ACCOUNT_PREFIX, item.account_id)
        return link_to_id(public_id, public_id)

    @admin.display(description="Times", ordering="occurrences")
    def count(self, item: WorkItem) -> int:
        return item.occurrences

    @admin.display(description="Closed by")
    def closed_by_name(self, item: WorkItem) -> str:
        return show_actor(item.closed_by) or NOTHING

    # ---- actions ----------------------------------------------------------------------------------------------------
    @service_action(
        description="Act on it",
        permission=HANDLE,
        effect="What you choose is done in your name, and the item is closed. What goes wrong again opens a new one.",
        allowed=_has_actions,
        refuses=_refuse,
        form=ActForm,
        confirm_label="Do it",
        icon="build",
        variant=ActionVariant.PRIMARY,
    )
    def act(self, request: HttpRequest, item: WorkItem, call: Call) -> str:
        action = call.data["what"]
        done, said = act_on_work_item(item_id=item.pk, action=action, at=call.at, actor=call.actor, comment=call.reason)
        return said or f"{name_action(action)}: {done.title}."

    @service_action(
        description="Mark as done",
        permission=HANDLE,
        effect="The item is closed. Nothing else happens.",
        allowed=_is_open,
        refuses=_refuse,
        form=DoneForm,
        icon="check",
    )
    def mark_done(self, request: HttpRequest, item: WorkItem, call: Call) -> str:
        close_work_item(item_id=item.pk, at=call.at, actor=call.actor, comment=call.reason)
        return f"Done: {item.title}."

    @service_action(
        description="Dismiss",
        permission=HANDLE,
        effect="The item is closed because nothing needs to be done. Your reason is kept.",
        allowed=_is_open,
        refuses=_refuse,
        icon="close",
    )
    def dismiss(self, request: HttpRequest, item: WorkItem, call: Call) -> str:
        close_work_item(
            item_id=item.pk, at=call.at, actor=call.actor, comment=call.reason, status=WorkItemStatus.DISMISSED
        )
        return f"Dismissed: {item.title}."


def build_work_item_panels(_context: PanelContext) -> Iterable[Panel]:
    """How many items are open, and the most urgent. Nothing where nothing is."""
    changelist = f"{reverse('admin:platform_workitem_changelist')}?status__exact=open"
    waiting = WorkItem.objects.filter(status=WorkItemStatus.OPEN)
    count = waiting.count()
    if not count:
        return
    first = list(waiting.order_by(_URGENCY, "-id")[:SHOWN_ON_INDEX])
    yield Metric(
        "Work items",
        [str(count)],
        caption="wait for an operator",
        url=changelist,
        icon="inbox",
        tone="bad" if first[0].severity == WorkItemSeverity.CRITICAL else "warning",
        order=85,
    )
    rows: list[list[Cell | str]] = [
        [
            Cell(item.title, reverse("admin:platform_workitem_change", args=[item.pk])),
            Cell(item.get_severity_display(), tone=_SEVERITIES[item.severity]),
            str(item.occurrences),
            f"{item.last_seen_at:%d %b %H:%M}",
        ]
        for item in first
    ]
    yield TablePanel(
        "Abnormal", ["What", "Severity", "Times", "Last seen"], rows, url=changelist, numeric=[2], order=11
    )


register_panel("platform.work_items", build_work_item_panels, order=85, permission="platform.view_workitem")
