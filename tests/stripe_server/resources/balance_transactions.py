"""Balance transactions: every movement of money, with its fee, and the balance they sum to."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from tests.stripe_server.listing import select_created
from tests.stripe_server.routing import Answer, Call, Page, Plain, Route, Single
from tests.stripe_server.store import Kind, Object, Store

BALANCE_TRANSACTION = Kind("balance_transaction", "txn_1", words="balance transaction", lacks=("livemode",))
SETTLES_SECONDS = 2 * 24 * 3600
FEE_SHARE = Decimal("0.029")
FEE_FIXED = 30
DISPUTE_FEE = 1500


def book(
    store: Store,
    *,
    amount: int,
    currency: str,
    type: str,
    source: str,
    category: str = "",
    fee: int = 0,
    fee_description: str = "Stripe processing fees",
    description: str | None = None,
    is_available: bool = True,
) -> Object:
    """Keep a movement: the amount with its sign, the fee positive. A payment is available after two days."""
    now = store.clock.now()
    details = [
        {"amount": fee, "application": None, "currency": currency, "description": fee_description, "type": "stripe_fee"}
    ]
    return store.add(
        BALANCE_TRANSACTION,
        {
            "amount": amount,
            "available_on": now if is_available else now + SETTLES_SECONDS,
            "balance_type": "payments",
            "currency": currency,
            "description": description,
            "exchange_rate": None,
            "fee": fee,
            "fee_details": details if fee else [],
            "net": amount - fee,
            "reporting_category": category or type,
            "source": source,
            "status": "available" if is_available else "pending",
            "type": type,
        },
    )


def charge_fee(amount: int) -> int:
    """Return 2.9 % + 30, half up, what a card costs."""
    return int((amount * FEE_SHARE).quantize(Decimal(1), rounding=ROUND_HALF_UP)) + FEE_FIXED


def sum_by_currency(store: Store, status: str) -> dict[str, int]:
    """Return the balance by currency: what is `available`, or what is `pending`."""
    sums: dict[str, int] = {}
    for movement in _up_to_date(store):
        if movement["status"] == status:
            sums[movement["currency"]] = sums.get(movement["currency"], 0) + movement["net"]
    return sums


def add_funds(store: Store, *, amount: int, currency: str) -> Object:
    """Put money on the account, available at once: a test's door, Stripe's is a top-up."""
    return book(store, amount=amount, currency=currency, type="topup", source=store.ids.make("tu_1"))


def retrieve_balance(call: Call) -> Answer:
    """GET /v1/balance."""
    return Plain(
        {
            "object": "balance",
            "available": _funds(sum_by_currency(call.store, "available")),
            "connect_reserved": [{"amount": 0, "currency": "usd"}],
            "livemode": call.store.livemode,
            "pending": _funds(sum_by_currency(call.store, "pending")),
        }
    )


def retrieve(call: Call) -> Answer:
    """GET /v1/balance_transactions/{id}."""
    _up_to_date(call.store)
    return Single(BALANCE_TRANSACTION, call.store.get(BALANCE_TRANSACTION, call.id))


def list_transactions(call: Call) -> Answer:
    """GET /v1/balance_transactions."""
    given = call.parameters
    wanted = {name: given.text(name) for name in ("currency", "source", "type")}
    payout = given.text("payout")
    _up_to_date(call.store)
    chosen = select_created(call.store.newest(BALANCE_TRANSACTION), given)
    if payout is not None:
        chosen = [item for item in chosen if item["source"] == payout]
    return Page(
        BALANCE_TRANSACTION,
        [item for item in chosen if all(value in {None, item[name]} for name, value in wanted.items())],
    )


def _up_to_date(store: Store) -> Iterable[Object]:
    """Return all movements, those whose day has come available."""
    movements = store.all(BALANCE_TRANSACTION)
    for movement in movements:
        if movement["status"] == "pending" and movement["available_on"] <= store.clock.now():
            movement["status"] = "available"
    return movements


def _funds(sums: dict[str, int]) -> list[dict[str, Any]]:
    return [
        {"amount": amount, "currency": currency, "source_types": {"card": amount}}
        for currency, amount in {"usd": 0, **sums}.items()
    ]


ROUTES = (
    Route("GET", "/v1/balance", retrieve_balance, "rak_balance_read"),
    Route("GET", "/v1/balance_transactions", list_transactions, "rak_balance_transaction_source_read"),
    Route("GET", "/v1/balance_transactions/{id}", retrieve, "rak_balance_transaction_source_read"),
)
