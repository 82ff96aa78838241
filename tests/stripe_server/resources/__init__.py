"""The resources the server knows, one module each. A new one is named here."""

from __future__ import annotations

from tests.stripe_server import events as event_kinds
from tests.stripe_server.resources import (
    accounts,
    balance_transactions,
    charges,
    checkout,
    customers,
    disputes,
    events,
    invoices,
    meter_events,
    meters,
    paying,
    payment_intents,
    payment_methods,
    payouts,
    portal,
    prices,
    products,
    refunds,
    setup_intents,
    subscriptions,
    test_clocks,
    webhook_endpoints,
)
from tests.stripe_server.routing import Route
from tests.stripe_server.store import Kind

MODULES = (
    balance_transactions,
    products,
    prices,
    meters,
    meter_events,
    customers,
    payment_methods,
    setup_intents,
    payment_intents,
    charges,
    refunds,
    disputes,
    payouts,
    accounts,
    subscriptions,
    invoices,
    test_clocks,
    checkout,
    portal,
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
        setup_intents.SETUP_INTENT,
        payouts.PAYOUT,
        checkout.CHECKOUT_SESSION,
        portal.PORTAL_SESSION,
        accounts.ACCOUNT,
        subscriptions.SUBSCRIPTION,
        subscriptions.SUBSCRIPTION_ITEM,
        invoices.INVOICE,
        invoices.LINE_ITEM,
        invoices.DISCOUNT,
        test_clocks.TEST_CLOCK,
        accounts.BANK_ACCOUNT,
        meter_events.METER_EVENT,
        meter_events.SUMMARY,
        event_kinds.EVENT,
        webhook_endpoints.WEBHOOK_ENDPOINT,
    )
}
