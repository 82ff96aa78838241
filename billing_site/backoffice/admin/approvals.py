"""The queue of requests that need a second person."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, Final

from django import forms
from django.contrib import admin
from django.db.models import Case, Q, QuerySet, Value, When
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminTextareaWidget

from billing_site.backoffice.actions import Call, ReasonForm, service_action
from billing_site.backoffice.admin.base import BackOfficeAdmin
from billing_site.backoffice.approvals import (
    DECIDE,
    explain_refusal,
    find_subject,
    has_asked,
    render_effect,
    render_waiting,
    show_actor,
)
from billing_site.backoffice.display import (
    NOTHING,
    format_money,
    instant,
    json_display,
    link_to,
    money_display,
    status_badge,
    timestamp_display,
)
from billing_site.backoffice.history import timeline_display
from billing_site.backoffice.panels import Cell, Metric, Panel, PanelContext, TablePanel, register_panel
from billing_site.platform.models import Approval, ApprovalStatus
from billing_site.platform.services.approvals import approve, cancel, list_kinds, reject

SHOWN_ON_INDEX: Final = 5
EXPIRES_SOON: Final = timedelta(days=2)


class ApproveForm(ReasonForm):
    """A comment may be left; who approves need not explain."""

    reason = forms.CharField(
        label="Comment",
        required=False,
        max_length=500,
        help_text="Optional. Stored with your name, for the person who asked and for the audit trail.",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3, "placeholder": "Checked with the price list"}),
    )


class RejectForm(ReasonForm):
    """The person who asked reads why."""

    reason = forms.CharField(
        label="Comment",
        min_length=5,
        max_length=500,
        help_text="What must change. Stored with your name, for the person who asked.",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3, "placeholder": "The yearly price is too low"}),
    )


class QueueFilter(admin.SimpleListFilter):
    """What concerns the person who looks."""

    title = "for me"
    parameter_name = "queue"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, str]]:
        return (("decide", "Waits for my decision"), ("asked", "Asked by me"))

    def queryset(self, request: HttpRequest, queryset: QuerySet[Approval]) -> QuerySet[Approval] | None:
        match self.value():
            case "decide":
                return filter_decidable(request, queryset)
            case "asked":
                return queryset.filter(requested_by__iendswith=f":{request.user.get_username()}")
        return None


def filter_decidable(request: HttpRequest, rows: QuerySet[Approval]) -> QuerySet[Approval]:
    """Return the open requests this person may decide."""
    user = request.user
    kinds = [kind.name for kind in list_kinds() if user.has_perm(DECIDE) and user.has_perm(kind.permission)]
    own = Q(requested_by__iendswith=f":{user.get_username()}")
    return rows.filter(status=ApprovalStatus.PENDING, kind__in=kinds).exclude(own)


def _is_pending(approval: Approval) -> bool:
    return approval.is_pending


def _refuse_others(user: Any, approval: Approval) -> str:
    return "" if has_asked(user, approval) else "Only the person who asked can take this back."


def _describe_approving(approvals: Sequence[Approval]) -> str:
    return " ".join(
        f"{approval.title}. It is done at once, in your name, exactly as {show_actor(approval.requested_by)} asked."
        for approval in approvals
    )


@admin.register(Approval)
class ApprovalAdmin(BackOfficeAdmin):
    """What somebody asked for and somebody else decides. Rows come from services; a decision is final."""

    financial = True
    nav_title = "Approvals"
    nav_icon = "how_to_reg"
    nav_top = True
    empty_title = "Nothing to approve"
    empty_text = "What nobody may do alone, such as publishing prices, waits here for a second person."
    list_display = ("what", "state", "effect_on_money", "asked_by", "asked_at", "expiry", "decided")
    list_filter = ("status", QueueFilter, "kind")
    search_fields = ("title", "=subject_id", "requested_by", "decided_by")
    actions_detail = ("approve_request", "reject_request", "cancel_request")
    fieldsets = (
        (None, {"fields": ("next_step",)}),
        (
            "Request",
            {
                "fields": (
                    ("title", "state"),
                    ("asked_by", "asked_at"),
                    ("effect_on_money", "expiry"),
                    "reason",
                    "subject",
                )
            },
        ),
        ("What will happen", {"fields": ("effect",)}),
        ("Decision", {"fields": (("decided_by_name", "decided"), "comment", "shown_result")}),
        ("History", {"fields": ("timeline",)}),
        ("Exactly what is approved", {"fields": ("shown_payload", "payload_hash", ("kind", "public_id"))}),
    )
    readonly_fields = (
        "next_step",
        "state",
        "asked_by",
        "asked_at",
        "effect_on_money",
        "expiry",
        "subject",
        "effect",
        "decided_by_name",
        "decided",
        "shown_result",
        "shown_payload",
        "public_id",
        "timeline",
    )
    state = status_badge(tones={"approved": "good", "rejected": "bad", "expired": "warning", "pending": "info"})
    asked_at = timestamp_display("requested_at", zone="timezone", description="Asked at", ordering="id")
    decided = timestamp_display("decided_at", zone="timezone", description="Decided at")
    effect_on_money = money_display("amount", description="Effect on money")
    shown_payload = json_display("payload")
    shown_result = json_display("result", description="Result")
    timeline = timeline_display()

    class Media:
        css = {"all": ("backoffice/catalog.css",)}  # an effect may be drawn side by side

    def get_ordering(self, request: HttpRequest) -> Any:
        pending_first = Case(When(status=ApprovalStatus.PENDING, then=Value(0)), default=Value(1))
        return (pending_first, "-id")

    def get_fieldsets(self, request: HttpRequest, obj: Approval | None = None) -> Any:
        if obj is None or obj.is_pending:
            return [section for section in self.fieldsets if section[0] != "Decision"]
        return [section for section in self.fieldsets if section[0] is not None]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        if obj is not None:
            obj.looked_at_by = request.user  # for `next_step`: a column is told of the row alone
        return super().get_form(request, obj, change=change, **kwargs)

    def nav_badge(self, request: HttpRequest) -> str:
        waiting = count_decidable(request)
        return str(waiting) if waiting else ""

    # ---- blocks -----------------------------------------------------------------------------------------------------
    @admin.display(description="Next step")
    def next_step(self, approval: Approval) -> SafeString | str:
        user = getattr(approval, "looked_at_by", None)
        if user is None:
            return NOTHING
        return render_waiting(approval, user)

    @admin.display(description="What", ordering="title")
    def what(self, approval: Approval) -> str:
        return approval.title

    @admin.display(description="Asked by", ordering="requested_by")
    def asked_by(self, approval: Approval) -> str:
        return show_actor(approval.requested_by)

    @admin.display(description="Decided by")
    def decided_by_name(self, approval: Approval) -> str:
        return show_actor(approval.decided_by) or NOTHING

    @admin.display(description="About")
    def subject(self, approval: Approval) -> SafeString | str:
        found = find_subject(approval)
        return f"{approval.subject_type.replace('_', ' ')} {approval.subject_id}" if found is None else link_to(found)

    @admin.display(description="Expires", ordering="expires_at")
    def expiry(self, approval: Approval) -> SafeString | str:
        if not approval.is_pending:
            return NOTHING
        return instant(approval.expires_at)

    @admin.display(description="What will happen")
    def effect(self, approval: Approval) -> SafeString | str:
        return format_html('<div class="ch-trace">{}</div>', render_effect(approval))

    # ---- actions ----------------------------------------------------------------------------------------------------
    @service_action(
        description="Approve",
        permission=DECIDE,
        effect=_describe_approving,
        allowed=_is_pending,
        refuses=explain_refusal,
        form=ApproveForm,
        icon="check",
        variant=ActionVariant.PRIMARY,
        url_path="approve",
    )
    def approve_request(self, request: HttpRequest, approval: Approval, call: Call) -> str:
        done = approve(approval_id=approval.pk, at=call.at, actor=call.actor, comment=call.reason)
        return f"Approved and done: {done.title}."

    @service_action(
        description="Reject",
        permission=DECIDE,
        effect="Nothing is done. The person who asked reads your comment and may ask again.",
        allowed=_is_pending,
        refuses=explain_refusal,
        form=RejectForm,
        icon="close",
        variant=ActionVariant.DANGER,
        url_path="reject",
    )
    def reject_request(self, request: HttpRequest, approval: Approval, call: Call) -> str:
        reject(approval_id=approval.pk, at=call.at, actor=call.actor, comment=call.reason)
        return f"Rejected: {approval.title}."

    @service_action(
        description="Take back",
        permission="platform.cancel_approval",
        effect="The request is closed without a decision. You may ask again.",
        allowed=_is_pending,
        refuses=_refuse_others,
        icon="undo",
        url_path="cancel",
    )
    def cancel_request(self, request: HttpRequest, approval: Approval, call: Call) -> str:
        cancel(approval_id=approval.pk, at=call.at, actor=call.actor, comment=call.reason)
        return f"Taken back: {approval.title}."


def count_decidable(request: HttpRequest) -> int:
    """Return how many requests wait for this person; for the sidebar."""
    if not request.user.has_perm(DECIDE):
        return 0
    return filter_decidable(request, Approval.objects.all()).count()


def build_approval_panels(context: PanelContext) -> Iterable[Panel]:
    """What waits for a decision: how much of it for this person, and the oldest. Nothing where nothing waits."""
    changelist = reverse("admin:platform_approval_changelist")
    pending = Approval.objects.filter(status=ApprovalStatus.PENDING)
    waiting = list(pending.order_by("id")[:SHOWN_ON_INDEX])
    if not waiting:
        return
    mine = count_decidable(context.request)
    yield Metric(
        "Approvals",
        [str(mine)],
        caption="wait for your decision" if mine else "nothing waits for you",
        url=f"{changelist}?queue=decide" if mine else changelist,
        icon="how_to_reg",
        tone="warning" if mine else "neutral",
        order=80,
    )
    rows: list[list[Cell | str]] = [
        [
            Cell(approval.title, reverse("admin:platform_approval_change", args=[approval.pk])),
            show_actor(approval.requested_by),
            format_money(approval.amount, approval.currency) if approval.amount is not None else NOTHING,
            Cell(f"{approval.expires_at:%d %b}", tone=_expiry_tone(approval, context)),
        ]
        for approval in waiting
    ]
    yield TablePanel("Waiting for approval", ["What", "Asked by", "Effect", "Expires"], rows, url=changelist, order=10)


def _expiry_tone(approval: Approval, context: PanelContext) -> Any:
    return "warning" if approval.expires_at - context.at < EXPIRES_SOON else None


register_panel("platform.approvals", build_approval_panels, order=80, permission="platform.view_approval")
