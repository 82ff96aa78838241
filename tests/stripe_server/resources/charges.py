"""Charges: one attempt to take money each, made by payment intents, never by callers."""

from __future__ import annotations

from typing import Any

from tests.stripe_server.cards import Card, Decline
from tests.stripe_server.listing import select_created
from tests.stripe_server.resources import balance_transactions as movements
from tests.stripe_server.resources.customers import read_customer
from tests.stripe_server.routing import Answer, Call, Page, Plain, Route, Single
from tests.stripe_server.searching import search
from tests.stripe_server.store import Kind, Object, Store, copy_json

CHARGE = Kind(
    "charge",
    "ch_3",
    expandable={
        "balance_transaction": "balance_transaction",
        "customer": "customer",
        "failure_balance_transaction": "balance_transaction",
        "payment_intent": "payment_intent",
    },
    on_request=("refunds",),
)
_SEARCHABLE = ("amount", "created", "currency", "customer", "disputed", "metadata", "refunded", "status")


def make(
    store: Store, intent: Object, method: Object, card: Card, *, decline: Decline | None, captured: bool
) -> Object:
    """Keep the charge of an attempt: declined, authorised, or (`captured`) paid."""
    id = store.ids.make(CHARGE.prefix)
    shown: Object = {
        "amount": intent["amount"],
        "amount_captured": 0,
        "amount_refunded": 0,
        "application": None,
        "application_fee": None,
        "application_fee_amount": None,
        "balance_transaction": None,
        "billing_details": copy_json(method["billing_details"]),
        "calculated_statement_descriptor": "COUNTINGHOUSE",
        "captured": False,
        "created": store.time_of(intent["customer"]),
        "currency": intent["currency"],
        "customer": intent["customer"],
        "description": intent["description"],
        "disputed": False,
        "failure_balance_transaction": None,
        "failure_code": decline.code if decline else None,
        "failure_message": decline.message if decline else None,
        "fraud_details": {},
        "metadata": dict(intent["metadata"]),
        "on_behalf_of": None,
        "outcome": _make_outcome(decline),
        "paid": decline is None,
        "payment_intent": intent["id"],
        "payment_method": method["id"],
        "payment_method_details": {"card": _make_details(intent, method, captured=captured), "type": "card"},
        "receipt_email": intent["receipt_email"],
        "receipt_number": None,
        "receipt_url": None if decline else f"{store.base_url}/receipts/{id}",
        "refunded": False,
        "refunds": {"object": "list", "data": [], "has_more": False, "url": f"/v1/charges/{id}/refunds"},
        "review": None,
        "shipping": copy_json(intent["shipping"]),
        "source": None,
        "source_transfer": None,
        "statement_descriptor": intent["statement_descriptor"],
        "statement_descriptor_suffix": intent["statement_descriptor_suffix"],
        "status": "failed" if decline else "succeeded",
        "transfer_data": None,
        "transfer_group": intent["transfer_group"],
    }
    charge = store.add(CHARGE, shown, id=id)
    store.note(id)["card"] = card
    return charge


def capture(store: Store, charge: Object, amount: int, *, is_fee_late: bool = False) -> None:
    """Take `amount` of what a charge holds; the rest goes back to the card."""
    charge.update(captured=True, amount_captured=amount, amount_refunded=charge["amount"] - amount)
    if is_fee_late:
        store.later("fee", charge["id"], lambda: _book_late(store, charge))
    else:
        _book(store, charge)


def release(store: Store, charge: Object) -> None:
    """Give back what a charge holds, all of it."""
    charge.update(amount_refunded=charge["amount"], refunded=True)
    store.emit("charge.refunded", CHARGE, charge)


def update(call: Call) -> Answer:
    """POST /v1/charges/{id}: description, receipt address and metadata."""
    charge = call.store.get(CHARGE, call.id)
    given, before = call.parameters, copy_json(charge)
    texts = {name: given.text(name, can_unset=True) for name in ("description", "receipt_email", "transfer_group")}
    metadata = given.metadata(charge["metadata"])
    given.finish()
    charge.update({name: text or None for name, text in texts.items() if text is not None}, metadata=metadata)
    call.store.emit("charge.updated", CHARGE, charge, before=before)
    return Single(CHARGE, charge)


