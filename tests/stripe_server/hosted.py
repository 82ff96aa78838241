"""The pages that customers see: checkout, the portal, the bank's question, a receipt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from tests.stripe_server.cards import find_behaviour
from tests.stripe_server.currencies import format_amount
from tests.stripe_server.errors import StripeError
from tests.stripe_server.html import Html, button, choose, link, page, table, tag
from tests.stripe_server.resources import checkout, paying, payment_methods, setup_intents, subscriptions
from tests.stripe_server.resources.charges import CHARGE
from tests.stripe_server.resources.customers import CUSTOMER, set_default
from tests.stripe_server.resources.invoices import INVOICE
from tests.stripe_server.resources.payment_methods import PAYMENT_METHOD
from tests.stripe_server.resources.portal import PORTAL_SESSION
from tests.stripe_server.resources.subscriptions import SUBSCRIPTION
from tests.stripe_server.store import Kind, Object, Store

if TYPE_CHECKING:
    from tests.stripe_server.server import StripeServer

CARDS = (
    ("visa", "Visa 4242: works"),
    ("mastercard", "Mastercard 4444: works"),
    ("authenticationRequiredOnSetup", "Visa 3155: asks the bank once"),
    ("chargeDeclined", "Visa 0002: declined"),
    ("chargeDeclinedInsufficientFunds", "Visa 9995: insufficient funds"),
    ("chargeDeclinedExpiredCard", "Visa 0069: expired"),
    ("chargeCustomerFail", "Visa 0341: saved, later declined"),
    ("createDispute", "Visa 0259: disputed later"),
    ("pendingRefund", "Visa 7726: refunds arrive late"),
    ("refundFail", "Visa 5126: refunds come back"),
)


@dataclass(frozen=True)
class Shown:
    """What a browser gets: a page, or another address to go to."""

    content: str = ""
    status: int = 200
    location: str = ""


def answer(stripe: StripeServer, method: str, path: str, form: dict[str, str]) -> Shown | None:
    """Return a customer's page, or None where the path is none of theirs."""
    parts = path.strip("/").split("/")
    with stripe.api.lock:
        match parts:
            case ["c", "pay", id]:
                store, session = _find(stripe, checkout.CHECKOUT_SESSION, id)
                return _checkout(store, session, form if method == "POST" else None)
            case ["p", "session", id]:
                store, session = _find(stripe, PORTAL_SESSION, id)
                return _portal(store, session, form if method == "POST" else None)
            case ["authenticate", id]:
                kind = setup_intents.SETUP_INTENT if id.startswith("seti_") else paying.PAYMENT_INTENT
                store, intent = _find(stripe, kind, id)
                return _authenticate(store, intent, form if method == "POST" else None)
            case ["receipts", id]:
                return _receipt(_find(stripe, CHARGE, id)[1])
            case ["i", id]:
                return _invoice(_find(stripe, INVOICE, id)[1])
    return None


def _find(stripe: StripeServer, kind: Kind, id: str) -> tuple[Store, Object]:
    for livemode in (False, True):
        store = stripe.store(livemode=livemode)
        if (found := store.find(kind, id)) is not None:
            return store, found
    raise StripeError(f"There is no such page: {id}", status=404)


def _checkout(store: Store, session: Object, form: dict[str, str] | None) -> Shown:
    if form is None and session["status"] == "open":
        return Shown(_checkout_page(session))
    try:
        card = find_behaviour((form or {}).get("card", ""))
        if card is None:
            raise StripeError("Choose a card.")
        checkout.complete(store, session, card, email=(form or {}).get("email") or "ada@example.com")
    except StripeError as error:
        if session["status"] == "open":
            return Shown(_checkout_page(session, error.message), 402)
        ended = tag("p", f"This page has ended: the session is {session['status']}.")
        return Shown(page("Checkout", tag("div", tag("h1", "Checkout"), ended, css="card")), 410)
    return Shown(status=303, location=session["success_url"].replace("{CHECKOUT_SESSION_ID}", session["id"]))


def _checkout_page(session: Object, error: str = "") -> str:
    lines = [
        (line["description"], line["quantity"], format_amount(line["amount_total"], line["currency"]))
        for line in session["line_items"]["data"]
    ]
    what = "Save card" if session["mode"] == "setup" else "Pay"
    email = "" if session["customer"] else "<label>E-mail <input name=email type=email></label>"
    cards = tag("label", "Test card ", choose("card", CARDS))
    pay = Html(f'<form method=post>{email}{cards}<button class="main">{what}</button></form>')
    parts = [tag("h1", "Checkout"), tag("p", "A sandbox: no card is real, no money moves.", css="note")]
    if lines:
        parts += [table(("What", "Quantity", "Amount"), lines)]
        parts += [tag("p", "Total ", tag("b", format_amount(session["amount_total"], session["currency"])))]
    if error:
        parts.append(tag("p", error, css="error"))
    parts.append(pay)
    if session["cancel_url"]:
        parts.append(tag("p", link(session["cancel_url"], "Cancel")))
    return page("Checkout", tag("div", *parts, css="card"))


