"""Previews of plan moves as the API answers them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from accounts.models import Subscription
from invoicing.queries.impact import DocumentImpact, PlanImpact
from invoicing.queries.plan_moves import MovePlan, MovePreview, MoveTotals

# Subscriptions named for each reason why some cannot be moved.
_NAMED: Final = 20


def render_impact(impact: DocumentImpact, *, limit: int) -> dict[str, Any]:
    """Return what a document would do to whom; `limit` bounds the subscriptions listed for each plan."""
    active = impact.preview.active
    return {
        "revision": active.revision if active is not None else None,
        "difference": impact.preview.difference.summarise(),
        "subscriptions": sum(plan.subscriptions for plan in impact.plans),
        "totals": [_render_totals(total) for total in impact.totals],
        "plans": [_render_plan(plan, limit) for plan in impact.plans],
    }


def _render_plan(impact: PlanImpact, limit: int) -> dict[str, Any]:
    version = impact.plan.current_version
    return {
        "plan_id": impact.plan.key,
        "name": version.name if version is not None else impact.plan.key,
        "change": impact.change,
        "next_version": impact.next_version,
        "subscriptions": impact.subscriptions,
        "versions": _render_versions(impact.versions),
        **render_move_plan(impact.move or MovePlan([]), limit=limit),
    }


def render_move_plan(plan: MovePlan, *, limit: int) -> dict[str, Any]:
    """Return sums, obstacles and the first `limit` subscriptions of a preview."""
    return {
        "totals": [_render_totals(total) for total in plan.totals],
        "not_movable": [
            {
                "code": obstacle.code,
                "detail": obstacle.detail,
                "subscriptions": len(obstacle.subscriptions),
                "subscription_ids": [each.public_id for each in obstacle.subscriptions[:_NAMED]],
            }
            for obstacle in plan.list_obstacles()
        ],
        "rows": [_render_row(preview) for preview in plan.list_largest(limit)],
    }


def count_versions(subscriptions: Sequence[Subscription]) -> list[dict[str, int]]:
    """Return how many of the subscriptions are on each version."""
    return _render_versions(Counter(each.plan_version.version for each in subscriptions))


def _render_versions(counts: Mapping[int, int]) -> list[dict[str, int]]:
    return [{"version": version, "subscriptions": counts[version]} for version in sorted(counts)]


def _render_totals(total: MoveTotals) -> dict[str, Any]:
    return {"currency": total.currency, "subscriptions": total.subscriptions, **_render_amounts(total)}


def _render_amounts(source: MovePreview | MoveTotals) -> dict[str, int]:
    return {
        "next_invoice_before": source.next_before,
        "next_invoice_after": source.next_after,
        "monthly_before": source.monthly_before,
        "monthly_after": source.monthly_after,
        "monthly_difference": source.monthly_difference,
    }


def _render_row(preview: MovePreview) -> dict[str, Any]:
    subscription = preview.subscription
    return {
        "subscription_id": subscription.public_id,
        "account_id": subscription.account.public_id,
        "account_name": subscription.account.name,
        "from_version": subscription.plan_version.version,
        "currency": subscription.currency,
        "next_billing_at": subscription.next_billing_at,
        **_render_amounts(preview),
        "kept_prices": list(preview.kept),
        "lost_prices": list(preview.lost),
    }
