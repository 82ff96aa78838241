"""Plan moves: how far each is, and what became of every subscription. Starting one: `new_plan_move`."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing_site.backoffice.actions import Call, service_action
from billing_site.backoffice.admin import BackOfficeAdmin, ReadOnlyInline
from billing_site.backoffice.display import NOTHING, link_display, link_to, status_badge, timestamp_display
from billing_site.backoffice.history import timeline_display
from billing_site.backoffice.page_links import PageLink, register_page_link
from catalog.models import Plan
from invoicing.admin.new_plan_move import NewMoveForm, respond_to_new_move
from invoicing.models import MoveStatus, PlanMove, PlanMoveItem
from invoicing.queries.move_progress import with_progress

PERMISSION = "invoicing.move_subscriptions"
_REFRESH_SECONDS = 3
_TONES = {"applied": "good"}


class MoveItemInline(ReadOnlyInline):
    """One row per subscription, failures first, then those that wait."""

    model = PlanMoveItem
    verbose_name_plural = "Subscriptions"
    fields = ("account_link", "subscription_link", "from_link", "state", "problem", "finished")
    readonly_fields = fields
    account_link = link_display("account", description="Account")
    state = status_badge(tones=_TONES)
    finished = timestamp_display("finished_at", description="When", zone="zone")

    @admin.display(description="Subscription")
    def subscription_link(self, row: PlanMoveItem) -> SafeString | str:
        return link_to(row.subscription, row.subscription.public_id)

    @admin.display(description="From")
    def from_link(self, row: PlanMoveItem) -> SafeString | str:
        return link_to(row.from_version, f"v{row.from_version.version}")

    @admin.display(description="Why not")
    def problem(self, row: PlanMoveItem) -> str:
        return row.error_detail or NOTHING

    def get_queryset(self, request: HttpRequest) -> QuerySet[PlanMoveItem]:
        rows: QuerySet[PlanMoveItem] = super().get_queryset(request)
        # failed, pending, applied
        return rows.select_related("account", "subscription", "from_version").order_by("-error_code", "-status", "id")


@admin.register(PlanMove)
class PlanMoveAdmin(BackOfficeAdmin):
    """Running subscriptions on their way to another version of their plan."""

    financial = True
    nav_icon = "move_up"
    nav_order = 25
    nav_title = "Plan moves"
    empty_title = "No plan move yet"
    empty_text = (
        "Publishing prices leaves running subscriptions on theirs. “New move” shows what taking them to another "
        "version would change, and does it."
    )
    list_display = ("name", "state", "progress", "failed", "when", "org_id", "requested_by", "requested")
    list_filter = ("status", "timing", "org_id")
    search_fields = ("plan__key", "reason", "=requested_by")
    search_help_text = "Plan, reason, who asked, or an id such as mov_…"
    actions_list = ("move_subscriptions",)
    inlines = (MoveItemInline,)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("name", "state"),
                    ("progress", "failed"),
                    ("plan_link", "version_link"),
                    ("when", "org_id"),
                    ("requested", "finished"),
                    ("requested_by", "public_id"),
                    "reason",
                )
            },
        ),
        ("History", {"fields": ("timeline",)}),
    )
    readonly_fields = (
        "name",
        "state",
        "progress",
        "failed",
        "plan_link",
        "version_link",
        "when",
        "requested",
        "finished",
        "public_id",
        "timeline",
    )
    state = status_badge()
    plan_link = link_display("plan", description="Plan")
    version_link = link_display("to_version", description="To version")
    requested = timestamp_display("requested_at", description="Requested", zone="zone")
    finished = timestamp_display("finished_at", description="Finished", zone="zone")
    timeline = timeline_display()

    def get_queryset(self, request: HttpRequest) -> QuerySet[PlanMove]:
        rows: QuerySet[PlanMove] = super().get_queryset(request)
        return with_progress(rows)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[PlanMove], search_term: str
    ) -> tuple[QuerySet[PlanMove], bool]:
        key = PlanMove.parse_id(search_term)
        if key is not None:
            return queryset.filter(pk=key), False
        rows, duplicates = super().get_search_results(request, queryset, search_term)
        return rows, duplicates

    @admin.display(description="Move", ordering="id")
    def name(self, move: PlanMove) -> str:
        return str(move)

    @admin.display(description="When", ordering="timing")
    def when(self, move: PlanMove) -> str:
        label = move.get_timing_display()
        return label[:1].upper() + label[1:]

    @admin.display(description="Progress")
    def progress(self, move: Any) -> SafeString:
        total = move.pending_count + move.applied_count + move.failed_count
        return format_html(
            '<span class="ch-progress"><progress max="{}" value="{}" aria-label="Progress"></progress>'
            ' <span class="ch-number">{} of {} applied</span></span>',
            max(total, 1),
            total - move.pending_count,
            f"{move.applied_count:,}",
            f"{total:,}",
        )

    @admin.display(description="Failed")
    def failed(self, move: Any) -> SafeString:
        if move.failed_count:
            return format_html('<span class="ch-badge ch-bad">{}</span>', f"{move.failed_count:,}")
        return format_html('<span class="ch-number">{}</span>', 0)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """While the move is on, the page comes back by itself."""
        response = super().changeform_view(request, object_id, form_url, extra_context)
        move = self.get_object(request, object_id) if object_id else None
        if move is not None and move.status == MoveStatus.RUNNING and isinstance(response, HttpResponse):
            response["Refresh"] = str(_REFRESH_SECONDS)
        return response

    @service_action(
        description="New move",
        permission=PERMISSION,
        effect="Choose which running subscriptions go to which version of their plan, and when. The next page shows "
        "what it would change for each of them; nothing happens before you have confirmed that.",
        form=NewMoveForm,
        confirm_label="Preview",
        icon="move_up",
        variant="primary",
    )
    def move_subscriptions(self, request: HttpRequest, _: None, call: Call) -> HttpResponse:
        return respond_to_new_move(self, request, call)


def _link_from_plan(plan: Plan) -> PageLink | None:
    if plan.current_version_id is None:
        return None
    address = reverse("admin:invoicing_planmove_move_subscriptions")
    return PageLink("Move subscriptions", f"{address}?plan={plan.pk}", "move_up")


register_page_link("catalog.plan", _link_from_plan, name="invoicing.move", permission=PERMISSION)
