"""
Credit that comes with a plan: what boundaries end and what they bring, put into the wallets of a pass.

Nothing is written here: billing stores it, previews do not. Source: contract chapters Credits and Renewal and cycle,
step 5; ADR 0023.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import Exists, OuterRef, Q

from accounts.models import CreditGrant, Subscription
from accounts.models.credit_grant import INCLUDED_KEY
from accounts.services.stored_money import StoredMoney, Wallet
from accounts.terms.included import INCLUDED_LIMIT, compute_included_credit
from billing_site.kernel.actors import Actor
from billing_site.kernel.ids import new_uuid
from billing_site.kernel.periods import local_date
from invoicing.queries.billables import DueBoundary

PLAN_CREDIT_TAG = "plan-included"


@dataclass(slots=True)
class PlanCredit:
    """What boundaries changed: credit that ended with the period it came with, and new credit, not stored yet."""

    ended: list[CreditGrant] = field(default_factory=list)
    given: list[CreditGrant] = field(default_factory=list)


def has_plan_credit(subscription_ids: Iterable[uuid.UUID]) -> Q:
    """Return the condition for accounts that get credit with the plan of one of these subscriptions."""
    with_credit = Q(plan_version__limits__has_key=INCLUDED_LIMIT) | Q(
        pending_plan_version__limits__has_key=INCLUDED_LIMIT
    )
    return Q(Exists(Subscription.objects.filter(with_credit, account=OuterRef("pk"), id__in=list(subscription_ids))))


def pass_plan_credit(
    boundaries: Iterable[DueBoundary],
    *,
    money: StoredMoney,
    times: Mapping[uuid.UUID, datetime],
    actor: Actor,
) -> PlanCredit:
    """
    Let plan credit end and begin with the periods of the boundaries, in the wallets, and return what to store.

    To be called when the boundaries were billed and settled: the credit of a period pays the bill that closes it, not
    the one that opens it. `times` is now, by account.
    """
    found = PlanCredit()
    for boundary in boundaries:
        subscription = boundary.subscription
        wallet = money.wallets.get(subscription.account_id)
        if wallet is not None and boundary.closing is not None:
            for grant in _list_ended(wallet, subscription, boundary.closing.end):
                wallet.drop_grant(grant)
                found.ended.append(grant)
        if boundary.opening is None:
            continue
        given = _make_grant(boundary, at=times[subscription.account_id], actor=actor)
        if given is not None:
            wallet = money.wallets.setdefault(
                subscription.account_id, Wallet(subscription.account, times[subscription.account_id])
            )
            wallet.add_grant(given, given.as_burnable(meters=frozenset()))
            found.given.append(given)
    return found


def _list_ended(wallet: Wallet, subscription: Subscription, end: datetime) -> list[CreditGrant]:
    return [
        grant
        for grant in wallet.grants.values()
        if grant.is_included and grant.subscription_id == subscription.pk and grant.is_ended(end)
    ]


def _make_grant(boundary: DueBoundary, *, at: datetime, actor: Actor) -> CreditGrant | None:
    """Return the credit of the period that the boundary opens, by the plan that is in force then."""
    subscription, period = boundary.subscription, boundary.opening
    if period is None:
        return None
    amount = compute_included_credit(
        subscription.plan_version.limits, quantity=subscription.quantity, interval=subscription.billing_interval
    )
    if not amount:
        return None
    return CreditGrant(
        id=new_uuid(),
        account_id=subscription.account_id,
        subscription=subscription,
        name=f"Included in {subscription.plan_version.name}"[:255],
        amount=amount,
        remaining=amount,
        currency=subscription.currency,
        tags=PLAN_CREDIT_TAG,
        once_key=f"{INCLUDED_KEY}{subscription.public_id}:{local_date(period.start, subscription.zone)}",
        effective_at=period.start,
        expires_at=period.end,
        livemode=subscription.livemode,
        created_by=str(actor),
        created_at=at,
    )
