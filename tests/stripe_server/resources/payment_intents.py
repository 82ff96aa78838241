"""Payment intents: from an amount to money, or to the reason why not."""

from __future__ import annotations

from collections.abc import Collection

from tests.stripe_server.currencies import check_charge_amount, read_currency
from tests.stripe_server.errors import StripeError, unexpected_state, wrong_parameter
from tests.stripe_server.events import show
from tests.stripe_server.listing import select_created
from tests.stripe_server.parameters import Parameters
from tests.stripe_server.resources import paying
from tests.stripe_server.resources.customers import read_address, read_customer
from tests.stripe_server.resources.paying import PAYMENT_INTENT
from tests.stripe_server.resources.payment_methods import read_new, resolve
from tests.stripe_server.routing import Answer, Call, Page, Route, Single
from tests.stripe_server.searching import search
from tests.stripe_server.store import Object, Store, copy_json

CONFIRMABLE = ("requires_payment_method", "requires_confirmation", "requires_action")
CANCELABLE = (*CONFIRMABLE, "requires_capture")
REASONS = ("abandoned", "duplicate", "fraudulent", "requested_by_customer")
USAGES = ("off_session", "on_session")
_SEARCHABLE = ("amount", "created", "currency", "customer", "metadata", "status")
WITHOUT_RETURN = (
    "This PaymentIntent is configured to accept payment methods enabled in your Dashboard. Because some of these "
    "payment methods might redirect your customer off of your page, you must provide a `return_url`. If you don't "
    "want to accept redirect-based payment methods, set `automatic_payment_methods[enabled]` to `true` and "
    "`automatic_payment_methods[allow_redirects]` to `never` when creating Setup Intents and Payment Intents."
)


def create(call: Call) -> Answer:
    """POST /v1/payment_intents; with `confirm=true` it is paid at once."""
    given, store = call.parameters, call.store
    amount = int(given.integer("amount", least=1, required=True) or 0)
    shown = make_intent(store, amount=amount, currency=read_currency(given))
    shown["customer"] = read_customer(call)
    shown["automatic_payment_methods"], shown["payment_method_types"] = read_types(given)
    shown["confirmation_method"] = given.choice("confirmation_method", ("automatic", "manual")) or "automatic"
    _apply(given, shown)
    confirms = bool(given.boolean("confirm"))
    options = _read_confirmation(given, confirms=confirms)
    method = read_method(call, customer=shown["customer"])
    given.finish()
    check_charge_amount(amount, shown["currency"])
    if confirms:
        _check_confirmation(shown, method, options)
    intent = add_intent(store, shown)
    if method is not None:
        intent.update(payment_method=method["id"], status="requires_confirmation")
    store.emit("payment_intent.created", PAYMENT_INTENT, intent)
    if confirms:
        _confirm(store, intent, method, options)
    return Single(PAYMENT_INTENT, intent)


def update(call: Call) -> Answer:
    """POST /v1/payment_intents/{id}: what is paid may change until it is; metadata and description always."""
    intent = call.store.get(PAYMENT_INTENT, call.id)
    given, changed = call.parameters, copy_json(intent)
    fixed = [name for name in ("amount", "currency", "customer", "payment_method") if name in given]
    if (amount := given.integer("amount", least=1)) is not None:
        changed["amount"] = amount
    changed["currency"] = read_currency(given, required=False) or changed["currency"]
    changed["customer"] = read_customer(call) or changed["customer"]
    if "payment_method_types" in given:
        changed["automatic_payment_methods"], changed["payment_method_types"] = read_types(given)
    _apply(given, changed)
    method = read_method(call, customer=changed["customer"])
    given.finish()
    if fixed and intent["status"] not in CONFIRMABLE:
        raise _refuse_state(intent, "update", CONFIRMABLE)
    if fixed:
        check_charge_amount(changed["amount"], changed["currency"])
    if method is not None:
        changed.update(payment_method=method["id"], status="requires_confirmation", next_action=None)
    intent.update(changed)
    return Single(PAYMENT_INTENT, intent)


def confirm(call: Call) -> Answer:
    """POST /v1/payment_intents/{id}/confirm."""
    store, given = call.store, call.parameters
    intent = store.get(PAYMENT_INTENT, call.id)
    changed = copy_json(intent)
    _apply(given, changed)
    options = _read_confirmation(given, confirms=True)
    if intent["status"] == "succeeded":
        text = (
            "You cannot confirm this PaymentIntent because it has already succeeded after being previously confirmed."
        )
        raise unexpected_state("payment_intent_unexpected_state", text, {"payment_intent": _show(intent)})
    if intent["status"] not in CONFIRMABLE:
        raise _refuse_state(intent, "confirm", ("requires_confirmation", "requires_action"))
    method = read_method(call, customer=intent["customer"])
    given.finish()
    if method is None and intent["payment_method"] is not None:
        method = resolve(store, intent["payment_method"], customer=intent["customer"])
    _check_confirmation(changed, method, options)
    intent.update(changed)
    _confirm(store, intent, method, options)
    return Single(PAYMENT_INTENT, intent)


