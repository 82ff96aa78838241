"""Checkout sessions: a hosted page on which a customer pays, saves a card or subscribes; open for a day."""

from __future__ import annotations

from tests.stripe_server.cards import Card
from tests.stripe_server.currencies import check_charge_amount, read_currency
from tests.stripe_server.errors import StripeError, wrong_parameter
from tests.stripe_server.listing import select_created
from tests.stripe_server.parameters import Parameters
from tests.stripe_server.resources import paying, payment_methods, setup_intents, subscriptions
from tests.stripe_server.resources.customers import CUSTOMER, read_customer
from tests.stripe_server.resources.paying import PAYMENT_INTENT
from tests.stripe_server.resources.payment_intents import USAGES, add_intent, make_intent
from tests.stripe_server.resources.prices import PRICE
from tests.stripe_server.resources.products import PRODUCT, make_product
from tests.stripe_server.resources.setup_intents import SETUP_INTENT
from tests.stripe_server.routing import Answer, Call, Page, Plain, Route, Single
from tests.stripe_server.store import Kind, Object, Store, copy_json

CHECKOUT_SESSION = Kind(
    "checkout.session",
    "cs_test_",
    words="checkout.session",
    expandable={
        "customer": "customer",
        "invoice": "invoice",
        "line_items.data.discounts": "discount",
        "payment_intent": "payment_intent",
        "setup_intent": "setup_intent",
        "subscription": "subscription",
    },
    on_request=("line_items", "total_details.breakdown"),
)
MODES = ("payment", "setup", "subscription")
STATUSES = ("complete", "expired", "open")
_DAY = 86400
_SHORTEST = 30 * 60
# Taken and shown again, or of no consequence here.
_IGNORED = (
    "adaptive_pricing",
    "after_expiration",
    "automatic_tax",
    "consent_collection",
    "custom_text",
    "customer_update",
    "payment_method_options",
    "phone_number_collection",
    "saved_payment_method_options",
    "shipping_address_collection",
    "tax_id_collection",
)


def create(call: Call) -> Answer:
    """POST /v1/checkout/sessions."""
    given, store = call.parameters, call.store
    mode = str(given.choice("mode", MODES, required=True))
    shown = _make(store, mode)
    shown["customer"] = read_customer(call)
    shown["success_url"] = given.text("success_url", required=True)
    for name in ("cancel_url", "client_reference_id", "customer_email", "locale", "submit_type"):
        shown[name] = given.text(name)
    shown["customer_creation"] = _read_creation(given, mode, shown["customer"])
    shown["metadata"] = given.metadata({})
    shown["allow_promotion_codes"] = given.boolean("allow_promotion_codes")
    shown["billing_address_collection"] = given.choice("billing_address_collection", ("auto", "required"))
    types = given.texts("payment_method_types")
    shown["payment_method_types"] = types or ["card"]
    shown["expires_at"] = _read_expiry(store, given)
    for name in _IGNORED:
        given.free(name)
    given.choice("payment_method_collection", ("always", "if_required"))
    note = {"data": _read_data(given, mode)}
    lines = _read_lines(store, given)
    currency = read_currency(given, required=False)
    given.finish()
    _check(mode, lines, needs_currency=mode == "setup" and not types and not currency)
    _put_amounts(shown, lines, currency)
    id = store.ids.make("cs_live_" if store.livemode else "cs_test_", 58)
    session = store.add(CHECKOUT_SESSION, {**shown, "url": f"{store.base_url}/c/pay/{id}"}, id=id)
    url = f"/v1/checkout/sessions/{id}/line_items"
    session["line_items"] = {"object": "list", "data": lines, "has_more": False, "url": url}
    store.note(id).update(note)
    return Single(CHECKOUT_SESSION, session)


def expire(call: Call) -> Answer:
    """POST /v1/checkout/sessions/{id}/expire."""
    session = _up_to_date(call.store, call.store.get(CHECKOUT_SESSION, call.id))
    call.parameters.finish()
    if session["status"] != "open":
        text = f'Only Checkout Sessions with a status in ["open"] can be expired. This one is {session["status"]}.'
        raise StripeError(text)
    _expire(call.store, session)
    return Single(CHECKOUT_SESSION, session)


