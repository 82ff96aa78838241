"""Events: what changed, for a while after it did."""

from __future__ import annotations

import fnmatch

from tests.stripe_server.errors import wrong_parameter
from tests.stripe_server.events import EVENT
from tests.stripe_server.listing import select_created
from tests.stripe_server.routing import Answer, Call, Page, Route, Single


def retrieve(call: Call) -> Answer:
    """GET /v1/events/{id}."""
    return Single(EVENT, call.store.get(EVENT, call.id))


def list_events(call: Call) -> Answer:
    """GET /v1/events; `type` may end in `.*`, `delivery_success=false` are those an endpoint did not take yet."""
    given = call.parameters
    type, types = given.text("type"), given.texts("types", most=20)
    is_delivered = given.boolean("delivery_success")
    if type is not None and types is not None:
        raise wrong_parameter("You may only specify one of these parameters: type, types.", param="types")
    patterns = types if types is not None else [type or "*"]
    return Page(
        EVENT,
        [
            event
            for event in select_created(call.store.newest(EVENT), given)
            if any(fnmatch.fnmatchcase(event["type"], pattern) for pattern in patterns)
            and is_delivered in {None, event["pending_webhooks"] == 0}
        ],
    )


ROUTES = (
    Route("GET", "/v1/events", list_events, "rak_event_read"),
    Route("GET", "/v1/events/{id}", retrieve, "rak_event_read"),
)