def retrieve(call: Call) -> Answer:
    """GET /v1/charges/{id}."""
    return Single(CHARGE, call.store.get(CHARGE, call.id))


def list_charges(call: Call) -> Answer:
    """GET /v1/charges."""
    customer, intent = read_customer(call), call.parameters.text("payment_intent")
    return Page(
        CHARGE,
        [
            charge
            for charge in select_created(call.store.newest(CHARGE), call.parameters)
            if customer in {None, charge["customer"]} and intent in {None, charge["payment_intent"]}
        ],
    )


def search_charges(call: Call) -> Answer:
    """GET /v1/charges/search."""
    return search(call, CHARGE, call.store.newest(CHARGE), fields=_SEARCHABLE)


def list_refunds(call: Call) -> Answer:
    """GET /v1/charges/{id}/refunds."""
    return Plain({**call.store.get(CHARGE, call.id)["refunds"]})


def _book(store: Store, charge: Object) -> None:
    card: Card = store.note(charge["id"])["card"]
    amount = charge["amount_captured"]
    movement = movements.book(
        store,
        amount=amount,
        currency=charge["currency"],
        type="charge",
        source=charge["id"],
        fee=movements.charge_fee(amount),
        description=charge["description"],
        is_available=card.is_available_at_once,
    )
    charge["balance_transaction"] = movement["id"]


def _book_late(store: Store, charge: Object) -> None:
    before = copy_json(charge)
    _book(store, charge)
    store.emit("charge.updated", CHARGE, charge, before=before)


def _make_outcome(decline: Decline | None) -> Object:
    if decline is None:
        return {
            "advice_code": None,
            "network_advice_code": None,
            "network_decline_code": None,
            "network_status": "approved_by_network",
            "reason": None,
            "seller_message": "Payment complete.",
            "type": "authorized",
        }
    return {
        "advice_code": decline.advice,
        "network_advice_code": None,
        "network_decline_code": "05" if decline.decline_code == "generic_decline" else None,
        "network_status": "declined_by_network",
        "reason": decline.decline_code,
        "seller_message": "The bank did not return any further details with this decline."
        if decline.decline_code == "generic_decline"
        else f"The bank returned the decline code `{decline.decline_code}`.",
        "type": "issuer_declined",
    }


def _make_details(intent: Object, method: Object, *, captured: bool) -> dict[str, Any]:
    card = method["card"]
    return {
        "amount_authorized": intent["amount"],
        "authorization_code": "104395",
        "brand": card["brand"],
        "checks": copy_json(card["checks"]),
        "country": card["country"],
        "exp_month": card["exp_month"],
        "exp_year": card["exp_year"],
        "extended_authorization": {"status": "disabled"},
        "fingerprint": card["fingerprint"],
        "funding": card["funding"],
        "incremental_authorization": {"status": "unavailable"},
        "installments": None,
        "last4": card["last4"],
        "mandate": None,
        "multicapture": {"status": "unavailable"},
        "network": card["brand"],
        "network_token": {"used": False},
        "network_transaction_id": None if not captured else "104557651805572",
        "overcapture": {"maximum_amount_capturable": intent["amount"], "status": "unavailable"},
        "regulated_status": "unregulated",
        "three_d_secure": None,
        "transaction_link_id": None,
        "wallet": None,
    }


_ONE = "/v1/charges/{id}"
ROUTES = (
    Route("GET", "/v1/charges", list_charges, "rak_charge_read"),
    Route("GET", "/v1/charges/search", search_charges, "rak_charge_read"),
    Route("GET", _ONE, retrieve, "rak_charge_read"),
    Route("POST", _ONE, update, "rak_charge_write"),
    Route("GET", f"{_ONE}/refunds", list_refunds, "rak_charge_read"),
)
