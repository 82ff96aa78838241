"""Refunds: money back the way it came; some arrive later, some come back."""

from __future__ import annotations

from tests.stripe_server.cards import Card
from tests.stripe_server.currencies import check_step, format_amount
from tests.stripe_server.errors import StripeError, missing_object, wrong_parameter
from tests.stripe_server.listing import select_created
from tests.stripe_server.resources import balance_transactions as movements
from tests.stripe_server.resources.charges import CHARGE
from tests.stripe_server.resources.paying import PAYMENT_INTENT
from tests.stripe_server.routing import Answer, Call, Page, Route, Single
from tests.stripe_server.store import Kind, Object, Store, copy_json

REFUND = Kind(
    "refund",
    "re_3",
    expandable={
        "balance_transaction": "balance_transaction",
        "charge": "charge",
        "failure_balance_transaction": "balance_transaction",
        "payment_intent": "payment_intent",
    },
    lacks=("livemode",),
)
REASONS = ("duplicate", "fraudulent", "requested_by_customer")


def create(call: Call) -> Answer:
    """POST /v1/refunds of a charge or a payment intent, all that is left or `amount`."""
    given, store = call.parameters, call.store
    charge = _read_charge(call)
    amount = given.integer("amount", least=1)
    reason, metadata = given.choice("reason", REASONS), given.metadata({})
    for name in ("refund_application_fee", "reverse_transfer"):
        if given.boolean(name):
            raise wrong_parameter("This charge was not made for a connected account.", param=name)
    given.finish()
    _check(store, charge, amount)
    left = charge["amount_captured"] - _refunded_of_captured(charge)
    refund = _make(store, charge, amount or left, reason, metadata)
    return Single(REFUND, refund)


def give_back(store: Store, charge: Object) -> Object:
    """Give back what is left of a charge, as somebody in Stripe's dashboard would. :raises StripeError: as `create`."""
    _check(store, charge, None)
    left = charge["amount_captured"] - _refunded_of_captured(charge)
    return _make(store, charge, left, "requested_by_customer", {})


def update(call: Call) -> Answer:
    """POST /v1/refunds/{id}: its metadata."""
    refund = call.store.get(REFUND, call.id)
    before = copy_json(refund)
    metadata = call.parameters.metadata(refund["metadata"])
    call.parameters.finish()
    refund["metadata"] = metadata
    _mirror(call.store.get(CHARGE, refund["charge"]), refund)
    call.store.emit("refund.updated", REFUND, refund, before=before)
    return Single(REFUND, refund)


def cancel(call: Call) -> Answer:
    """POST /v1/refunds/{id}/cancel: only while the customer has still to say where the money goes."""
    refund = call.store.get(REFUND, call.id)
    call.parameters.finish()
    text = f"You cannot cancel this refund because it has a status of {refund['status']}."
    raise StripeError(f"{text} Only a refund with status requires_action may be canceled.")


def retrieve(call: Call) -> Answer:
    """GET /v1/refunds/{id}."""
    return Single(REFUND, call.store.get(REFUND, call.id))


def list_refunds(call: Call) -> Answer:
    """GET /v1/refunds."""
    given = call.parameters
    wanted = {name: given.text(name) for name in ("charge", "payment_intent")}
    chosen = select_created(call.store.newest(REFUND), given)
    return Page(REFUND, [item for item in chosen if all(value in {None, item[name]} for name, value in wanted.items())])


def settle(store: Store, refund: Object, *, succeeds: bool) -> None:
    """End a refund: the money arrived, or the customer's bank sent it back."""
    charge = store.get(CHARGE, refund["charge"])
    before = copy_json(refund)
    if succeeds:
        if refund["status"] != "pending":
            raise StripeError(f"The refund {refund['id']} is {refund['status']}.")
        refund["status"] = "succeeded"
    else:
        if refund["status"] not in {"pending", "succeeded"}:
            raise StripeError(f"The refund {refund['id']} is {refund['status']}.")
        movement = movements.book(
            store,
            amount=refund["amount"],
            currency=refund["currency"],
            type="refund_failure",
            source=refund["id"],
        )
        refund.update(
            status="failed",
            failure_reason="expired_or_canceled_card",
            failure_balance_transaction=movement["id"],
        )
        charge["amount_refunded"] -= refund["amount"]
        charge["refunded"] = False
    _mirror(charge, refund)
    if not succeeds:
        store.emit("refund.failed", REFUND, refund)
    store.emit("refund.updated", REFUND, refund, before=before)
    store.emit("charge.refund.updated", REFUND, refund, before=before)


