"""billing operator credit, and credit in billing balance."""

from __future__ import annotations

from typing import Any

import pytest

from tests.billing_client.conftest import Billing
from tests.billing_client.service import Reply, Service, problem

GRANT: dict[str, Any] = {
    "id": "cgr_1",
    "account_id": "acc_1",
    "name": "Welcome",
    "amount_cents": 2500,
    "remaining_cents": 2100,
    "currency": "usd",
    "priority": -1,
    "effective_at": "2023-11-01T00:00:00Z",
    "expires_at": "2023-12-01T00:00:00Z",
    "eligibility": ["mtr_1"],
    "tags": "trial",
    "voided": False,
    "active": True,
    "metadata": {},
    "created_at": "2023-11-01T00:00:00Z",
}


class TestGrant:
    def test_takes_major_units_and_meters(self, billing: Billing, service: Service) -> None:
        service.fail_next(Reply(201, GRANT), path="credit-grants")
        outcome = billing(
            *("operator", "credit", "grant", "25.00", "--account=acme/alice", "--name=Welcome", "--expires-in=720h"),
            *("--priority=-1", "--meter=tokens", "--meter=mtr_2", "--tags=trial"),
        )
        assert outcome.code == 0, outcome.err
        request = service.requests[0]
        assert (request.method, request.path) == ("POST", "/api/v1/billing/credit-grants")
        assert request.data == {
            "account": "acme/alice",
            "amount_cents": 2500,
            "currency": "usd",
            "name": "Welcome",
            "expires_in": "720h",
            "priority": -1,
            "eligibility": ["tokens", "mtr_2"],
            "tags": "trial",
        }
        for shown in ("cgr_1", "$25.00", "$21.00", "2023-12-01", "usable"):
            assert shown in outcome.out

    def test_a_key_of_one_s_own_makes_it_count_once(self, billing: Billing, service: Service) -> None:
        service.fail_next(Reply(201, GRANT), path="credit-grants")
        billing("operator", "credit", "grant", "1500", "--account=a", "--currency=JPY", "--idempotency-key=order-7")
        assert service.requests[0].headers["idempotency-key"] == "order-7"
        assert service.requests[0].data == {"account": "a", "amount_cents": 1500, "currency": "jpy"}

    @pytest.mark.parametrize("amount", ["0", "25.001", "ten", "1e400"])
    def test_nonsense_is_not_sent(self, billing: Billing, service: Service, amount: str) -> None:
        assert billing("operator", "credit", "grant", amount, "--account=a").code == 2
        assert service.requests == []


class TestVoid:
    def test_sends_the_reason(self, billing: Billing, service: Service) -> None:
        voided = {**GRANT, "voided": True, "active": False, "remaining_cents": 0}
        service.fail_next(Reply(200, voided), path="/void")
        outcome = billing("operator", "credit", "void", "cgr_1", "--reason=typed twice")
        assert outcome.code == 0, outcome.err
        assert service.requests[0].path == "/api/v1/billing/credit-grants/cgr_1/void"
        assert service.requests[0].data == {"reason": "typed twice"}
        assert "void" in outcome.out

    def test_says_why_it_is_refused(self, billing: Billing, service: Service) -> None:
        service.fail_next(problem(409, "already_voided", "cgr_1 was voided by ada."), path="/void")
        outcome = billing("operator", "credit", "void", "cgr_1", "--reason=again")
        assert outcome.code == 1
        assert "voided by ada" in outcome.err


class TestBalance:
    def test_shows_credit_by_tag(self, billing: Billing, service: Service) -> None:
        answer = {
            "account_id": "acc_1",
            "breakdown": {
                "trial": {"cents": 500, "currency": "usd", "expires_at": "2023-12-01T00:00:00Z"},
                "other:eur": {"cents": 70, "currency": "eur", "expires_at": None},
            },
            "total": {"cents": 500, "currency": "usd"},
        }
        service.fail_next(Reply(200, answer), path="breakdown")
        lines = billing("balance").out.splitlines()
        assert any(line.split()[:3] == ["Credit:", "trial", "$5.00"] and "2023-12-01" in line for line in lines)
        assert any(line.split()[:3] == ["Credit:", "other:eur", "€0.70"] for line in lines)
