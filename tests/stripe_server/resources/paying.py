"""What happens when a payment intent is confirmed: the bank or the customer is asked, money moves or does not."""

from __future__ import annotations

from typing import Any

from tests.stripe_server.cards import DECLINES, Card, Decline
from tests.stripe_server.errors import StripeError
from tests.stripe_server.events import show
from tests.stripe_server.resources import charges
from tests.stripe_server.resources.charges import CHARGE
from tests.stripe_server.resources.payment_methods import PAYMENT_METHOD, card_of, declined, hand_over
from tests.stripe_server.store import Kind, Object, Store

PAYMENT_INTENT = Kind(
    "payment_intent",
    "pi_3",
    expandable={"customer": "customer", "latest_charge": "charge", "payment_method": "payment_method"},
)
_HELD_SECONDS = 7 * 86400
_NOT_AUTHENTICATED = (
    "We are unable to authenticate your payment method. Please choose a different payment method and try again."
)


def confirm(store: Store, intent: Object, method: Object, *, off_session: bool, fail_on_action: bool) -> None:
    """
    Try to pay.

    :raises StripeError: 402 if the bank declines, or the customer would have to be there and is not.
    """
    intent.update(payment_method=method["id"], last_payment_error=None, next_action=None)
    note = store.note(intent["id"])
    card = card_of(store, method)
    if not note.pop("is_authenticated", False) and _needs_customer(store, card, method, off_session=off_session):
        if off_session or fail_on_action:
            _decline(store, intent, method, card, DECLINES["authentication_required"])
        _ask_customer(store, intent)
        return
    charge_now(store, intent, method, card)


def charge_now(store: Store, intent: Object, method: Object, card: Card) -> None:
    """
    Ask the bank.

    :raises StripeError: 402 if it declines.
    """
    decline = DECLINES[store.planned_declines.pop(0)] if store.planned_declines else card.decline
    if decline is not None:
        _decline(store, intent, method, card, decline)
    is_held = intent["capture_method"] == "manual"
    charge = charges.make(store, intent, method, card, decline=None, captured=not is_held)
    intent["latest_charge"] = charge["id"]
    _keep_method(store, intent, method)
    if is_held:
        intent.update(status="requires_capture", amount_capturable=intent["amount"])
        store.later("lapse", intent["id"], lambda: _lapse(store, intent), seconds=_HELD_SECONDS)
        store.emit("charge.succeeded", CHARGE, charge)
        store.emit("payment_intent.amount_capturable_updated", PAYMENT_INTENT, intent)
        return
    charges.capture(store, charge, intent["amount"], is_fee_late=store.fees_come_late)
    intent.update(status="succeeded", amount_received=intent["amount"])
    store.emit("charge.succeeded", CHARGE, charge)
    store.emit("payment_intent.succeeded", PAYMENT_INTENT, intent)
    _settled(store, intent, charge, card)


def capture(store: Store, intent: Object, amount: int) -> None:
    """Take what is held, or part of it; the rest is released."""
    charge = store.get(CHARGE, intent["latest_charge"])
    charges.capture(store, charge, amount)
    intent.update(status="succeeded", amount_received=amount, amount_capturable=0)
    store.emit("charge.captured", CHARGE, charge)
    store.emit("payment_intent.succeeded", PAYMENT_INTENT, intent)
    _settled(store, intent, charge, store.note(charge["id"])["card"])


def cancel(store: Store, intent: Object, reason: str | None) -> None:
    """Give up; what is held is released."""
    if intent["status"] == "requires_capture":
        charges.release(store, store.get(CHARGE, intent["latest_charge"]))
    intent.update(
        status="canceled",
        canceled_at=store.time_of(intent["customer"]),
        cancellation_reason=reason,
        amount_capturable=0,
        next_action=None,
    )
    store.emit("payment_intent.canceled", PAYMENT_INTENT, intent)


def _lapse(store: Store, intent: Object) -> None:
    """Let go what was held and never captured."""
    if intent["status"] != "requires_capture":
        return
    charge = store.get(CHARGE, intent["latest_charge"])
    charge.update(amount_refunded=charge["amount"], refunded=True)
    store.emit("charge.expired", CHARGE, charge)
    now = store.time_of(intent["customer"])
    intent.update(status="canceled", canceled_at=now, cancellation_reason="automatic", amount_capturable=0)
    store.emit("payment_intent.canceled", PAYMENT_INTENT, intent)


