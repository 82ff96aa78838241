"""Customers of a provider: whose they are, and whether they are still there."""

from __future__ import annotations

from typing import Final

from invoicing.gateways.orders import CustomerState
from invoicing.services.provider_customers import record_customer_deleted
from invoicing.webhooks.handling import Call, Handler, Handlers, Outcome, Provider


def fetch_customer(provider: Provider, ref: str) -> CustomerState:
    """Return a customer; one that was deleted says so."""
    return provider.fetch_customer(customer_ref=ref)


def apply_customer(call: Call, state: CustomerState) -> Outcome:
    """Tie a customer to the account its metadata names, or note that it is gone."""
    account = call.find_account(metadata_ref="" if state.is_deleted else state.account_id, customer_ref=state.ref)
    if account is None:
        return call.unmatched(f"customer {state.ref}", is_ours=bool(state.account_id))
    at = call.now(account)
    if state.is_deleted:
        record_customer_deleted(provider_type=call.provider, ref=state.ref, at=at, actor=call.actor)
        return Outcome("The provider has deleted the customer.", account)
    return Outcome(call.link_customer(account, state.ref), account)


_FOLLOW: Final = Handler(fetch_customer, apply_customer)
HANDLERS: Final[Handlers] = {
    "customer.created": _FOLLOW,
    "customer.updated": _FOLLOW,
    "customer.deleted": _FOLLOW,
}
