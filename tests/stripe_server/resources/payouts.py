"""Payouts: money from the balance to a bank account, which may refuse it some days later."""

from __future__ import annotations

from collections.abc import Mapping

from tests.stripe_server.currencies import check_step, read_currency
from tests.stripe_server.errors import StripeError, missing_object
from tests.stripe_server.listing import select_created
from tests.stripe_server.resources import balance_transactions as movements
from tests.stripe_server.resources.accounts import BANK_ACCOUNT, default_bank_account
from tests.stripe_server.routing import Answer, Call, Page, Route, Single
from tests.stripe_server.store import Kind, Object, Store, copy_json

PAYOUT = Kind(
    "payout",
    "po_1",
    expandable={
        "balance_transaction": "balance_transaction",
        "destination": "bank_account",
        "failure_balance_transaction": "balance_transaction",
    },
)
STATUSES = ("canceled", "failed", "in_transit", "paid", "pending")
FAILURES: Mapping[str, str] = {
    "account_closed": "The bank account has been closed",
    "could_not_process": "The bank could not process this payout",
    "debit_not_authorized": "Debit transactions are not approved on your bank account",
    "insufficient_funds": "Your Stripe account has insufficient funds to cover the payout",
    "invalid_account_number": "The routing seems correct, but the account number is invalid",
    "no_account": "The bank account could not be located",
}
_DAY = 86400


def create(call: Call) -> Answer:
    """POST /v1/payouts, within what is available."""
    given, store = call.parameters, call.store
    amount = int(given.integer("amount", least=1, required=True) or 0)
    currency = read_currency(given)
    destination = given.text("destination")
    method = given.choice("method", ("instant", "standard")) or "standard"
    given.choice("source_type", ("bank_account", "card", "fpx"))
    shown = {
        "description": given.text("description", longest=1000),
        "metadata": given.metadata({}),
        "statement_descriptor": given.text("statement_descriptor", longest=22),
    }
    given.finish()
    check_step(amount, currency)
    account = _find_account(store, destination, currency)
    available = movements.sum_by_currency(store, "available").get(currency, 0)
    if amount > available:
        text = (
            "You have insufficient funds in your Stripe account for this transfer. Your card balance is too low. "
            "You can use the /v1/balance endpoint to view your Stripe balance."
        )
        raise StripeError(text, code="balance_insufficient", param="amount")
    return Single(PAYOUT, _make(store, account, amount, currency, method, shown))


def update(call: Call) -> Answer:
    """POST /v1/payouts/{id}: its metadata."""
    payout = call.store.get(PAYOUT, call.id)
    before = copy_json(payout)
    metadata = call.parameters.metadata(payout["metadata"])
    call.parameters.finish()
    payout["metadata"] = metadata
    call.store.emit("payout.updated", PAYOUT, payout, before=before)
    return Single(PAYOUT, payout)


def cancel(call: Call) -> Answer:
    """POST /v1/payouts/{id}/cancel, until it has left."""
    payout, store = call.store.get(PAYOUT, call.id), call.store
    call.parameters.finish()
    if payout["status"] != "pending":
        text = f"Payouts can only be canceled while they are pending; this one is {payout['status']}."
        raise StripeError(text, code="payout_unexpected_state")
    _give_back(store, payout, "payout_cancel")
    payout["status"] = "canceled"
    store.errands = [errand for errand in store.errands if errand.subject != payout["id"]]
    store.emit("payout.canceled", PAYOUT, payout)
    return Single(PAYOUT, payout)


def retrieve(call: Call) -> Answer:
    """GET /v1/payouts/{id}."""
    return Single(PAYOUT, call.store.get(PAYOUT, call.id))


def list_payouts(call: Call) -> Answer:
    """GET /v1/payouts."""
    given = call.parameters
    status, destination = given.choice("status", STATUSES), given.text("destination")
    return Page(
        PAYOUT,
        [
            payout
            for payout in select_created(call.store.newest(PAYOUT), given)
            if status in {None, payout["status"]} and destination in {None, payout["destination"]}
        ],
    )


def advance(store: Store, payout: Object, *, failure: str = "") -> None:
    """Move a payout on: from `pending` to `in_transit`, from there to `paid`, or to `failed` for a reason."""
    if payout["status"] in {"canceled", "failed"} or (payout["status"] == "paid" and not failure):
        raise StripeError(f"The payout {payout['id']} is {payout['status']}.")
    before = copy_json(payout)
    if failure:
        back = _give_back(store, payout, "payout_failure")
        payout.update(
            status="failed",
            failure_balance_transaction=back["id"],
            failure_code=failure,
            failure_message=FAILURES.get(failure, "The bank refused the payout"),
        )
        store.emit("payout.failed", PAYOUT, payout)
    elif payout["status"] == "pending":
        payout["status"] = "in_transit"
        store.emit("payout.updated", PAYOUT, payout, before=before)
    else:
        payout.update(status="paid", reconciliation_status="completed")
        store.emit("payout.paid", PAYOUT, payout)


def _find_account(store: Store, destination: str | None, currency: str) -> Object:
    if destination is None:
        return default_bank_account(store)
    account = store.find(BANK_ACCOUNT, destination)
    if account is None:
        raise missing_object("external account", destination, param="destination", status=400)
    if account["currency"] != currency:
        text = f"The bank account {destination} takes {account['currency']}, not {currency}."
        raise StripeError(text, param="destination")
    return account


def _make(store: Store, account: Object, amount: int, currency: str, method: str, shown: Object) -> Object:
    id = store.ids.make(PAYOUT.prefix)
    movement = movements.book(
        store, amount=-amount, currency=currency, type="payout", source=id, description="STRIPE PAYOUT"
    )
    payout = store.add(
        PAYOUT,
        {
            "amount": amount,
            "application_fee": None,
            "application_fee_amount": None,
            "arrival_date": (store.clock.now() // _DAY + 2) * _DAY,
            "automatic": False,
            "balance_transaction": movement["id"],
            "currency": currency,
            "destination": account["id"],
            "failure_balance_transaction": None,
            "failure_code": None,
            "failure_message": None,
            "method": method,
            "original_payout": None,
            "payout_method": None,
            "reconciliation_status": "not_applicable",
            "reversed_by": None,
            "source_type": "card",
            "status": "pending",
            "trace_id": {"status": "pending", "value": None},
            "type": "bank_account",
            **shown,
        },
        id=id,
    )
    store.emit("payout.created", PAYOUT, payout)
    store.later("payout", id, lambda: _leave(store, payout))
    return payout


def _leave(store: Store, payout: Object) -> None:
    advance(store, payout)
    failure = store.note(payout["destination"]).get("payouts_fail", "")
    store.later("payout", payout["id"], lambda: advance(store, payout, failure=failure))


def _give_back(store: Store, payout: Object, type: str) -> Object:
    return movements.book(store, amount=payout["amount"], currency=payout["currency"], type=type, source=payout["id"])


_ONE = "/v1/payouts/{id}"
ROUTES = (
    Route("POST", "/v1/payouts", create, "rak_payout_write"),
    Route("GET", "/v1/payouts", list_payouts, "rak_payout_read"),
    Route("GET", _ONE, retrieve, "rak_payout_read"),
    Route("POST", _ONE, update, "rak_payout_write"),
    Route("POST", f"{_ONE}/cancel", cancel, "rak_payout_write"),
)