def _read_charge(call: Call) -> Object:
    given, store = call.parameters, call.store
    charge_id, intent_id = given.text("charge"), given.text("payment_intent")
    if charge_id is not None:
        charge = store.get(CHARGE, charge_id, param="charge", status=400)
        if intent_id not in {None, charge["payment_intent"]}:
            raise missing_object("payment_intent", str(intent_id), param="payment_intent", status=400)
        return charge
    if intent_id is None:
        text = "One of the following params should be provided for this request: payment_intent or charge."
        raise wrong_parameter(text, code="parameter_missing", param="payment_intent")
    intent = store.get(PAYMENT_INTENT, intent_id, param="payment_intent", status=400)
    if intent["status"] != "succeeded":
        raise StripeError(f"This PaymentIntent ({intent_id}) does not have a successful charge to refund.")
    return store.get(CHARGE, intent["latest_charge"])


def _refunded_of_captured(charge: Object) -> int:
    """What was never captured counts as refunded in a charge, and was never there to give back."""
    return int(charge["amount_refunded"]) - (int(charge["amount"]) - int(charge["amount_captured"]))


def _check(store: Store, charge: Object, amount: int | None) -> None:
    id, currency = charge["id"], charge["currency"]
    if charge["status"] != "succeeded" or not charge["captured"]:
        raise StripeError(f"Charge {id} has not been captured and cannot be refunded.")
    if charge["disputed"] and not store.note(id).get("is_inquiry"):
        raise StripeError(f"Charge {id} has been charged back; cannot issue a refund.", code="charge_disputed")
    left = charge["amount_captured"] - _refunded_of_captured(charge)
    if left <= 0:
        raise StripeError(f"Charge {id} has already been refunded.", code="charge_already_refunded")
    if amount is not None and amount > left:
        text = (
            f"Refund amount ({format_amount(amount, currency)}) is greater than unrefunded amount on charge "
            f"({format_amount(left, currency)})"
        )
        raise StripeError(text, param="amount")
    if amount is not None:
        check_step(amount, currency)


def _make(store: Store, charge: Object, amount: int, reason: str | None, metadata: dict[str, str]) -> Object:
    card: Card = store.note(charge["id"])["card"]
    id = store.ids.make(REFUND.prefix)
    movement = movements.book(
        store, amount=-amount, currency=charge["currency"], type="refund", source=id, description="REFUND FOR CHARGE"
    )
    refund = store.add(
        REFUND,
        {
            "amount": amount,
            "balance_transaction": movement["id"],
            "charge": charge["id"],
            "created": store.time_of(charge["customer"]),
            "currency": charge["currency"],
            "customer": charge["customer"],
            "customer_account": None,
            "destination_details": {"card": {"type": "refund"}, "type": "card"},
            "metadata": metadata,
            "payment_intent": charge["payment_intent"],
            "payment_method": charge["payment_method"],
            "reason": reason,
            "receipt_number": None,
            "source_transfer_reversal": None,
            "status": "pending" if card.refund == "pending" else "succeeded",
            "transfer_reversal": None,
        },
        id=id,
    )
    charge["amount_refunded"] += amount
    charge["refunded"] = charge["amount_refunded"] >= charge["amount"]
    charge["refunds"]["data"].insert(0, copy_json(refund))
    store.emit("refund.created", REFUND, refund)
    store.emit("charge.refunded", CHARGE, charge)
    if card.refund:
        succeeds = card.refund == "pending"
        store.later("refund", id, lambda: settle(store, refund, succeeds=succeeds))
    return refund


def _mirror(charge: Object, refund: Object) -> None:
    listed = charge["refunds"]["data"]
    listed[:] = [copy_json(refund) if item["id"] == refund["id"] else item for item in listed]


_ONE = "/v1/refunds/{id}"
ROUTES = (
    Route("POST", "/v1/refunds", create, "rak_charge_write"),
    Route("GET", "/v1/refunds", list_refunds, "rak_charge_read"),
    Route("GET", _ONE, retrieve, "rak_charge_read"),
    Route("POST", _ONE, update, "rak_charge_write"),
    Route("POST", f"{_ONE}/cancel", cancel, "rak_charge_write"),
)
