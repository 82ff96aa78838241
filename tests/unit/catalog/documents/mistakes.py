"""One mistake each, what it does to a good document, and what must be found."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

Change = Callable[[dict[str, Any]], object]


def put(path: str, value: object) -> Change:
    """A change that sets what `path` (a pointer) names."""

    def change(document: dict[str, Any]) -> None:
        target: Any = document
        *parents, last = path.strip("/").split("/")
        for part in parents:
            target = target[int(part)] if isinstance(target, list) else target[part]
        if isinstance(target, list):
            target.append(value) if last == "-" else target.__setitem__(int(last), value)
        else:
            target[last] = value

    return change


def drop(path: str) -> Change:
    def change(document: dict[str, Any]) -> None:
        target: Any = document
        *parents, last = path.strip("/").split("/")
        for part in parents:
            target = target[int(part)] if isinstance(target, list) else target[part]
        del target[last]

    return change


FEE = "/plans/1/prices/0"
USAGE = "/plans/2/prices/0"
QUOTA = "/plans/0/quotas/0"

MISTAKES: list[tuple[str, Change, list[tuple[str, str]]]] = [
    # the document itself
    (
        "no products",
        drop("/products"),
        [("/products", "required"), *[(f"/plans/{i}/product_id", "product_unknown") for i in range(3)]],
    ),
    ("plans is an object", put("/plans", {}), [("/plans", "not_a_list")]),
    ("a meter is a text", put("/meters/-", "api"), [("/meters/3", "not_an_object")]),
    ("unknown top key", put("/product", []), [("/product", "unknown_key")]),
    ("unknown version", put("/version", 2), [("/version", "version_unsupported")]),
    ("version as a fraction", put("/version", Decimal("1.0")), [("/version", "version_unsupported")]),
    # products
    ("blank name", put("/products/0/name", "  "), [("/products/0/name", "blank")]),
    (
        "product id with a space",
        put("/products/1/id", "a i"),
        [("/products/1/id", "identifier_invalid"), ("/plans/2/product_id", "product_unknown")],
    ),
    (
        "id ends in a line break",
        put("/products/1/id", "ai\n"),
        [("/products/1/id", "identifier_invalid"), ("/plans/2/product_id", "product_unknown")],
    ),
    ("101 characters", put("/products/-", {"id": "x" * 101, "name": "X"}), [("/products/2/id", "identifier_invalid")]),
    (
        "two products of one id",
        put("/products/-", {"id": "ai", "name": "X"}),
        [("/products/2/id", "duplicate"), ("/products/2/id", "duplicate_lookup_key")],
    ),
    ("metadata is a list", put("/products/0/metadata", []), [("/products/0/metadata", "not_an_object")]),
    (
        "a fraction in metadata",
        put("/products/0/metadata", {"a": [1, {"b": Decimal("0.1")}]}),
        [("/products/0/metadata/a/1/b", "fraction")],
    ),
    ("unknown product key", put("/products/0/nmae", "x"), [("/products/0/nmae", "unknown_key")]),
    # meters
    ("no unit", drop("/meters/0/unit"), [("/meters/0/unit", "required")]),
    (
        "unknown aggregation",
        put("/meters/0/aggregation_type", "median"),
        [("/meters/0/aggregation_type", "choice_unknown")],
    ),
    (
        "formula the provider lacks",
        put("/meters/0/aggregation_formula", "max"),
        [("/meters/0/aggregation_formula", "choice_unknown")],
    ),
    (
        "two meters of one name",
        put("/meters/-", {"name": "api", "unit": "x"}),
        [("/meters/3/name", "duplicate"), ("/meters/3/name", "duplicate_lookup_key")],
    ),
    (
        "an event name taken by a name",
        put("/meters/-", {"name": "calls", "event_name": "api", "unit": "x"}),
        [("/meters/3/event_name", "duplicate")],
    ),
    (
        "a name taken by an event name",
        put("/meters/0", {"name": "requests", "event_name": "llm_input_tokens", "unit": "x"}),
        [("/meters/1/name", "duplicate"), (f"{QUOTA}/meter_event_name", "meter_unknown")],
    ),
    ("a dimension twice", put("/meters/0/dimensions", ["model", "model"]), [("/meters/0/dimensions/1", "duplicate")]),
    # plans
    ("plan without id", drop("/plans/2/id"), [("/plans/2/id", "required")]),
    ("two plans of one id", put("/plans/2/id", "pro"), [("/plans/2/id", "duplicate")]),
    ("plan of no product", put("/plans/0/product_id", "nothing"), [("/plans/0/product_id", "product_unknown")]),
    ("a feature is a number", put("/plans/1/features/-", 5), [("/plans/1/features/2", "not_a_text")]),
    ("a feature twice", put("/plans/1/features/-", "service:api"), [("/plans/1/features/2", "duplicate")]),
    (
        "trial of a day and a half",
        put("/plans/1/trial_period_days", Decimal("1.5")),
        [("/plans/1/trial_period_days", "not_an_integer")],
    ),
    ("negative trial", put("/plans/1/trial_period_days", -1), [("/plans/1/trial_period_days", "too_small")]),
    ("proration by hour", put("/plans/1/proration", "hour"), [("/plans/1/proration", "choice_unknown")]),
    ("proration is false", put("/plans/1/proration", False), [("/plans/1/proration", "not_a_text")]),
    (
        "a denominator of 31",
        put("/plans/1/proration_basis", "fixed_31"),
        [("/plans/1/proration_basis", "choice_unknown")],
    ),
    ("popular as text", put("/plans/1/popular", "yes"), [("/plans/1/popular", "not_a_boolean")]),
    ("limit below -1", put("/plans/1/limits", {"zones": -2}), [("/plans/1/limits/zones", "too_small")]),
    ("metadata on a plan", put("/plans/1/metadata", {}), [("/plans/1/metadata", "unknown_key")]),
    # fees
    ("negative price", put(f"{FEE}/unit_amount", -1), [(f"{FEE}/unit_amount", "negative")]),
    ("price with a point", put(f"{FEE}/unit_amount", Decimal("29.00")), [(f"{FEE}/unit_amount", "not_an_integer")]),
    ("price as text", put(f"{FEE}/unit_amount", "2900"), [(f"{FEE}/unit_amount", "not_an_integer")]),
    ("price as true", put(f"{FEE}/unit_amount", True), [(f"{FEE}/unit_amount", "not_an_integer")]),
    ("no amount", drop(f"{FEE}/unit_amount"), [(f"{FEE}/unit_amount", "required")]),
    ("an amount beyond reason", put(f"{FEE}/unit_amount", 10**16), [(f"{FEE}/unit_amount", "too_large")]),
    ("unknown currency", put(f"{FEE}/currency", "xxx"), [(f"{FEE}/currency", "currency_unsupported")]),
    ("fee without interval", drop(f"{FEE}/interval"), [(f"{FEE}/interval", "required")]),
    ("unknown interval", put(f"{FEE}/interval", "quarter"), [(f"{FEE}/interval", "choice_unknown")]),
    ("interval count zero", put(f"{FEE}/interval_count", 0), [(f"{FEE}/interval_count", "too_small")]),
    (
        "a second monthly fee",
        put("/plans/1/prices/-", {"currency": "USD", "unit_amount": 1, "interval": "month"}),
        [("/plans/1/prices/3/interval", "duplicate_price")],
    ),
    ("a usage model on a fee", put(f"{FEE}/model", "percentage"), [(f"{FEE}/model", "model_unsupported")]),
    (
        "a lookup key given twice",
        put(f"{FEE}/lookup_key", "pro:usd:year"),
        [("/plans/1/prices/1", "duplicate_lookup_key")],
    ),
    (
        "a lookup key that is a product's",
        put(f"{FEE}/lookup_key", "ai"),
        [(f"{FEE}/lookup_key", "duplicate_lookup_key")],
    ),
    # usage prices
    (
        "usage price as a number with a point",
        put(f"{USAGE}/unit_amount", Decimal("0.00005")),
        [(f"{USAGE}/unit_amount", "not_a_decimal_text")],
    ),
    ("usage price as a float", put(f"{USAGE}/unit_amount", 0.5), [(f"{USAGE}/unit_amount", "not_a_decimal_text")]),
    ("negative usage price", put(f"{USAGE}/unit_amount", "-0.5"), [(f"{USAGE}/unit_amount", "negative")]),
    ("13 decimals", put(f"{USAGE}/unit_amount", "0.0000000000001"), [(f"{USAGE}/unit_amount", "not_a_decimal_text")]),
    ("an exponent", put(f"{USAGE}/unit_amount", "5e-5"), [(f"{USAGE}/unit_amount", "not_a_decimal_text")]),
    ("not a number", put(f"{USAGE}/unit_amount", "NaN"), [(f"{USAGE}/unit_amount", "not_a_decimal_text")]),
    ("usage in advance", put(f"{USAGE}/billing_timing", "advance"), [(f"{USAGE}/billing_timing", "usage_in_advance")]),
    ("usage of no meter", put(f"{USAGE}/meter", "nothing"), [(f"{USAGE}/meter", "meter_unknown")]),
    ("a model nobody knows", put(f"{USAGE}/model", "guess"), [(f"{USAGE}/model", "model_unsupported")]),
    (
        "two prices of one meter",
        put("/plans/2/prices/1/meter", "llm_input_tokens"),
        [("/plans/2/prices/1/interval", "duplicate_price")],
    ),
    # quotas
    ("limit zero", put(f"{QUOTA}/limit", 0), [(f"{QUOTA}/limit", "too_small")]),
    ("limit -1", put(f"{QUOTA}/limit", -1), [(f"{QUOTA}/limit", "too_small")]),
    ("limit as text", put(f"{QUOTA}/limit", "5"), [(f"{QUOTA}/limit", "not_an_integer")]),
    ("unknown window", put(f"{QUOTA}/window", "fortnight"), [(f"{QUOTA}/window", "choice_unknown")]),
    ("no window", drop(f"{QUOTA}/window"), [(f"{QUOTA}/window", "required")]),
    ("unknown meter", put(f"{QUOTA}/meter_event_name", "x"), [(f"{QUOTA}/meter_event_name", "meter_unknown")]),
    ("unknown upgrade", put(f"{QUOTA}/upgrade_plan_id", "x"), [(f"{QUOTA}/upgrade_plan_id", "plan_unknown")]),
    ("upgrade to itself", put(f"{QUOTA}/upgrade_plan_id", "free"), [(f"{QUOTA}/upgrade_plan_id", "upgrade_circle")]),
    ("feature the plan lacks", put(f"{QUOTA}/feature", "llm:proxy"), [(f"{QUOTA}/feature", "feature_not_in_plan")]),
    ("unknown enforcement", put(f"{QUOTA}/enforcement", "stern"), [(f"{QUOTA}/enforcement", "choice_unknown")]),
    (
        "overage as a fraction",
        put(f"{QUOTA}/overage_price", Decimal("0.5")),
        [(f"{QUOTA}/overage_price", "not_a_decimal_text")],
    ),
    (
        "the same window by another name",
        put(
            "/plans/0/quotas/-",
            {"feature": "service:api", "meter_event_name": "api", "window": "current_period", "limit": 1},
        ),
        [("/plans/0/quotas/1/window", "duplicate_quota")],
    ),
    # flat provider form
    (
        "flat price of nothing",
        put("/prices", [{"lookup_key": "a", "product_lookup_key": "ai", "currency": "usd", "unit_amount": 0}]),
        [("/prices/0/unit_amount", "too_small")],
    ),
    (
        "flat price of no product",
        put("/prices", [{"lookup_key": "a", "product_lookup_key": "b", "currency": "usd", "unit_amount": 1}]),
        [("/prices/0/product_lookup_key", "product_unknown")],
    ),
    (
        "flat price without keys",
        put("/prices", [{"currency": "usd", "unit_amount": 1}]),
        [("/prices/0/lookup_key", "required"), ("/prices/0/product_lookup_key", "required")],
    ),
]
