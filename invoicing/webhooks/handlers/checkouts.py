"""Hosted checkouts that a payer completed: the customer is linked, the subscription begins or becomes active."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from invoicing.gateways.billed import SubscriptionState
from invoicing.gateways.orders import HostedPage
from invoicing.webhooks.handlers.subscriptions import follow_subscription
from invoicing.webhooks.handling import Call, Handler, Handlers, Outcome, Provider, read_account


@dataclass(frozen=True, slots=True)
class CompletedCheckout:
    """A checkout with what it led to at the provider."""

    page: HostedPage
    subscription: SubscriptionState | None = None


def fetch_checkout(provider: Provider, ref: str) -> CompletedCheckout:
    """Return a checkout, with the subscription that the provider began by it."""
    page = provider.fetch_checkout(checkout_ref=ref)
    if not page.subscription_ref:
        return CompletedCheckout(page)
    return CompletedCheckout(page, provider.fetch_subscription(subscription_ref=page.subscription_ref))


def apply_checkout(call: Call, found: CompletedCheckout) -> Outcome:
    """Link the customer to the account, and bring its subscription to the provider's state."""
    page, subscription = found.page, found.subscription
    ours = read_account(page.metadata) or (read_account(subscription.metadata) if subscription else "")
    account = call.find_account(metadata_ref=ours, client_reference=page.account_id, customer_ref=page.customer_ref)
    if account is None:
        return call.unmatched(f"checkout {page.ref}", is_ours=bool(ours or page.account_id), has_money=True)
    if page.status != "complete":
        return Outcome(f"Not applied: the checkout is {page.status}.", account, is_applied=False)
    linked = call.link_customer(account, page.customer_ref) if page.customer_ref else "The checkout is complete."
    if subscription is None:
        return Outcome(linked, account)
    named = dict(page.metadata) | dict(subscription.metadata)
    return follow_subscription(call, account, replace(subscription, metadata=named))


HANDLERS: Final[Handlers] = {"checkout.session.completed": Handler(fetch_checkout, apply_checkout)}
