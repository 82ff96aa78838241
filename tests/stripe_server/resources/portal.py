"""Portal sessions: a hosted page on which a customer manages cards and subscriptions."""

from __future__ import annotations

from tests.stripe_server.resources.customers import read_customer
from tests.stripe_server.routing import Answer, Call, Route, Single
from tests.stripe_server.store import Kind

PORTAL_SESSION = Kind("billing_portal.session", "bps_1", expandable={"customer": "customer"})


def create(call: Call) -> Answer:
    """POST /v1/billing_portal/sessions. Its address is good for whoever holds it."""
    given, store = call.parameters, call.store
    customer = read_customer(call, required=True)
    shown = {
        "configuration": given.text("configuration") or "bpc_1SandboxDefault",
        "customer": customer,
        "customer_account": None,
        "flow": None,
        "locale": given.text("locale"),
        "on_behalf_of": None,
        "return_url": given.text("return_url"),
    }
    given.finish()
    id = store.ids.make(PORTAL_SESSION.prefix)
    return Single(
        PORTAL_SESSION, store.add(PORTAL_SESSION, {**shown, "url": f"{store.base_url}/p/session/{id}"}, id=id)
    )


ROUTES = (Route("POST", "/v1/billing_portal/sessions", create, "rak_customer_portal_write"),)