def capture(call: Call) -> Answer:
    """POST /v1/payment_intents/{id}/capture, once; less than what is held releases the rest."""
    intent = call.store.get(PAYMENT_INTENT, call.id)
    given = call.parameters
    amount = given.integer("amount_to_capture", least=1)
    given.boolean("final_capture")
    metadata = given.metadata(intent["metadata"])
    given.finish()
    if intent["status"] != "requires_capture":
        verb = "could not be captured because it has"
        if intent["status"] == "succeeded":
            text = f"This PaymentIntent {verb} already been captured."
        else:
            text = (
                f"This PaymentIntent {verb} a status of {intent['status']}. Only a PaymentIntent with one of the "
                "following statuses may be captured: requires_capture."
            )
        raise unexpected_state("payment_intent_unexpected_state", text, {"payment_intent": _show(intent)})
    if amount is not None and amount > intent["amount_capturable"]:
        text = (
            f"You cannot capture payment with an amount greater than the amount capturable: {amount} is more than "
            f"{intent['amount_capturable']}."
        )
        raise StripeError(text, code="amount_too_large", param="amount_to_capture")
    intent["metadata"] = metadata
    paying.capture(call.store, intent, amount or intent["amount_capturable"])
    return Single(PAYMENT_INTENT, intent)


def cancel(call: Call) -> Answer:
    """POST /v1/payment_intents/{id}/cancel."""
    intent = call.store.get(PAYMENT_INTENT, call.id)
    reason = call.parameters.choice("cancellation_reason", REASONS)
    call.parameters.finish()
    if intent["status"] not in CANCELABLE:
        raise _refuse_state(intent, "cancel", CANCELABLE)
    paying.cancel(call.store, intent, reason)
    return Single(PAYMENT_INTENT, intent)


def retrieve(call: Call) -> Answer:
    """GET /v1/payment_intents/{id}."""
    call.parameters.text("client_secret")
    return Single(PAYMENT_INTENT, call.store.get(PAYMENT_INTENT, call.id))


def list_intents(call: Call) -> Answer:
    """GET /v1/payment_intents."""
    customer = read_customer(call)
    return Page(
        PAYMENT_INTENT,
        [
            intent
            for intent in select_created(call.store.newest(PAYMENT_INTENT), call.parameters)
            if customer in {None, intent["customer"]}
        ],
    )


def search_intents(call: Call) -> Answer:
    """GET /v1/payment_intents/search."""
    return search(call, PAYMENT_INTENT, call.store.newest(PAYMENT_INTENT), fields=_SEARCHABLE)


# ---- for other resources ---------------------------------------------------------------------------------------------
def make_intent(store: Store, *, amount: int, currency: str) -> Object:
    """Return an intent with nothing but an amount, not kept yet."""
    return {
        "amount": amount,
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": 0,
        "application": None,
        "application_fee_amount": None,
        "automatic_payment_methods": None,
        "canceled_at": None,
        "cancellation_reason": None,
        "capture_method": "automatic_async",
        "confirmation_method": "automatic",
        "currency": currency,
        "customer": None,
        "customer_account": None,
        "description": None,
        "excluded_payment_method_types": None,
        "last_payment_error": None,
        "latest_charge": None,
        "managed_payments": {"enabled": False},
        "metadata": {},
        "next_action": None,
        "on_behalf_of": None,
        "payment_method": None,
        "payment_method_configuration_details": None,
        "payment_method_options": {
            "card": {"installments": None, "network": None, "request_three_d_secure": "automatic"}
        },
        "payment_method_types": ["card"],
        "processing": None,
        "receipt_email": None,
        "review": None,
        "setup_future_usage": None,
        "shipping": None,
        "source": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "status": "requires_payment_method",
        "transfer_data": None,
        "transfer_group": None,
    }


def add_intent(store: Store, shown: Object) -> Object:
    """Keep an intent, with its secret."""
    id = store.ids.make(PAYMENT_INTENT.prefix)
    secret = f"{id}_secret_{store.ids.make('', 25)}"
    created = store.time_of(shown["customer"])
    return store.add(PAYMENT_INTENT, {**shown, "client_secret": secret, "created": created}, id=id)


def read_types(given: Parameters) -> tuple[Object | None, list[str]]:
    """Return the kinds of payment methods taken: those of the account unless they are listed."""
    types = given.texts("payment_method_types")
    automatic = given.object("automatic_payment_methods")
    enabled = None if automatic is None else automatic.boolean("enabled")
    redirects = None if automatic is None else automatic.choice("allow_redirects", ("always", "never"))
    if types is not None and enabled:
        text = "You may only specify one of these parameters: automatic_payment_methods, payment_method_types."
        raise wrong_parameter(text, param="payment_method_types")
    for type in types or []:
        if type not in {"card", "link"}:
            text = f"The payment method type provided: {type} is invalid. This server takes cards."
            raise wrong_parameter(text, param="payment_method_types")
    if types is not None or enabled is False:
        return None, types or ["card"]
    return {"allow_redirects": redirects or "always", "enabled": True}, ["card", "link"]


