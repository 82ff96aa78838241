"""
The policies that bills follow: those of the plan, else its seller's. One place to ask, so that every use case agrees.

Source: policies, rules 7 and 9 to 13; ADR 0025.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import cast

from accounts.terms.alignment import IntervalChange
from accounts.terms.boundaries import Alignment
from accounts.terms.cancellations import UnusedTime
from accounts.terms.pauses import PauseCredit
from accounts.terms.proration import ProrationBasis, ProrationTerms, ProrationUnit
from catalog.models import PlanVersion
from invoicing.models import Seller


@dataclass(frozen=True, slots=True)
class SellerPolicies:
    """What a seller has chosen where a request or a plan does not say otherwise; as it is here, the defaults."""

    proration: ProrationTerms = field(default_factory=ProrationTerms)
    alignment: Alignment = "anniversary"
    interval_change: IntervalChange = "keep_anchor"
    pause_credit: PauseCredit = "unused_days"
    cancel_unused: UnusedTime = "forfeit"
    payment_gated: bool = False


def get_seller_policies(seller: Seller) -> SellerPolicies:
    """Return the policies of a seller that is loaded; no query."""
    return SellerPolicies(
        proration=ProrationTerms(
            unit=cast(ProrationUnit, seller.proration_unit), basis=cast(ProrationBasis, seller.proration_basis)
        ),
        alignment=cast(Alignment, seller.alignment),
        interval_change=get_interval_change(seller),
        pause_credit=get_pause_credit(seller),
        cancel_unused=get_cancel_unused(seller),
        payment_gated=seller.payment_gated,
    )


def find_seller_policies(*, org_id: str) -> SellerPolicies:
    """Return the policies that hold for an organization; the defaults before it has a seller. One query."""
    return get_seller_policies(get_sellers([org_id])[org_id])


def get_proration_terms(version: PlanVersion, seller: Seller) -> ProrationTerms:
    """
    Return how parts of a period of a plan are charged: what its version says, else what its seller does. No query.

    Unit and basis are looked up one by one: a plan may say only one of them.
    Source: policies, rules 9 and 10.
    """
    return ProrationTerms(
        unit=cast(ProrationUnit, version.proration or seller.proration_unit),
        basis=cast(ProrationBasis, version.proration_basis or seller.proration_basis),
    )


def get_interval_change(seller: Seller) -> IntervalChange:
    """Return what becomes of the anchor when the interval changes. Source: policies, rule 7."""
    return cast(IntervalChange, seller.interval_change)


def get_pause_credit(seller: Seller) -> PauseCredit:
    """Return whether the unused days of a pause are given back. Source: policies, rule 13."""
    return cast(PauseCredit, seller.pause_credit)


def get_cancel_unused(seller: Seller) -> UnusedTime:
    """Return what becomes of unused time when a subscription is canceled at once. Source: policies, rule 12."""
    return cast(UnusedTime, seller.cancel_unused)


def get_sellers(org_ids: Collection[str]) -> dict[str, Seller]:
    """Return the sellers of organizations, with the defaults for those that have none stored."""
    found = {seller.org_id: seller for seller in Seller.objects.filter(org_id__in=org_ids)}
    # An organization that never issued anything has no seller row yet; the defaults round the same way.
    return {org_id: found.get(org_id) or Seller(org_id=org_id) for org_id in org_ids}
