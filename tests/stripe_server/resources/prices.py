"""Prices of products. What a price costs never changes; a lookup key names one active price at a time."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from typing import Any

from tests.stripe_server.currencies import read_currency
from tests.stripe_server.errors import StripeError, wrong_parameter
from tests.stripe_server.listing import select_created
from tests.stripe_server.parameters import Parameters
from tests.stripe_server.resources.meters import METER
from tests.stripe_server.resources.products import PRODUCT, make_product
from tests.stripe_server.routing import Answer, Call, Page, Route, Single
from tests.stripe_server.store import Kind, Object, Store, copy_json

PRICE = Kind("price", "price_1", expandable={"product": "product"}, on_request=("currency_options", "tiers"))
INTERVALS = ("day", "month", "week", "year")
USAGE_TYPES = ("licensed", "metered")
TAX_BEHAVIORS = ("exclusive", "inclusive", "unspecified")
LOOKUP_KEY_LENGTH = 200
_LONGEST_INTERVAL = {"day": 1095, "week": 156, "month": 36, "year": 3}


def create(call: Call) -> Answer:
    """POST /v1/prices."""
    given = call.parameters
    scheme = given.choice("billing_scheme", ("per_unit", "tiered")) or "per_unit"
    recurring = _read_recurring(call.store, given)
    lookup_key, transfer = given.text("lookup_key", longest=LOOKUP_KEY_LENGTH), given.boolean("transfer_lookup_key")
    shown: Object = {
        "active": given.boolean("active") is not False,
        "billing_scheme": scheme,
        "currency": read_currency(given),
        "custom_unit_amount": _read_custom_amount(given),
        "lookup_key": lookup_key,
        "metadata": given.metadata({}),
        "nickname": given.text("nickname"),
        "product": given.text("product"),
        "recurring": recurring,
        "tax_behavior": given.choice("tax_behavior", TAX_BEHAVIORS) or "unspecified",
        "tiers_mode": given.choice("tiers_mode", ("graduated", "volume")),
        "transform_quantity": _read_transform(given),
        "type": "one_time" if recurring is None else "recurring",
        **_read_amount(given),
    }
    tiers = _read_tiers(given)
    _check_scheme(shown, tiers)
    if tiers is not None:
        shown["tiers"] = tiers
    product = _read_product(call, given) if shown["product"] is None else None
    given.finish()
    if product is not None:
        product = call.store.add(PRODUCT, product)
        shown["product"] = product["id"]
        call.store.emit("product.created", PRODUCT, product)
    call.store.get(PRODUCT, shown["product"], param="product", status=400)
    if lookup_key:
        _take_lookup_key(call.store, lookup_key, transfer=bool(transfer), active=shown["active"])
    price = call.store.add(PRICE, shown)
    call.store.emit("price.created", PRICE, price)
    return Single(PRICE, price)


def update(call: Call) -> Answer:
    """POST /v1/prices/{id}: everything but what it costs, whose it is and when it is due."""
    price = call.store.get(PRICE, call.id)
    given, changed = call.parameters, dict(price)
    if (active := given.boolean("active")) is not None:
        changed["active"] = active
    transfer = given.boolean("transfer_lookup_key")
    for name in ("nickname", "lookup_key"):
        if (text := given.text(name, can_unset=True, longest=LOOKUP_KEY_LENGTH)) is not None:
            changed[name] = text or None
    changed["metadata"] = given.metadata(price["metadata"])
    if (behavior := given.choice("tax_behavior", TAX_BEHAVIORS)) is not None:
        if price["tax_behavior"] not in {"unspecified", behavior}:
            raise StripeError("The tax_behavior of a price cannot be changed.", param="tax_behavior")
        changed["tax_behavior"] = behavior
    given.finish()
    product = call.store.find(PRODUCT, price["product"])
    if not changed["active"] and product is not None and product["default_price"] == price["id"]:
        raise StripeError("This price cannot be archived because it is the default price of its product.")
    if changed["lookup_key"] and (changed["lookup_key"] != price["lookup_key"] or not price["active"]):
        _take_lookup_key(
            call.store,
            changed["lookup_key"],
            transfer=bool(transfer),
            active=changed["active"],
            own=price["id"],
        )
    before = copy_json(price)
    price.update(changed)
    call.store.emit("price.updated", PRICE, price, before=before)
    return Single(PRICE, price)


def retrieve(call: Call) -> Answer:
    """GET /v1/prices/{id}."""
    return Single(PRICE, call.store.get(PRICE, call.id))


def list_prices(call: Call) -> Answer:
    """GET /v1/prices: the active ones unless the others are asked for."""
    given = call.parameters
    active = given.boolean("active")
    lookup_keys = given.texts("lookup_keys", most=10)
    product, currency = given.text("product"), given.text("currency")
    kind = given.choice("type", ("one_time", "recurring"))
    recurring = given.object("recurring")
    wanted = {}
    if recurring is not None:
        wanted = {
            "interval": recurring.choice("interval", INTERVALS),
            "meter": recurring.text("meter"),
            "usage_type": recurring.choice("usage_type", USAGE_TYPES),
        }
    chosen = [
        price
        for price in select_created(call.store.newest(PRICE), given)
        if price["active"] is (active is not False)
        and (lookup_keys is None or price["lookup_key"] in lookup_keys)
        and product in {None, price["product"]}
        and currency in {None, price["currency"]}
        and kind in {None, price["type"]}
        and all(value in {None, (price["recurring"] or {}).get(name)} for name, value in wanted.items())
    ]
    return Page(PRICE, chosen)


# ---- reading ---------------------------------------------------------------------------------------------------------
def _read_recurring(store: Store, given: Parameters) -> dict[str, Any] | None:
    recurring = given.object("recurring")
    if recurring is None:
        return None
    interval = str(recurring.choice("interval", INTERVALS, required=True))
    count = recurring.integer("interval_count", least=1) or 1
    if count > _LONGEST_INTERVAL[interval]:
        text = "The maximum interval of a recurring price is three years."
        raise wrong_parameter(text, param="recurring[interval_count]")
    usage_type = recurring.choice("usage_type", USAGE_TYPES) or "licensed"
    meter = recurring.text("meter")
    trial = recurring.integer("trial_period_days", least=1)
    if usage_type == "metered" and meter is None:
        raise wrong_parameter("Metered prices must be backed by meters.", param="recurring[meter]")
    if meter is not None:
        if usage_type != "metered":
            raise wrong_parameter("A price with a meter must be metered.", param="recurring[usage_type]")
        if store.get(METER, meter, param="recurring[meter]", status=400)["status"] != "active":
            raise StripeError(f"The meter `{meter}` is inactive.", param="recurring[meter]")
    return {
        "interval": interval,
        "interval_count": count,
        "meter": meter,
        "trial_period_days": trial,
        "usage_type": usage_type,
    }


def _read_amount(given: Parameters, *, name: str = "unit_amount", places: int = 12) -> dict[str, Any]:
    """Return `unit_amount` and `unit_amount_decimal`; the first is null where it would not be whole."""
    whole, exact = given.integer(name, least=0), given.decimal(f"{name}_decimal", places=places)
    if whole is not None and exact is not None:
        text = f"You may only specify one of these parameters: {given.at(name)}, {given.at(f'{name}_decimal')}."
        raise wrong_parameter(text, param=given.at(name))
    amount = Decimal(whole) if whole is not None else exact
    if amount is None:
        return {name: None, f"{name}_decimal": None}
    is_whole = amount == amount.to_integral_value()
    return {name: int(amount) if is_whole else None, f"{name}_decimal": _to_text(amount)}


def _read_custom_amount(given: Parameters) -> dict[str, Any] | None:
    custom = given.object("custom_unit_amount")
    if custom is None or not custom.boolean("enabled"):
        return None
    return {name: custom.integer(name, least=0) for name in ("maximum", "minimum", "preset")}


def _read_transform(given: Parameters) -> dict[str, Any] | None:
    transform = given.object("transform_quantity")
    if transform is None:
        return None
    return {
        "divide_by": transform.integer("divide_by", least=1, required=True),
        "round": transform.choice("round", ("down", "up"), required=True),
    }


def _read_tiers(given: Parameters) -> list[dict[str, Any]] | None:
    tiers = given.objects("tiers")
    if tiers is None:
        return None
    shown = []
    for tier in tiers:
        text = tier.text("up_to", required=True)
        up_to = None if text == "inf" else tier.integer("up_to", least=1)
        amounts = {**_read_amount(tier, name="flat_amount", places=0), **_read_amount(tier)}
        if amounts["flat_amount_decimal"] is None and amounts["unit_amount_decimal"] is None:
            text = "Each tier needs an amount: flat_amount, unit_amount or one of their decimals."
            raise wrong_parameter(text, param=tier.at("unit_amount"))
        shown.append({**amounts, "up_to": up_to})
    bounds = [tier["up_to"] for tier in shown]
    if not bounds or bounds[-1] is not None or None in bounds[:-1]:
        raise wrong_parameter("The last tier, and no other, must have `up_to` set to `inf`.", param="tiers")
    if any(low >= high for low, high in pairwise(bounds[:-1])):
        raise wrong_parameter("Tiers must be in ascending order of `up_to`.", param="tiers")
    return shown


def _check_scheme(shown: Object, tiers: list[dict[str, Any]] | None) -> None:
    has_amount = shown["unit_amount_decimal"] is not None or shown["custom_unit_amount"] is not None
    if shown["billing_scheme"] == "per_unit":
        if tiers is not None or shown["tiers_mode"] is not None:
            raise wrong_parameter("Tiers require `billing_scheme` to be `tiered`.", param="tiers")
        if not has_amount:
            text = "Prices require an `unit_amount` or `unit_amount_decimal` parameter to be set."
            raise wrong_parameter(text, code="parameter_missing", param="unit_amount")
        return
    if has_amount:
        raise wrong_parameter("A tiered price has its amounts in its tiers.", param="unit_amount")
    if tiers is None or shown["tiers_mode"] is None:
        missing = "tiers" if tiers is None else "tiers_mode"
        raise wrong_parameter(f"Missing required param: {missing}.", code="parameter_missing", param=missing)
    if shown["transform_quantity"] is not None:
        raise wrong_parameter("`transform_quantity` cannot be combined with `tiers`.", param="transform_quantity")


def _read_product(call: Call, given: Parameters) -> Object:
    """Return the product to make for a price that names none."""
    data = given.object("product_data")
    if data is None:
        text = "You must specify either `product` or `product_data` when creating a price."
        raise wrong_parameter(text, code="parameter_missing", param="product")
    return {
        **make_product(call.store, name=data.text("name", required=True)),
        "active": data.boolean("active") is not False,
        "metadata": data.metadata({}),
        "statement_descriptor": data.text("statement_descriptor", longest=22),
        "tax_code": data.text("tax_code"),
        "unit_label": data.text("unit_label"),
    }


def _take_lookup_key(store: Store, key: str, *, transfer: bool, active: bool, own: str = "") -> None:
    """
    Make a lookup key free for a price: taken from the others with `transfer`.

    :raises StripeError: if an active price has it, the new one is active too, and it is not transferred.
    """
    holders = [price for price in store.all(PRICE) if price["lookup_key"] == key and price["id"] != own]
    if transfer:
        for price in holders:
            price["lookup_key"] = None
        return
    taken = next((price for price in holders if price["active"]), None)
    if taken is not None and active:
        raise StripeError(f"A price (`{taken['id']}`) already uses that lookup key.", param="lookup_key")


def _to_text(amount: Decimal) -> str:
    text = format(amount, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


_ONE = "/v1/prices/{id}"
ROUTES = (
    Route("POST", "/v1/prices", create, "rak_plan_write"),
    Route("GET", "/v1/prices", list_prices, "rak_plan_read"),
    Route("GET", _ONE, retrieve, "rak_plan_read"),
    Route("POST", _ONE, update, "rak_plan_write"),
)
