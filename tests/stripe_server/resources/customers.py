"""Customers. A deleted one stays retrievable as a stub."""

from __future__ import annotations

from collections.abc import Iterable

from tests.stripe_server.errors import StripeError, missing_object, wrong_parameter
from tests.stripe_server.listing import select_created
from tests.stripe_server.parameters import Parameters
from tests.stripe_server.routing import Answer, Call, Page, Plain, Route, Single
from tests.stripe_server.searching import search
from tests.stripe_server.store import Kind, Object, Store, copy_json

CUSTOMER = Kind(
    "customer",
    "cus_",
    expandable={
        "default_source": "payment_method",
        "invoice_settings.default_payment_method": "payment_method",
        "test_clock": "test_helpers.test_clock",
    },
    on_request=("sources", "subscriptions", "tax_ids"),
)
ADDRESS = ("city", "country", "line1", "line2", "postal_code", "state")
_TEXTS = ("description", "email", "name", "phone")
_SEARCHABLE = ("created", "email", "metadata", "name", "phone")


def create(call: Call) -> Answer:
    """POST /v1/customers."""
    given, store = call.parameters, call.store
    clock = given.text("test_clock")
    payment_method = given.text("payment_method")
    shown = _make(store)
    shown["test_clock"] = clock
    _apply(given, shown)
    default = _read_default(given)
    given.finish()
    if clock is not None:
        found = next((item for item in store.all("test_helpers.test_clock") if item["id"] == clock), None)
        if found is None:
            raise missing_object("test_clock", clock, param="test_clock", status=400)
        shown["created"] = found["frozen_time"]
    customer = store.add(CUSTOMER, shown, id=store.ids.make("cus_", 14))
    attached = None
    if payment_method is not None:
        from tests.stripe_server.resources import payment_methods

        try:
            attached = payment_methods.attach_to(store, payment_method, customer["id"])["id"]
            set_default(store, customer, attached if default == payment_method else default)
        except StripeError:
            store.remove(CUSTOMER, customer["id"])
            raise
    elif default is not None:
        store.remove(CUSTOMER, customer["id"])
        raise missing_object("payment_method", default, param="invoice_settings[default_payment_method]", status=400)
    store.emit("customer.created", CUSTOMER, customer)
    return Single(CUSTOMER, customer)


def update(call: Call) -> Answer:
    """POST /v1/customers/{id}."""
    customer = find_customer(call.store, call.id)
    given, changed = call.parameters, copy_json(customer)
    _apply(given, changed)
    default = _read_default(given)
    given.finish()
    if default is not None:
        set_default(call.store, changed, default)
    before = copy_json(customer)
    customer.update(changed)
    if before != customer:
        call.store.emit("customer.updated", CUSTOMER, customer, before=before)
    return Single(CUSTOMER, customer)


def retrieve(call: Call) -> Answer:
    """GET /v1/customers/{id}; a deleted one says so."""
    customer = call.store.get(CUSTOMER, call.id)
    if customer.get("deleted"):
        return Plain({"id": customer["id"], "object": "customer", "deleted": True})
    return Single(CUSTOMER, customer)


def list_customers(call: Call) -> Answer:
    """GET /v1/customers."""
    given = call.parameters
    email, clock = given.text("email"), given.text("test_clock")
    return Page(
        CUSTOMER,
        [
            customer
            for customer in select_created(_living(call.store), given)
            if email in {None, customer["email"]} and clock == customer["test_clock"]
        ],
    )


def search_customers(call: Call) -> Answer:
    """GET /v1/customers/search."""
    return search(call, CUSTOMER, _living(call.store), fields=_SEARCHABLE)


def list_sources(call: Call) -> Answer:
    """GET /v1/customers/{id}/sources: cards of the time before payment methods, of which there are none."""
    find_customer(call.store, call.id)
    call.parameters.choice("object", ("bank_account", "card"))
    return Page(CUSTOMER, [])


def delete(call: Call) -> Answer:
    """DELETE /v1/customers/{id}: its payment methods are detached, its subscriptions end."""
    from tests.stripe_server.resources import payment_methods, subscriptions

    store = call.store
    customer = find_customer(store, call.id)
    call.parameters.finish()
    subscriptions.end_all_of(store, customer["id"])
    payment_methods.detach_all_of(store, customer["id"])
    store.emit("customer.deleted", CUSTOMER, customer)
    customer["deleted"] = True
    return Plain({"id": customer["id"], "object": "customer", "deleted": True})


