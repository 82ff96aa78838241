"""
The doors of a server over HTTP, for other processes, under `/_sandbox`.

`POST /_sandbox/doors/<name>` with the arguments as a JSON object calls the door of that name and answers
`{"result": …}`; `GET /_sandbox/state` tells what is planned, `GET /_sandbox/health` that the server runs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tests.stripe_server.deliveries import Delivery
from tests.stripe_server.errors import StripeError

if TYPE_CHECKING:
    from tests.stripe_server.server import StripeServer

PREFIX = "/_sandbox"
NAMES = frozenset(
    """
    add_endpoint add_funds advance_payout authenticate change change_card close_dispute complete_checkout decline_next
    delay_next delay_webhooks deliver_all describe drop_next duplicate_webhooks events fail_next find forget_requests
    heal hold_webhooks lose_webhooks make_event objects open_dispute pass_time pay_unknown refund_unseen
    release_webhooks renew resend reverse_webhooks settle settle_refund
    """.split()
)


def answer(stripe: StripeServer, method: str, path: str, headers: Mapping[str, str], body: str) -> tuple[int, Any]:
    """Return the status and the JSON of a request to a path below the prefix."""
    if method == "GET" and path == f"{PREFIX}/health":
        return 200, {"status": "ok"}
    if method == "GET" and path == f"{PREFIX}/state":
        return 200, stripe.describe()
    name = path.removeprefix(f"{PREFIX}/doors/")
    if method != "POST" or name not in NAMES:
        return 404, {"error": f"There is no such door: {method} {path}"}
    if not headers.get("content-type", "").startswith("application/json"):
        # A page of another origin cannot send JSON without being asked first.
        return 415, {"error": "Arguments are a JSON object (Content-Type: application/json)."}
    try:
        arguments = json.loads(body or "{}")
        return 200, {"result": open_door(stripe, name, arguments)}
    except StripeError as error:
        return error.status, {"error": error.message}
    except (TypeError, ValueError, KeyError, TimeoutError) as error:
        return 400, {"error": f"{type(error).__name__}: {error}"}


def open_door(stripe: StripeServer, name: str, arguments: Mapping[str, Any]) -> Any:
    """Call a door by name. Arguments are those of the method in `doors`; functions cannot be given."""
    if name not in NAMES or "receive" in arguments:
        raise ValueError(f"There is no such door: {name}")
    return _to_json(getattr(stripe, name)(**arguments))


def _to_json(value: Any) -> Any:
    if isinstance(value, Delivery):
        endpoint = value.endpoint["url"]
        return {
            "event": value.event["id"],
            "type": value.event["type"],
            "endpoint": endpoint,
            "answers": value.answers,
        }
    return [_to_json(item) for item in value] if isinstance(value, list) else value
