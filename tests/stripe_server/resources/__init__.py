"""The resources the server knows, one module each. A new one is named here."""

from __future__ import annotations

from tests.stripe_server import events as event_kinds
from tests.stripe_server.resources import (
    balance_transactions,
    charges,
    customers,
    disputes,
    events,
    meters,
    paying,
    payment_intents,
    payment_methods,
    prices,
    products,
    refunds,
    webhook_endpoints,
)
from tests.stripe_server.routing import Route
from tests.stripe_server.store import Kind

MODULES = (
    balance_transactions,
    products,
    prices,
    meters,
    customers,
    payment_methods,
    payment_intents,
    charges,
    refunds,
    disputes,
    events,
    webhook_endpoints,
)
ROUTES: tuple[Route, ...] = tuple(route for module in MODULES for route in module.ROUTES)
KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        balance_transactions.BALANCE_TRANSACTION,
        products.PRODUCT,
        prices.PRICE,
        meters.METER,
        customers.CUSTOMER,
        payment_methods.PAYMENT_METHOD,
        paying.PAYMENT_INTENT,
        charges.CHARGE,
        refunds.REFUND,
        disputes.DISPUTE,
        event_kinds.EVENT,
        webhook_endpoints.WEBHOOK_ENDPOINT,
    )
}
