"""
What a draft means for those who subscribe already: which plans it changes, who runs on which version, and what the new
prices would come to for them.

Counting is cheap and always shown. The money is computed by the engine that bills, subscription by subscription: at
once for a few, on request for many.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from accounts.queries.plan_usage import count_running_subscriptions
from billing_site.backoffice.display import format_money
from billing_site.kernel.errors import DomainError
from catalog.admin.comparisons import Comparison
from catalog.models import CatalogDraft, DraftStatus
from catalog.queries.versions import list_versions_of_plans
from invoicing.queries.impact import preview_document_impact
from invoicing.queries.plan_moves import MoveTotals

PRICED_AT_ONCE: Final = 100
PRICED_ON_REQUEST: Final = 20_000


@dataclass(frozen=True, slots=True)
class VersionUse:
    """A version, and how many run on it."""

    label: str
    count: int
    is_current: bool
    url_key: str


@dataclass(frozen=True, slots=True)
class MoneyChange:
    """What subscriptions come to by the month now, and would on the new version; the step, and its tone."""

    before: str
    after: str
    step: str
    tone: str


@dataclass(frozen=True, slots=True)
class PlanImpact:
    """A plan that changes, and its running subscriptions. `immovable` of them could not be moved as they are."""

    key: str
    name: str
    word: str
    tone: str
    total: int
    versions: Sequence[VersionUse]
    money: Sequence[MoneyChange] = ()
    immovable: int = 0


@dataclass(frozen=True, slots=True)
class Impact:
    """
    Everything a draft touches. Subscriptions keep the version they have until they are moved.

    `is_priced` tells whether the money is there, `may_price` whether it can be asked for, `problem` why it cannot.
    """

    plans: Sequence[PlanImpact]
    money: Sequence[MoneyChange] = ()
    is_priced: bool = False
    may_price: bool = False
    problem: str = ""

    @property
    def total(self) -> int:
        return sum(plan.total for plan in self.plans)


def build_impact(draft: CatalogDraft, comparison: Comparison, *, at: datetime, asked_for_money: bool = False) -> Impact:
    """
    Return the running subscriptions of the plans that a draft changes or removes, and what they would come to.

    Two queries for the counts. The money is there for up to 100 subscriptions, or if it is asked for.
    """
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
    counted = Impact(plans)
    is_open = draft.status in (DraftStatus.DRAFT, DraftStatus.SUBMITTED)
    if not is_open or not counted.total:
        return counted
    if counted.total <= (PRICED_ON_REQUEST if asked_for_money else PRICED_AT_ONCE):
        return _price(draft, counted, at)
    return Impact(plans, may_price=counted.total <= PRICED_ON_REQUEST)


def _price(draft: CatalogDraft, counted: Impact, at: datetime) -> Impact:
    try:
        found = preview_document_impact(org_id=draft.org_id, document=draft.document, at=at)
    except DomainError as error:
        return Impact(counted.plans, problem=error.detail)
    moves = {each.plan.key: each.move for each in found.plans if each.move is not None}
    plans = []
    for plan in counted.plans:
        move = moves.get(plan.key)
        if move is None:
            plans.append(plan)
            continue
        money = [_show_change(total) for total in move.totals]
        immovable = plan.total - move.movable
        plans.append(
            PlanImpact(plan.key, plan.name, plan.word, plan.tone, plan.total, plan.versions, money, max(0, immovable))
        )
    return Impact(plans, [_show_change(total) for total in found.totals], is_priced=True)


def _show_change(total: MoveTotals) -> MoneyChange:
    step = total.monthly_difference
    sign = "+" if step > 0 else "\N{MINUS SIGN}" if step < 0 else "±"
    return MoneyChange(
        before=format_money(total.monthly_before, total.currency),
        after=format_money(total.monthly_after, total.currency),
        step=f"{sign}{format_money(abs(step), total.currency)}",
        tone="good" if step > 0 else "bad" if step < 0 else "neutral",
    )