def _portal(store: Store, session: Object, form: dict[str, str] | None) -> Shown:
    customer = store.get(CUSTOMER, session["customer"])
    error = ""
    if form is not None:
        try:
            _act_in_portal(store, customer, form)
            return Shown(status=303, location=session["url"])
        except StripeError as refusal:
            error = refusal.message
    here, default = session["url"], customer["invoice_settings"]["default_payment_method"]
    cards = [
        (
            f"{method['card']['brand']} •••• {method['card']['last4']}",
            "default" if method["id"] == default else button("Make default", here, {"default": method["id"]}),
            button("Remove", here, {"remove": method["id"]}),
        )
        for method in store.newest(PAYMENT_METHOD)
        if method["customer"] == customer["id"]
    ]
    plans = [
        (item["id"], item["status"], button("Cancel at the end of the period", here, {"cancel": item["id"]}))
        for item in store.newest(SUBSCRIPTION)
        if item["customer"] == customer["id"] and item["status"] in subscriptions.LIVING
    ]
    parts = [tag("h1", "Your account"), tag("p", customer["email"] or customer["id"], css="note")]
    if error:
        parts.append(tag("p", error, css="error"))
    parts += [tag("h2", "Cards"), table(("Card", "", ""), cards)]
    parts.append(Html(f"<form method=post>{choose('add', CARDS)}<button>Add this card</button></form>"))
    parts += [tag("h2", "Subscriptions"), table(("Subscription", "Status", ""), plans)]
    if session["return_url"]:
        parts.append(tag("p", link(session["return_url"], "Back")))
    return Shown(page("Your account", tag("div", *parts, css="card")), 402 if error else 200)


def _act_in_portal(store: Store, customer: Object, form: dict[str, str]) -> None:
    if name := form.get("add"):
        card = find_behaviour(name)
        if card is None:
            raise StripeError("Choose a card.")
        method = payment_methods.make(store, card)
        setup = setup_intents.make_setup(store, customer=customer["id"], usage="off_session")
        intent = setup_intents.add_setup(store, setup)
        setup_intents.set_up(store, intent, method)
        if intent["status"] == "requires_action":
            setup_intents.authenticate(store, intent, succeeds=True)
    elif id := form.get("remove"):
        payment_methods.detach_one(store, id, customer["id"])
    elif id := form.get("default"):
        set_default(store, customer, id)
    elif id := form.get("cancel"):
        subscriptions.cancel_at_period_end(store, store.get(SUBSCRIPTION, id))


def _authenticate(store: Store, intent: Object, form: dict[str, str] | None) -> Shown:
    if form is None:
        if intent["status"] != "requires_action":
            return Shown(page("Your bank", tag("div", tag("p", "Your bank has no question."), css="card")), 410)
        amount = format_amount(intent["amount"], intent["currency"]) if "amount" in intent else "your card"
        here = f"/authenticate/{intent['id']}"
        ask = tag("p", "Is it you who agrees to ", tag("b", amount), "?")
        yes = button("Yes, it is me", here, {"answer": "yes"}, css="main")
        return Shown(
            page("Your bank", tag("div", tag("h1", "Your bank"), ask, yes, button("No", here, {}), css="card"))
        )
    return_url = ((intent["next_action"] or {}).get("redirect_to_url") or {}).get("return_url")
    act = setup_intents.authenticate if intent["object"] == "setup_intent" else paying.authenticate
    succeeds = form.get("answer") == "yes"
    act(store, intent, succeeds=succeeds)
    if return_url:
        told = urlencode({intent["object"]: intent["id"], "redirect_status": "succeeded" if succeeds else "failed"})
        return Shown(status=303, location=f"{return_url}{'&' if '?' in return_url else '?'}{told}")
    words = f"Thank you. The {intent['object'].replace('_', ' ')} is {intent['status']}."
    return Shown(page("Your bank", tag("div", tag("p", words), css="card")))


def _receipt(charge: Object) -> Shown:
    amount = format_amount(charge["amount_captured"], charge["currency"])
    return Shown(
        page("Receipt", tag("div", tag("h1", "Receipt"), tag("p", amount), tag("code", charge["id"]), css="card"))
    )


def _invoice(invoice: Object) -> Shown:
    amount = format_amount(invoice["total"], invoice["currency"])
    lines = [
        (line["description"], format_amount(line["amount"], line["currency"])) for line in invoice["lines"]["data"]
    ]
    parts = (tag("h1", invoice["number"]), table(("What", "Amount"), lines), tag("p", amount, " ", invoice["status"]))
    return Shown(page("Invoice", tag("div", *parts, css="card")))
