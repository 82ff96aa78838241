"""Balances, transactions and deposits, with real requests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from accounts.models import CreditLot, LedgerEntry
from accounts.queries.proof import prove_ledger
from billing_site.kernel import clock
from billing_site.platform.models import Event
from tests.factories.accounts import AT, make_account, make_entry, make_member
from tests.support.api import make_client
from tests.support.problems import findings, problem

pytestmark = pytest.mark.django_db

BALANCE = "/api/v1/billing/balance"
TRANSACTIONS = "/api/v1/billing/transactions"
DEPOSIT = "/api/v1/billing/deposit"


class TestBalance:
    def test_of_an_account_in_one_currency(self) -> None:
        account = make_account("acme/shop")
        make_entry(account, 500)
        response = make_client().get(BALANCE, {"account": "ACME/shop"})
        assert response.json() == {
            "account_id": account.public_id,
            "currency": "usd",
            "balance": 500,
            "holds": 0,
            "available": 500,
        }
        assert make_client().get(BALANCE, {"account": "acme/shop", "currency": "EUR"}).json()["balance"] == 0

    def test_of_the_caller(self) -> None:
        make_entry(make_account("alice"), 700)
        assert make_client("public", "alice").get(BALANCE).json()["balance"] == 700

    @pytest.mark.parametrize("word", ["account", "user", "user_id", "userId", "customer_id", "tenantId"])
    def test_knows_the_old_words(self, word: str) -> None:
        make_entry(make_account("acme"), 5)
        assert make_client().get(BALANCE, {word: "acme"}).json()["balance"] == 5

    def test_in_every_currency(self) -> None:
        account = make_account("acme")
        make_entry(account, 5, currency="jpy")
        assert make_client().get(f"{BALANCE}/all", {"account": "acme"}).json() == {
            "account_id": account.public_id,
            "balances": [
                {"currency": "jpy", "balance": 5, "holds": 0, "available": 5},
                {"currency": "usd", "balance": 0, "holds": 0, "available": 0},
            ],
        }

    @pytest.mark.parametrize("path", [BALANCE, f"{BALANCE}/all", TRANSACTIONS])
    def test_needs_an_account_that_is_the_callers(self, path: str) -> None:
        make_account("acme")
        problem(make_client().get(path), "account_required", 400)
        problem(make_client().get(path, {"account": "nobody"}), "not_found", 404)
        problem(make_client("public", "bob").get(path, {"account": "acme"}), "account_forbidden", 403)
        problem(make_client(org="globex").get(path, {"account": "acme"}), "not_found", 404)
        problem(make_client().get(path, {"account": "acme", "user": "bob"}), "validation_failed", 400)

    def test_of_an_unknown_currency(self) -> None:
        make_account("acme")
        problem(make_client().get(BALANCE, {"account": "acme", "currency": "xyz"}), "currency_unsupported", 400)


class TestTransactions:
    def test_come_newest_first_with_the_total(self) -> None:
        account = make_account("acme")
        for amount in (1, 2, 3):
            make_entry(account, amount)
        newest = LedgerEntry.objects.latest("id")
        body = make_client().get(TRANSACTIONS, {"account": "acme", "limit": "2"}).json()
        assert (body["count"], body["account_id"]) == (3, account.public_id)
        assert [row["amount"] for row in body["transactions"]] == [3, 2]
        assert body["transactions"][0] == {
            "id": newest.public_id,
            "type": "deposit",
            "amount": 3,
            "currency": "usd",
            "tags": "",
            "notes": "",
            "metadata": {},
            "created_at": "2026-03-15T12:00:00Z",
            "expires_at": None,
        }
        rest = make_client().get(TRANSACTIONS, {"account": "acme", "limit": "2", "offset": "2"}).json()
        assert [row["amount"] for row in rest["transactions"]] == [1]

    def test_are_read_by_members(self) -> None:
        account = make_account("acme")
        make_member(account, "bob")
        make_entry(account, 5)
        make_entry(account, 7, currency="eur")
        body = make_client("public", "bob").get(TRANSACTIONS, {"currency": "eur"}).json()
        assert ([row["amount"] for row in body["transactions"]], body["count"]) == ([7], 1)

    @pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 1001}, {"offset": -1}, {"limit": "many"}])
    def test_refuse_a_page_out_of_range(self, query: dict[str, Any]) -> None:
        make_account("acme")
        body = problem(make_client().get(TRANSACTIONS, {"account": "acme", **query}), "validation_failed", 400)
        assert [pointer for pointer, _ in findings(body)] == list(query)


class TestDeposit:
    def test_adds_to_the_balance(self) -> None:
        account = make_account("acme")
        with clock.travel(AT):
            response = make_client().post(
                DEPOSIT,
                {
                    "account": "acme",
                    "amount": 2500,
                    "currency": "USD",
                    "notes": "wire",
                    "tags": "manual",
                    "expires_in": 30,
                    "metadata": {"po": 7},
                },
            )
        assert response.status_code == 201
        entry = LedgerEntry.objects.get()
        assert response.json() == {
            "transaction_id": entry.public_id,
            "account_id": account.public_id,
            "amount": 2500,
            "currency": "usd",
            "type": "deposit",
            "tags": "manual",
            "expires_at": "2026-04-14T12:00:00Z",  # 30 days after 15 March, noon
            "original_transaction_id": None,
        }
        assert entry.metadata == {"po": 7}
        assert make_client().get(BALANCE, {"account": "acme"}).json()["available"] == 2500
        assert Event.objects.get(type="balance.deposited").actor_id == "svc"

    def test_takes_an_end_by_day(self) -> None:
        make_account("acme")
        with clock.travel(AT):
            make_client().post(DEPOSIT, {"account": "acme", "amount": 5, "expires_at": "2026-12-31"})
        # A plain date as an end means the whole of that day.
        assert CreditLot.objects.get().expires_at == datetime(2027, 1, 1, tzinfo=UTC)

    def test_happens_once_per_key(self) -> None:
        make_account("acme")
        body = {"account": "acme", "amount": 100}
        first, again = (make_client().post(DEPOSIT, body, headers={"Idempotency-Key": "pay-1"}) for _ in range(2))
        assert first.json() == again.json()
        assert again.headers["Idempotent-Replayed"] == "true"
        assert make_client().get(BALANCE, {"account": "acme"}).json()["balance"] == 100
        other = make_client().post(DEPOSIT, {**body, "amount": 200}, headers={"Idempotency-Key": "pay-1"})
        problem(other, "idempotency_key_reused", 422)

    @pytest.mark.parametrize(
        ("body", "code", "status"),
        [
            ({"amount": 0}, "amount_not_positive", 400),
            ({"amount": -5}, "amount_not_positive", 400),
            ({"amount": 1.5}, "validation_failed", 400),
            ({"amount": "ten"}, "validation_failed", 400),
            ({"amount": True}, "validation_failed", 400),
            ({"amount": 2**63}, "validation_failed", 400),
            ({"amount": 10**16}, "validation_failed", 400),
            ({}, "validation_failed", 400),
            ({"amount": 5, "currency": "xyz"}, "currency_unsupported", 400),
            ({"amount": 5, "expires_in": -1}, "validation_failed", 400),
            ({"amount": 5, "expires_at": "2020-01-01"}, "validation_failed", 400),
            ({"amount": 5, "expires_at": "soon"}, "validation_failed", 400),
            ({"amount": 5, "expires_att": "2030-01-01"}, "validation_failed", 400),
            ({"amount": 5, "account": "nobody"}, "not_found", 404),
            ({"amount": 5, "account": None}, "validation_failed", 400),
            ({"amount": 5, "account": "acme", "user_id": "bob"}, "validation_failed", 400),
        ],
    )
    def test_refuses_and_writes_nothing(self, body: dict[str, Any], code: str, status: int) -> None:
        make_account("acme")
        before = Event.objects.count()
        problem(make_client().post(DEPOSIT, {"account": "acme", **body}), code, status)
        assert not LedgerEntry.objects.exists()
        assert Event.objects.count() == before

    def test_needs_an_account(self) -> None:
        problem(make_client().post(DEPOSIT, {"amount": 5}), "account_required", 400)

    def test_is_not_for_the_public(self) -> None:
        make_account("alice")
        client = make_client("public", "alice", scopes=["billing:money", "billing:read"])
        problem(client.post(DEPOSIT, {"account": "alice", "amount": 5}), "audience_rejected", 403)
        assert not LedgerEntry.objects.exists()

    def test_stays_in_the_organization_of_the_token(self) -> None:
        make_account("acme/a")
        problem(make_client(org="globex").post(DEPOSIT, {"account": "acme/a", "amount": 5}), "not_found", 404)

    def test_keeps_the_ledger_provable(self) -> None:
        make_account("acme")
        for amount in (1, 20, 300):
            make_client().post(DEPOSIT, {"account": "acme", "amount": amount, "tags": "promotion"})
        assert prove_ledger().holds

    def test_lives_by_the_test_clock_of_the_account(self) -> None:
        from accounts.services.test_clocks import create_test_clock
        from tests.factories.accounts import ACTOR

        frozen = create_test_clock(name="c", now_at=AT - timedelta(days=100), at=AT, actor=ACTOR)
        make_account("acme", test_clock=frozen)
        make_client().post(DEPOSIT, {"account": "acme", "amount": 5})
        assert LedgerEntry.objects.get().created_at == AT - timedelta(days=100)
