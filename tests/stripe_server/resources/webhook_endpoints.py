"""Webhook endpoints: where events go. The secret is shown once, when an endpoint is made."""

from __future__ import annotations

import secrets
from urllib.parse import urlsplit

from tests.stripe_server.errors import wrong_parameter
from tests.stripe_server.events import show
from tests.stripe_server.parameters import Parameters
from tests.stripe_server.routing import Answer, Call, Page, Plain, Route, Single
from tests.stripe_server.store import Kind, Object, Store

WEBHOOK_ENDPOINT = Kind("webhook_endpoint", "we_1", words="webhook endpoint", on_request=("secret",))
_MOST = 16


def create(call: Call) -> Answer:
    """POST /v1/webhook_endpoints."""
    given, store = call.parameters, call.store
    url = _read_url(given, required=True)
    shown: Object = {
        "api_version": given.text("api_version"),
        "description": given.text("description", can_unset=True) or None,
        "enabled_events": given.texts("enabled_events") or [],
        "metadata": given.metadata({}),
    }
    if not shown["enabled_events"]:
        text = "Missing required param: enabled_events."
        raise wrong_parameter(text, code="parameter_missing", param="enabled_events")
    given.boolean("connect")
    given.finish()
    if len(store.all(WEBHOOK_ENDPOINT)) >= _MOST:
        raise wrong_parameter(f"You have reached the maximum of {_MOST} test webhook endpoints.", param="url")
    endpoint = add(store, url=str(url), secret="whsec_" + secrets.token_hex(16), **shown)
    return Plain({**show(WEBHOOK_ENDPOINT, endpoint), "secret": endpoint["secret"]})


def update(call: Call) -> Answer:
    """POST /v1/webhook_endpoints/{id}."""
    endpoint = call.store.get(WEBHOOK_ENDPOINT, call.id)
    given = call.parameters
    url, events = _read_url(given), given.texts("enabled_events")
    description, disabled = given.text("description", can_unset=True), given.boolean("disabled")
    metadata = given.metadata(endpoint["metadata"])
    given.finish()
    endpoint["metadata"] = metadata
    if url is not None:
        endpoint["url"] = url
    if events is not None:
        endpoint["enabled_events"] = events
    if description is not None:
        endpoint["description"] = description or None
    if disabled is not None:
        endpoint["status"] = "disabled" if disabled else "enabled"
    return Single(WEBHOOK_ENDPOINT, endpoint)


def retrieve(call: Call) -> Answer:
    """GET /v1/webhook_endpoints/{id}."""
    return Single(WEBHOOK_ENDPOINT, call.store.get(WEBHOOK_ENDPOINT, call.id))


def list_endpoints(call: Call) -> Answer:
    """GET /v1/webhook_endpoints."""
    return Page(WEBHOOK_ENDPOINT, call.store.newest(WEBHOOK_ENDPOINT))


def delete(call: Call) -> Answer:
    """DELETE /v1/webhook_endpoints/{id}: what is on its way is tried once more at most."""
    endpoint = call.store.get(WEBHOOK_ENDPOINT, call.id)
    endpoint["status"] = "disabled"
    call.store.remove(WEBHOOK_ENDPOINT, endpoint["id"])
    return Plain({"id": endpoint["id"], "object": "webhook_endpoint", "deleted": True})


def add(
    store: Store,
    *,
    url: str,
    secret: str,
    enabled_events: list[str],
    api_version: str | None = None,
    description: str | None = None,
    metadata: dict[str, str] | None = None,
) -> Object:
    """Keep an endpoint. The server sends to those it finds here."""
    return store.add(
        WEBHOOK_ENDPOINT,
        {
            "api_version": api_version,
            "application": None,
            "description": description,
            "enabled_events": enabled_events,
            "metadata": metadata or {},
            "secret": secret,
            "status": "enabled",
            "url": url,
        },
    )


def _read_url(given: Parameters, *, required: bool = False) -> str | None:
    url = given.text("url", required=required)
    if url is not None and (urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).hostname):
        raise wrong_parameter("Invalid URL: An explicit scheme (such as https) must be provided.", param="url")
    return url


_ONE = "/v1/webhook_endpoints/{id}"
ROUTES = (
    Route("POST", "/v1/webhook_endpoints", create, "rak_webhook_write"),
    Route("GET", "/v1/webhook_endpoints", list_endpoints, "rak_webhook_read"),
    Route("GET", _ONE, retrieve, "rak_webhook_read"),
    Route("POST", _ONE, update, "rak_webhook_write"),
    Route("DELETE", _ONE, delete, "rak_webhook_write"),
)
