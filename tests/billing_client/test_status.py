"""billing status, billing operator status, and the SDK's get_status."""

from __future__ import annotations

import pytest

from billing_client import BillingClient
from tests.billing_client.conftest import SERVICE_TOKEN, USER_TOKEN, Billing
from tests.billing_client.service import STATUS, Service, problem


class TestStatus:
    def test_shows_state_quotas_and_what_to_do(self, billing: Billing, service: Service) -> None:
        outcome = billing("status")
        assert outcome.code == 0
        (request,) = service.requests
        assert (request.path, request.query) == ("/api/v1/billing/status", {"account": "acme/alice"})
        for word in ("active", "llm-pro", "llm:proxy, llm:batch", "llm_tokens", "1000000"):
            assert word in outcome.out
        assert "Next: upgrade the plan (billing subscription upgrade whale)" in outcome.out + outcome.err

    def test_names_the_setup_where_billing_is_not_set_up(self, billing: Billing, service: Service) -> None:
        service.status |= {"status": "missing", "usage": [], "next_action": "setup_billing", "command": "billing setup"}
        outcome = billing("status")
        assert outcome.code == 0
        assert "Next: set up billing (billing setup)" in outcome.out + outcome.err

    def test_has_every_form(self, billing: Billing) -> None:
        assert billing("status", "--format=json").data == STATUS
        head, row = billing("status", "--format=csv").out.splitlines()[:2]
        assert head.startswith("account_id,status,plan_id,provider,tier,features")
        assert row.startswith("acc_1,active,llm-pro,stripe,pro,llm:proxy llm:batch,")

    def test_that_cannot_be_read_fails(self, billing: Billing, service: Service) -> None:
        service.fail_next(problem(403, "account_forbidden", "Not yours."))
        assert billing("status").code == 1


class TestOperatorStatus:
    def test_asks_for_the_account_in_the_path(self, billing: Billing, service: Service) -> None:
        assert billing("operator", "status", "--account=acme/bob").code == 0
        (request,) = service.requests
        assert request.path == "/api/internal/billing/accounts/acme%2Fbob/status"
        assert request.headers["authorization"] == f"Bearer {SERVICE_TOKEN}"

    def test_needs_an_account(self, billing: Billing, service: Service) -> None:
        assert billing("operator", "status").code == 2
        assert service.requests == []


class TestSdk:
    @pytest.mark.parametrize(("own", "asked", "sent"), [("acc_1", None, "acc_1"), (None, "acc_2", "acc_2")])
    def test_asks_for_its_account_or_another(
        self, service: Service, own: str | None, asked: str | None, sent: str
    ) -> None:
        with BillingClient(service.url, token=USER_TOKEN, account=own) as client:
            assert client.get_status(asked) == STATUS
        assert service.requests[0].query == {"account": sent}
