"""Products: what is sold. They carry metadata and a default price, and no lookup key."""

from __future__ import annotations

import re

from tests.stripe_server.errors import StripeError, wrong_parameter
from tests.stripe_server.listing import select_created
from tests.stripe_server.parameters import Parameters
from tests.stripe_server.routing import Answer, Call, Page, Plain, Route, Single
from tests.stripe_server.store import Kind, Object, Store, copy_json

PRODUCT = Kind("product", "prod_", expandable={"default_price": "price"})
_TEXTS = ("description", "statement_descriptor", "tax_code", "unit_label", "url")
_DIMENSIONS = ("height", "length", "weight", "width")
_STATEMENT = re.compile(r"""[^<>\\"']{1,22}""")


def create(call: Call) -> Answer:
    """POST /v1/products."""
    given = call.parameters
    id = given.text("id", longest=500)
    shown = make_product(call.store, name=given.text("name", required=True))
    shown["type"] = given.choice("type", ("good", "service")) or "service"
    _apply(given, shown)
    given.finish()
    if id is not None and call.store.find(PRODUCT, id):
        raise StripeError("Product already exists.", code="resource_already_exists", param="id")
    product = call.store.add(PRODUCT, shown, id=id or None)
    call.store.emit("product.created", PRODUCT, product)
    return Single(PRODUCT, product)


def update(call: Call) -> Answer:
    """POST /v1/products/{id}. Everything sent replaces what was; an empty text removes it."""
    product = call.store.get(PRODUCT, call.id)
    changed = dict(product)
    if (name := call.parameters.text("name")) is not None:
        changed["name"] = name
    _apply(call.parameters, changed)
    _change_default_price(call, changed)
    call.parameters.finish()
    before = copy_json(product)
    product.update(changed, updated=call.store.clock.now())
    call.store.emit("product.updated", PRODUCT, product, before=before)
    return Single(PRODUCT, product)


def retrieve(call: Call) -> Answer:
    """GET /v1/products/{id}."""
    return Single(PRODUCT, call.store.get(PRODUCT, call.id))


def list_products(call: Call) -> Answer:
    """GET /v1/products, the active and the inactive unless one is asked for."""
    given = call.parameters
    active, shippable, ids = given.boolean("active"), given.boolean("shippable"), given.texts("ids")
    url, kind = given.text("url"), given.choice("type", ("good", "service"))
    chosen = [
        product
        for product in select_created(call.store.newest(PRODUCT), given)
        if active in {None, product["active"]}
        and shippable in {None, product["shippable"]}
        and (ids is None or product["id"] in ids)
        and url in {None, product["url"]}
        and kind in {None, product["type"]}
    ]
    return Page(PRODUCT, chosen)


def list_features(call: Call) -> Answer:
    """GET /v1/products/{id}/features: entitlements of Stripe's own, of which there are none."""
    call.store.get(PRODUCT, call.id)
    return Page(PRODUCT, [])


def delete(call: Call) -> Answer:
    """DELETE /v1/products/{id}; refused once it has a price."""
    product = call.store.get(PRODUCT, call.id)
    if has_prices(call.store, product["id"]):
        raise StripeError("This product cannot be deleted because it has one or more user-created prices.")
    call.store.remove(PRODUCT, product["id"])
    call.store.emit("product.deleted", PRODUCT, product)
    return Plain({"id": product["id"], "object": "product", "deleted": True})


def make_product(store: Store, *, name: str | None) -> Object:
    """Return a product with nothing but a name, not kept yet."""
    return {
        "active": True,
        "default_price": None,
        "description": None,
        "images": [],
        "marketing_features": [],
        "metadata": {},
        "name": name,
        "package_dimensions": None,
        "shippable": None,
        "statement_descriptor": None,
        "tax_code": None,
        "type": "service",
        "unit_label": None,
        "updated": store.clock.now(),
        "url": None,
    }


def has_prices(store: Store, product_id: str) -> bool:
    """Tell whether a product has prices, archived ones too."""
    return any(price["product"] == product_id for price in store.all("price"))


def _apply(given: Parameters, shown: Object) -> None:
    """Set what creation and update have in common."""
    for name in ("active", "shippable"):
        if (flag := given.boolean(name)) is not None:
            shown[name] = flag
    for name in _TEXTS:
        if (text := given.text(name, can_unset=True)) is not None:
            shown[name] = text or None
    if shown["statement_descriptor"] and not _STATEMENT.fullmatch(shown["statement_descriptor"]):
        raise wrong_parameter("Invalid statement descriptor.", param="statement_descriptor")
    if (images := given.texts("images", most=8)) is not None:
        shown["images"] = images
    if (features := given.objects("marketing_features")) is not None:
        names = [feature.text("name", required=True, longest=80) for feature in features]
        shown["marketing_features"] = [{"name": name} for name in names]
    if (box := given.object("package_dimensions")) is not None:
        sizes = {name: box.decimal(name, places=2) for name in _DIMENSIONS}
        shown["package_dimensions"] = {name: float(size) for name, size in sizes.items() if size is not None}
    shown["metadata"] = given.metadata(shown["metadata"])


def _change_default_price(call: Call, shown: Object) -> None:
    id = call.parameters.text("default_price", can_unset=True)
    if not id:
        shown["default_price"] = None if id == "" else shown["default_price"]
        return
    price = next((price for price in call.store.all("price") if price["id"] == id), None)
    if price is None or price["product"] != shown["id"]:
        text = f"No such price: '{id}'" if price is None else "The price does not belong to this product."
        raise StripeError(text, code=None if price else "resource_missing", param="default_price")
    if not price["active"]:
        raise StripeError("The default price of a product must be active.", param="default_price")
    shown["default_price"] = id


_ONE = "/v1/products/{id}"
ROUTES = (
    Route("POST", "/v1/products", create, "rak_product_write"),
    Route("GET", "/v1/products", list_products, "rak_product_read"),
    Route("GET", _ONE, retrieve, "rak_product_read"),
    Route("POST", _ONE, update, "rak_product_write"),
    Route("GET", f"{_ONE}/features", list_features, "rak_product_read"),
    Route("DELETE", _ONE, delete, "rak_product_write"),
)
