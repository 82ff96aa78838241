"""Charged calls over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.models import LedgerEntry
from accounts.services.deposits import deposit
from billing_site.platform.models import Event
from metering.models import ChargeClient, UsageEvent
from tests.factories.accounts import ACTOR, AT, make_account, make_member
from tests.support.api import make_client
from tests.support.problems import problem

pytestmark = pytest.mark.django_db

DOOR = "/api/v1/billing/usage"


def send(body: dict[str, Any], **headers: str) -> Any:
    return make_client().post(DOOR, {"account": "acme", **body}, headers=headers)


class TestPost:
    def test_takes_prepaid_money_and_covers_the_shortfall(self) -> None:
        account = make_account("acme")
        deposit(account=account, amount=40, currency="usd", at=AT, actor=ACTOR)
        body = {"amount": 70, "model": "model-a", "total_tokens": 1200, "request_id": "r1", "client_ip": "192.0.2.7"}
        response = send(body)
        assert response.status_code == 201
        entry = LedgerEntry.objects.get(tags="api-usage")
        assert response.json() == {
            "transaction_id": entry.public_id,
            "account_id": account.public_id,
            "amount": 70,
            "currency": "usd",
            "type": "withdraw",
            "daily_credit_used": 30,
            "status": "recorded",
        }
        assert entry.description == "API usage: model-a (1200 tokens)"
        assert UsageEvent.objects.get().charged
        assert ChargeClient.objects.get().client_ip == "192.0.2.7"
        assert "192.0.2.7" not in str(list(Event.objects.values_list("data", flat=True)))
        movements = make_client().get("/api/v1/billing/transactions", {"account": "acme"}).json()["transactions"]
        assert [(each["type"], each["amount"], each["tags"]) for each in movements] == [
            ("withdraw", 70, "api-usage"),
            ("deposit", 30, "daily-credit"),
            ("deposit", 40, ""),
        ]

    def test_repeated_with_its_request_id_is_a_duplicate(self) -> None:
        make_account("acme")
        first, again = send({"amount": 70, "request_id": "r1"}), send({"amount": 70, "request_id": "r1"})
        assert again.status_code == 200
        assert again.json() == {**first.json(), "status": "duplicate"}
        assert LedgerEntry.objects.filter(tags="api-usage").count() == 1

    def test_repeated_with_its_idempotency_key_is_replayed(self) -> None:
        make_account("acme")
        first, again = (send({"amount": 70}, **{"Idempotency-Key": "k1"}) for _ in range(2))
        assert again.json() == first.json()
        assert again.headers["Idempotent-Replayed"] == "true"
        assert LedgerEntry.objects.filter(tags="api-usage").count() == 1

    @pytest.mark.parametrize("amount", [{}, {"amount": 0}, {"amount": -5}, {"amount": None}])
    def test_of_nothing_is_skipped(self, amount: dict[str, Any]) -> None:
        account = make_account("acme")
        response = send({**amount, "request_id": "r1"})
        assert response.status_code == 200
        assert response.json() == {
            "account_id": account.public_id,
            "amount": 0,
            "currency": "usd",
            "type": "withdraw",
            "daily_credit_used": 0,
            "status": "skipped",
        }
        assert not LedgerEntry.objects.exists()
        assert not UsageEvent.objects.exists()

    def test_takes_the_tier_of_the_token_before_the_stored_one(self) -> None:
        make_account("acme")
        response = make_client(tier="pro").post(DOOR, {"account": "acme", "amount": 70})
        assert response.json()["daily_credit_used"] == 0

    @pytest.mark.parametrize(
        ("body", "status", "code"),
        [
            ({"account": "nobody", "amount": 5}, 404, "not_found"),
            ({"amount": 5, "currency": "xxx"}, 400, "currency_unsupported"),
            ({"amount": "1.5"}, 400, "validation_failed"),
            ({"amount": 5, "total_tokens": -1}, 400, "validation_failed"),
            ({"amount": 5, "modell": "typo"}, 400, "validation_failed"),
        ],
    )
    def test_refuses_what_it_cannot_book(self, body: dict[str, Any], status: int, code: str) -> None:
        make_account("acme")
        problem(send(body), code, status)
        assert not LedgerEntry.objects.exists()

    def test_needs_an_account(self) -> None:
        problem(make_client().post(DOOR, {"amount": 5}), "account_required", 400)

    def test_refuses_a_request_id_of_another_account(self) -> None:
        make_account("acme")
        make_account("other")
        send({"amount": 5, "request_id": "r1"})
        refused = make_client().post(DOOR, {"account": "other", "amount": 5, "request_id": "r1"})
        problem(refused, "idempotency_key_reused", 422)

    def test_sees_its_own_organization_only(self) -> None:
        make_account("acme/alice")
        refused = make_client(org="other").post(DOOR, {"account": "acme/alice", "amount": 5})
        problem(refused, "not_found", 404)

    def test_is_for_internal_callers(self) -> None:
        make_account("alice")
        refused = make_client("public", "alice").post(DOOR, {"amount": 5})
        problem(refused, "audience_rejected", 403)


class TestGet:
    def test_lists_what_calls_took_newest_first(self) -> None:
        account = make_account("acme")
        deposit(account=account, amount=40, currency="usd", at=AT, actor=ACTOR)
        for amount, model in ((70, "model-a"), (5, "model-b")):
            send({"amount": amount, "model": model, "total_tokens": 12})
        send({"amount": 9, "currency": "eur"})
        first = make_client().get(DOOR, {"account": "acme", "limit": "2"}).json()
        assert (first["account_id"], first["count"], first["has_more"]) == (account.public_id, 3, True)
        # The daily credit that covers a part is not taken from the balance twice: a call takes its whole amount.
        assert [(each["amount"], each["currency"], each["notes"]) for each in first["usage"]] == [
            (9, "eur", "API usage"),
            (5, "usd", "API usage: model-b (12 tokens)"),
        ]
        assert first["usage"][1]["metadata"]["model"] == "model-b"
        following: dict[str, str] = {"account": "acme", "limit": "2", "cursor": first["next_cursor"]}
        rest = make_client().get(DOOR, following).json()
        assert [each["amount"] for each in rest["usage"]] == [70]
        assert (rest["next_cursor"], rest["has_more"]) == (None, False)
        only = make_client().get(DOOR, {"account": "acme", "currency": "EUR"}).json()
        assert (only["count"], [each["amount"] for each in only["usage"]]) == (1, [9])

    def test_public_callers_see_their_own(self) -> None:
        mine, other = make_account("acme"), make_account("other")
        make_member(mine, "mia")
        send({"amount": 7})
        client = make_client("public", "mia")
        assert client.get(DOOR).json()["count"] == 1
        problem(client.get(DOOR, {"account": other.public_id}), "account_forbidden", 403)
        problem(make_client().get(DOOR), "account_required", 400)
