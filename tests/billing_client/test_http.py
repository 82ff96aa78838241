"""The client: what it sends, what it makes of answers, when it tries again."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from billing_client import (
    AuthError,
    BillingClient,
    BillingError,
    ConnectionFailed,
    InvalidState,
    NotFound,
    PaymentFailed,
    ProviderUnavailable,
    QuotaExceeded,
)
from tests.billing_client.service import Reply, Service, problem


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def client(service: Service, waits: list[float]) -> Iterator[BillingClient]:
    with BillingClient(service.url, token="user-token", sleep=waits.append) as connected:
        yield connected


class TestConstructor:
    def test_takes_missing_values_from_the_environment(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("BILLING_API_URL", f"{service.url}/")
        monkeypatch.setenv("BILLING_API_TOKEN", "from-environment")
        monkeypatch.setenv("BILLING_TENANT_ID", "acme/alice")
        with BillingClient() as client:
            client.get("/api/v1/billing/plans")
            assert client.account == "acme/alice"
        assert service.requests[0].headers["authorization"] == "Bearer from-environment"

    def test_reads_the_token_file_without_its_white_space(self, service: Service, tmp_path: Path) -> None:
        file = tmp_path / "token"
        file.write_text("  from-file\n")
        with BillingClient(service.url, token_file=file) as client:
            client.get("/api/v1/billing/plans")
        assert service.requests[0].headers["authorization"] == "Bearer from-file"


class TestErrors:
    @pytest.mark.parametrize(
        ("status", "code", "kind"),
        [
            (401, "token_invalid", AuthError),
            (403, "scope_missing", AuthError),
            (404, "not_found", NotFound),
            (409, "invalid_state", InvalidState),
            (402, "insufficient_balance", PaymentFailed),
            (429, "quota_exceeded", QuotaExceeded),
            (503, "provider_unavailable", ProviderUnavailable),
            (422, "currency_mismatch", BillingError),
        ],
    )
    def test_are_told_apart(
        self, service: Service, client: BillingClient, status: int, code: str, kind: type[BillingError]
    ) -> None:
        service.fail_next(*[problem(status, code, "No.", instance="req-9", current_status="open")] * 3)
        with pytest.raises(BillingError) as caught:
            client.get("/api/v1/billing/plans")
        error = caught.value
        assert type(error) is kind
        assert (error.status, error.code, error.detail, error.request_id) == (status, code, "No.", "req-1")
        assert error.members["current_status"] == "open"

    def test_carry_every_finding(self, service: Service, client: BillingClient) -> None:
        findings = [{"pointer": "/amount", "code": "required", "detail": "Missing."}] * 2
        service.fail_next(problem(400, "validation_failed", "2 fields are wrong.", errors=findings))
        with pytest.raises(BillingError) as caught:
            client.post("/api/v1/billing/deposit", {})
        assert [finding.pointer for finding in caught.value.findings] == ["/amount", "/amount"]

    def test_an_answer_that_is_no_problem_document_still_says_something(
        self, service: Service, client: BillingClient
    ) -> None:
        service.fail_next(Reply(500, content=b"<h1>oops</h1>", headers={"Content-Type": "text/html"}))
        with pytest.raises(BillingError, match="the service answered 500"):
            client.get("/api/v1/billing/plans")

    def test_nobody_listening_is_told_with_the_address(self, waits: list[float]) -> None:
        with (
            BillingClient("http://127.0.0.1:9", token="t", sleep=waits.append) as client,
            pytest.raises(ConnectionFailed, match=r"cannot be reached at http://127\.0\.0\.1:9: Connection refused"),
        ):
            client.get("/readyz")
        assert len(waits) == 2


class TestRetries:
    def test_a_read_is_tried_three_times_with_growing_waits(
        self, service: Service, client: BillingClient, waits: list[float]
    ) -> None:
        service.fail_next(Reply(drop=True), problem(503, "storage_unavailable", "Down."))
        assert client.get("/api/v1/billing/plans")["items"]
        assert len(service.requests) == 3
        assert 0.5 <= waits[0] <= 0.625
        assert 1.0 <= waits[1] <= 1.25

    def test_gives_up_after_the_third(self, service: Service, client: BillingClient) -> None:
        service.fail_next(*[problem(503, "storage_unavailable", "Down.")] * 4)
        with pytest.raises(ProviderUnavailable):
            client.get("/api/v1/billing/plans")
        assert len(service.requests) == 3

    def test_a_post_repeats_its_key(self, service: Service, client: BillingClient) -> None:
        service.fail_next(problem(503, "storage_unavailable", "Down."))
        client.post("/api/v1/billing/deposit", {"amount": 1})
        first, second = service.requests
        assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
        assert first.body == second.body

    def test_a_call_without_key_is_not_repeated(self, service: Service, client: BillingClient) -> None:
        service.fail_next(problem(503, "storage_unavailable", "Down."))
        with pytest.raises(ProviderUnavailable):
            client.request("POST", "/api/v1/billing/deposit", json_body={})
        assert len(service.requests) == 1

    def test_waits_as_long_as_the_service_asks(
        self, service: Service, client: BillingClient, waits: list[float]
    ) -> None:
        busy = problem(429, "rate_limited", "Slow down.")
        busy.headers["Retry-After"] = "7"
        service.fail_next(busy)
        client.get("/api/v1/billing/plans")
        assert waits == [7.0]

    @pytest.mark.parametrize(
        ("status", "code"), [(429, "dns_daily_limit_exceeded"), (400, "period_invalid"), (404, "x")]
    )
    def test_a_refusal_is_final(self, service: Service, client: BillingClient, status: int, code: str) -> None:
        service.fail_next(problem(status, code, "No."))
        with pytest.raises(BillingError):
            client.get("/api/v1/billing/plans")
        assert len(service.requests) == 1


class TestAnswers:
    def test_numbers_are_exact(self, service: Service, client: BillingClient) -> None:
        service.fail_next(Reply(content=b'{"rate": 0.1}', headers={"Content-Type": "application/json"}))
        assert client.get("/x") == {"rate": Decimal("0.1")}

    def test_lists_are_followed_to_their_end_or_limit(self, service: Service, client: BillingClient) -> None:
        service.invoices = [{"id": f"in_{n}"} for n in range(450)]
        assert [one["id"] for one in client.iterate("/api/v1/billing/invoices")] == [f"in_{n}" for n in range(450)]
        service.requests.clear()
        assert len(list(client.iterate("/api/v1/billing/invoices", limit=201))) == 201
        assert [request.query["limit"] for request in service.requests] == ["200", "1"]
