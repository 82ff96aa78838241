"""Disputes: a customer asks the bank for the money back; the bank holds it until somebody has won."""

from __future__ import annotations

from typing import Any

from tests.stripe_server.errors import StripeError
from tests.stripe_server.listing import select_created
from tests.stripe_server.resources import balance_transactions as movements
from tests.stripe_server.resources.charges import CHARGE
from tests.stripe_server.routing import Answer, Call, Page, Route, Single
from tests.stripe_server.store import Kind, Object, Store, copy_json

DISPUTE = Kind("dispute", "dp_1", expandable={"charge": "charge", "payment_intent": "payment_intent"})
REASONS = (
    "duplicate",
    "fraudulent",
    "general",
    "product_not_received",
    "product_unacceptable",
    "subscription_canceled",
)
EVIDENCE = tuple(
    """
    access_activity_log billing_address cancellation_policy cancellation_policy_disclosure cancellation_rebuttal
    customer_communication customer_email_address customer_name customer_purchase_ip customer_signature
    duplicate_charge_documentation duplicate_charge_explanation duplicate_charge_id product_description receipt
    refund_policy refund_policy_disclosure refund_refusal_explanation service_date service_documentation
    shipping_address shipping_carrier shipping_date shipping_documentation shipping_tracking_number uncategorized_file
    uncategorized_text
    """.split()
)
OPEN = ("needs_response", "warning_needs_response")
REVIEWS = {"needs_response": "under_review", "warning_needs_response": "warning_under_review"}
OUTCOMES = {"winning_evidence": "won", "losing_evidence": "lost"}
"""What the bank makes of test evidence, a little later."""
_DAYS_TO_ANSWER = 9


def update(call: Call) -> Answer:
    """POST /v1/disputes/{id}: evidence, handed in at once unless `submit=false`; after that it is the bank's."""
    dispute, given = call.store.get(DISPUTE, call.id), call.parameters
    evidence = given.object("evidence")
    texts: dict[str, Any] = {}
    if evidence is not None:
        texts = {name: evidence.text(name, can_unset=True, longest=150_000) for name in EVIDENCE}
        evidence.free("enhanced_evidence")
    submit = given.boolean("submit") is not False
    metadata = given.metadata(dispute["metadata"])
    given.finish()
    sent = {name: text or None for name, text in texts.items() if text is not None}
    if dispute["status"] not in OPEN and (sent or "submit" in given):
        raise StripeError(f"This dispute's evidence can no longer be changed: it is {dispute['status']}.")
    if sent and dispute["evidence_details"]["past_due"]:
        raise StripeError("The deadline for evidence of this dispute has passed.")
    before = copy_json(dispute)
    dispute["metadata"] = metadata
    dispute["evidence"].update(sent)
    details = dispute["evidence_details"]
    details["has_evidence"] = any(dispute["evidence"][name] for name in EVIDENCE)
    if submit and sent:
        details["submission_count"] += 1
        dispute["status"] = REVIEWS[dispute["status"]]
        outcome = OUTCOMES.get(str(dispute["evidence"]["uncategorized_text"]))
        if outcome is not None:
            call.store.later("dispute", dispute["id"], lambda: close_dispute(call.store, dispute, outcome))
    call.store.emit("charge.dispute.updated", DISPUTE, dispute, before=before)
    return Single(DISPUTE, dispute)


def close(call: Call) -> Answer:
    """POST /v1/disputes/{id}/close: give in."""
    dispute = call.store.get(DISPUTE, call.id)
    call.parameters.finish()
    if dispute["status"] not in OPEN:
        raise StripeError(f"This dispute cannot be closed: it is {dispute['status']}.")
    close_dispute(call.store, dispute, "lost" if dispute["status"] == "needs_response" else "warning_closed")
    return Single(DISPUTE, dispute)


def retrieve(call: Call) -> Answer:
    """GET /v1/disputes/{id}."""
    return Single(DISPUTE, _up_to_date(call.store, call.store.get(DISPUTE, call.id)))


def list_disputes(call: Call) -> Answer:
    """GET /v1/disputes."""
    given = call.parameters
    wanted = {name: given.text(name) for name in ("charge", "payment_intent")}
    chosen = select_created((_up_to_date(call.store, item) for item in call.store.newest(DISPUTE)), given)
    return Page(
        DISPUTE, [item for item in chosen if all(value in {None, item[name]} for name, value in wanted.items())]
    )


