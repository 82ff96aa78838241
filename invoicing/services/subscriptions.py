"""Starting a subscription bills its first fee in advance, so the use case lives here, above the accounts app."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from accounts.models import Subscription
from accounts.services.coupons import redeem_coupon
from accounts.services.subscriptions import create_subscription
from invoicing.models import Invoice
from invoicing.queries.policies import find_seller_policies
from invoicing.services.billing import bill_start


@transaction.atomic
def start_subscription(*, coupon_code: str = "", **arguments: Any) -> tuple[Subscription, Invoice | None]:
    """
    Create a subscription and issue the invoice of its first period when a fee is due in advance.

    Takes the arguments of `create_subscription`; one transaction. `alignment` defaults to the seller's, unless there is
    an anchor. `coupon_code` is used before anything is billed, so the first invoice has its discount. A start in the
    past bills every period that began by `at`, exactly as the cycle would. `payment_gated`, too, defaults to the
    seller's: the subscription is `incomplete` until its first invoice is paid, by stored money at once or by whatever
    way later (`activate_paid`), and what else is due is billed after that. Returns the subscription and its newest
    invoice, if any.
    :raises CouponNotApplicable, AlreadyRedeemed: as `redeem_coupon`; nothing is started then.
    """
    policies = find_seller_policies(arguments["account"])
    if arguments.get("alignment") is None and arguments.get("billing_cycle_anchor") is None:
        arguments["alignment"] = policies.alignment
    if arguments.get("payment_gated") is None:
        arguments["payment_gated"] = policies.payment_gated
    subscription = create_subscription(**arguments)
    if coupon_code:
        redeem_coupon(
            subscription_id=subscription.id,
            code=coupon_code,
            at=arguments["at"],
            actor=arguments["actor"],
            reason=arguments.get("reason", ""),
        )
    billed = bill_start(subscription_id=subscription.id, as_of=arguments["at"], actor=arguments["actor"])
    subscription = billed.subscription
    return subscription, billed.invoices[-1] if billed.invoices else None
