"""Events: every change of an object makes one, with the object as it was shown at that moment."""

from __future__ import annotations

from tests.stripe_server.store import Kind, Object, Store, copy_json

EVENT = Kind("event", "evt_1")


def show(kind: Kind, stored: Object) -> Object:
    """Return a copy of an object as answers show it."""
    return {key: copy_json(value) for key, value in stored.items() if key not in kind.on_request}


def make_event(store: Store, type: str, shown: Object, *, version: str, previous: Object | None = None) -> Object:
    """Return a new event. Its time is that of the object's customer, who may live on a test clock."""
    data: Object = {"object": shown}
    if previous is not None:
        data["previous_attributes"] = previous
    customer = shown.get("customer") if shown.get("object") != "customer" else shown.get("id")
    return store.add(
        EVENT,
        {
            "api_version": version,
            "created": store.time_of(customer if isinstance(customer, str) else None),
            "data": data,
            "pending_webhooks": 0,
            "request": dict(store.request),
            "type": type,
        },
    )


def compare(before: Object, after: Object) -> Object:
    """Return what an object was where it is different now; nested objects by their members, as Stripe does."""
    previous: Object = {}
    for key in {**before, **after}:
        was, now = before.get(key), after.get(key)
        if was == now:
            continue
        is_nested = isinstance(was, dict) and isinstance(now, dict) and key != "items"
        previous[key] = compare(was, now) if is_nested and isinstance(was, dict) and isinstance(now, dict) else was
    return previous
