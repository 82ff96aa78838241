"""Giving back what was billed in advance for the time after a cancellation."""

from __future__ import annotations

from datetime import datetime

from accounts.models import Subscription, SubscriptionStatus
from accounts.terms.cancellations import plan_cancellation
from invoicing.models import PendingCharge
from invoicing.queries.billables import load_billables
from invoicing.queries.fees import find_billed_fee, list_fee_items
from invoicing.queries.sellers import Sellers
from invoicing.services.settling import leave_charges, make_charge


def leave_unused(subscription: Subscription, *, at: datetime, sellers: Sellers) -> list[PendingCharge]:
    """
    Leave credits for what was billed of the running period from the day of `at` on, for the invoice that ends it.

    Nothing for a trial, and nothing for a fee that was not billed or is not divided. Runs in the caller's transaction,
    which has locked the subscription and billed what was due.
    Source: policies, rules 5 and 12.
    """
    billables = load_billables([subscription], sellers=sellers)
    charges = []
    for item in list_fee_items(billables.items.get(subscription.id, ())):
        fee = find_billed_fee(subscription, billables, item)
        if fee is None:
            continue
        plan = plan_cancellation(
            at=at,
            cycle=subscription.cycle,
            period=subscription.current_period,
            fee=fee.period_fee,
            at_period_end=False,
            unused="credit",
            is_paid=False,
            is_trial=subscription.status == SubscriptionStatus.TRIALING,
        )
        if plan.credit is not None:
            charges.append(make_charge(item, fee, plan.credit))
    return leave_charges(subscription, charges, reason="unused time")
