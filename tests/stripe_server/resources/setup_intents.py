"""Setup intents: a payment method saved for later, with the bank's and where needed the customer's consent."""

from __future__ import annotations

from tests.stripe_server.cards import Card, Decline
from tests.stripe_server.errors import StripeError, unexpected_state, wrong_parameter
from tests.stripe_server.events import show
from tests.stripe_server.listing import select_created
from tests.stripe_server.parameters import Parameters
from tests.stripe_server.resources.customers import read_customer
from tests.stripe_server.resources.payment_intents import REASONS, USAGES, WITHOUT_RETURN, read_method, read_types
from tests.stripe_server.resources.payment_methods import PAYMENT_METHOD, card_of, declined, hand_over, resolve
from tests.stripe_server.routing import Answer, Call, Page, Route, Single
from tests.stripe_server.store import Kind, Object, Store, copy_json

SETUP_INTENT = Kind("setup_intent", "seti_1", expandable={"customer": "customer", "payment_method": "payment_method"})
CONFIRMABLE = ("requires_payment_method", "requires_confirmation", "requires_action")
_NOT_AUTHENTICATED = (
    "The latest attempt to set up the payment method has failed because authentication failed. "
    "Please choose a different payment method and try again."
)


def create(call: Call) -> Answer:
    """POST /v1/setup_intents; with `confirm=true` it is set up at once."""
    given, store = call.parameters, call.store
    automatic, types = read_types(given)
    shown = make_setup(store, customer=read_customer(call), usage=given.choice("usage", USAGES) or "off_session")
    shown.update(automatic_payment_methods=automatic, payment_method_types=types)
    shown["description"], shown["metadata"] = given.text("description", longest=1000), given.metadata({})
    given.free("payment_method_options")
    confirms = bool(given.boolean("confirm"))
    return_url = _read_confirmation(given, confirms=confirms)
    method = read_method(call, customer=shown["customer"])
    given.finish()
    if confirms:
        _check(shown, method, return_url)
    intent = add_setup(store, shown)
    if method is not None:
        intent.update(payment_method=method["id"], status="requires_confirmation")
    store.emit("setup_intent.created", SETUP_INTENT, intent)
    if confirms and method is not None:
        set_up(store, intent, method, return_url=return_url)
    return Single(SETUP_INTENT, intent)


def update(call: Call) -> Answer:
    """POST /v1/setup_intents/{id}: until it is done."""
    intent = call.store.get(SETUP_INTENT, call.id)
    given, changed = call.parameters, copy_json(intent)
    changed["customer"] = read_customer(call) or intent["customer"]
    if (text := given.text("description", can_unset=True)) is not None:
        changed["description"] = text or None
    changed["metadata"] = given.metadata(intent["metadata"])
    method = read_method(call, customer=changed["customer"])
    given.finish()
    if method is not None:
        if intent["status"] not in CONFIRMABLE:
            raise _refuse(intent, "update", "updated")
        changed.update(payment_method=method["id"], status="requires_confirmation", next_action=None)
    intent.update(changed)
    return Single(SETUP_INTENT, intent)


def confirm(call: Call) -> Answer:
    """POST /v1/setup_intents/{id}/confirm."""
    store, given = call.store, call.parameters
    intent = store.get(SETUP_INTENT, call.id)
    given.free("payment_method_options")
    return_url = _read_confirmation(given, confirms=True)
    if intent["status"] not in CONFIRMABLE:
        raise _refuse(intent, "confirm", "confirmed")
    method = read_method(call, customer=intent["customer"])
    given.finish()
    if method is None and intent["payment_method"] is not None:
        method = resolve(store, intent["payment_method"], customer=intent["customer"])
    _check(intent, method, return_url)
    assert method is not None
    set_up(store, intent, method, return_url=return_url)
    return Single(SETUP_INTENT, intent)


def cancel(call: Call) -> Answer:
    """POST /v1/setup_intents/{id}/cancel."""
    intent = call.store.get(SETUP_INTENT, call.id)
    reason = call.parameters.choice("cancellation_reason", REASONS)
    call.parameters.finish()
    if intent["status"] not in CONFIRMABLE:
        raise _refuse(intent, "cancel", "canceled")
    intent.update(status="canceled", cancellation_reason=reason, next_action=None)
    call.store.emit("setup_intent.canceled", SETUP_INTENT, intent)
    return Single(SETUP_INTENT, intent)


def retrieve(call: Call) -> Answer:
    """GET /v1/setup_intents/{id}."""
    call.parameters.text("client_secret")
    return Single(SETUP_INTENT, call.store.get(SETUP_INTENT, call.id))


def list_intents(call: Call) -> Answer:
    """GET /v1/setup_intents."""
    customer, method = read_customer(call), call.parameters.text("payment_method")
    return Page(
        SETUP_INTENT,
        [
            intent
            for intent in select_created(call.store.newest(SETUP_INTENT), call.parameters)
            if customer in {None, intent["customer"]} and method in {None, intent["payment_method"]}
        ],
    )


# ---- for other resources ---------------------------------------------------------------------------------------------
def make_setup(store: Store, *, customer: str | None, usage: str) -> Object:
    """Return a setup intent of nothing yet, not kept."""
    return {
        "application": None,
        "automatic_payment_methods": None,
        "cancellation_reason": None,
        "created": store.time_of(customer),
        "customer": customer,
        "description": None,
        "excluded_payment_method_types": None,
        "flow_directions": None,
        "last_setup_error": None,
        "latest_attempt": None,
        "mandate": None,
        "metadata": {},
        "next_action": None,
        "on_behalf_of": None,
        "payment_method": None,
        "payment_method_configuration_details": None,
        "payment_method_options": {
            "card": {"mandate_options": None, "network": None, "request_three_d_secure": "automatic"}
        },
        "payment_method_types": ["card"],
        "single_use_mandate": None,
        "status": "requires_payment_method",
        "usage": usage,
    }


