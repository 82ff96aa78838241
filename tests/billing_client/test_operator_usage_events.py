"""billing operator usage find, show, void, amend."""

from __future__ import annotations

from typing import Any

from tests.billing_client.conftest import Billing
from tests.billing_client.service import Reply, Service

RECORDS = "/api/internal/billing/usage-records"
EVENT: dict[str, Any] = {
    "id": "evu_1",
    "account_id": "acc_1",
    "meter": "llm_tokens",
    "quantity": "7.5",
    "unit": "tokens",
    "timestamp": "2026-11-21T09:30:00Z",
    "recorded_at": "2026-11-21T09:31:00Z",
    "idempotency_key": "req-1",
    "resource_id": "r",
    "actor_id": None,
    "weight": 1,
}
BILLING: dict[str, Any] = {
    "state": "invoiced",
    "invoice_id": "in_1",
    "invoice_number": "INV-0042",
    "subscription_id": "sub_1",
    "due_at": None,
}
CORRECTION: dict[str, Any] = {
    "id": "ucr_1",
    "event_id": "evu_1",
    "void_id": "evu_2",
    "replacement_id": "evu_3",
    "quantity": "7.5",
    "replacement_quantity": "0.75",
    "reason": "Wrong unit",
    "actor": "internal:ops",
}
INSPECTED: dict[str, Any] = {
    "event": EVENT,
    "counted": False,
    "correction": CORRECTION,
    "part_of_correction": None,
    "buckets": [{"span": "hour", "quantity": "12", "event_count": 3}],
    "quotas": [{"window": "day", "used": "12", "limit": None}],
    "billing": BILLING,
    "voiding_billing": None,
    "rejected_request_ids": ["rju_1"],
}


class TestFind:
    def test_asks_for_what_was_given(self, billing: Billing, service: Service) -> None:
        service.fail_next(Reply(200, {"items": [EVENT], "next_cursor": None, "has_more": False}), path="usage-records")
        outcome = billing("operator", "usage", "find", "--of=acme", "--dimension=model:large", "--start=2026-11-01")
        assert outcome.code == 0, outcome.err
        request = service.requests[0]
        assert (request.method, request.path) == ("GET", RECORDS)
        assert request.query == {
            "account": "acme",
            "dimension": "model:large",
            "start": "2026-11-01",
            "limit": "50",
        }
        for shown in ("evu_1", "2026-11-21 09:30", "7.5", "req-1", "llm_tokens"):
            assert shown in outcome.out

    def test_tells_an_id_from_a_key(self, billing: Billing, service: Service) -> None:
        nothing: dict[str, Any] = {"items": [], "next_cursor": None, "has_more": False}
        for reference, name in (("evu_1", "id"), ("req-1", "key")):
            service.fail_next(Reply(200, nothing), path="usage-records")
            outcome = billing("operator", "usage", "find", reference)
            assert outcome.out == "No usage event fits.\n"
            assert service.requests[-1].query[name] == reference

    def test_needs_to_know_where_to_look(self, billing: Billing, service: Service) -> None:
        outcome = billing("operator", "usage", "find", "--meter=llm_tokens")
        assert outcome.code == 2
        assert "--of" in outcome.err
        assert service.requests == []


class TestShow:
    def test_says_what_became_of_it(self, billing: Billing, service: Service) -> None:
        service.fail_next(Reply(200, INSPECTED), path="usage-records")
        outcome = billing("operator", "usage", "show", "evu_1")
        assert outcome.code == 0, outcome.err
        assert service.requests[0].path == f"{RECORDS}/evu_1"
        for shown in (
            "7.5 tokens of llm_tokens",
            "12 tokens in 3 events",
            "12 of no limit",
            "on invoice INV-0042",
            "7.5 taken back, 0.75 instead: Wrong unit (internal:ops)",
            "rju_1",
        ):
            assert shown in outcome.out

    def test_of_nothing_says_how_to_find_it(self, billing: Billing, service: Service) -> None:
        problem = {"code": "not_found", "title": "Not found", "status": 404, "detail": "There is no such event."}
        service.fail_next(Reply(404, problem), path="usage-records")
        outcome = billing("operator", "usage", "show", "evu_9")
        assert outcome.code == 1
        assert "usage event not found: evu_9" in outcome.err


class TestCorrect:
    def test_voids_with_a_reason(self, billing: Billing, service: Service) -> None:
        answer = {"correction": {**CORRECTION, "replacement_id": None}, "billing": BILLING}
        service.fail_next(Reply(201, answer), path="usage-records")
        outcome = billing("operator", "usage", "void", "evu_1", "--reason=Sent twice")
        assert outcome.code == 0, outcome.err
        request = service.requests[0]
        assert (request.method, request.path) == ("POST", f"{RECORDS}/evu_1/void")
        assert request.data == {"reason": "Sent twice"}
        assert "ucr_1" in outcome.out
        assert "Billing: on invoice INV-0042" in outcome.out

    def test_amends(self, billing: Billing, service: Service) -> None:
        service.fail_next(Reply(201, {"correction": CORRECTION, "billing": BILLING}), path="usage-records")
        outcome = billing(
            "operator", "usage", "amend", "evu_1", "--quantity=0.75", "--reason=Wrong unit", "--key=k", "--of=acme"
        )
        assert outcome.code == 0, outcome.err
        request = service.requests[0]
        assert request.path == f"{RECORDS}/evu_1/amend"
        assert request.data == {
            "reason": "Wrong unit",
            "quantity": "0.75",
            "idempotency_key": "k",
            "account": "acme",
        }

    def test_needs_a_reason(self, billing: Billing, service: Service) -> None:
        assert billing("operator", "usage", "void", "evu_1").code == 2
        assert service.requests == []
