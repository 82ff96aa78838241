"""The server's front page: what there is, newest first, with buttons for what banks, customers and networks do."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tests.stripe_server.currencies import format_amount
from tests.stripe_server.errors import StripeError
from tests.stripe_server.hosted import Shown
from tests.stripe_server.html import Html, button, link, page, table, tag
from tests.stripe_server.remote import open_door
from tests.stripe_server.store import Object

if TYPE_CHECKING:
    from tests.stripe_server.server import StripeServer

ACT = "/act"
_SHOWN = 15
_BAR: tuple[tuple[str, str, Object], ...] = (
    ("Settle what is planned", "settle", {}),
    ("Let a day pass", "pass_time", {"days": 1}),
    ("Decline the next charge", "decline_next", {"decline_code": "insufficient_funds"}),
    ("Fail the next request", "fail_next", {"status": 500, "method": "POST"}),
    ("Lose the next answer", "drop_next", {"method": "POST", "moment": "after"}),
    ("Hold webhooks back", "hold_webhooks", {}),
    ("Release webhooks", "release_webhooks", {}),
    ("Deliver the next webhook twice", "duplicate_webhooks", {}),
    ("Reverse the next 3 webhooks", "reverse_webhooks", {"times": 3}),
    ("Lose the next webhook", "lose_webhooks", {"times": 1}),
    ("Add 100.00 usd to the balance", "add_funds", {"amount": 10_000}),
    ("End all trouble", "heal", {}),
)


def answer(stripe: StripeServer, method: str, path: str, form: dict[str, str]) -> Shown | None:
    """Return the front page or do what a button says, or None where the path is neither."""
    if path == ACT and method == "POST":
        try:
            open_door(stripe, form.get("door", ""), json.loads(form.get("arguments", "{}")))
        except (StripeError, ValueError, TypeError, KeyError) as error:
            return Shown(_draw(stripe, str(error)), 400)
        return Shown(status=303, location="/")
    if path == "/" and method == "GET":
        return Shown(_draw(stripe))
    return None


def _draw(stripe: StripeServer, error: str = "") -> str:
    with stripe.api.lock:
        state = stripe.describe()
        parts = [
            tag("h1", "Stripe sandbox"),
            tag("p", f"{stripe.url} · test mode · everything is forgotten when it stops", css="note"),
            tag("p", *[_press(label, door, arguments) for label, door, arguments in _BAR], css="bar"),
        ]
        if error:
            parts.append(tag("p", error, css="error"))
        planned = [
            f"{len(state[name])} {name}" for name in ("faults", "plans", "held", "waiting", "errands") if state[name]
        ]
        parts.append(tag("p", "Planned: ", ", ".join(planned) or "nothing", "."))
        for title, heads, rows in (
            _sessions(stripe),
            _payments(stripe),
            _setups(stripe),
            _refunds(stripe),
            _disputes(stripe),
            _payouts(stripe),
            _subscriptions(stripe),
            _customers(stripe),
            _events(stripe),
            _endpoints(stripe),
        ):
            parts += [tag("h2", title), table(heads, rows)]
    return page("Stripe sandbox", *parts)


Section = tuple[str, tuple[str, ...], list[tuple[object, ...]]]


def _press(label: str, door: str, arguments: Object) -> Html:
    return button(label, ACT, {"door": door, "arguments": json.dumps(arguments)})


def _newest(stripe: StripeServer, kind: str) -> list[Object]:
    return stripe.objects(kind)[::-1][:_SHOWN]


def _code(id: object) -> Html:
    return tag("code", id)


def _at(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%d %b %H:%M:%S")


def _sessions(stripe: StripeServer) -> Section:
    rows: list[tuple[object, ...]] = [
        (
            _code(item["id"][:24] + "…"),
            item["mode"],
            item["status"],
            link(item["url"], "Open the page") if item["status"] == "open" else "",
            _press("Complete", "complete_checkout", {"session": item["id"]}) if item["status"] == "open" else "",
        )
        for item in _newest(stripe, "checkout.session")
    ]
    return "Checkout sessions", ("Session", "Mode", "Status", "", ""), rows


def _payments(stripe: StripeServer) -> Section:
    rows: list[tuple[object, ...]] = []
    for item in _newest(stripe, "payment_intent"):
        id, actions = item["id"], []
        if item["status"] == "requires_action":
            actions += [_press("Authenticate", "authenticate", {"intent": id})]
            actions += [_press("Refuse", "authenticate", {"intent": id, "succeeds": False})]
        if item["status"] == "succeeded":
            actions += [_press("Dispute", "open_dispute", {"charge_or_intent": id})]
            actions += [_press("Ask about it", "open_dispute", {"charge_or_intent": id, "is_inquiry": True})]
            actions += [_press("Drift: refund unseen", "refund_unseen", {"intent": id})]
            more = {"amount_received": item["amount_received"] + 1}
            actions += [_press("Drift: one more", "change", {"id": id, "values": more})]
        amount = format_amount(item["amount"], item["currency"])
        rows.append((_at(item["created"]), _code(id), amount, item["status"], Html("".join(actions))))
    return "Payments", ("Made", "Payment intent", "Amount", "Status", ""), rows


def _setups(stripe: StripeServer) -> Section:
    rows: list[tuple[object, ...]] = [
        (
            _code(item["id"]),
            item["status"],
            _press("Authenticate", "authenticate", {"intent": item["id"]})
            if item["status"] == "requires_action"
            else "",
        )
        for item in _newest(stripe, "setup_intent")
    ]
    return "Setups", ("Setup intent", "Status", ""), rows


def _refunds(stripe: StripeServer) -> Section:
    rows: list[tuple[object, ...]] = []
    for item in _newest(stripe, "refund"):
        actions = [_press("Arrive", "settle_refund", {"refund": item["id"], "succeeds": True})]
        if item["status"] != "pending":
            actions = []
        if item["status"] in {"pending", "succeeded"}:
            actions.append(_press("Come back", "settle_refund", {"refund": item["id"], "succeeds": False}))
        amount = format_amount(item["amount"], item["currency"])
        rows.append((_code(item["id"]), amount, item["status"], Html("".join(actions))))
    return "Refunds", ("Refund", "Amount", "Status", ""), rows


def _disputes(stripe: StripeServer) -> Section:
    rows: list[tuple[object, ...]] = []
    for item in _newest(stripe, "dispute"):
        is_inquiry = item["status"].startswith("warning_")
        outcomes = ("escalate", "warning_closed") if is_inquiry else ("won", "lost")
        is_open = item["status"] not in {"won", "lost", "warning_closed"}
        actions = [_press(name, "close_dispute", {"dispute": item["id"], "outcome": name}) for name in outcomes]
        amount = format_amount(item["amount"], item["currency"])
        rows.append((_code(item["id"]), amount, item["status"], Html("".join(actions if is_open else []))))
    return "Disputes", ("Dispute", "Amount", "Status", ""), rows


def _payouts(stripe: StripeServer) -> Section:
    rows: list[tuple[object, ...]] = []
    for item in _newest(stripe, "payout"):
        actions = [
            _press("Move on", "advance_payout", {"payout": item["id"]}),
            _press("Fail", "advance_payout", {"payout": item["id"], "failure": "no_account"}),
        ]
        is_open = item["status"] in {"pending", "in_transit"}
        amount = format_amount(item["amount"], item["currency"])
        rows.append((_code(item["id"]), amount, item["status"], Html("".join(actions if is_open else []))))
    return "Payouts", ("Payout", "Amount", "Status", ""), rows


def _subscriptions(stripe: StripeServer) -> Section:
    rows: list[tuple[object, ...]] = [
        (_code(item["id"]), item["status"], _press("Renew", "renew", {"subscription": item["id"]}))
        for item in _newest(stripe, "subscription")
    ]
    return "Subscriptions", ("Subscription", "Status", ""), rows


def _customers(stripe: StripeServer) -> Section:
    rows: list[tuple[object, ...]] = [
        (
            _code(item["id"]),
            item["name"] or item["email"] or "",
            _code(item["metadata"].get("billing_account_id", "")),
            "deleted"
            if item.get("deleted")
            else _press("Drift: a payment of its own", "pay_unknown", {"customer": item["id"]}),
        )
        for item in _newest(stripe, "customer")
    ]
    return "Customers", ("Customer", "Name", "Account", ""), rows


def _events(stripe: StripeServer) -> Section:
    rows: list[tuple[object, ...]] = [
        (
            _at(item["created"]),
            item["type"],
            _code(item["data"]["object"].get("id", "")[:40]),
            "delivered" if item["pending_webhooks"] == 0 else "waiting",
            _press("Resend", "resend", {"event_id": item["id"]}),
        )
        for item in _newest(stripe, "event")
    ]
    return "Events", ("At", "Type", "Object", "Webhooks", ""), rows


def _endpoints(stripe: StripeServer) -> Section:
    rows: list[tuple[object, ...]] = [
        (_code(item["id"]), item["url"], ", ".join(item["enabled_events"]), item["status"])
        for item in _newest(stripe, "webhook_endpoint")
    ]
    return "Webhook endpoints", ("Endpoint", "Address", "Events", "Status"), rows
