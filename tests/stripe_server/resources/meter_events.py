"""Usage reported to meters: each identifier counts once a day, and only for meters and customers that exist."""

from __future__ import annotations

import uuid
from decimal import Decimal, InvalidOperation
from typing import Any

from tests.stripe_server.errors import StripeError, wrong_parameter
from tests.stripe_server.resources.customers import find_customer
from tests.stripe_server.resources.meters import METER
from tests.stripe_server.routing import Answer, Call, Page, Route, Single
from tests.stripe_server.store import Kind, Object, Store

METER_EVENT = Kind("billing.meter_event", "", words="meter event", lacks=("id",))
SUMMARY = Kind("billing.meter_event_summary", "mtrusg_", lacks=("created",))
LONGEST = 100
_OLDEST_SECONDS = 35 * 86400
_NEWEST_SECONDS = 300
_ONCE_SECONDS = 86400


def create(call: Call) -> Answer:
    """POST /v1/billing/meter_events."""
    given, store = call.parameters, call.store
    name = given.text("event_name", required=True, longest=100)
    identifier = given.text("identifier", longest=LONGEST) or str(uuid.uuid4())
    now = store.clock.now()
    timestamp = given.integer("timestamp")
    payload = given.free("payload")
    given.finish()
    if not payload:
        raise wrong_parameter("Missing required param: payload.", code="parameter_missing", param="payload")
    meter = _find_meter(store, str(name))
    _check(store, meter, payload)
    at = now if timestamp is None else timestamp
    if at < now - _OLDEST_SECONDS:
        text = "The timestamp must be within the past 35 calendar days."
        raise StripeError(text, code="timestamp_too_far_in_past", param="timestamp")
    if at > now + _NEWEST_SECONDS:
        text = "The timestamp must not be more than 5 minutes in the future."
        raise StripeError(text, code="timestamp_in_future", param="timestamp")
    known = store.find(METER_EVENT, identifier)
    if known is not None and now - known["created"] < _ONCE_SECONDS:
        raise StripeError(f"An event already exists with identifier {identifier}.", param="identifier")
    shown = {"event_name": name, "identifier": identifier, "payload": payload, "timestamp": at}
    return Single(METER_EVENT, store.add(METER_EVENT, shown, id=identifier))


def list_summaries(call: Call) -> Answer:
    """GET /v1/billing/meters/{id}/event_summaries: what a customer used in a time, as one number."""
    given, store = call.parameters, call.store
    meter = store.get(METER, call.id)
    customer = given.text("customer", required=True)
    start = int(given.integer("start_time", required=True) or 0)
    end = int(given.integer("end_time", required=True) or 0)
    given.choice("value_grouping_window", ("day", "hour"))
    if end <= start:
        raise wrong_parameter("The end must be after the start.", param="end_time")
    key, value_key = meter["customer_mapping"]["event_payload_key"], meter["value_settings"]["event_payload_key"]
    values = [
        Decimal(event["payload"].get(value_key) or 1)
        for event in sorted(store.all(METER_EVENT), key=lambda item: int(item["timestamp"]))
        if event["event_name"] == meter["event_name"]
        and event["payload"].get(key) == customer
        and start <= event["timestamp"] < end
    ]
    formula = meter["default_aggregation"]["formula"]
    total = {
        "count": Decimal(len(values)),
        "sum": sum(values, Decimal(0)),
        "last": values[-1] if values else Decimal(0),
    }
    summary: Object = {
        "id": store.ids.make(SUMMARY.prefix),
        "object": SUMMARY.name,
        "aggregated_value": float(total[formula]),  # a JSON number, as Stripe shows it
        "end_time": end,
        "livemode": store.livemode,
        "meter": meter["id"],
        "start_time": start,
    }
    return Page(SUMMARY, [summary])


def _find_meter(store: Store, name: str) -> Object:
    meters = [meter for meter in store.all(METER) if meter["event_name"] == name]
    active = next((meter for meter in meters if meter["status"] == "active"), None)
    if active is None:
        if meters:
            text = f"The meter with event name {name} is archived."
            raise StripeError(text, code="archived_meter", param="event_name")
        raise StripeError(f"No active meter found for event name {name}.", code="no_meter", param="event_name")
    return active


def _check(store: Store, meter: Object, payload: dict[str, Any]) -> None:
    key, value_key = meter["customer_mapping"]["event_payload_key"], meter["value_settings"]["event_payload_key"]
    if key not in payload:
        text = f"The payload must contain the key `{key}`."
        raise StripeError(text, code="meter_event_no_customer_defined", param="payload")
    find_customer(store, str(payload[key]), param=f"payload[{key}]", status=400)
    if meter["default_aggregation"]["formula"] == "count" and value_key not in payload:
        return
    try:
        value = Decimal(str(payload.get(value_key, "")))
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite():
        text = f"The payload must contain a number in `{value_key}`."
        raise StripeError(text, code="meter_event_invalid_value", param="payload")


ROUTES = (
    Route("POST", "/v1/billing/meter_events", create, "rak_billing_meter_event_write"),
    Route("GET", "/v1/billing/meters/{id}/event_summaries", list_summaries, "rak_billing_meter_read"),
)
