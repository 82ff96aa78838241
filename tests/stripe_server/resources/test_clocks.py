"""Test clocks: customers on one live in its time, which only goes forward; their subscriptions go with it."""

from __future__ import annotations

from tests.stripe_server.errors import StripeError, wrong_parameter
from tests.stripe_server.events import show
from tests.stripe_server.resources import subscriptions
from tests.stripe_server.resources.customers import CUSTOMER
from tests.stripe_server.routing import Answer, Call, Page, Plain, Route, Single
from tests.stripe_server.store import Kind, Object, Store, copy_json

TEST_CLOCK = Kind("test_helpers.test_clock", "clock_1", words="test clock")
_LIVES_SECONDS = 30 * 86400
_FURTHEST_SECONDS = 2 * 366 * 86400


def create(call: Call) -> Answer:
    """POST /v1/test_helpers/test_clocks."""
    given = call.parameters
    frozen = given.integer("frozen_time", least=1, required=True)
    name = given.text("name", longest=300)
    given.finish()
    if call.store.livemode:
        raise StripeError("Test clocks are for test mode.")
    shown: Object = {
        "deletes_after": call.store.clock.now() + _LIVES_SECONDS,
        "frozen_time": frozen,
        "name": name,
        "status": "ready",
        "status_details": {},
    }
    clock = call.store.add(TEST_CLOCK, shown)
    call.store.emit("test_helpers.test_clock.created", TEST_CLOCK, clock)
    return Single(TEST_CLOCK, clock)


def advance(call: Call) -> Answer:
    """POST /v1/test_helpers/test_clocks/{id}/advance. The answer says `advancing`; whoever looks next sees `ready`."""
    clock, store = call.store.get(TEST_CLOCK, call.id), call.store
    to = int(call.parameters.integer("frozen_time", required=True) or 0)
    call.parameters.finish()
    if to <= clock["frozen_time"]:
        text = "You can only advance a test clock to a time after its current one."
        raise wrong_parameter(text, param="frozen_time")
    if to - clock["frozen_time"] > _FURTHEST_SECONDS:
        raise wrong_parameter("You cannot advance a test clock by more than two years at once.", param="frozen_time")
    before = copy_json(clock)
    clock["status"] = "advancing"
    store.emit("test_helpers.test_clock.advancing", TEST_CLOCK, clock, before=before)
    answer = show(TEST_CLOCK, clock)
    move(store, clock, to)
    return Plain(answer)


def retrieve(call: Call) -> Answer:
    """GET /v1/test_helpers/test_clocks/{id}."""
    return Single(TEST_CLOCK, call.store.get(TEST_CLOCK, call.id))


def list_clocks(call: Call) -> Answer:
    """GET /v1/test_helpers/test_clocks."""
    return Page(TEST_CLOCK, call.store.newest(TEST_CLOCK))


def delete(call: Call) -> Answer:
    """DELETE /v1/test_helpers/test_clocks/{id}, with everybody who lives on it."""
    clock, store = call.store.get(TEST_CLOCK, call.id), call.store
    call.parameters.finish()
    for customer in _customers_of(store, clock):
        subscriptions.end_all_of(store, customer["id"])
        store.emit("customer.deleted", CUSTOMER, customer)
        customer["deleted"] = True
    store.remove(TEST_CLOCK, clock["id"])
    store.emit("test_helpers.test_clock.deleted", TEST_CLOCK, clock)
    return Plain({"id": clock["id"], "object": TEST_CLOCK.name, "deleted": True})


def move(store: Store, clock: Object, to: int) -> None:
    """Set a clock to an instant; each renewal on the way happens at its own time."""
    customers = [customer["id"] for customer in _customers_of(store, clock)]
    while (next_end := subscriptions.next_end(store, customers)) is not None and next_end <= to:
        clock["frozen_time"] = max(clock["frozen_time"], next_end)
        subscriptions.renew_due(store, customers, next_end)
    before = copy_json(clock)
    clock.update(frozen_time=to, status="ready")
    store.emit("test_helpers.test_clock.ready", TEST_CLOCK, clock, before=before)


def _customers_of(store: Store, clock: Object) -> list[Object]:
    return [
        customer
        for customer in store.all(CUSTOMER)
        if customer["test_clock"] == clock["id"] and not customer.get("deleted")
    ]


_ALL = "/v1/test_helpers/test_clocks"
ROUTES = (
    Route("POST", _ALL, create, "rak_billing_clock_write"),
    Route("GET", _ALL, list_clocks, "rak_billing_clock_read"),
    Route("GET", f"{_ALL}/{{id}}", retrieve, "rak_billing_clock_read"),
    Route("DELETE", f"{_ALL}/{{id}}", delete, "rak_billing_clock_write"),
    Route("POST", f"{_ALL}/{{id}}/advance", advance, "rak_billing_clock_write"),
)