def add_setup(store: Store, shown: Object) -> Object:
    """Keep a setup intent, with its secret."""
    id = store.ids.make(SETUP_INTENT.prefix)
    return store.add(SETUP_INTENT, {**shown, "client_secret": f"{id}_secret_{store.ids.make('', 31)}"}, id=id)


def set_up(store: Store, intent: Object, method: Object, *, return_url: str | None = None) -> None:
    """
    Ask the bank, and the customer where the card wants it.

    :raises StripeError: 402 if the bank declines.
    """
    card = card_of(store, method)
    intent.update(payment_method=method["id"], last_setup_error=None, next_action=None)
    if card.decline is not None and not card.attaches:
        _decline(store, intent, method, card.decline)
    if _needs_customer(store, card, method):
        address = f"{store.base_url}/authenticate/{intent['id']}"
        redirect = {"return_url": return_url, "url": address}
        sdk = {"type": "three_d_secure_redirect", "stripe_js": address}
        action: Object = {"type": "use_stripe_sdk", "use_stripe_sdk": sdk}
        if return_url:
            action = {"type": "redirect_to_url", "redirect_to_url": redirect}
        intent.update(status="requires_action", next_action=action)
        store.emit("setup_intent.requires_action", SETUP_INTENT, intent)
        return
    _succeed(store, intent, method)


def authenticate(store: Store, intent: Object, *, succeeds: bool) -> None:
    """Do what the customer does when asked."""
    if intent["status"] != "requires_action":
        raise StripeError(f"The setup intent {intent['id']} waits for nobody: it is {intent['status']}.")
    method = store.get(PAYMENT_METHOD, intent["payment_method"])
    intent["next_action"] = None
    if succeeds:
        _succeed(store, intent, method)
        return
    error = {"code": "setup_intent_authentication_failure", "message": _NOT_AUTHENTICATED}
    shown = {**error, "payment_method": show(PAYMENT_METHOD, method), "type": "invalid_request_error"}
    intent.update(status="requires_payment_method", payment_method=None, last_setup_error=shown)
    store.emit("setup_intent.setup_failed", SETUP_INTENT, intent)


def _succeed(store: Store, intent: Object, method: Object) -> None:
    if intent["usage"] == "off_session":
        store.note(method["id"])["is_set_up"] = True
    if intent["customer"] is not None and method["customer"] is None:
        hand_over(store, method, intent["customer"])
    intent["status"] = "succeeded"
    store.emit("setup_intent.succeeded", SETUP_INTENT, intent)


def _decline(store: Store, intent: Object, method: Object, decline: Decline) -> None:
    shown = show(PAYMENT_METHOD, method)
    error = {
        "advice_code": decline.advice,
        "code": decline.code,
        "decline_code": decline.decline_code,
        "doc_url": f"https://stripe.com/docs/error-codes/{decline.code.replace('_', '-')}",
        "message": decline.message,
        "payment_method": shown,
        "type": "card_error",
    }
    intent.update(status="requires_payment_method", payment_method=None, last_setup_error=error)
    store.emit("setup_intent.setup_failed", SETUP_INTENT, intent)
    raise declined(decline, {"payment_method": shown, "setup_intent": show(SETUP_INTENT, intent)})


def _needs_customer(store: Store, card: Card, method: Object) -> bool:
    is_set_up = store.note(method["id"]).get("is_set_up")
    return card.authentication == "always" or (card.authentication == "once" and not is_set_up)


def _read_confirmation(given: Parameters, *, confirms: bool) -> str | None:
    given.free("mandate_data")
    given.boolean("use_stripe_sdk")
    return_url = given.text("return_url")
    if return_url and not confirms:
        raise wrong_parameter("`return_url` can only be set when `confirm` is `true`.", param="return_url")
    return return_url


def _check(shown: Object, method: Object | None, return_url: str | None) -> None:
    if method is None:
        text = "You cannot confirm this SetupIntent because it's missing a payment method."
        raise unexpected_state("setup_intent_unexpected_state", text)
    automatic = shown["automatic_payment_methods"]
    if automatic and automatic["allow_redirects"] == "always" and not return_url:
        raise StripeError(WITHOUT_RETURN.replace("PaymentIntent", "SetupIntent"))


def _refuse(intent: Object, verb: str, past: str) -> StripeError:
    text = (
        f"You cannot {verb} this SetupIntent because it has a status of {intent['status']}. Only a SetupIntent with "
        f"one of the following statuses may be {past}: {', '.join(CONFIRMABLE)}."
    )
    details = {"setup_intent": show(SETUP_INTENT, intent)}
    return unexpected_state("setup_intent_unexpected_state", text, details)


_ONE = "/v1/setup_intents/{id}"
ROUTES = (
    Route("POST", "/v1/setup_intents", create, "rak_setup_intent_write"),
    Route("GET", "/v1/setup_intents", list_intents, "rak_setup_intent_read"),
    Route("GET", _ONE, retrieve, "rak_setup_intent_read"),
    Route("POST", _ONE, update, "rak_setup_intent_write"),
    Route("POST", f"{_ONE}/confirm", confirm, "rak_setup_intent_write"),
    Route("POST", f"{_ONE}/cancel", cancel, "rak_setup_intent_write"),
)