def retrieve(call: Call) -> Answer:
    """GET /v1/checkout/sessions/{id}."""
    return Single(CHECKOUT_SESSION, _up_to_date(call.store, call.store.get(CHECKOUT_SESSION, call.id)))


def list_sessions(call: Call) -> Answer:
    """GET /v1/checkout/sessions."""
    given = call.parameters
    customer, status = read_customer(call), given.choice("status", STATUSES)
    wanted = {name: given.text(name) for name in ("payment_intent", "subscription")}
    sessions = [_up_to_date(call.store, session) for session in call.store.newest(CHECKOUT_SESSION)]
    return Page(
        CHECKOUT_SESSION,
        [
            session
            for session in select_created(sessions, given)
            if customer in {None, session["customer"]}
            and status in {None, session["status"]}
            and all(value in {None, session[name]} for name, value in wanted.items())
        ],
    )


def list_lines(call: Call) -> Answer:
    """GET /v1/checkout/sessions/{id}/line_items."""
    session = call.store.get(CHECKOUT_SESSION, call.id)
    call.parameters.integer("limit")
    return Plain(copy_json(session["line_items"]))


# ---- what the customer does on the page ------------------------------------------------------------------------------
def complete(store: Store, session: Object, card: Card, *, email: str = "ada@example.com") -> None:
    """
    Fill in the page with a card and send it off.

    :raises StripeError: if the card is declined, or the session is not open. Consent, where a card wants it, is given.
    """
    _up_to_date(store, session)
    if session["status"] != "open":
        raise StripeError(f"The checkout session {session['id']} is {session['status']}.")
    if session["customer"] is None and (session["mode"] != "payment" or session["customer_creation"] == "always"):
        session["customer"] = _make_customer(store, session, email)
    method = payment_methods.make(store, card)
    data = store.note(session["id"])["data"]
    match session["mode"]:
        case "payment":
            _pay(store, session, method, data)
        case "setup":
            _set_up(store, session, method, data)
        case _:
            _subscribe(store, session, method, data)
    details = dict.fromkeys(("address", "business_name", "individual_name", "name", "phone", "tax_ids"))
    session.update(status="complete", url=None)
    session["customer_details"] = {**details, "email": session["customer_email"] or email, "tax_exempt": "none"}
    store.emit("checkout.session.completed", CHECKOUT_SESSION, session)


def _pay(store: Store, session: Object, method: Object, data: Object) -> None:
    shown = make_intent(store, amount=session["amount_total"], currency=session["currency"])
    shown.update({"customer": session["customer"], **data})
    intent = add_intent(store, shown)
    store.emit("payment_intent.created", PAYMENT_INTENT, intent)
    session["payment_intent"] = intent["id"]
    # The page asks for consent itself, and its customer gives it.
    store.note(intent["id"])["is_authenticated"] = True
    paying.confirm(store, intent, method, off_session=False, fail_on_action=False)
    session["payment_status"] = "paid"


def _set_up(store: Store, session: Object, method: Object, data: Object) -> None:
    shown = setup_intents.make_setup(store, customer=session["customer"], usage="off_session")
    intent = setup_intents.add_setup(store, {**shown, **data})
    store.emit("setup_intent.created", SETUP_INTENT, intent)
    session["setup_intent"] = intent["id"]
    setup_intents.set_up(store, intent, method)
    if intent["status"] == "requires_action":
        setup_intents.authenticate(store, intent, succeeds=True)
    session["payment_status"] = "no_payment_required"


def _subscribe(store: Store, session: Object, method: Object, data: Object) -> None:
    card = payment_methods.card_of(store, method)
    if card.decline is not None and not card.attaches:
        raise payment_methods.declined(card.decline, {})
    payment_methods.hand_over(store, method, session["customer"])
    store.note(method["id"])["is_set_up"] = True
    items = [(line["price"]["id"], line["quantity"]) for line in session["line_items"]["data"]]
    subscription = subscriptions.begin(store, session["customer"], items, method=method["id"], data=data)
    session.update(subscription=subscription["id"], invoice=subscription["latest_invoice"], payment_status="paid")


