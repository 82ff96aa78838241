"""Objects of the server beside the examples that Stripe publishes: the same keys, the same JSON types."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.stripe_server.server import StripeServer, run_stripe_server

DATA = os.environ.get("COUNTINGHOUSE_DATA", "")
pytestmark = pytest.mark.skipif(not DATA, reason="COUNTINGHOUSE_DATA does not name the folder of Stripe's examples")


@pytest.fixture(scope="module")
def examples() -> dict[str, Any]:
    resources: dict[str, Any] = json.loads((Path(DATA) / "stripe_fixtures3.json").read_text())["resources"]
    return resources


# What is in these is not the same in any two examples: what a caller sent, what an event is about.
FREE = ("metadata", "payment_method_options", "automatic_payment_methods", ".data.object")


def describe(value: Any) -> str:
    """Return the JSON type of a value."""
    match value:
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case None:
            return "null"
    return {"str": "string", "list": "array", "dict": "object"}[type(value).__name__]


def compare(ours: Any, theirs: Any, path: str = "") -> list[str]:
    """
    Return the differences in keys and types. Where either is null the other may be anything; free-form objects and
    the members of lists that are empty on one side cannot be compared.
    """
    mine, other = describe(ours), describe(theirs)
    if "null" in {mine, other}:
        return []
    if mine != other:
        return [f"{path}: {mine}, Stripe has {other}"]
    if mine == "object" and not path.endswith(FREE):
        differences = [f"{path}.{key}: only one side has it" for key in sorted(ours.keys() ^ theirs.keys())]
        for key in sorted(ours.keys() & theirs.keys()):
            differences += compare(ours[key], theirs[key], f"{path}.{key}")
        return differences
    if mine == "array" and ours and theirs:
        return compare(ours[0], theirs[0], f"{path}[0]")
    return []


class Caller:
    """Asks, and returns what comes back."""

    def __init__(self, server: StripeServer) -> None:
        self.http = httpx.Client(base_url=server.url, auth=(server.test_key, ""))

    def post(self, path: str, **form: Any) -> Any:
        return self._read(self.http.post(path, data=form))

    def get(self, path: str) -> Any:
        return self._read(self.http.get(path))

    def delete(self, path: str) -> Any:
        return self._read(self.http.delete(path))

    def _read(self, answer: httpx.Response) -> Any:
        assert answer.status_code == 200, answer.text
        return answer.json()


def make_catalog(caller: Caller) -> dict[str, Any]:
    product = caller.post(
        "/v1/products",
        name="T-shirt",
        description="Grey",
        unit_label="piece",
        **{f"package_dimensions[{name}]": "1.5" for name in ("height", "length", "weight", "width")},
        **{"metadata[lookup_key]": "shirt", "marketing_features[0][name]": "Soft", "type": "good"},
    )
    form = {"product": product["id"], "currency": "usd", "unit_amount": "2000", "lookup_key": "shirt:usd"}
    price = caller.post(
        "/v1/prices",
        **form,
        **{"transform_quantity[divide_by]": "10", "transform_quantity[round]": "up", "recurring[interval]": "month"},
    )
    custom = caller.post(
        "/v1/prices",
        product=product["id"],
        currency="usd",
        **{"custom_unit_amount[enabled]": "true", "custom_unit_amount[minimum]": "100"},
    )
    product = caller.post(f"/v1/products/{product['id']}", default_price=price["id"])
    meter = caller.post(
        "/v1/billing/meters",
        display_name="Tokens",
        event_name="llm_tokens",
        **{"default_aggregation[formula]": "sum", "event_time_window": "hour"},
    )
    unsold = caller.post("/v1/products", name="Unsold")
    deleted = caller.http.delete(f"/v1/products/{unsold['id']}").json()
    balance = caller.http.get("/v1/balance").json()
    return {
        "product": product,
        "price": price,
        "price with an amount of the customer's": custom,
        "billing.meter": meter,
        "deleted_product": deleted,
        "balance": balance,
    }


def make_payments(caller: Caller, server: StripeServer) -> dict[str, Any]:
    """Pay, give back, dispute, pay out."""
    customer = caller.post("/v1/customers", email="ada@example.com", **{"address[country]": "GB"})
    owner = {"customer": customer["id"]}
    method = caller.post("/v1/payment_methods/pm_card_visa/attach", **owner)
    form = {"amount": "2000", "currency": "usd", "payment_method": method["id"], "confirm": "true", **owner}
    intent = caller.post("/v1/payment_intents", **form, **{"payment_method_types[]": "card"})
    refund = caller.post("/v1/refunds", payment_intent=intent["id"], amount="500")
    charge = caller.get(f"/v1/charges/{intent['latest_charge']}?expand[]=refunds")
    movement = caller.get(f"/v1/balance_transactions/{charge['balance_transaction']}")
    dispute = server.open_dispute(intent["id"])
    server.add_funds(5000)
    payout = caller.post("/v1/payouts", amount="100", currency="usd")
    setup = caller.post("/v1/setup_intents", payment_method="pm_card_visa", **owner)
    account = caller.get("/v1/account")
    return {
        "customer": caller.get(f"/v1/customers/{customer['id']}"),
        "payment_method": method,
        "payment_intent": intent,
        "refund": refund,
        "charge": charge,
        "balance_transaction": movement,
        "dispute": dispute,
        "payout": payout,
        "setup_intent": setup,
        "account": account,
        "bank_account": account["external_accounts"]["data"][0],
        "event": caller.get("/v1/events?limit=1")["data"][0] | {"data": {"object": {}}},
    }


def make_billing(caller: Caller, server: StripeServer, price: str) -> dict[str, Any]:
    """Subscribe, open hosted pages, report usage, stop a clock."""
    form = {"frozen_time": "1750000000"}
    clock = caller.post("/v1/test_helpers/test_clocks", **form)
    customer = caller.post("/v1/customers", test_clock=clock["id"], payment_method="pm_card_visa")["id"]
    method = caller.get(f"/v1/payment_methods?customer={customer}")["data"][0]["id"]
    subscription = caller.post(
        "/v1/subscriptions", customer=customer, default_payment_method=method, **{"items[0][price]": price}
    )
    lines = {"line_items[0][price]": price, "mode": "subscription"}
    session = caller.post("/v1/checkout/sessions", success_url="https://a.example", customer=customer, **lines)
    server.complete_checkout(session["id"])
    usage = {"event_name": "llm_tokens", "payload[stripe_customer_id]": customer, "payload[value]": "2"}
    endpoint = caller.post("/v1/webhook_endpoints", url="https://a.example", **{"enabled_events[]": "*"})
    invoice = caller.get(f"/v1/invoices/{subscription['latest_invoice']}")
    return {
        "test_helpers.test_clock": clock,
        "subscription": subscription,
        "subscription_item": subscription["items"]["data"][0],
        "invoice": invoice,
        "line_item": invoice["lines"]["data"][0],
        "checkout.session": caller.get(f"/v1/checkout/sessions/{session['id']}"),
        "item": caller.get(f"/v1/checkout/sessions/{session['id']}/line_items")["data"][0],
        "billing_portal.session": caller.post("/v1/billing_portal/sessions", customer=customer),
        "billing.meter_event": caller.post("/v1/billing/meter_events", **usage),
        "webhook_endpoint": caller.get(f"/v1/webhook_endpoints/{endpoint['id']}"),
        "deleted_webhook_endpoint": caller.delete(f"/v1/webhook_endpoints/{endpoint['id']}"),
        "deleted_customer": caller.delete(f"/v1/customers/{customer}"),
        "deleted_test_helpers.test_clock": caller.delete(f"/v1/test_helpers/test_clocks/{clock['id']}"),
    }


KINDS = (
    *("product", "price", "price with an amount of the customer's", "billing.meter", "deleted_product", "balance"),
    *("customer", "payment_method", "payment_intent", "refund", "charge", "balance_transaction", "dispute", "payout"),
    *("setup_intent", "account", "bank_account", "event", "test_helpers.test_clock", "subscription"),
    *("subscription_item", "invoice", "line_item", "checkout.session", "item", "billing_portal.session"),
    *("billing.meter_event", "webhook_endpoint", "deleted_webhook_endpoint", "deleted_customer"),
    "deleted_test_helpers.test_clock",
)


@pytest.fixture(scope="module")
def objects() -> Iterator[dict[str, Any]]:
    """One object of every kind with every field filled that the server fills."""
    with run_stripe_server() as server:
        caller = Caller(server)
        catalog = make_catalog(caller)
        payments = make_payments(caller, server)
        yield {**catalog, **payments, **make_billing(caller, server, catalog["price"]["id"])}
        caller.http.close()


def test_every_kind_is_compared(objects: dict[str, Any]) -> None:
    assert set(objects) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_an_object_is_shaped_like_stripes(kind: str, objects: dict[str, Any], examples: dict[str, Any]) -> None:
    assert compare(objects[kind], examples[kind.partition(" ")[0]]) == []


class TestCompare:
    def test_sees_keys_and_types(self) -> None:
        assert compare({"a": 1, "b": "x"}, {"a": "1", "c": None}) == [
            ".b: only one side has it",
            ".c: only one side has it",
            ".a: number, Stripe has string",
        ]

    def test_looks_inside(self) -> None:
        assert compare({"a": [{"b": True}]}, {"a": [{"b": 1}]}) == [".a[0].b: boolean, Stripe has number"]
        assert compare({"a": None, "metadata": {"x": "1"}}, {"a": {"b": 1}, "metadata": {}}) == []
