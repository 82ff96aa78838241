"""billing operator price override."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.billing_client.conftest import Billing
from tests.billing_client.service import Reply, Service, problem

PATH = "/api/internal/billing/accounts/acme%2Fshop/price-overrides"
AGREED: dict[str, Any] = {
    "id": "pov_1",
    "account_id": "acc_1",
    "lookup_key": "pro:usd:month:tokens",
    "price": {"model": "per_unit", "unit_amount": "0.00004", "minimum_amount": "500"},
    "effective_from": "2023-12-01T00:00:00Z",
    "effective_until": None,
    "reason": "three-year contract",
    "created_by": "token:metering",
    "ended_by": "",
    "end_reason": "",
    "created_at": "2023-11-01T00:00:00Z",
    "updated_at": "2023-11-01T00:00:00Z",
}
SET = ("operator", "price", "override", "set", "pro:usd:month:tokens", "--account=acme/shop", "--reason=contract")


class TestSet:
    def test_sends_the_price_as_a_document_writes_it(self, billing: Billing, service: Service) -> None:
        service.fail_next(Reply(201, AGREED), path="price-overrides")
        outcome = billing(*SET, "--unit-amount=0.00004", "--from=2023-12-01", "--until=2026-12-01")
        assert outcome.code == 0, outcome.err
        request = service.requests[0]
        assert request.path == PATH
        assert request.data == {
            "lookup_key": "pro:usd:month:tokens",
            "price": {"unit_amount": "0.00004"},
            "reason": "contract",
            "effective_from": "2023-12-01",
            "effective_until": "2026-12-01",
        }
        assert 'per_unit 0.00004 {"minimum_amount": "500"}' in outcome.out

    def test_sends_whole_amounts_as_numbers(self, billing: Billing, service: Service) -> None:
        service.fail_next(Reply(201, AGREED), path="price-overrides")
        assert billing(*SET, "--unit-amount=2900").code == 0
        assert service.requests[0].data["price"] == {"unit_amount": 2900}

    def test_reads_tiers_from_a_file_exactly(self, billing: Billing, service: Service, tmp_path: Path) -> None:
        path = tmp_path / "price.json"
        path.write_text('{"tiers": [{"up_to": null, "unit_amount": 0.000010}]}')
        service.fail_next(Reply(201, AGREED), path="price-overrides")
        assert billing(*SET, "--file", str(path), "--model=graduated").code == 0
        tiers = [{"up_to": None, "unit_amount": "0.000010"}]
        assert service.requests[0].data["price"] == {"tiers": tiers, "model": "graduated"}

    def test_prints_every_finding(self, billing: Billing, service: Service) -> None:
        errors = [
            {"pointer": "/price/unit_amount", "code": "negative", "detail": "It cannot be below zero."},
            {"pointer": "/reason", "code": "blank", "detail": "Say why."},
        ]
        service.fail_next(problem(400, "validation_failed", "Not as it is.", errors=errors), path="price-overrides")
        outcome = billing(*SET, "--unit-amount=-1")
        assert outcome.code == 1
        assert outcome.err.splitlines() == [
            "Error: Not as it is.",
            "/price/unit_amount: It cannot be below zero.",
            "/reason: Say why.",
        ]

    @pytest.mark.parametrize(("content", "code"), [("{", 1), ("[]", 1), (None, 1)])
    def test_does_not_send_nonsense(
        self, billing: Billing, service: Service, tmp_path: Path, content: str | None, code: int
    ) -> None:
        path = tmp_path / "price.json"
        if content is not None:
            path.write_text(content)
        assert billing(*SET, "--file", str(path)).code == code
        assert service.requests == []

    def test_needs_a_price_and_an_account(self, billing: Billing, service: Service) -> None:
        assert billing(*SET).code == 2
        words = [word for word in SET if not word.startswith("--account")]
        assert billing(*words, "--unit-amount=1").code == 2
        assert service.requests == []


class TestList:
    def test_shows_what_was_agreed(self, billing: Billing, service: Service) -> None:
        ended = {**AGREED, "id": "pov_0", "effective_until": "2023-12-05T00:00:00Z", "end_reason": "typo"}
        service.fail_next(Reply(200, {"items": [AGREED, ended], "has_more": False}), path="price-overrides")
        outcome = billing("operator", "price", "override", "list", "--account=acme/shop", "--active", "--limit=9")
        assert outcome.code == 0, outcome.err
        assert service.requests[0].query == {"active": "true", "limit": "9"}
        lines = outcome.out.splitlines()
        assert lines[2].split()[0] == "pov_1"
        assert lines[2].endswith("2023-12-01              three-year contract")
        assert lines[3].endswith("2023-12-01  2023-12-05  typo")

    def test_as_csv_and_json(self, billing: Billing, service: Service) -> None:
        page = Reply(200, {"items": [AGREED], "has_more": False})
        service.fail_next(page, page, path="price-overrides")
        words = ("operator", "price", "override", "list", "--account=acme/shop")
        record = billing(*words, "--format=csv").out.splitlines()[1]
        assert record.startswith("pov_1,acc_1,pro:usd:month:tokens,per_unit,0.00004,2023-12-01T00:00:00Z,,")
        assert billing(*words, "--format=json").data == {"items": [AGREED]}

    def test_says_when_there_is_none(self, billing: Billing, service: Service) -> None:
        service.fail_next(Reply(200, {"items": [], "has_more": False}), path="price-overrides")
        assert billing("operator", "price", "override", "list", "--account=a").out == "No negotiated price\n"


class TestEnd:
    def test_says_when_and_why(self, billing: Billing, service: Service) -> None:
        service.fail_next(Reply(200, AGREED), path="price-overrides")
        words = ("operator", "price", "override", "end", "pov_1", "--account=acme/shop", "--reason=over")
        assert billing(*words, "--until=2024-03-01").code == 0
        assert service.requests[0].path == f"{PATH}/pov_1/end"
        assert json.loads(service.requests[0].body) == {"reason": "over", "effective_until": "2024-03-01"}

    def test_of_an_unknown_one(self, billing: Billing, service: Service) -> None:
        refusal = problem(404, "not_found", "No such price_override.", object_type="price_override")
        service.fail_next(refusal, path="price-overrides")
        outcome = billing("operator", "price", "override", "end", "pov_x", "--account=a", "--reason=over")
        assert (outcome.code, outcome.err.splitlines()[0]) == (1, "Error: negotiated price not found: pov_x")
