"""Invoice credit, with real requests."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.models import Account, LedgerAccount, LedgerEntry
from accounts.services.adjustments import adjust_invoice_credit
from accounts.services.ledger import PostingSpec, post_entry, reverse_entry
from billing_site.kernel import clock
from tests.factories.accounts import ACTOR, AT, make_account
from tests.support.api import make_client
from tests.support.problems import problem

pytestmark = pytest.mark.django_db

BALANCE = "/api/v1/billing/customer-balance"
ADJUST = "/api/v1/billing/customer-balance/adjustments"
LIST = "/api/v1/billing/balance-transactions"


def adjust(account: Account, amount: int, currency: str = "usd", **metadata: str) -> LedgerEntry:
    return adjust_invoice_credit(
        account=account,
        amount=amount,
        currency=currency,
        description=f"number {amount}",
        at=AT,
        actor=ACTOR,
        metadata=dict(metadata),
    )


def settle(account: Account, amount: int) -> LedgerEntry:
    """Pay an invoice from credit."""
    return post_entry(
        key=f"settle:{amount}",
        type="invoice_payment",
        account_id=account.pk,
        postings=[
            PostingSpec("invoice_credit", account.pk, "usd", amount),
            PostingSpec("receivable", account.pk, "usd", -amount),
        ],
        at=AT,
        livemode=False,
        metadata={"invoice_id": "in_7"},
    )


class TestBalance:
    def test_of_an_account_in_one_currency(self) -> None:
        account = make_account("acme")
        adjust(account, 500)
        adjust(account, 7, "eur")
        response = make_client().get(BALANCE, {"account": "acme"})
        assert response.json() == {"account_id": account.public_id, "currency": "usd", "balance": 500}
        assert make_client().get(BALANCE, {"account": "acme", "currency": "EUR"}).json()["balance"] == 7

    def test_is_zero_before_anything_was_booked_and_writes_nothing(self) -> None:
        make_account("alice")
        before = LedgerAccount.objects.count()
        response = make_client("public", "alice").get(BALANCE, {"currency": "jpy"})
        assert response.json()["balance"] == 0
        assert LedgerAccount.objects.count() == before

    def test_is_for_members_only(self) -> None:
        make_account("alice")
        problem(make_client("public", "bob").get(BALANCE, {"account": "alice"}), "account_forbidden", 403)
        problem(make_client().get(BALANCE), "account_required", 400)
        problem(make_client().get(BALANCE, {"account": "alice", "currency": "xyz"}), "currency_unsupported", 400)


class TestAdjust:
    def test_books_a_correction(self) -> None:
        account = make_account("acme")
        with clock.travel(AT):
            response = make_client().post(ADJUST, {"account": "acme", "amount": 500, "description": "goodwill"})
        assert response.status_code == 201
        entry = LedgerEntry.objects.get()
        assert response.json() == {
            "id": entry.public_id,
            "account_id": account.public_id,
            "amount": 500,
            "currency": "usd",
            "type": "adjustment",
            "description": "goodwill",
            "ending_balance": 500,
            "invoice_id": None,
            "credit_note_id": None,
            "source_ref": entry.key,
            "metadata": {},
            "created_at": "2026-03-15T12:00:00Z",
        }
        below = {"account": "acme", "amount": -700, "description": "given twice", "allow_negative": True}
        assert make_client().post(ADJUST, below).json()["ending_balance"] == -200

    @pytest.mark.parametrize(
        ("given", "code", "status"),
        [
            ({"amount": 0}, "amount_zero", 400),
            ({"amount": -1}, "insufficient_balance", 402),
            ({"amount": 5, "description": ""}, "validation_failed", 400),
            ({"amount": 5, "description": None}, "validation_failed", 400),
            ({"amount": "ten"}, "validation_failed", 400),
            ({"amount": 5, "account": "nobody"}, "not_found", 404),
            ({"amount": 5, "currency": "xyz"}, "currency_unsupported", 400),
            ({"amount": 5, "allow_negatives": True}, "validation_failed", 400),
        ],
    )
    def test_refuses_and_writes_nothing(self, given: dict[str, Any], code: str, status: int) -> None:
        make_account("acme")
        body = {"account": "acme", "description": "goodwill", **given}
        problem(make_client().post(ADJUST, body), code, status)
        assert not LedgerEntry.objects.exists()

    def test_happens_once_per_key(self) -> None:
        make_account("acme")
        body = {"account": "acme", "amount": 5, "description": "goodwill"}
        first, again = (make_client().post(ADJUST, body, headers={"Idempotency-Key": "a-1"}) for _ in range(2))
        assert (first.json(), again.headers["Idempotent-Replayed"]) == (again.json(), "true")
        assert make_client().get(BALANCE, {"account": "acme"}).json()["balance"] == 5

    def test_is_not_for_the_public(self) -> None:
        make_account("alice")
        problem(
            make_client("public", "alice").post(ADJUST, {"amount": 5, "description": "x"}), "audience_rejected", 403
        )


class TestTransactions:
    def test_show_the_balance_after_each_newest_first(self) -> None:
        account = make_account("acme")
        adjust(account, 500)
        adjust(account, 9, "eur")
        settle(account, 120)
        adjust(make_account("other"), 1000)
        adjust(account, -80)
        rows = make_client().get(LIST, {"account": "acme"}).json()["items"]
        assert [(row["amount"], row["currency"], row["type"], row["ending_balance"]) for row in rows] == [
            (-80, "usd", "adjustment", 300),  # 500 - 120 - 80
            (-120, "usd", "invoice_payment", 380),
            (9, "eur", "adjustment", 9),
            (500, "usd", "adjustment", 500),
        ]

    def test_come_in_pages_with_the_same_balances(self) -> None:
        account = make_account("acme")
        for amount in (1, 20, 300, 4000):
            adjust(account, amount)
        first = make_client().get(LIST, {"account": "acme", "limit": "3"}).json()
        rest = make_client().get(LIST, {"account": "acme", "limit": "3", "cursor": first["next_cursor"]}).json()
        assert [row["ending_balance"] for row in first["items"] + rest["items"]] == [4321, 321, 21, 1]
        assert (first["has_more"], rest["has_more"]) == (True, False)

    def test_are_filtered(self) -> None:
        account = make_account("acme")
        adjust(account, 500)
        settled = settle(account, 120)
        reverse_entry(entry=settled, at=AT)
        adjust(account, 9, "eur", invoice_id="in_8")

        def amounts(**query: str) -> list[int]:
            body = make_client().get(LIST, {"account": "acme", **query}).json()
            return [row["amount"] for row in body["items"]]

        assert amounts(type="invoice_payment") == [-120]
        assert amounts(type="adjustment") == [9, 120, 500]
        assert amounts(type="credit_note") == []
        assert amounts(invoice_id="in_7") == [-120]
        assert amounts(currency="EUR") == [9]
        assert make_client().get(LIST, {"account": "acme", "type": "adjustment"}).json()["items"][1]["type"] == (
            "adjustment"
        )

    def test_of_invoices_below_zero_are_called_so(self) -> None:
        account = make_account("acme")
        post_entry(
            key="invoice:in_1",
            type="invoice",
            account_id=account.pk,
            postings=[
                PostingSpec("invoice_credit", account.pk, "usd", -50),
                PostingSpec("revenue", None, "usd", 50),
            ],
            at=AT,
            livemode=False,
            metadata={"invoice_id": "in_1"},
        )
        (row,) = make_client().get(LIST, {"account": "acme", "type": "proration"}).json()["items"]
        assert (row["type"], row["amount"], row["invoice_id"]) == ("proration", 50, "in_1")

    def test_are_those_the_caller_may_see(self) -> None:
        adjust(make_account("alice"), 1)
        adjust(make_account("acme/a"), 20)
        assert [row["amount"] for row in make_client("public", "alice").get(LIST).json()["items"]] == [1]
        assert [row["amount"] for row in make_client().get(LIST).json()["items"]] == [20, 1]
        assert [row["amount"] for row in make_client(org="acme").get(LIST).json()["items"]] == [20]
        problem(make_client("public", "alice").get(LIST, {"account": "acme/a"}), "account_forbidden", 403)
        problem(make_client().get(LIST, {"type": "gift"}), "validation_failed", 400)
