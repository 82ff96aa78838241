"""Withdrawals and corrections, with real requests."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from accounts.models import Account, LedgerEntry
from accounts.services.deposits import deposit
from accounts.services.holds import create_hold, void_hold
from accounts.services.spending import spend_prepaid
from billing_site.kernel import clock
from tests.factories.accounts import ACTOR, AT, make_account, make_member
from tests.support.api import make_client
from tests.support.problems import problem

pytestmark = pytest.mark.django_db

BALANCE = "/api/v1/billing/balance"
WITHDRAW = "/api/v1/billing/withdraw"
REFUND = "/api/v1/billing/refund"
TRANSACTIONS = "/api/v1/billing/transactions"


def make_rich(handle: str = "acme", amount: int = 1000, tags: str = "") -> Account:
    account = make_account(handle)
    deposit(account=account, amount=amount, currency="usd", at=AT, actor=ACTOR, tags=tags)
    return account


def balance(handle: str = "acme") -> int:
    return int(make_client().get(BALANCE, {"account": handle}).json()["balance"])


class TestWithdraw:
    def test_moves_money_out(self) -> None:
        account = make_rich()
        body = {"account": "acme", "amount": 400, "notes": "asked by mail", "tags": "manual"}
        response = make_client().post(WITHDRAW, body)
        assert response.status_code == 201
        entry = LedgerEntry.objects.get(type="withdraw")
        assert response.json() == {
            "transaction_id": entry.public_id,
            "account_id": account.public_id,
            "amount": 400,
            "currency": "usd",
            "type": "withdraw",
            "tags": "manual",
            "expires_at": None,
            "original_transaction_id": None,
        }
        assert balance() == 600

    def test_is_for_owners_and_admins_of_the_account(self) -> None:
        account = make_rich("alice")
        make_member(account, "bob", "admin")
        make_member(account, "eve", "member")
        make_rich("mallory")
        assert make_client("public", "alice").post(WITHDRAW, {"amount": 100}).status_code == 201
        assert make_client("public", "bob").post(WITHDRAW, {"amount": 100}).status_code == 201
        problem(make_client("public", "eve").post(WITHDRAW, {"amount": 100}), "account_forbidden", 403)
        body = {"account": "alice", "amount": 100}
        problem(make_client("public", "mallory").post(WITHDRAW, body), "account_forbidden", 403)
        assert balance("alice") == 800

    def test_needs_the_scope_of_the_audience(self) -> None:
        make_rich("alice")
        reader = make_client("public", "alice", scopes=["billing:read"])
        problem(reader.post(WITHDRAW, {"amount": 1}), "scope_missing", 403)
        payer = make_client(scopes=["billing:payment:write"])
        problem(payer.post(WITHDRAW, {"account": "alice", "amount": 1}), "scope_missing", 403)

    def test_says_what_is_available(self) -> None:
        account = make_rich(amount=100)
        deposit(account=account, amount=900, currency="usd", at=AT, actor=ACTOR, tags="promotion")
        body = problem(make_client().post(WITHDRAW, {"account": "acme", "amount": 101}), "insufficient_balance", 402)
        assert (body["available"], body["required"]) == (100, 101)
        assert balance() == 1000

    def test_happens_once_per_key(self) -> None:
        make_rich()
        body = {"account": "acme", "amount": 400}
        first, again = (make_client().post(WITHDRAW, body, headers={"Idempotency-Key": "w-1"}) for _ in range(2))
        assert (first.json(), again.headers["Idempotent-Replayed"]) == (again.json(), "true")
        assert balance() == 600

    @pytest.mark.parametrize(
        ("body", "code"),
        [
            ({"amount": 0}, "amount_not_positive"),
            ({"amount": -5}, "amount_not_positive"),
            ({"amount": 1.5}, "validation_failed"),
            ({"amount": 5, "currency": "xyz"}, "currency_unsupported"),
            ({"amount": 5, "note": "misspelled"}, "validation_failed"),
            ({"amount": 5, "account": ""}, "validation_failed"),
        ],
    )
    def test_refuses_what_makes_no_sense(self, body: dict[str, Any], code: str) -> None:
        make_rich()
        problem(make_client().post(WITHDRAW, {"account": "acme", **body}), code, 400)
        assert balance() == 1000

    def test_needs_an_account(self) -> None:
        problem(make_client().post(WITHDRAW, {"amount": 5}), "account_required", 400)


class TestRefund:
    def charge(self, account: Account, amount: int) -> LedgerEntry:
        return spend_prepaid(account=account, amount=amount, currency="usd", key="usage:1", at=AT, actor=ACTOR)

    def test_corrects_an_overcharge(self) -> None:
        account = make_rich()
        original = self.charge(account, 400)
        body = {"account": "acme", "amount": 150, "original_transaction_id": original.public_id, "notes": "twice"}
        response = make_client().post(REFUND, body)
        assert response.status_code == 201
        entry = LedgerEntry.objects.get(type="refund")
        assert response.json() == {
            "transaction_id": entry.public_id,
            "account_id": account.public_id,
            "amount": 150,
            "currency": "usd",
            "type": "deposit",
            "tags": "refund",
            "expires_at": None,
            "original_transaction_id": original.public_id,
        }
        newest = make_client().get(TRANSACTIONS, {"account": "acme"}).json()["transactions"][0]
        assert (newest["id"], newest["type"], newest["notes"]) == (entry.public_id, "deposit", "twice")
        assert newest["metadata"] == {
            "refund_type": "billing-correction",
            "original_transaction_id": original.public_id,
        }
        assert balance() == 750

    @pytest.mark.parametrize(
        ("given", "code", "status"),
        [
            ({"amount": 0}, "amount_not_positive", 400),
            ({"amount": 401}, "amount_exceeds_refundable", 422),
            ({"amount": 1, "currency": "eur"}, "currency_mismatch", 422),
            ({"amount": 1, "original_transaction_id": "txn_unknown"}, "not_found", 404),
            ({"amount": 1, "account": "other"}, "not_found", 404),
            ({"amount": 1, "account": "nobody"}, "not_found", 404),
            ({"amount": 1, "original_transaction_id": ""}, "validation_failed", 400),
        ],
    )
    def test_refuses_and_writes_nothing(self, given: dict[str, Any], code: str, status: int) -> None:
        account = make_rich()
        make_rich("other")
        original = self.charge(account, 400)
        body = {"account": "acme", "original_transaction_id": original.public_id, **given}
        answer = problem(make_client().post(REFUND, body), code, status)
        assert answer.get("refundable") == (400 if code == "amount_exceeds_refundable" else None)
        assert not LedgerEntry.objects.filter(type="refund").exists()

    def test_is_not_for_the_public(self) -> None:
        make_rich("alice")
        body = {"amount": 1, "original_transaction_id": "txn_x"}
        problem(make_client("public", "alice").post(REFUND, body), "audience_rejected", 403)


class TestHolds:
    def test_show_in_the_balance_and_in_the_transactions(self) -> None:
        account = make_rich(amount=1000)
        with clock.travel(AT):
            hold = create_hold(
                account=account,
                amount=300,
                currency="usd",
                at=AT,
                actor=ACTOR,
                expires_at=AT + timedelta(hours=1),
                description="booking 7",
            )
            shown = make_client().get(BALANCE, {"account": "acme"}).json()
            assert (shown["balance"], shown["holds"], shown["available"]) == (1000, 300, 700)
            assert make_client().get(f"{BALANCE}/all", {"account": "acme"}).json()["balances"][0]["holds"] == 300
        newest = make_client().get(TRANSACTIONS, {"account": "acme"}).json()["transactions"][0]
        assert newest == {
            "id": hold.public_id,
            "type": "hold",
            "amount": 300,
            "currency": "usd",
            "tags": "",
            "notes": "booking 7",
            "metadata": {},
            "created_at": "2026-03-15T12:00:00Z",
            "expires_at": "2026-03-15T13:00:00Z",
        }
        with clock.travel(AT + timedelta(hours=1)):  # its time is over, though no sweep came by
            shown = make_client().get(BALANCE, {"account": "acme"}).json()
        assert (shown["holds"], shown["available"]) == (0, 1000)
        void_hold(hold_id=hold.pk, at=AT, actor=ACTOR)
        page = make_client().get(TRANSACTIONS, {"account": "acme"}).json()
        assert ([row["type"] for row in page["transactions"]], page["count"]) == (
            ["hold_removed", "hold", "deposit"],
            3,
        )