def authenticate(store: Store, intent: Object, *, succeeds: bool) -> None:
    """Do what the customer does when asked; the outcome is seen in the intent and its events."""
    if intent["status"] != "requires_action":
        raise StripeError(f"The payment intent {intent['id']} waits for nobody: it is {intent['status']}.")
    method = store.get(PAYMENT_METHOD, intent["payment_method"])
    intent["next_action"] = None
    if not succeeds:
        error = {"code": "payment_intent_authentication_failure", "message": _NOT_AUTHENTICATED}
        intent.update(
            status="requires_payment_method",
            payment_method=None,
            last_payment_error={
                **error,
                "payment_method": show(PAYMENT_METHOD, method),
                "type": "invalid_request_error",
            },
        )
        store.emit("payment_intent.payment_failed", PAYMENT_INTENT, intent)
        return
    if intent["confirmation_method"] == "manual":
        intent["status"] = "requires_confirmation"
        store.note(intent["id"])["is_authenticated"] = True
        return
    try:
        charge_now(store, intent, method, card_of(store, method))
    except StripeError:
        return  # nobody waits for the answer: it is in the intent


def _needs_customer(store: Store, card: Card, method: Object, *, off_session: bool) -> bool:
    match card.authentication:
        case "always":
            return True
        case "once":
            return not (off_session and store.note(method["id"]).get("is_set_up"))
        case "on_session":
            return not off_session
    return False


def _ask_customer(store: Store, intent: Object) -> None:
    address = f"{store.base_url}/authenticate/{intent['id']}"
    return_url = store.note(intent["id"]).get("return_url")
    if return_url:
        action: dict[str, Any] = {
            "type": "redirect_to_url",
            "redirect_to_url": {"return_url": return_url, "url": address},
        }
    else:
        action = {
            "type": "use_stripe_sdk",
            "use_stripe_sdk": {"type": "three_d_secure_redirect", "stripe_js": address},
        }
    intent.update(status="requires_action", next_action=action)
    store.emit("payment_intent.requires_action", PAYMENT_INTENT, intent)


def _decline(store: Store, intent: Object, method: Object, card: Card, decline: Decline) -> None:
    """:raises StripeError: always; the intent waits for another payment method."""
    charge = charges.make(store, intent, method, card, decline=decline, captured=False)
    shown = show(PAYMENT_METHOD, method)
    error = {
        "advice_code": decline.advice,
        "charge": charge["id"],
        "code": decline.code,
        "decline_code": decline.decline_code,
        "doc_url": f"https://stripe.com/docs/error-codes/{decline.code.replace('_', '-')}",
        "message": decline.message,
        "payment_method": shown,
        "type": "card_error",
    }
    intent.update(
        status="requires_payment_method",
        payment_method=None,
        latest_charge=charge["id"],
        last_payment_error=error,
        next_action=None,
    )
    store.emit("charge.failed", CHARGE, charge)
    store.emit("payment_intent.payment_failed", PAYMENT_INTENT, intent)
    raise declined(
        decline, {"charge": charge["id"], "payment_intent": show(PAYMENT_INTENT, intent), "payment_method": shown}
    )


def _keep_method(store: Store, intent: Object, method: Object) -> None:
    """A method that belongs to nobody is used up by a payment, unless it is saved for later."""
    if method["customer"] is None:
        if intent["setup_future_usage"] and intent["customer"]:
            hand_over(store, method, intent["customer"])
        else:
            store.note(method["id"])["is_spent"] = True
    if intent["setup_future_usage"] == "off_session":
        store.note(method["id"])["is_set_up"] = True


def _settled(store: Store, intent: Object, charge: Object, card: Card) -> None:
    """Some customers dispute what they paid, later."""
    if card.dispute:
        from tests.stripe_server.resources import disputes

        reason, is_inquiry = card.dispute, card.is_inquiry
        store.later(
            "dispute",
            charge["id"],
            lambda: disputes.open_dispute(store, charge, reason=reason, is_inquiry=is_inquiry),
        )
