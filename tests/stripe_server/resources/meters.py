"""Billing meters: they count usage events by name. One active meter for each event name; how it counts is final."""

from __future__ import annotations

from tests.stripe_server.errors import StripeError
from tests.stripe_server.routing import Answer, Call, Page, Route, Single
from tests.stripe_server.store import Kind, Object, Store, copy_json

METER = Kind("billing.meter", "mtr_", words="meter")
FORMULAS = ("count", "last", "sum")


def create(call: Call) -> Answer:
    """POST /v1/billing/meters."""
    given = call.parameters
    name = given.text("display_name", required=True, longest=250)
    event_name = given.text("event_name", required=True, longest=100)
    aggregation = given.object("default_aggregation", required=True)
    mapping, values = given.object("customer_mapping"), given.object("value_settings")
    shown: Object = {
        "customer_mapping": {
            "event_payload_key": "stripe_customer_id"
            if mapping is None
            else mapping.text("event_payload_key", required=True, longest=100),
            "type": "by_id" if mapping is None else mapping.choice("type", ("by_id",), required=True),
        },
        "default_aggregation": {
            "formula": None if aggregation is None else aggregation.choice("formula", FORMULAS, required=True)
        },
        "display_name": name,
        "event_name": event_name,
        "event_time_window": given.choice("event_time_window", ("day", "hour")),
        "status": "active",
        "status_transitions": {"deactivated_at": None},
        "updated": call.store.clock.now(),
        "value_settings": {
            "event_payload_key": "value"
            if values is None
            else values.text("event_payload_key", required=True, longest=100)
        },
    }
    given.finish()
    _refuse_second(call.store, str(event_name))
    meter = call.store.add(METER, shown)
    call.store.emit("billing.meter.created", METER, meter)
    return Single(METER, meter)


def update(call: Call) -> Answer:
    """POST /v1/billing/meters/{id}: its display name and nothing else."""
    meter = call.store.get(METER, call.id)
    name = call.parameters.text("display_name", longest=250)
    call.parameters.finish()
    if name is not None:
        before = copy_json(meter)
        meter.update(display_name=name, updated=call.store.clock.now())
        call.store.emit("billing.meter.updated", METER, meter, before=before)
    return Single(METER, meter)


def deactivate(call: Call) -> Answer:
    """POST /v1/billing/meters/{id}/deactivate."""
    meter = call.store.get(METER, call.id)
    call.parameters.finish()
    if meter["status"] != "active":
        raise StripeError("You cannot deactivate a meter that is already inactive.")
    now = call.store.clock.now()
    meter.update(status="inactive", status_transitions={"deactivated_at": now}, updated=now)
    call.store.emit("billing.meter.deactivated", METER, meter)
    return Single(METER, meter)


def reactivate(call: Call) -> Answer:
    """POST /v1/billing/meters/{id}/reactivate."""
    meter = call.store.get(METER, call.id)
    call.parameters.finish()
    if meter["status"] == "active":
        raise StripeError("You cannot reactivate a meter that is already active.")
    _refuse_second(call.store, meter["event_name"])
    meter.update(status="active", status_transitions={"deactivated_at": None}, updated=call.store.clock.now())
    call.store.emit("billing.meter.reactivated", METER, meter)
    return Single(METER, meter)


def retrieve(call: Call) -> Answer:
    """GET /v1/billing/meters/{id}."""
    return Single(METER, call.store.get(METER, call.id))


def list_meters(call: Call) -> Answer:
    """GET /v1/billing/meters."""
    status = call.parameters.choice("status", ("active", "inactive"))
    return Page(METER, [meter for meter in call.store.newest(METER) if status in {None, meter["status"]}])


def _refuse_second(store: Store, event_name: str) -> None:
    for meter in store.all(METER):
        if meter["event_name"] == event_name and meter["status"] == "active":
            text = f"An active meter (`{meter['id']}`) already exists for event name `{event_name}`."
            raise StripeError(text, code="resource_already_exists", param="event_name")


_ONE = "/v1/billing/meters/{id}"
ROUTES = (
    Route("POST", "/v1/billing/meters", create, "rak_billing_meter_write"),
    Route("GET", "/v1/billing/meters", list_meters, "rak_billing_meter_read"),
    Route("GET", _ONE, retrieve, "rak_billing_meter_read"),
    Route("POST", _ONE, update, "rak_billing_meter_write"),
    Route("POST", f"{_ONE}/deactivate", deactivate, "rak_billing_meter_write"),
    Route("POST", f"{_ONE}/reactivate", reactivate, "rak_billing_meter_write"),
)
