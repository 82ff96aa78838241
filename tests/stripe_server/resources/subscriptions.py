"""
Subscriptions, as far as a receiver of their events needs: begun, renewed, changed, canceled, in arrears.

No proration and no metered amounts: who bills with Stripe's own engine has no use for the product.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tests.stripe_server.errors import StripeError, missing_object, wrong_parameter
from tests.stripe_server.listing import select_created
from tests.stripe_server.parameters import Parameters
from tests.stripe_server.periods import add_intervals, next_boundary
from tests.stripe_server.resources import invoices
from tests.stripe_server.resources.customers import read_customer
from tests.stripe_server.resources.payment_methods import PAYMENT_METHOD
from tests.stripe_server.resources.prices import PRICE
from tests.stripe_server.routing import Answer, Call, Page, Route, Single
from tests.stripe_server.searching import search
from tests.stripe_server.store import Kind, Object, Store, copy_json

SUBSCRIPTION = Kind(
    "subscription",
    "sub_1",
    expandable={
        "customer": "customer",
        "default_payment_method": "payment_method",
        "discounts": "discount",
        "items.data.price": "price",
        "items.data.price.product": "product",
        "latest_invoice": "invoice",
    },
)
SUBSCRIPTION_ITEM = Kind("subscription_item", "si_", expandable={"discounts": "discount", "price": "price"})
LIVING = ("active", "incomplete", "past_due", "paused", "trialing", "unpaid")
_SEARCHABLE = ("created", "metadata", "status", "canceled_at")
_DAY = 86400


def create(call: Call) -> Answer:
    """POST /v1/subscriptions: the first period is invoiced and paid at once, unless there is a trial."""
    given, store = call.parameters, call.store
    customer = str(read_customer(call, required=True))
    items = _read_items(store, given)
    trial_days = given.integer("trial_period_days", least=1, most=730)
    behavior = given.choice("payment_behavior", ("allow_incomplete", "default_incomplete", "error_if_incomplete"))
    for name in ("off_session", "enable_incomplete_payments"):
        given.text(name)
    given.choice("proration_behavior", ("always_invoice", "create_prorations", "none"))
    shown = _make(store, customer, items)
    _apply(call, shown)
    given.finish()
    subscription = _begin(store, shown, items, trial_days=trial_days, behavior=behavior)
    return Single(SUBSCRIPTION, subscription)


def update(call: Call) -> Answer:
    """POST /v1/subscriptions/{id}: from now on, without proration."""
    store, given = call.store, call.parameters
    subscription = store.get(SUBSCRIPTION, call.id)
    changed = copy_json(subscription)
    _apply(call, changed)
    given.choice("proration_behavior", ("always_invoice", "create_prorations", "none"))
    given.choice("payment_behavior", ("allow_incomplete", "default_incomplete", "error_if_incomplete"))
    ends_trial = given.text("trial_end")
    _change_items(store, given, changed)
    given.finish()
    if subscription["status"] not in LIVING:
        raise StripeError("A canceled subscription can only update its cancellation_details and metadata.")
    if ends_trial == "now" and subscription["status"] == "trialing":
        changed.update(status="active", trial_end=store.time_of(subscription["customer"]))
    _move(store, subscription, changed)
    return Single(SUBSCRIPTION, subscription)


def cancel(call: Call) -> Answer:
    """DELETE /v1/subscriptions/{id}: at once."""
    subscription, given = call.store.get(SUBSCRIPTION, call.id), call.parameters
    for name in ("invoice_now", "prorate"):
        given.boolean(name)
    details = given.free("cancellation_details")
    given.finish()
    if subscription["status"] not in LIVING:
        raise missing_object("subscription", call.id)
    subscription["cancellation_details"].update({"reason": "cancellation_requested", **(details or {})})
    _end(call.store, subscription)
    return Single(SUBSCRIPTION, subscription)


def retrieve(call: Call) -> Answer:
    """GET /v1/subscriptions/{id}."""
    return Single(SUBSCRIPTION, call.store.get(SUBSCRIPTION, call.id))


def list_subscriptions(call: Call) -> Answer:
    """GET /v1/subscriptions: without the canceled ones, unless `status` says otherwise."""
    given = call.parameters
    customer, price = read_customer(call), given.text("price")
    status = given.choice("status", (*LIVING, "canceled", "incomplete_expired", "ended", "all"))
    clock = given.text("test_clock")
    allowed = {None: set(LIVING), "all": None, "ended": {"canceled", "incomplete_expired"}}.get(status, {status})
    return Page(
        SUBSCRIPTION,
        [
            item
            for item in select_created(call.store.newest(SUBSCRIPTION), given)
            if customer in {None, item["customer"]}
            and (allowed is None or item["status"] in allowed)
            and (price is None or any(part["price"]["id"] == price for part in item["items"]["data"]))
            and clock in {None, item["test_clock"]}
        ],
    )


def list_items(call: Call) -> Answer:
    """GET /v1/subscription_items of one subscription."""
    id = str(call.parameters.text("subscription", required=True))
    subscription = call.store.get(SUBSCRIPTION, id, param="subscription", status=400)
    return Page(SUBSCRIPTION_ITEM, reversed(subscription["items"]["data"]))


def search_subscriptions(call: Call) -> Answer:
    """GET /v1/subscriptions/search."""
    return search(call, SUBSCRIPTION, call.store.newest(SUBSCRIPTION), fields=_SEARCHABLE)


# ---- for other resources ---------------------------------------------------------------------------------------------
def begin(store: Store, customer: str, items: Iterable[tuple[str, int]], *, method: str, data: Object) -> Object:
    """Begin a subscription for a customer who has just given a card; items are prices and quantities."""
    chosen = [
        {
            "metadata": {},
            "price": {
                key: copy_json(value) for key, value in store.get(PRICE, id).items() if key not in PRICE.on_request
            },
            "quantity": quantity,
        }
        for id, quantity in items
    ]
    shown = {**_make(store, customer, chosen), **data, "default_payment_method": method}
    return _begin(store, shown, chosen, trial_days=None, behavior="error_if_incomplete")


def _begin(store: Store, shown: Object, items: list[Object], *, trial_days: int | None, behavior: str | None) -> Object:
    now = shown["start_date"]
    if trial_days is not None:
        shown.update(status="trialing", trial_start=now, trial_end=now + trial_days * _DAY)
        shown["billing_cycle_anchor"] = shown["trial_end"]
    subscription = _add(store, shown, items)
    start, end = now, shown["trial_end"] or _end_of(shown, items, now)
    _set_period(subscription, start, end)
    store.emit("customer.subscription.created", SUBSCRIPTION, subscription)
    is_free = trial_days is not None
    invoice = invoices.issue(store, subscription, reason="subscription_create", start=start, end=end, is_free=is_free)
    if is_free:
        invoices.collect(store, invoice)
    elif subscription["collection_method"] == "send_invoice":
        _move(store, subscription, {"status": "active"})
    elif behavior != "default_incomplete":
        _pay_first(store, subscription, invoice, must_pay=behavior == "error_if_incomplete")
    return subscription


# ---- what time and banks do ------------------------------------------------------------------------------------------
def renew_due(store: Store, customers: Iterable[str], at: int) -> None:
    """Bring the subscriptions of these customers up to an instant: trials end, periods begin, the last ones end."""
    while due := [item for item in _living_of(store, customers) if _period_end(item) <= at]:
        for subscription in due:
            renew(store, subscription)


def next_end(store: Store, customers: Iterable[str]) -> int | None:
    """Return when the next period of these customers ends, or None where there is none."""
    return min((_period_end(item) for item in _living_of(store, customers)), default=None)


def renew(store: Store, subscription: Object) -> None:
    """Begin the next period: an invoice, and its payment; or the end, where that was asked for."""
    start = _period_end(subscription)
    if subscription["cancel_at_period_end"]:
        _end(store, subscription, at=start)
        return
    before = copy_json(subscription)
    if subscription["status"] == "trialing":
        subscription["status"] = "active"
    end = _end_of(subscription, subscription["items"]["data"], start)
    _set_period(subscription, start, end)
    store.emit("customer.subscription.updated", SUBSCRIPTION, subscription, before=before)
    invoice = invoices.issue(store, subscription, reason="subscription_cycle", start=start, end=end)
    if subscription["collection_method"] == "charge_automatically":
        invoices.collect(store, invoice, is_retried=True)


def cancel_at_period_end(store: Store, subscription: Object) -> None:
    """Let a subscription run out."""
    changes = {"cancel_at_period_end": True, "canceled_at": store.time_of(subscription["customer"])}
    _move(store, subscription, changes)


def hear_of_payment(store: Store, id: str, invoice: Object, *, is_paid: bool) -> None:
    """A paid invoice makes a subscription active, an unpaid one puts it in arrears, the first one leaves it open."""
    subscription = store.get(SUBSCRIPTION, id)
    status = subscription["status"]
    if is_paid and status in {"incomplete", "past_due", "unpaid"}:
        _move(store, subscription, {"status": "active"})
    elif not is_paid and status == "active" and invoice["billing_reason"] == "subscription_cycle":
        _move(store, subscription, {"status": "past_due"})


def end_all_of(store: Store, customer: str) -> None:
    """Cancel what a customer has."""
    for subscription in store.all(SUBSCRIPTION):
        if subscription["customer"] == customer and subscription["status"] in LIVING:
            _end(store, subscription)


def _living_of(store: Store, customers: Iterable[str]) -> list[Object]:
    wanted = set(customers)
    return [item for item in store.all(SUBSCRIPTION) if item["customer"] in wanted and item["status"] in LIVING]


def _pay_first(store: Store, subscription: Object, invoice: Object, *, must_pay: bool) -> None:
    try:
        invoices.collect(store, invoice)
    except StripeError:
        if must_pay:
            _end(store, subscription)
            raise


def _end(store: Store, subscription: Object, *, at: int | None = None) -> None:
    moment = store.time_of(subscription["customer"]) if at is None else at
    subscription.update(status="canceled", ended_at=moment, canceled_at=subscription["canceled_at"] or moment)
    store.emit("customer.subscription.deleted", SUBSCRIPTION, subscription)


def _move(store: Store, subscription: Object, changes: Object) -> None:
    before = copy_json(subscription)
    subscription.update(changes)
    if subscription != before:
        store.emit("customer.subscription.updated", SUBSCRIPTION, subscription, before=before)


def _period_end(subscription: Object) -> int:
    return int(subscription["items"]["data"][0]["current_period_end"])


def _set_period(subscription: Object, start: int, end: int) -> None:
    for item in subscription["items"]["data"]:
        item.update(current_period_start=start, current_period_end=end)


def _end_of(shown: Object, items: list[Object], start: int) -> int:
    recurring = items[0]["price"]["recurring"]
    interval, count = recurring["interval"], recurring["interval_count"]
    anchor = shown["billing_cycle_anchor"]
    if start <= anchor:
        return add_intervals(anchor, interval=interval, count=count) if start == anchor else int(anchor)
    return next_boundary(anchor, start, interval=interval, count=count)


def _read_items(store: Store, given: Parameters) -> list[Object]:
    items = [_read_item(store, item) for item in given.objects("items") or []]
    if not items:
        raise wrong_parameter("Missing required param: items.", code="parameter_missing", param="items")
    if len({item["price"]["currency"] for item in items}) > 1:
        raise wrong_parameter("All items of a subscription must have the same currency.", param="items")
    return items


def _read_item(store: Store, given: Parameters) -> Object:
    price = store.get(PRICE, str(given.text("price", required=True)), param=given.at("price"), status=400)
    quantity = given.integer("quantity", least=0)
    if price["recurring"] is None:
        text = "The price specified is set to `type=one_time` but this field only accepts prices with `type=recurring`."
        raise wrong_parameter(text, param=given.at("price"))
    shown = {key: copy_json(value) for key, value in price.items() if key not in PRICE.on_request}
    is_metered = price["recurring"]["usage_type"] == "metered"
    item: Object = {"metadata": given.metadata({}), "price": shown}
    if not is_metered:
        item["quantity"] = 1 if quantity is None else quantity
    return item


def _change_items(store: Store, given: Parameters, changed: Object) -> None:
    for item in given.objects("items") or []:
        id, price, quantity = item.text("id"), item.text("price"), item.integer("quantity", least=0)
        found = next((part for part in changed["items"]["data"] if part["id"] == id), None)
        if found is None:
            raise missing_object("subscription_item", str(id), param=item.at("id"), status=400)
        if price is not None:
            found["price"] = copy_json(store.get(PRICE, price, param=item.at("price"), status=400))
        if quantity is not None:
            found["quantity"] = quantity


def _apply(call: Call, shown: Object) -> None:
    given, store = call.parameters, call.store
    if (method := given.text("default_payment_method", can_unset=True)) is not None:
        found = store.find(PAYMENT_METHOD, method)
        if method and (found is None or found["customer"] != shown["customer"]):
            raise missing_object("PaymentMethod", method, param="default_payment_method", status=400)
        shown["default_payment_method"] = method or None
    if (collection := given.choice("collection_method", ("charge_automatically", "send_invoice"))) is not None:
        shown["collection_method"] = collection
    if (days := given.integer("days_until_due", least=0)) is not None:
        shown["days_until_due"] = days
    if shown["collection_method"] == "send_invoice" and shown["days_until_due"] is None:
        raise wrong_parameter("Missing required param: days_until_due.", param="days_until_due")
    if (text := given.text("description", can_unset=True)) is not None:
        shown["description"] = text or None
    if (ends := given.boolean("cancel_at_period_end")) is not None:
        shown["cancel_at_period_end"] = ends
        shown["canceled_at"] = store.time_of(shown["customer"]) if ends else None
    given.free("payment_settings")
    shown["metadata"] = given.metadata(shown["metadata"])


def _add(store: Store, shown: Object, items: list[Object]) -> Object:
    id = store.ids.make(SUBSCRIPTION.prefix)
    data = [
        {
            "id": store.ids.make("si_", 14),
            "object": "subscription_item",
            "billing_thresholds": None,
            "created": shown["start_date"],
            "current_period_end": 0,
            "current_period_start": 0,
            "discounts": [],
            "plan": _make_plan(item["price"]),
            "subscription": id,
            "tax_rates": [],
            **item,
        }
        for item in items
    ]
    listed = {"object": "list", "data": data, "has_more": False, "url": f"/v1/subscription_items?subscription={id}"}
    return store.add(SUBSCRIPTION, {**shown, "items": listed}, id=id)


def _make_plan(price: Object) -> Object:
    """Return a price as the plan it once was called."""
    recurring = price["recurring"]
    return {
        "id": price["id"],
        "object": "plan",
        "active": price["active"],
        "amount": price["unit_amount"],
        "amount_decimal": price["unit_amount_decimal"],
        "billing_scheme": price["billing_scheme"],
        "created": price["created"],
        "currency": price["currency"],
        "interval": recurring["interval"],
        "interval_count": recurring["interval_count"],
        "livemode": price["livemode"],
        "metadata": dict(price["metadata"]),
        "meter": recurring["meter"],
        "nickname": price["nickname"],
        "product": price["product"],
        "tiers_mode": price["tiers_mode"],
        "transform_usage": price["transform_quantity"],
        "trial_period_days": recurring["trial_period_days"],
        "usage_type": recurring["usage_type"],
    }


def _make(store: Store, customer: str, items: list[Object]) -> Object:
    now = store.time_of(customer)
    nothing: dict[str, Any] = dict.fromkeys(
        """
        application application_fee_percent billing_cycle_anchor_config billing_schedules billing_thresholds cancel_at
        canceled_at customer_account days_until_due default_payment_method default_source description ended_at
        latest_invoice next_pending_invoice_item_invoice on_behalf_of pause_collection pending_invoice_item_interval
        pending_setup_intent pending_update schedule transfer_data trial_end trial_start
        """.split()
    )
    owner = next(item for item in store.all("customer") if item["id"] == customer)
    return {
        **nothing,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": now,
        "billing_mode": {"flexible": {}, "type": "classic"},
        "cancel_at_period_end": False,
        "cancellation_details": {"comment": None, "feedback": None, "reason": None},
        "collection_method": "charge_automatically",
        "created": now,
        "currency": items[0]["price"]["currency"],
        "customer": customer,
        "default_tax_rates": [],
        "discounts": [],
        "invoice_settings": {
            "account_tax_ids": None,
            "custom_fields": None,
            "description": None,
            "footer": None,
            "issuer": {"type": "self"},
        },
        "managed_payments": {"enabled": False},
        "metadata": {},
        "payment_settings": {
            "payment_method_options": None,
            "payment_method_types": None,
            "save_default_payment_method": "off",
        },
        "start_date": now,
        "status": "incomplete",
        "test_clock": owner["test_clock"],
        "trial_settings": {"end_behavior": {"missing_payment_method": "create_invoice"}},
    }


_ONE = "/v1/subscriptions/{id}"
ROUTES = (
    Route("POST", "/v1/subscriptions", create, "rak_subscription_write"),
    Route("GET", "/v1/subscriptions", list_subscriptions, "rak_subscription_read"),
    Route("GET", "/v1/subscription_items", list_items, "rak_subscription_read"),
    Route("GET", "/v1/subscriptions/search", search_subscriptions, "rak_subscription_read"),
    Route("GET", _ONE, retrieve, "rak_subscription_read"),
    Route("POST", _ONE, update, "rak_subscription_write"),
    Route("DELETE", _ONE, cancel, "rak_subscription_write"),
)
