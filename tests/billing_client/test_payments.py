"""billing payment, billing topup, billing invoice pay: what is sent, what is printed, how they leave."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from tests.billing_client.conftest import Billing
from tests.billing_client.service import INVOICE, Reply, Service, problem

METHOD: dict[str, Any] = {
    "id": "pm_1",
    "account_id": "acc_1",
    "type": "card",
    "is_default": True,
    "name": "Visa ending in 4242",
    "card": {"brand": "visa", "last4": "4242", "exp_month": 3, "exp_year": 2031, "funding": "credit"},
    "bank_account": None,
    "billing_address": {"line1": "=1 Main St", "line2": "", "city": "Berlin", "country": "DE"},
    "provider_type": "local",
    "metadata": {},
    "created_at": "2023-11-01T00:00:00Z",
}
ACCOUNT: dict[str, Any] = {
    **METHOD,
    "id": "pm_2",
    "type": "bank_account",
    "is_default": False,
    "name": "Test Bank ending in 6789",
    "card": None,
    "bank_account": {"bank_name": "Test Bank", "last4": "6789"},
}
METHODS = Reply(200, {"items": [METHOD, ACCOUNT], "next_cursor": None, "has_more": False})
NONE = Reply(200, {"items": [], "next_cursor": None, "has_more": False})
TOPPED_UP = Reply(200, {"transaction_id": "le_9", "balance_cents": 5000, "status": "ok", "client_secret": None})
LIST = "/payment-methods"


def make_paid(**changes: Any) -> Reply:
    """An answer to an attempt to collect: paid, but for what `changes` says."""
    invoice = {**INVOICE, "status": "paid", "is_overdue": False, "amount_paid": 1731, "amount_remaining": 0}
    collection = {
        "success": True,
        "credit_used": 500,
        "balance_used": 231,
        "provider_used": 1000,
        "provider_ref": "ch_1",
        "amount_charged": 1731,
        "error": None,
    }
    return Reply(200, {"invoice": {**invoice, **changes.pop("invoice", {})}, "collection": {**collection, **changes}})


class TestList:
    @pytest.mark.parametrize("words", [["payment"], ["payment", "list"]])
    def test_shows_what_tells_them_apart(self, billing: Billing, service: Service, words: list[str]) -> None:
        service.fail_next(METHODS, path=LIST)
        lines = billing(*words).out.splitlines()
        assert lines[0].split() == ["ID", "Type", "Name", "Expires", "Default"]
        assert lines[2].split("  ")[0] == "pm_1"
        assert "03/2031" in lines[2]
        assert lines[2].endswith("yes")
        assert "bank account" in lines[3]
        assert not lines[3].endswith("yes")
        assert service.requests[0].query == {"account": "acme/alice", "limit": "200"}

    def test_has_details_and_other_forms(self, billing: Billing, service: Service) -> None:
        service.fail_next(METHODS, METHODS, METHODS, path=LIST)
        assert "credit" not in billing("payment").out
        out = billing("payment", "list", "--detailed").out
        assert "credit" in out
        assert "=1 Main St, Berlin, DE" in out
        rows = list(csv.reader(io.StringIO(billing("payment", "list", "--detailed", "--format=csv").out, newline="")))
        assert rows[0][:8] == ["id", "type", "name", "brand", "last4", "exp_month", "exp_year", "is_default"]
        assert rows[1] == [
            *("pm_1", "card", "Visa ending in 4242", "visa", "4242", "3", "2031", "true", "credit"),
            *("'=1 Main St", "", "Berlin", "", "", "DE"),
        ]
        assert rows[2][3:8] == ["Test Bank", "6789", "", "", "false"]

    def test_says_how_to_get_one(self, billing: Billing, service: Service) -> None:
        service.fail_next(NONE, path=LIST)
        assert "No payment method; billing payment add" in billing("payment").out


class TestRemove:
    def test_asks_first_and_does_nothing_where_nobody_can_answer(self, billing: Billing, service: Service) -> None:
        service.fail_next(Reply(200, METHOD), path=LIST)
        outcome = billing("payment", "remove", "pm_1")
        assert outcome.code == 2
        assert "Visa ending in 4242, the default" in outcome.err
        assert [request.method for request in service.requests] == ["GET"]

    def test_names_the_next_default(self, billing: Billing, service: Service) -> None:
        service.fail_next(Reply(200, {"id": "pm_1", "deleted": True}), path=LIST)
        outcome = billing("payment", "remove", "pm_1", "--new-default=pm_2", "--force")
        assert (outcome.code, outcome.out) == (0, "pm_1 is removed\n")
        (request,) = service.requests
        assert (request.method, request.path) == ("DELETE", "/api/v1/billing/payment-methods/pm_1")
        assert request.query == {"new_default": "pm_2"}

    def test_the_only_one_of_a_payer_stays(self, billing: Billing, service: Service) -> None:
        service.fail_next(problem(409, "last_payment_method", "It stays."), path=LIST)
        outcome = billing("payment", "remove", "pm_1", "--force")
        assert (outcome.code, outcome.out) == (1, "")
        assert outcome.err.startswith(
            "Error: this is the only payment method of a paying account\nHint: billing payment"
        )

    def test_an_unknown_one_is_said(self, billing: Billing, service: Service) -> None:
        service.fail_next(problem(404, "not_found", "No."), path=LIST)
        outcome = billing("payment", "remove", "pm_9", "--force")
        assert (outcome.code, outcome.err.splitlines()[0]) == (1, "Error: payment method not found: pm_9")


class TestDefault:
    def test_is_chosen(self, billing: Billing, service: Service) -> None:
        service.fail_next(Reply(200, {**ACCOUNT, "is_default": True}), path="default-payment-method")
        outcome = billing("payment", "default", "pm_2")
        assert outcome.code == 0, outcome.err
        assert "Test Bank ending in 6789 is the default" in outcome.err
        (request,) = service.requests
        assert request.path == "/api/v1/billing/customers/acme%2Falice/default-payment-method"
        assert request.data == {"payment_method_id": "pm_2"}

    def test_an_unknown_one_is_said(self, billing: Billing, service: Service) -> None:
        service.fail_next(problem(404, "not_found", "No."), path="default-payment-method")
        outcome = billing("payment", "default", "pm_9")
        assert (outcome.code, outcome.err.splitlines()[0]) == (1, "Error: payment method not found: pm_9")


class TestTopUp:
    def test_charges_the_default_in_minor_units(self, billing: Billing, service: Service) -> None:
        service.fail_next(METHODS, path=LIST)
        service.fail_next(TOPPED_UP, path="/topup")
        outcome = billing("topup", "25.00", "--force")
        assert outcome.code == 0, outcome.err
        for shown in ("paid", "$25.00", "$50.00", "le_9"):
            assert shown in outcome.out
        assert service.requests[-1].data == {
            "account": "acme/alice",
            "payment_method_id": "pm_1",
            "amount_cents": 2500,
            "currency": "usd",
        }
        assert service.requests[-1].headers["idempotency-key"]

    def test_a_currency_without_cents_and_a_key_of_one_s_own(self, billing: Billing, service: Service) -> None:
        service.fail_next(TOPPED_UP, path="/topup")
        billing("topup", "1500", "--currency=JPY", "--payment-method=pm_2", "--idempotency-key=order-7", "--force")
        (request,) = service.requests
        assert (request.data["amount_cents"], request.data["currency"]) == (1500, "jpy")
        assert request.data["payment_method_id"] == "pm_2"
        assert request.headers["idempotency-key"] == "order-7"

    @pytest.mark.parametrize("amount", ["0", "25.001", "ten", "1e400", "0.00"])
    def test_nonsense_is_not_sent(self, billing: Billing, service: Service, amount: str) -> None:
        assert billing("topup", amount, "--force").code == 2
        assert service.requests == []

    def test_asks_first_and_does_nothing_where_nobody_can_answer(self, billing: Billing, service: Service) -> None:
        assert billing("topup", "25.00", "--payment-method=pm_1").code == 2
        assert service.requests == []

    def test_needs_a_method_that_can_be_charged(self, billing: Billing, service: Service) -> None:
        service.fail_next(NONE, path=LIST)
        outcome = billing("topup", "25.00", "--force")
        assert outcome.code == 1
        assert "no default payment method" in outcome.err
        assert not service.seen("/topup")

    def test_a_decline_is_one_sentence(self, billing: Billing, service: Service) -> None:
        declined = problem(402, "payment_declined", "Declined.", decline_reason="The card has not enough money.")
        service.fail_next(declined, path="/topup")
        outcome = billing("topup", "25.00", "--payment-method=pm_1", "--force")
        assert (outcome.code, outcome.out, outcome.err) == (1, "", "Error: The card has not enough money.\n")

    def test_what_is_not_answered_yet_is_no_failure(self, billing: Billing, service: Service) -> None:
        pending = {"transaction_id": None, "balance_cents": 0, "status": "pending", "client_secret": None}
        service.fail_next(Reply(200, pending), path="/topup")
        outcome = billing("topup", "25.00", "--payment-method=pm_1", "--force")
        assert outcome.code == 0
        assert "Do not pay again" in outcome.err

    def test_what_the_card_holder_must_confirm_is_not_paid(self, billing: Billing, service: Service) -> None:
        waiting = {"transaction_id": None, "balance_cents": 0, "status": "requires_action", "client_secret": "x"}
        service.fail_next(Reply(200, waiting), path="/topup")
        outcome = billing("topup", "25.00", "--payment-method=pm_1", "--force")
        assert outcome.code == 1
        assert "nothing is paid yet" in outcome.err

    def test_an_answer_that_is_lost_is_asked_for_again_under_its_key(self, billing: Billing, service: Service) -> None:
        service.fail_next(Reply(drop=True), TOPPED_UP, path="/topup")
        assert billing("topup", "25.00", "--payment-method=pm_1", "--force").code == 0
        first, second = service.seen("/topup")
        assert first.headers["idempotency-key"] == second.headers["idempotency-key"]

    def test_one_that_stays_lost_says_how_to_ask_without_paying_twice(self, billing: Billing, service: Service) -> None:
        service.fail_next(*[Reply(drop=True)] * 3, path="/topup")
        outcome = billing("topup", "25.00", "--payment-method=pm_1", "--force")
        assert outcome.code == 1
        assert "whether it was charged is not known" in outcome.err
        assert f"--idempotency-key={service.requests[0].headers['idempotency-key']} tells" in outcome.err


class TestPay:
    def test_says_where_the_money_came_from(self, billing: Billing, service: Service) -> None:
        service.fail_next(make_paid(), path="/pay")
        outcome = billing("invoice", "pay", "INV-0042", "--force", "--payment-method=pm_2")
        assert outcome.code == 0, outcome.err
        for shown in ("INV-0042", "paid", "$5.00", "$2.31", "$10.00", "$0.00"):
            assert shown in outcome.out
        request = service.requests[-1]
        assert (request.method, request.path) == ("POST", "/api/v1/billing/invoices/in_1/pay")
        assert request.data == {"payment_method_id": "pm_2"}
        assert request.headers["idempotency-key"]

    def test_what_is_left_is_a_failure_that_shows_what_was_taken(self, billing: Billing, service: Service) -> None:
        left = {"status": "open", "amount_paid": 731, "amount_remaining": 1000, "is_partially_paid": True}
        answer = make_paid(invoice=left, success=False, provider_used=0, error="The card was declined.")
        service.fail_next(answer, answer, path="/pay")
        outcome = billing("invoice", "pay", "in_1", "--force")
        assert outcome.code == 1
        assert "open (partly paid)" in outcome.out
        assert outcome.err.startswith("Error: not fully paid, $10.00 is left: The card was declined\nHint: billing pay")
        assert service.requests[-1].data == {}
        rows = list(csv.reader(io.StringIO(billing("invoice", "pay", "in_1", "--force", "--format=csv").out)))
        assert rows[1] == ["in_1", "open", "usd", "500", "231", "0", "1000", "The card was declined."]

    def test_asks_first_and_does_nothing_where_nobody_can_answer(self, billing: Billing, service: Service) -> None:
        outcome = billing("invoice", "pay", "in_1")
        assert outcome.code == 2
        assert [request.method for request in service.requests] == ["GET"]

    def test_a_refusal_names_the_state(self, billing: Billing, service: Service) -> None:
        service.fail_next(problem(409, "invalid_state", "It is void.", current_status="void"), path="/pay")
        outcome = billing("invoice", "pay", "in_1", "--force")
        assert (outcome.code, outcome.err) == (1, "Error: It is void (status: void)\n")

    def test_an_unknown_method_is_said(self, billing: Billing, service: Service) -> None:
        service.fail_next(problem(404, "not_found", "No."), path="/pay")
        outcome = billing("invoice", "pay", "in_1", "--force", "--payment-method=pm_9")
        assert (outcome.code, outcome.err.splitlines()[0]) == (1, "Error: payment method not found: pm_9")

    def test_one_that_is_never_answered_is_not_called_unpaid(self, billing: Billing, service: Service) -> None:
        service.fail_next(*[Reply(drop=True)] * 3, path="/pay")
        outcome = billing("invoice", "pay", "in_1", "--force")
        assert outcome.code == 1
        assert "whether it was paid is not known" in outcome.err
        assert len({request.headers["idempotency-key"] for request in service.seen("/pay")}) == 1
