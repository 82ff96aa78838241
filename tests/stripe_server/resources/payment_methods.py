"""Payment methods: cards made from test tokens, attached to one customer and detached for good."""

from __future__ import annotations

from typing import Any

from tests.stripe_server.cards import Card, Decline, find_card
from tests.stripe_server.errors import StripeError, missing_object, wrong_parameter
from tests.stripe_server.parameters import Parameters
from tests.stripe_server.resources.customers import CUSTOMER, find_customer, read_address
from tests.stripe_server.routing import Answer, Call, Page, Route, Single
from tests.stripe_server.store import Kind, Object, Store, copy_json

PAYMENT_METHOD = Kind("payment_method", "pm_1", words="PaymentMethod", expandable={"customer": "customer"})
_SPENT = (
    "This PaymentMethod was previously used without being attached to a Customer or was detached from a Customer, "
    "and may not be used again."
)
_NO_DETAILS = {"address": dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"))}
REDISPLAYS = ("always", "limited", "unspecified")


def create(call: Call) -> Answer:
    """POST /v1/payment_methods: `type=card` with `card[token]=tok_…`. Numbers are not taken, as for any new account."""
    method = read_new(call.store, call.parameters)
    call.parameters.finish()
    return Single(PAYMENT_METHOD, method)


def read_new(store: Store, given: Parameters) -> Object:
    """Return a new payment method of what was sent."""
    given.choice("type", ("card",), required=True)
    details = given.object("card", required=True)
    if details is None or "number" in details:
        text = (
            "Sending credit card numbers directly to the Stripe API is generally unsafe. We suggest you use test "
            "tokens that map to the test card you are using, see https://stripe.com/docs/testing."
        )
        raise StripeError(text, status=402, is_stored=False)
    token = str(details.text("token", required=True))
    shown: dict[str, Any] = {
        "billing_details": read_billing_details(given),
        "allow_redisplay": given.choice("allow_redisplay", REDISPLAYS) or "unspecified",
        "metadata": given.metadata({}),
    }
    card = find_card(token) if token.startswith("tok_") else None
    if card is None:
        raise missing_object("token", token, param="card[token]", status=400)
    return make(store, card, **shown)


def update(call: Call) -> Answer:
    """POST /v1/payment_methods/{id}: billing details, expiry and metadata of an attached one."""
    method = call.store.get(PAYMENT_METHOD, call.id)
    given, changed = call.parameters, copy_json(method)
    if "billing_details" in given:
        read = read_billing_details(given)
        changed["billing_details"] = {**changed["billing_details"], **{key: read[key] for key in read if read[key]}}
    if (card := given.object("card")) is not None:
        for name, least, most in (("exp_month", 1, 12), ("exp_year", 1970, 2999)):
            if (number := card.integer(name, least=least, most=most)) is not None:
                changed["card"][name] = number
    if (redisplay := given.choice("allow_redisplay", REDISPLAYS)) is not None:
        changed["allow_redisplay"] = redisplay
    changed["metadata"] = given.metadata(method["metadata"])
    given.finish()
    if method["customer"] is None:
        raise StripeError("You must save this PaymentMethod to a customer before you can update it.")
    before = copy_json(method)
    method.update(changed)
    call.store.emit("payment_method.updated", PAYMENT_METHOD, method, before=before)
    return Single(PAYMENT_METHOD, method)


def retrieve(call: Call) -> Answer:
    """GET /v1/payment_methods/{id}."""
    return Single(PAYMENT_METHOD, call.store.get(PAYMENT_METHOD, call.id))


def list_methods(call: Call) -> Answer:
    """GET /v1/payment_methods of one customer; without one there is nothing to see."""
    customer = call.parameters.text("customer")
    if customer is not None:
        find_customer(call.store, customer, param="customer", status=400)
    return _list_of(call, customer)


def list_of_customer(call: Call) -> Answer:
    """GET /v1/customers/{id}/payment_methods."""
    return _list_of(call, find_customer(call.store, call.id)["id"])


def retrieve_of_customer(call: Call) -> Answer:
    """GET /v1/customers/{id}/payment_methods/{method}."""
    customer, id = find_customer(call.store, call.id)["id"], call.ids["method"]
    method = call.store.get(PAYMENT_METHOD, id)
    if method["customer"] != customer:
        raise missing_object("PaymentMethod", id)
    return Single(PAYMENT_METHOD, method)


def attach(call: Call) -> Answer:
    """POST /v1/payment_methods/{id}/attach; cards that are declined at once cannot be attached."""
    customer = str(call.parameters.text("customer", required=True))
    call.parameters.finish()
    find_customer(call.store, customer, param="customer", status=400)
    return Single(PAYMENT_METHOD, attach_to(call.store, call.id, customer))


def detach(call: Call) -> Answer:
    """POST /v1/payment_methods/{id}/detach."""
    method = call.store.get(PAYMENT_METHOD, call.id)
    call.parameters.finish()
    if method["customer"] is None:
        raise StripeError("The payment method you provided is not attached to a customer so detachment is impossible.")
    _detach(call.store, method)
    return Single(PAYMENT_METHOD, method)


# ---- for other resources ---------------------------------------------------------------------------------------------
def make(
    store: Store,
    card: Card,
    *,
    billing_details: Object | None = None,
    allow_redisplay: str | None = None,
    metadata: dict[str, str] | None = None,
) -> Object:
    """Keep a new payment method of a test card."""
    method = store.add(
        PAYMENT_METHOD,
        {
            "allow_redisplay": allow_redisplay or "unspecified",
            "billing_details": billing_details or empty_billing_details(),
            "card": {
                "brand": card.brand,
                "checks": {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": "pass"},
                "country": card.country,
                "display_brand": card.brand,
                "exp_month": 12,
                "exp_year": 2034,
                "fingerprint": card.fingerprint,
                "funding": card.funding,
                "generated_from": None,
                "last4": card.last4,
                "networks": {"available": [card.brand], "preferred": None},
                "regulated_status": "unregulated",
                "three_d_secure_usage": {"supported": True},
                "wallet": None,
            },
            "customer": None,
            "customer_account": None,
            "metadata": metadata or {},
            "type": "card",
        },
    )
    store.note(method["id"])["card"] = card
    return method


def resolve(store: Store, id: str, *, customer: str | None, param: str = "payment_method") -> Object:
    """
    Return the payment method to pay with: a stored one, or a new one for the name of a test card.

    :raises StripeError: if it is unknown, was used up, or is another customer's.
    """
    card = find_card(id) if store.find(PAYMENT_METHOD, id) is None else None
    if card is not None and id.startswith("pm_"):
        return make(store, card)
    method = store.get(PAYMENT_METHOD, id, param=param, status=400)
    if method["customer"] is None:
        if store.note(id).get("is_spent"):
            raise StripeError(_SPENT, code="payment_method_unexpected_state", param=param)
    elif customer is None:
        text = (
            "The PaymentMethod you provided is attached to a customer so for security purposes you must provide the "
            "customer in the request."
        )
        raise StripeError(text, param=param)
    elif method["customer"] != customer:
        text = (
            f"The customer does not have a payment method with the ID {id}. "
            "The payment method must be attached to the customer."
        )
        raise StripeError(text, code="resource_missing", param=param)
    return method


def attach_to(store: Store, id: str, customer: str) -> Object:
    """
    Give a payment method to a customer.

    :raises StripeError: 402 if the bank declines the card at once; 400 if it is another's or used up.
    """
    is_name = store.find(PAYMENT_METHOD, id) is None and id.startswith("pm_card_")
    card = find_card(id) if is_name else None
    method = make(store, card) if card is not None else store.get(PAYMENT_METHOD, id, param="payment_method")
    if method["customer"] == customer:
        return method
    if method["customer"] is not None:
        raise StripeError("The payment method you provided has already been attached to a customer.")
    if store.note(method["id"]).get("is_spent"):
        raise StripeError(_SPENT, code="payment_method_unexpected_state")
    card = card_of(store, method)
    if card.decline is not None and not card.attaches:
        raise declined(card.decline, {"payment_method": copy_json(method)} if not is_name else {})
    hand_over(store, method, customer)
    return method


def hand_over(store: Store, method: Object, customer: str) -> None:
    """Attach without asking the bank: it has just agreed to a charge or a setup."""
    method["customer"] = customer
    store.emit("payment_method.attached", PAYMENT_METHOD, method)


def detach_all_of(store: Store, customer: str) -> None:
    """Take all payment methods from a customer."""
    for method in store.all(PAYMENT_METHOD):
        if method["customer"] == customer:
            _detach(store, method)


def detach_one(store: Store, id: str, customer: str) -> None:
    """Take a payment method from the customer who has it. :raises StripeError: if it is another's."""
    method = store.get(PAYMENT_METHOD, id)
    if method["customer"] != customer:
        raise missing_object("PaymentMethod", id)
    _detach(store, method)


def card_of(store: Store, method: Object) -> Card:
    """Return what a payment method does."""
    card = store.note(method["id"])["card"]
    assert isinstance(card, Card)
    return card


def declined(decline: Decline, details: Object) -> StripeError:
    """Return the refusal of a card: 402."""
    shown = {"decline_code": decline.decline_code, "advice_code": decline.advice, **details}
    return StripeError(decline.message, status=402, type="card_error", code=decline.code, details=shown)


def read_billing_details(given: Parameters) -> Object:
    """Return the billing details that were sent, or empty ones."""
    details = given.object("billing_details")
    if details is None:
        return empty_billing_details()
    shown: dict[str, Any] = {"address": read_address(details) or _NO_DETAILS["address"]}
    for name in ("email", "name", "phone", "tax_id"):
        shown[name] = details.text(name, can_unset=True) or None
    if shown["email"] is not None and "@" not in shown["email"]:
        raise wrong_parameter(
            f"Invalid email address: {shown['email']}", code="email_invalid", param=details.at("email")
        )
    return shown


def empty_billing_details() -> Object:
    """Return billing details of nobody."""
    return {"address": dict(_NO_DETAILS["address"]), "email": None, "name": None, "phone": None, "tax_id": None}


def _list_of(call: Call, customer: str | None) -> Page:
    wanted = call.parameters.text("type")
    redisplay = call.parameters.choice("allow_redisplay", REDISPLAYS)
    return Page(
        PAYMENT_METHOD,
        [
            method
            for method in call.store.newest(PAYMENT_METHOD)
            if method["customer"] == customer
            and customer is not None
            and wanted in {None, method["type"]}
            and redisplay in {None, method["allow_redisplay"]}
        ],
    )


def _detach(store: Store, method: Object) -> None:
    before = copy_json(method)
    customer = store.find(CUSTOMER, method["customer"])
    method["customer"] = None
    store.note(method["id"])["is_spent"] = True
    if customer is not None and customer["invoice_settings"]["default_payment_method"] == method["id"]:
        was = copy_json(customer)
        customer["invoice_settings"]["default_payment_method"] = None
        store.emit("customer.updated", CUSTOMER, customer, before=was)
    store.emit("payment_method.detached", PAYMENT_METHOD, method, before=before)


_ONE = "/v1/payment_methods/{id}"
ROUTES = (
    Route("POST", "/v1/payment_methods", create, "rak_payment_method_write"),
    Route("GET", "/v1/payment_methods", list_methods, "rak_payment_method_read"),
    Route("GET", _ONE, retrieve, "rak_payment_method_read"),
    Route("POST", _ONE, update, "rak_payment_method_write"),
    Route("POST", f"{_ONE}/attach", attach, "rak_payment_method_write"),
    Route("POST", f"{_ONE}/detach", detach, "rak_payment_method_write"),
    Route("GET", "/v1/customers/{id}/payment_methods", list_of_customer, "rak_payment_method_read"),
    Route("GET", "/v1/customers/{id}/payment_methods/{method}", retrieve_of_customer, "rak_payment_method_read"),
)
