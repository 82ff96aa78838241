"""How a plan came to be what it is: each version, who published it and why, and what it changed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from django.template.loader import render_to_string
from django.utils.safestring import SafeString, mark_safe

from billing_site.backoffice.approvals import show_actor
from billing_site.backoffice.display import instant
from billing_site.platform.models import ApprovalStatus
from catalog.admin.comparisons import ComparedEntry, compare_plans
from catalog.models import CatalogDraft, Meter, Plan, PlanVersion
from catalog.queries.versions import list_published_versions

SHOWN_VERSIONS: Final = 20


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One version: when, by whom and why, and what it changed against the one before."""

    version: PlanVersion
    when: SafeString | str
    who: str
    approved_by: str
    reason: str
    is_on_sale: bool
    before: str
    change: ComparedEntry | None

    @property
    def after(self) -> str:
        return f"v{self.version.version}"


def render_plan_history(plan: Plan) -> SafeString:
    """Return the newest versions of a plan as a timeline, each beside the one before it. Three queries."""
    # One more than is shown, so that the oldest shown has something to stand beside.
    found = list_published_versions(plan=plan, limit=SHOWN_VERSIONS + 1)
    units = dict(Meter.objects.filter(org_id=plan.org_id).values_list("event_name", "unit"))
    people = _find_people(published.version.revision_id for published in found)
    entries = []
    for place, published in enumerate(found[:SHOWN_VERSIONS]):
        version, older = published.version, found[place + 1] if place + 1 < len(found) else None
        asked_by, approved_by = people.get(version.revision_id, (version.revision.published_by, ""))
        change = None
        if published.entry is not None and (older is None or older.entry is not None):
            change = compare_plans(older.entry if older else None, published.entry, units=units)
        entries.append(
            HistoryEntry(
                version=version,
                when=instant(version.created_at),
                who=show_actor(asked_by),
                approved_by=show_actor(approved_by),
                reason=version.revision.reason,
                is_on_sale=plan.is_active and plan.current_version_id == version.pk,
                before=f"v{older.version.version}" if older else "",
                change=change,
            )
        )
    context = {"entries": entries, "has_more": len(found) > SHOWN_VERSIONS}
    return mark_safe(render_to_string("catalog/plan_history.html", context))  # noqa: S308 — escaped there


def _find_people(revision_ids: Iterable[UUID]) -> dict[UUID, tuple[str, str]]:
    """Return who asked for a revision and who approved it, for those that two people published."""
    drafts = CatalogDraft.objects.filter(
        published_revision__in=list(revision_ids), approval__status=ApprovalStatus.APPROVED
    )
    rows = drafts.order_by("id").values_list("published_revision_id", "approval__requested_by", "approval__decided_by")
    return {revision_id: (str(asked_by), str(approved_by)) for revision_id, asked_by, approved_by in rows}
