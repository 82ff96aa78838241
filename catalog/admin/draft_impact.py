"""What a draft means for those who subscribe already: which plans it changes, and who runs on which version."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from accounts.queries.plan_usage import count_running_subscriptions
from catalog.admin.comparisons import Comparison
from catalog.models import CatalogDraft
from catalog.queries.versions import list_versions_of_plans


@dataclass(frozen=True, slots=True)
class VersionUse:
    """A version, and how many run on it."""

    label: str
    count: int
    is_current: bool
    url_key: str


@dataclass(frozen=True, slots=True)
class PlanImpact:
    """A plan that changes, and its running subscriptions."""

    key: str
    name: str
    word: str
    tone: str
    total: int
    versions: Sequence[VersionUse]


@dataclass(frozen=True, slots=True)
class Impact:
    """Everything a draft touches. Subscriptions keep the version they have until they are moved."""

    plans: Sequence[PlanImpact]

    @property
    def total(self) -> int:
        return sum(plan.total for plan in self.plans)


def build_impact(draft: CatalogDraft, comparison: Comparison) -> Impact:
    """Return the running subscriptions of the plans that a draft changes or removes. Two queries."""
    changed = [entry for entry in comparison.entries if entry.kind == "plan" and entry.change != "added"]
    versions = list_versions_of_plans(org_id=draft.org_id, keys=[entry.key for entry in changed])
    counts = count_running_subscriptions(version_ids=[version.pk for found in versions.values() for version in found])
    plans = []
    for entry in changed:
        used = [
            VersionUse(
                f"v{version.version}",
                counts.get(version.pk, 0),
                version.plan.current_version_id == version.pk,
                str(version.pk),
            )
            for version in versions[entry.key]
            if counts.get(version.pk) or version.plan.current_version_id == version.pk
        ]
        total = sum(use.count for use in used)
        plans.append(PlanImpact(entry.key, entry.name, entry.word, entry.tone, total, used))
    return Impact(plans)
