"""The balance of the account."""

from __future__ import annotations

from tests.stripe_server.routing import Answer, Call, Plain, Route


def retrieve(call: Call) -> Answer:
    """GET /v1/balance: an account without movements."""
    funds = [{"amount": 0, "currency": "usd", "source_types": {"card": 0}}]
    return Plain(
        {
            "object": "balance",
            "available": funds,
            "connect_reserved": [{"amount": 0, "currency": "usd"}],
            "livemode": call.store.livemode,
            "pending": funds,
        }
    )


ROUTES = (Route("GET", "/v1/balance", retrieve, "rak_balance_read"),)
