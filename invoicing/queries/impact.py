"""
What a catalog document would do to whom, before it is published.

Publishing moves nobody: running subscriptions stay on their version. The numbers say what moving them would change.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from accounts.queries.meter_prices import is_billed_overage
from catalog.models import Plan
from catalog.services.proposals import propose_versions
from catalog.services.publishing import PublishPreview, preview_document
from invoicing.models.plan_move import MoveTiming
from invoicing.queries.plan_moves import (
    MovePlan,
    MoveTotals,
    Target,
    count_by_version,
    preview_move,
    select_subscriptions,
)


@dataclass(frozen=True, slots=True)
class PlanImpact:
    """
    One plan that the document changes or takes off sale.

    `versions` counts its running subscriptions by version. `move` says what the version to come would change for all
    of them; None for a plan that goes off sale, whose subscriptions go on as they are.
    """

    plan: Plan
    change: str
    next_version: int | None
    versions: dict[int, int]
    move: MovePlan | None

    @property
    def subscriptions(self) -> int:
        return sum(self.versions.values())


@dataclass(frozen=True, slots=True)
class DocumentImpact:
    """The document as publishing would see it, and the plans it touches, by key."""

    preview: PublishPreview
    plans: list[PlanImpact]

    @property
    def totals(self) -> list[MoveTotals]:
        """The sums over all plans, by currency."""
        found: dict[str, MoveTotals] = {}
        for total in [total for plan in self.plans if plan.move is not None for total in plan.move.totals]:
            found.setdefault(total.currency, MoveTotals(total.currency)).add(total)
        return [found[currency] for currency in sorted(found)]


def preview_document_impact(
    *, org_id: str, document: object, at: datetime, accounts_of: str | None = None
) -> DocumentImpact:
    """
    Return what publishing `document` would do, and what moving the running subscriptions to it would change.

    `accounts_of` is the organization whose accounts alone are looked at; without it those of every organization that
    buys from this catalog.
    :raises CatalogContainsSecret, CatalogInvalid: as publishing would.
    """
    preview = preview_document(org_id=org_id, document=document)
    proposal = propose_versions(org_id=org_id, preview=preview, at=at)
    plans = [*(each.plan for each in proposal.changed), *proposal.removed]
    counts = count_by_version([plan.id for plan in plans], accounts_of=accounts_of)
    found = []
    for each in proposal.changed:
        quotas = [quota for quota in each.quotas if is_billed_overage(quota)]
        subscriptions = list(select_subscriptions(plan=each.plan, to_version=None, accounts_of=accounts_of))
        move = preview_move(
            subscriptions, target=Target(each.version, each.prices, quotas), timing=MoveTiming.PERIOD_END
        )
        versions = counts.get(each.plan.id, {})
        found.append(PlanImpact(each.plan, "changed", each.version.version, versions, move))
    for plan in proposal.removed:
        found.append(PlanImpact(plan, "removed", None, counts.get(plan.id, {}), None))
    return DocumentImpact(preview, sorted(found, key=lambda impact: impact.plan.key))