def _make_customer(store: Store, session: Object, email: str) -> str:
    from tests.stripe_server.resources import customers

    customer = customers.make(store, email=session["customer_email"] or email)
    store.emit("customer.created", CUSTOMER, customer)
    return str(customer["id"])


def _expire(store: Store, session: Object) -> None:
    session.update(status="expired", url=None)
    store.emit("checkout.session.expired", CHECKOUT_SESSION, session)


def _up_to_date(store: Store, session: Object) -> Object:
    if session["status"] == "open" and store.clock.now() >= session["expires_at"]:
        _expire(store, session)
    return session


# ---- reading ---------------------------------------------------------------------------------------------------------
def _read_creation(given: Parameters, mode: str, customer: str | None) -> str | None:
    creation = given.choice("customer_creation", ("always", "if_required"))
    if creation is not None and (mode != "payment" or customer is not None):
        text = "You can only set `customer_creation` in payment mode, without a customer."
        raise wrong_parameter(text, param="customer_creation")
    return creation or ("if_required" if mode == "payment" and customer is None else None)


def _read_expiry(store: Store, given: Parameters) -> int:
    at, now = given.integer("expires_at"), store.clock.now()
    if at is not None and not now + _SHORTEST <= at <= now + _DAY:
        text = "The `expires_at` timestamp must be between 30 minutes and 24 hours from Checkout Session creation."
        raise wrong_parameter(text, param="expires_at")
    return at or now + _DAY


def _read_data(given: Parameters, mode: str) -> Object:
    """Return what the object that a session makes is given from it."""
    name = {"payment": "payment_intent_data", "setup": "setup_intent_data", "subscription": "subscription_data"}[mode]
    data = given.object(name)
    if data is None:
        return {"metadata": {}}
    shown: Object = {"metadata": data.metadata({})}
    if (text := data.text("description")) is not None:
        shown["description"] = text
    if mode == "payment":
        if (usage := data.choice("setup_future_usage", USAGES)) is not None:
            shown["setup_future_usage"] = usage
        if (method := data.choice("capture_method", ("automatic", "automatic_async", "manual"))) is not None:
            shown["capture_method"] = method
        if (email := data.text("receipt_email")) is not None:
            shown["receipt_email"] = email
    return shown


def _read_lines(store: Store, given: Parameters) -> list[Object]:
    return [_read_line(store, line) for line in given.objects("line_items") or []]


def _read_line(store: Store, given: Parameters) -> Object:
    id, data = given.text("price"), given.object("price_data")
    quantity = given.integer("quantity", least=1) or 1
    given.free("adjustable_quantity")
    if (id is None) == (data is None):
        raise wrong_parameter("You must specify either `price` or `price_data`.", param=given.at("price"))
    if data is not None:
        price = _make_price(store, data)
    else:
        price = store.get(PRICE, str(id), param=given.at("price"), status=400)
    if not price["active"] and data is None:
        raise StripeError(
            "The price specified is inactive. This field only accepts active prices.", param=given.at("price")
        )
    amount = (price["unit_amount"] or 0) * quantity
    product = store.get(PRODUCT, price["product"])
    return {
        "id": store.ids.make("li_1"),
        "object": "item",
        "adjustable_quantity": None,
        "amount_discount": 0,
        "amount_subtotal": amount,
        "amount_tax": 0,
        "amount_total": amount,
        "currency": price["currency"],
        "description": product["name"],
        "metadata": {},
        "price": {key: copy_json(value) for key, value in price.items() if key not in PRICE.on_request},
        "quantity": quantity,
    }


