"""
The policies that bills follow: those of the plan, else its seller's. One place to ask, so that every use case agrees.

Source: policies, rules 7 and 9 to 13; ADR 0025.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

from accounts.models import Account
from accounts.terms.alignment import IntervalChange
from accounts.terms.boundaries import Alignment
from accounts.terms.cancellations import UnusedTime
from accounts.terms.pauses import PauseCredit
from accounts.terms.proration import ProrationBasis, ProrationTerms, ProrationUnit
from catalog.models import PlanVersion
from invoicing.models import Seller
from invoicing.queries.sellers import get_sellers


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


def find_seller_policies(account: Account) -> SellerPolicies:
    """Return the policies of an account's seller; the defaults before there is one. One query."""
    return get_seller_policies(get_sellers([account]).of(account))


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
