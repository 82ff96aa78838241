"""Starting a subscription bills its first fee in advance, so the use case lives here, above the accounts app."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from accounts.models import Subscription
from accounts.services.subscriptions import create_subscription
from invoicing.models import Invoice
from invoicing.services.billing import bill_subscriptions


@transaction.atomic
def start_subscription(**arguments: Any) -> tuple[Subscription, Invoice | None]:
    """
    Create a subscription and issue the invoice of its first period when a fee is due in advance.

    Takes the arguments of `create_subscription`; one transaction. A start in the past bills every period that began by
    `at`, exactly as the cycle would. Returns the subscription and its newest invoice, if any.
    """
    subscription = create_subscription(**arguments)
    billed = bill_subscriptions(
        subscription_ids=[subscription.id], as_of=arguments["at"], actor=arguments["actor"], run=None
    )[0]
    subscription = billed.subscription
    return subscription, billed.invoices[-1] if billed.invoices else None
