"""Subscriptions that a provider bills: state, plan, period and features follow it."""

from __future__ import annotations

from typing import Final

from accounts.models import Account
from invoicing.gateways.billed import SubscriptionState
from invoicing.queries.provider_plans import find_plan_key
from invoicing.services.inbound_events import report_refused
from invoicing.services.provider_mirror import tell_trial_will_end
from invoicing.services.provider_updates import NeutralUpdate, apply_provider_update
from invoicing.webhooks.handling import Call, Handler, Handlers, Outcome, Provider, read_account

# What plans are named by in metadata, the first that is there.
_PLANS: Final = ("billing_plan_id", "billing_plan", "plan_id", "plan")
_FEATURES: Final = ("billing_features", "billing_feature")
# Reasons of which nobody needs to hear: the newer state is applied already, or the plan was given away on purpose.
_EXPECTED: Final = ("known event", "older than", "the plan was given away")


def fetch_subscription(provider: Provider, ref: str) -> SubscriptionState:
    """Return a subscription as it is at the provider."""
    return provider.fetch_subscription(subscription_ref=ref)


def apply_subscription(call: Call, state: SubscriptionState) -> Outcome:
    """Bring the subscription of an account to the provider's state."""
    ours = read_account(state.metadata)
    account = call.find_account(metadata_ref=ours, customer_ref=state.customer_ref)
    if account is None:
        return call.unmatched(f"subscription {state.ref}", is_ours=bool(ours))
    return follow_subscription(call, account, state)


def follow_subscription(call: Call, account: Account, state: SubscriptionState) -> Outcome:
    """Apply a subscription's state to an account. What is refused for a reason nobody expects is told to operators."""
    update = NeutralUpdate(
        event_id=call.mark,
        provider=call.provider,
        status=state.status,
        plan_id=read_plan(state) or find_plan_key(org_id=account.org_id, price_keys=state.price_keys),
        features=read_features(state),
        provider_customer_id=state.customer_ref or None,
        provider_subscription_id=state.ref,
        occurred_at=call.occurred_at(account),
        period_start=state.period_start,
        period_end=state.period_end,
    )
    applied = apply_provider_update(account=account, update=update, at=call.now(account), actor=call.actor)
    if applied.applied:
        return Outcome(f"The subscription is {applied.status}.", account)
    if not applied.reason.startswith(_EXPECTED):
        report_refused(call.event, account=account, reason=applied.reason, at=call.at)
    return Outcome(f"Not applied: {applied.reason}.", account, is_applied=False)


def read_plan(state: SubscriptionState) -> str | None:
    """Return the plan that metadata names, or None."""
    return next((state.metadata[name].strip() for name in _PLANS if state.metadata.get(name, "").strip()), None)


def read_features(state: SubscriptionState) -> list[str] | None:
    """Return the features that metadata names, or None where the plan's count."""
    texts = [state.metadata[name] for name in _FEATURES if name in state.metadata]
    found = [part.strip() for text in texts for part in text.split(",") if part.strip()]
    return found or None


def apply_trial_end(call: Call, state: SubscriptionState) -> Outcome:
    """Tell that a trial ends soon."""
    ours = read_account(state.metadata)
    account = call.find_account(metadata_ref=ours, customer_ref=state.customer_ref)
    if account is None:
        return call.unmatched(f"subscription {state.ref}", is_ours=bool(ours))
    told = tell_trial_will_end(
        account=account,
        provider=call.provider,
        subscription_ref=state.ref,
        trial_end=state.trial_end,
        mark=call.event.event_id,
        at=call.now(account),
        actor=call.actor,
    )
    return Outcome(told, account)


_FOLLOW: Final = Handler(fetch_subscription, apply_subscription)
HANDLERS: Final[Handlers] = {
    "customer.subscription.created": _FOLLOW,
    "customer.subscription.updated": _FOLLOW,
    "customer.subscription.deleted": _FOLLOW,
    "customer.subscription.trial_will_end": Handler(fetch_subscription, apply_trial_end),
}
