"""Objects of the server beside the examples that Stripe publishes: the same keys, the same JSON types."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.stripe_server.server import StripeServer

DATA = os.environ.get("COUNTINGHOUSE_DATA", "")
pytestmark = pytest.mark.skipif(not DATA, reason="COUNTINGHOUSE_DATA does not name the folder of Stripe's examples")


@pytest.fixture(scope="module")
def examples() -> dict[str, Any]:
    resources: dict[str, Any] = json.loads((Path(DATA) / "stripe_fixtures3.json").read_text())["resources"]
    return resources


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
    Return the differences in keys and types. Where either is null the other may be anything; free-form metadata and
    the members of lists that are empty on one side cannot be compared.
    """
    mine, other = describe(ours), describe(theirs)
    if "null" in {mine, other}:
        return []
    if mine != other:
        return [f"{path}: {mine}, Stripe has {other}"]
    if mine == "object" and not path.endswith("metadata"):
        differences = [f"{path}.{key}: only one side has it" for key in sorted(ours.keys() ^ theirs.keys())]
        for key in sorted(ours.keys() & theirs.keys()):
            differences += compare(ours[key], theirs[key], f"{path}.{key}")
        return differences
    if mine == "array" and ours and theirs:
        return compare(ours[0], theirs[0], f"{path}[0]")
    return []


class Caller:
    """Posts forms and returns what comes back."""

    def __init__(self, server: StripeServer) -> None:
        self.http = httpx.Client(base_url=server.url, auth=(server.test_key, ""))

    def post(self, path: str, **form: Any) -> Any:
        answer = self.http.post(path, data=form)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture
def objects(stripe_server: StripeServer) -> dict[str, Any]:
    """One object of every kind with every field filled that the server fills."""
    caller = Caller(stripe_server)
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
    caller.http.close()
    return {
        "product": product,
        "price": price,
        "price with an amount of the customer's": custom,
        "billing.meter": meter,
        "deleted_product": deleted,
        "balance": balance,
    }


@pytest.mark.parametrize(
    "kind",
    ["product", "price", "price with an amount of the customer's", "billing.meter", "deleted_product", "balance"],
)
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