# ---- what banks do ---------------------------------------------------------------------------------------------------
def open_dispute(
    store: Store, charge: Object, *, reason: str = "fraudulent", amount: int | None = None, is_inquiry: bool = False
) -> Object:
    """Dispute a charge, all of it or `amount`. An inquiry asks first and takes no money."""
    if not charge["captured"] or charge["disputed"]:
        raise StripeError(f"The charge {charge['id']} cannot be disputed.")
    id, now = store.ids.make(DISPUTE.prefix), store.time_of(charge["customer"])
    disputed = charge["amount_captured"] if amount is None else amount
    dispute = store.add(
        DISPUTE,
        {
            "amount": disputed,
            "balance_transactions": [],
            "charge": charge["id"],
            "created": now,
            "currency": charge["currency"],
            "enhanced_eligibility_types": [],
            "evidence": {**dict.fromkeys(EVIDENCE), "enhanced_evidence": {}},
            "evidence_details": {
                "due_by": now + _DAYS_TO_ANSWER * 86400,
                "enhanced_eligibility": {},
                "has_evidence": False,
                "past_due": False,
                "submission_count": 0,
            },
            "is_charge_refundable": is_inquiry,
            "metadata": {},
            "payment_intent": charge["payment_intent"],
            "payment_method_details": {
                "card": {
                    "brand": charge["payment_method_details"]["card"]["brand"],
                    "case_type": "inquiry" if is_inquiry else "chargeback",
                    "network": charge["payment_method_details"]["card"]["network"],
                    "network_reason_code": "10.4" if reason == "fraudulent" else "13.1",
                },
                "type": "card",
            },
            "reason": reason,
            "status": "warning_needs_response" if is_inquiry else "needs_response",
        },
        id=id,
    )
    charge["disputed"] = True
    store.note(charge["id"])["is_inquiry"] = is_inquiry
    if not is_inquiry:
        _move(store, dispute, -disputed, movements.DISPUTE_FEE)
    store.emit("charge.dispute.created", DISPUTE, dispute)
    if not is_inquiry:
        store.emit("charge.dispute.funds_withdrawn", DISPUTE, dispute)
    return dispute


def escalate(store: Store, dispute: Object) -> None:
    """Turn an inquiry into a dispute: now the money is taken."""
    if not dispute["status"].startswith("warning_"):
        raise StripeError(f"The dispute {dispute['id']} is no inquiry: it is {dispute['status']}.")
    before = copy_json(dispute)
    dispute.update(status="needs_response", is_charge_refundable=False)
    dispute["payment_method_details"]["card"]["case_type"] = "chargeback"
    store.note(dispute["charge"])["is_inquiry"] = False
    _move(store, dispute, -dispute["amount"], movements.DISPUTE_FEE)
    store.emit("charge.dispute.updated", DISPUTE, dispute, before=before)
    store.emit("charge.dispute.funds_withdrawn", DISPUTE, dispute)


def close_dispute(store: Store, dispute: Object, outcome: str) -> None:
    """End a dispute: `won` gives the money back, and not the fee; `lost` and `warning_closed` move nothing."""
    if dispute["status"] in {"won", "lost", "warning_closed"}:
        raise StripeError(f"The dispute {dispute['id']} is {dispute['status']} already.")
    before = copy_json(dispute)
    dispute["status"] = outcome
    charge = store.get(CHARGE, dispute["charge"])
    if outcome == "won":
        _move(store, dispute, dispute["amount"], 0)
    if outcome == "warning_closed":
        charge["disputed"] = False
    store.emit("charge.dispute.updated", DISPUTE, dispute, before=before)
    store.emit("charge.dispute.closed", DISPUTE, dispute)
    if outcome == "won":
        store.emit("charge.dispute.funds_reinstated", DISPUTE, dispute)


def _move(store: Store, dispute: Object, amount: int, fee: int) -> None:
    movement = movements.book(
        store,
        amount=amount,
        currency=dispute["currency"],
        type="adjustment",
        category="dispute" if amount < 0 else "dispute_reversal",
        source=dispute["id"],
        fee=fee,
        fee_description="Dispute fee",
        description=f"Chargeback {'withdrawal' if amount < 0 else 'reversal'} for {dispute['charge']}",
    )
    dispute["balance_transactions"].append(copy_json(movement))


def _up_to_date(store: Store, dispute: Object) -> Object:
    if dispute["status"] in OPEN and store.clock.now() > dispute["evidence_details"]["due_by"]:
        dispute["evidence_details"]["past_due"] = True
    return dispute


_ONE = "/v1/disputes/{id}"
ROUTES = (
    Route("GET", "/v1/disputes", list_disputes, "rak_dispute_read"),
    Route("GET", _ONE, retrieve, "rak_dispute_read"),
    Route("POST", _ONE, update, "rak_dispute_write"),
    Route("POST", f"{_ONE}/close", close, "rak_dispute_write"),
)