def make(store: Store, *, email: str) -> Object:
    """Keep a customer who gave an address on a hosted page."""
    return store.add(CUSTOMER, {**_make(store), "email": email}, id=store.ids.make("cus_", 14))


def find_customer(store: Store, id: str, *, param: str = "id", status: int = 404) -> Object:
    """:raises StripeError: if there is no such customer, or no longer."""
    customer = store.get(CUSTOMER, id, param=param, status=status)
    if customer.get("deleted"):
        raise missing_object("customer", id, param=param, status=status)
    return customer


def read_customer(call: Call, *, required: bool = False) -> str | None:
    """Return the customer a parameter names, which exists."""
    id = call.parameters.text("customer", required=required)
    if id is not None:
        find_customer(call.store, id, param="customer", status=400)
    return id


def read_address(given: Parameters, name: str = "address") -> Object | None:
    """Return an address, each of its parts may be missing."""
    address = given.object(name)
    return None if address is None else {part: address.text(part, can_unset=True) or None for part in ADDRESS}


def _living(store: Store) -> Iterable[Object]:
    return (customer for customer in store.newest(CUSTOMER) if not customer.get("deleted"))


def _make(store: Store) -> Object:
    return {
        "address": None,
        "balance": 0,
        "currency": None,
        "default_source": None,
        "delinquent": False,
        "description": None,
        "discount": None,
        "email": None,
        "invoice_prefix": store.ids.make("", 8).upper(),
        "invoice_settings": {
            "custom_fields": None,
            "default_payment_method": None,
            "footer": None,
            "rendering_options": None,
        },
        "metadata": {},
        "name": None,
        "next_invoice_sequence": 1,
        "phone": None,
        "preferred_locales": [],
        "shipping": None,
        "tax_exempt": "none",
        "test_clock": None,
    }


def _apply(given: Parameters, shown: Object) -> None:
    for name in _TEXTS:
        if (text := given.text(name, can_unset=True, longest=512)) is not None:
            shown[name] = text or None
    if shown["email"] is not None and "@" not in shown["email"]:
        raise wrong_parameter(f"Invalid email address: {shown['email']}", code="email_invalid", param="email")
    if (address := read_address(given)) is not None:
        shown["address"] = address
    if (balance := given.integer("balance")) is not None:
        shown["balance"] = balance
    if (locales := given.texts("preferred_locales")) is not None:
        shown["preferred_locales"] = locales
    if (exempt := given.choice("tax_exempt", ("exempt", "none", "reverse"))) is not None:
        shown["tax_exempt"] = exempt
    if (prefix := given.text("invoice_prefix", longest=12)) is not None:
        shown["invoice_prefix"] = prefix
    if (shipping := given.object("shipping")) is not None:
        names = {"name": shipping.text("name", required=True), "phone": shipping.text("phone")}
        shown["shipping"] = {"address": read_address(shipping), **names}
    shown["metadata"] = given.metadata(shown["metadata"])


def _read_default(given: Parameters) -> str | None:
    """Return the default payment method that was sent; an empty text unsets it."""
    settings = given.object("invoice_settings")
    return None if settings is None else settings.text("default_payment_method", can_unset=True)


def set_default(store: Store, customer: Object, id: str | None) -> None:
    """Make a card of a customer's its default; an empty id leaves none. :raises StripeError: if it is another's."""
    if id is None:
        return
    if id:
        method = next((item for item in store.all("payment_method") if item["id"] == id), None)
        if method is None or method["customer"] != customer["id"]:
            text = (
                f"The customer does not have a payment method with the ID {id}. "
                "The payment method must be attached to the customer."
            )
            param = "invoice_settings[default_payment_method]"
            raise StripeError(text, code="resource_missing", param=param)
    customer["invoice_settings"]["default_payment_method"] = id or None


_ONE = "/v1/customers/{id}"
ROUTES = (
    Route("POST", "/v1/customers", create, "rak_customer_write"),
    Route("GET", "/v1/customers", list_customers, "rak_customer_read"),
    Route("GET", "/v1/customers/search", search_customers, "rak_customer_read"),
    Route("GET", _ONE, retrieve, "rak_customer_read"),
    Route("POST", _ONE, update, "rak_customer_write"),
    Route("GET", f"{_ONE}/sources", list_sources, "rak_customer_read"),
    Route("DELETE", _ONE, delete, "rak_customer_write"),
)