def _make_price(store: Store, data: Parameters) -> Object:
    """Return the price that a session brings along; it is archived from the start."""
    currency, amount = read_currency(data), data.integer("unit_amount", least=0, required=True)
    product, made = data.text("product"), data.object("product_data")
    recurring = data.object("recurring")
    shown_recurring = None
    if recurring is not None:
        shown_recurring = {
            "interval": recurring.choice("interval", ("day", "month", "week", "year"), required=True),
            "interval_count": recurring.integer("interval_count", least=1) or 1,
            "meter": None,
            "trial_period_days": None,
            "usage_type": "licensed",
        }
    if made is not None:
        shown = make_product(store, name=made.text("name", required=True))
        shown["description"] = made.text("description")
        shown["metadata"] = made.metadata({})
        product = store.add(PRODUCT, {**shown, "active": False})["id"]
    store.get(PRODUCT, str(product), param=data.at("product"), status=400)
    return store.add(
        PRICE,
        {
            "active": False,
            "billing_scheme": "per_unit",
            "currency": currency,
            "custom_unit_amount": None,
            "lookup_key": None,
            "metadata": {},
            "nickname": None,
            "product": product,
            "recurring": shown_recurring,
            "tax_behavior": "unspecified",
            "tiers_mode": None,
            "transform_quantity": None,
            "type": "one_time" if shown_recurring is None else "recurring",
            "unit_amount": amount,
            "unit_amount_decimal": str(amount),
        },
    )


def _check(mode: str, lines: list[Object], *, needs_currency: bool) -> None:
    if mode == "setup":
        if lines:
            raise wrong_parameter("You cannot use `line_items` in setup mode.", param="line_items")
        if needs_currency:
            raise wrong_parameter("Missing required param: currency.", code="parameter_missing", param="currency")
        return
    if not lines:
        raise wrong_parameter("Missing required param: line_items.", code="parameter_missing", param="line_items")
    kinds = {line["price"]["type"] for line in lines}
    if mode == "payment" and "recurring" in kinds:
        text = "You specified `payment` mode but passed a recurring price. Either switch to `subscription` mode."
        raise wrong_parameter(text, param="line_items")
    if mode == "subscription" and kinds != {"recurring"}:
        text = "You must provide at least one recurring price in `subscription` mode."
        raise wrong_parameter(text, param="line_items")
    if mode == "payment":
        check_charge_amount(sum(line["amount_total"] for line in lines), lines[0]["currency"])


def _put_amounts(shown: Object, lines: list[Object], currency: str) -> None:
    shown["currency"] = lines[0]["currency"] if lines else currency or None
    if lines:
        total = sum(line["amount_total"] for line in lines)
        shown.update(
            amount_subtotal=total,
            amount_total=total,
            total_details={"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        )


def _make(store: Store, mode: str) -> Object:
    nothing: Object = dict.fromkeys(
        """
        after_expiration allow_promotion_codes amount_subtotal amount_total billing_address_collection
        client_reference_id client_secret collected_information consent consent_collection currency
        currency_conversion customer customer_account customer_creation customer_details customer_email discounts
        integration_identifier invoice invoice_creation locale origin_context payment_intent payment_link
        payment_method_collection payment_method_configuration_details permissions recovered_from
        saved_payment_method_options setup_intent shipping_address_collection shipping_cost submit_type subscription
        total_details wallet_options
        """.split()
    )
    return {
        **nothing,
        "adaptive_pricing": {"enabled": False},
        "automatic_tax": {"enabled": False, "liability": None, "provider": None, "status": None},
        "cancel_url": None,
        "custom_fields": [],
        "custom_text": {
            "after_submit": None,
            "shipping_address": None,
            "submit": None,
            "terms_of_service_acceptance": None,
        },
        "managed_payments": {"enabled": False},
        "mode": mode,
        "payment_method_options": {"card": {"request_three_d_secure": "automatic"}},
        "payment_status": "no_payment_required" if mode == "setup" else "unpaid",
        "phone_number_collection": {"enabled": False},
        "shipping_options": [],
        "status": "open",
        "ui_mode": "hosted",
    }


_ONE = "/v1/checkout/sessions/{id}"
ROUTES = (
    Route("POST", "/v1/checkout/sessions", create, "rak_checkout_session_write"),
    Route("GET", "/v1/checkout/sessions", list_sessions, "rak_checkout_session_read"),
    Route("GET", _ONE, retrieve, "rak_checkout_session_read"),
    Route("POST", f"{_ONE}/expire", expire, "rak_checkout_session_write"),
    Route("GET", f"{_ONE}/line_items", list_lines, "rak_checkout_session_read"),
)
