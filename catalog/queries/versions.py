"""The versions of plans, with what the documents they were published with say of them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from django.db.models import F, Func, JSONField, Value
from django.db.models.functions import Cast

from catalog.documents.content import PlanEntry
from catalog.documents.normalising import read_valid_document
from catalog.models import Plan, PlanVersion


@dataclass(frozen=True, slots=True)
class PublishedVersion:
    """A version of a plan and its entry in the document of its revision."""

    version: PlanVersion
    entry: PlanEntry | None


def list_published_versions(*, plan: Plan, limit: int) -> list[PublishedVersion]:
    """
    Return the newest versions of a plan, newest first, with their entries. One query.

    The database picks the plan out of each document, so that long documents are not read whole.
    """
    entry = Func(
        F("revision__document"),
        Cast(Value("$.plans[*] ? (@.id == $key)"), _PathField()),
        Value({"key": plan.key}, output_field=JSONField()),
        function="jsonb_path_query_first",
        output_field=JSONField(),
    )
    rows = PlanVersion.objects.filter(plan=plan).select_related("revision").defer("revision__document")
    return [
        PublishedVersion(version, _read_entry(version.entry))
        for version in rows.annotate(entry=entry).order_by("-version")[:limit]
    ]


def list_versions_of_plans(*, org_id: str, keys: Collection[str]) -> dict[str, list[PlanVersion]]:
    """Return all versions of the plans named, newest first. One query."""
    found: dict[str, list[PlanVersion]] = {key: [] for key in keys}
    rows = PlanVersion.objects.filter(plan__org_id=org_id, plan__key__in=list(keys)).select_related("plan")
    for version in rows.order_by("-version"):
        found[version.plan.key].append(version)
    return found


class _PathField(JSONField):
    """A path into JSON, as PostgreSQL types it."""

    def db_type(self, connection: Any) -> str:
        return "jsonpath"

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        return value


def _read_entry(raw: dict[str, Any] | None) -> PlanEntry | None:
    return None if raw is None else read_valid_document({"plans": [raw]}).plans[0]
