"""Hosted checkouts that a payer completed: the customer is linked, the subscription begins or becomes active."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from accounts.models import Account
from invoicing.gateways.billed import SubscriptionState
from invoicing.gateways.orders import HostedPage, SetupState
from invoicing.services.hosted_sessions import complete_checkout
from invoicing.services.inbound_events import report_refused
from invoicing.services.provider_customers import ProviderCustomerMismatch
from invoicing.webhooks.handlers.subscriptions import follow_subscription
from invoicing.webhooks.handling import Call, Handler, Handlers, Outcome, Provider, read_account


@dataclass(frozen=True, slots=True)
class CompletedCheckout:
    """A checkout with what it led to at the provider."""

    page: HostedPage
    subscription: SubscriptionState | None = None
    setup: SetupState | None = None


def fetch_checkout(provider: Provider, ref: str) -> CompletedCheckout:
    """Return a checkout, with the subscription that the provider began by it."""
    page = provider.fetch_checkout(checkout_ref=ref)
    subscription = setup = None
    if page.subscription_ref:
        subscription = provider.fetch_subscription(subscription_ref=page.subscription_ref)
    if page.setup_ref:
        setup = provider.fetch_setup(setup_ref=page.setup_ref)
    return CompletedCheckout(page, subscription, setup)


def apply_checkout(call: Call, found: CompletedCheckout) -> Outcome:
    """Link the customer to the account, and bring its subscription to the provider's state."""
    page, subscription = found.page, found.subscription
    ours = read_account(page.metadata) or (read_account(subscription.metadata) if subscription else "")
    account = call.find_account(metadata_ref=ours, client_reference=page.account_id, customer_ref=page.customer_ref)
    if account is None:
        return call.unmatched(f"checkout {page.ref}", is_ours=bool(ours or page.account_id), has_money=True)
    if page.status != "complete":
        return Outcome(f"Not applied: the checkout is {page.status}.", account, is_applied=False)
    if subscription is None and (ours_done := _complete_ours(call, account, found)) is not None:
        return ours_done
    linked = call.link_customer(account, page.customer_ref) if page.customer_ref else "The checkout is complete."
    if subscription is None:
        return Outcome(linked, account)
    named = dict(page.metadata) | dict(subscription.metadata)
    return follow_subscription(call, account, replace(subscription, metadata=named))


def _complete_ours(call: Call, account: Account, found: CompletedCheckout) -> Outcome | None:
    """Complete a page that was opened here: the method is kept and what it was opened for begins. None for others."""
    try:
        session = complete_checkout(
            page=found.page,
            setup=found.setup,
            provider_type=call.provider,
            at=call.now(account),
            actor=call.actor,
        )
    except ProviderCustomerMismatch as mismatch:
        report_refused(call.event, account=account, reason=mismatch.detail.rstrip("."), at=call.at)
        return Outcome(f"Not applied: {mismatch.detail}", account, is_applied=False)
    if session is None:
        return None
    return Outcome(f"Checkout {session.public_id} is complete. {session.outcome}".strip(), account)


HANDLERS: Final[Handlers] = {"checkout.session.completed": Handler(fetch_checkout, apply_checkout)}