def read_method(call: Call, *, customer: str | None) -> Object | None:
    """Return what a request pays with: `payment_method`, or a new one of `payment_method_data`."""
    given = call.parameters
    id, data = given.text("payment_method"), given.object("payment_method_data")
    if id is not None and data is not None:
        text = "You may only specify one of these parameters: payment_method, payment_method_data."
        raise wrong_parameter(text, param="payment_method_data")
    if data is not None:
        return read_new(call.store, data)
    return None if id is None else resolve(call.store, id, customer=customer)


def _apply(given: Parameters, shown: Object) -> None:
    for name in ("description", "receipt_email", "transfer_group"):
        if (text := given.text(name, can_unset=True, longest=1000)) is not None:
            shown[name] = text or None
    for name in ("statement_descriptor", "statement_descriptor_suffix"):
        if (text := given.text(name, can_unset=True, longest=22)) is not None:
            shown[name] = text or None
    if (method := given.choice("capture_method", ("automatic", "automatic_async", "manual"))) is not None:
        shown["capture_method"] = method
    if (usage := given.choice("setup_future_usage", USAGES)) is not None:
        shown["setup_future_usage"] = usage
    if (shipping := given.object("shipping")) is not None:
        parts = {name: shipping.text(name) for name in ("carrier", "name", "phone", "tracking_number")}
        shown["shipping"] = {"address": read_address(shipping), **parts}
    if (options := given.free("payment_method_options")) is not None:
        shown["payment_method_options"] = {**shown["payment_method_options"], **options}
    shown["metadata"] = given.metadata(shown["metadata"])


def _read_confirmation(given: Parameters, *, confirms: bool) -> Object:
    """Return what is said about the confirmation; all of it needs `confirm=true`."""
    given.free("mandate_data")
    given.boolean("use_stripe_sdk")
    off_session = given.text("off_session")
    options: Object = {
        "off_session": off_session not in {None, "false", "False"},
        "return_url": given.text("return_url"),
        "fail_on_action": bool(given.boolean("error_on_requires_action")),
    }
    for name in ("off_session", "return_url", "error_on_requires_action"):
        if not confirms and name in given:
            text = f"`{name}` can only be set when `confirm` is `true`."
            raise wrong_parameter(text, param=name)
    return options


def _check_confirmation(shown: Object, method: Object | None, options: Object) -> None:
    if method is None:
        text = (
            "You cannot confirm this PaymentIntent because it's missing a payment method. You can either update the "
            "PaymentIntent with a payment method and then confirm it again, or confirm it again directly with a "
            "payment method or ConfirmationToken."
        )
        raise unexpected_state("payment_intent_unexpected_state", text)
    if options["off_session"] and shown["setup_future_usage"]:
        text = "You cannot set `setup_future_usage` when the customer is not there (`off_session`)."
        raise StripeError(text, param="off_session")
    automatic = shown["automatic_payment_methods"]
    if automatic and automatic["allow_redirects"] == "always" and not options["return_url"]:
        raise StripeError(WITHOUT_RETURN)


def _confirm(store: Store, intent: Object, method: Object | None, options: Object) -> None:
    assert method is not None
    store.note(intent["id"])["return_url"] = options["return_url"]
    is_off, fails = options["off_session"], options["fail_on_action"]
    paying.confirm(store, intent, method, off_session=is_off, fail_on_action=fails)


def _refuse_state(intent: Object, verb: str, allowed: Collection[str]) -> StripeError:
    past = {"cancel": "canceled", "confirm": "confirmed", "update": "updated"}[verb]
    text = (
        f"You cannot {verb} this PaymentIntent because it has a status of {intent['status']}. Only a PaymentIntent "
        f"with one of the following statuses may be {past}: {', '.join(allowed)}."
    )
    return unexpected_state("payment_intent_unexpected_state", text, {"payment_intent": _show(intent)})


def _show(intent: Object) -> Object:
    return show(PAYMENT_INTENT, intent)


_ONE = "/v1/payment_intents/{id}"
ROUTES = (
    Route("POST", "/v1/payment_intents", create, "rak_payment_intent_write"),
    Route("GET", "/v1/payment_intents", list_intents, "rak_payment_intent_read"),
    Route("GET", "/v1/payment_intents/search", search_intents, "rak_payment_intent_read"),
    Route("GET", _ONE, retrieve, "rak_payment_intent_read"),
    Route("POST", _ONE, update, "rak_payment_intent_write"),
    Route("POST", f"{_ONE}/confirm", confirm, "rak_payment_intent_write"),
    Route("POST", f"{_ONE}/capture", capture, "rak_payment_intent_write"),
    Route("POST", f"{_ONE}/cancel", cancel, "rak_payment_intent_write"),
)
