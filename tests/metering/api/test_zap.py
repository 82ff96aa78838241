"""The method door: REST operations under another name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from accounts.models import Account, LedgerEntry
from accounts.services.deposits import deposit
from billing_site.platform.models import Event
from metering.models import RejectedUsageRequest, UsageEvent
from tests.factories.accounts import ACTOR, AT, make_account
from tests.support.api import BillingClient, make_client
from tests.support.problems import problem

pytestmark = pytest.mark.django_db

DOOR = "/api/v1/billing/zap"
Clients = Callable[..., BillingClient]


@pytest.fixture
def account() -> Account:
    opened = make_account("acme")
    deposit(account=opened, amount=500, currency="usd", at=AT, actor=ACTOR)
    return opened


def call(method: str, client: BillingClient | None = None, key: str | None = None, **params: Any) -> Any:
    headers = {} if key is None else {"Idempotency-Key": key}
    body = {"method": f"billing.{method}", "id": "7", "params": params}
    return (client or make_client()).post(DOOR, body, headers=headers)


class TestMethods:
    def test_get_balance_answers_as_rest_does(self, account: Account) -> None:
        answer = call("getBalance", account="acme", currency="USD")
        assert answer.status_code == 200
        rest = make_client().get("/api/v1/billing/balance", {"account": "acme"}).json()
        assert answer.json() == {"id": "7", "result": rest}
        assert rest["available"] == 500

    def test_get_balance_all_answers_as_rest_does(self, account: Account) -> None:
        deposit(account=account, amount=70, currency="eur", at=AT, actor=ACTOR)
        rest = make_client().get("/api/v1/billing/balance/all", {"account": "acme"}).json()
        assert call("getBalanceAll", account="acme").json()["result"] == rest
        assert len(rest["balances"]) == 2

    def test_get_usage_answers_as_rest_does(self, account: Account) -> None:
        call("recordUsage", account="acme", amount=30)
        rest = make_client().get("/api/v1/billing/usage", {"account": "acme", "limit": "1"}).json()
        assert call("getUsage", account="acme", limit=1).json()["result"] == rest
        assert [each["amount"] for each in rest["usage"]] == [30]

    def test_record_usage_charges(self, account: Account) -> None:
        body: dict[str, Any] = {"account": "acme", "amount": 120, "model": "model-a", "request_id": "r1"}
        result = call("recordUsage", **body).json()["result"]
        assert (result["status"], result["amount"]) == ("recorded", 120)
        assert call("recordUsage", **body).json()["result"]["status"] == "duplicate"
        assert UsageEvent.objects.count() == 1
        assert call("getBalance", account="acme").json()["result"]["balance"] == 380

    def test_deposit_puts_money_on_the_balance(self, account: Account) -> None:
        metadata = {"share": 0.5, "n": 2}
        result = call("deposit", account="acme", amount=50, notes="thanks", metadata=metadata).json()["result"]
        assert (result["type"], result["amount"]) == ("deposit", 50)
        entry = LedgerEntry.objects.get(description="thanks")
        assert result["transaction_id"] == entry.public_id
        assert (entry.metadata["share"], entry.metadata["n"]) == (0.5, 2)

    def test_speaks_camel_case_too(self, account: Account) -> None:
        kind = "application/vnd.billing.camel+json"
        params = '{"account": "acme", "amount": 5, "totalTokens": 3}'
        body = f'{{"method": "billing.recordUsage", "id": "1", "params": {params}}}'
        answer = make_client().post(DOOR, body, content_type=kind, headers={"Accept": kind})
        assert answer.json()["result"]["accountId"] == account.public_id
        assert LedgerEntry.objects.get(type="usage").description == "API usage (3 tokens)"


class TestEnvelope:
    def test_a_body_that_is_no_json_is_malformed(self) -> None:
        for headers in ({}, {"Idempotency-Key": "k"}):
            answer = make_client().post(DOOR, "{", content_type="application/json", headers=headers)
            assert problem(answer, "malformed_body", 400)["error"]["code"] == -32700

    @pytest.mark.parametrize(
        "body", [{}, {"id": "1"}, {"method": ""}, {"method": 5}, [], {"method": "billing.getBalance", "id": {}}]
    )
    def test_a_body_without_a_method_is_malformed(self, body: Any) -> None:
        assert problem(make_client().post(DOOR, body), "malformed_body", 400)["error"]["code"] == -32600

    def test_an_unknown_method_is_answered_in_the_envelope(self) -> None:
        answer = call("payRise")
        assert answer.status_code == 200
        assert answer.json() == {
            "id": "7",
            "error": {"code": -32601, "message": "There is no method 'billing.payRise'."},
        }

    @pytest.mark.parametrize("sent", ["x", 5, None])
    def test_the_id_comes_back(self, account: Account, sent: Any) -> None:
        body = {"method": "billing.getBalance", "id": sent, "params": {"account": "acme"}}
        assert make_client().post(DOOR, body).json()["id"] == sent

    @pytest.mark.parametrize(
        ("method", "params"),
        [
            ("getBalance", {}),  # which account?
            ("getBalance", {"account": {"id": "acme"}}),
            ("getBalance", {"account": "acme", "currency": "xxx"}),
            ("deposit", {"account": "acme", "amount": 0}),
            ("deposit", {"account": "acme", "amount": 5, "colour": "red"}),
            ("recordUsage", {"account": "acme", "amount": "much"}),
        ],
    )
    def test_wrong_params_are_told(self, account: Account, method: str, params: dict[str, Any]) -> None:
        answer = call(method, **params)
        assert (answer.status_code, answer.json()["error"]["code"]) == (200, -32602)
        assert LedgerEntry.objects.count() == 1

    def test_params_are_an_object(self) -> None:
        body = {"method": "billing.getBalance", "params": ["acme"]}
        assert make_client().post(DOOR, body).json()["error"]["code"] == -32602

    def test_a_refusal_carries_the_problem(self) -> None:
        error = call("getBalance", account="nobody").json()["error"]
        assert error["code"] == -32000
        assert (error["data"]["code"], error["data"]["status"]) == ("not_found", 404)

    def test_refused_usage_is_kept_as_at_its_own_door(self, account: Account) -> None:
        for key in (None, "k"):
            call("recordUsage", key=key, account="acme", amount="much")
        assert RejectedUsageRequest.objects.count() == 2


class TestScopes:
    @pytest.mark.parametrize(
        ("method", "scope"), [("recordUsage", "billing:usage:write"), ("deposit", "billing:money")]
    )
    def test_a_method_needs_that_of_its_twin(self, account: Account, method: str, scope: str) -> None:
        reader = make_client(scopes=["billing:read"])
        answer = call(method, reader, account="acme", amount=5)
        assert problem(answer, "scope_missing", 403)["required_scope"] == scope
        assert LedgerEntry.objects.count() == 1
        allowed = make_client(scopes=["billing:read", scope])
        assert "result" in call(method, allowed, account="acme", amount=5).json()

    def test_reading_takes_the_door_s_own(self, account: Account) -> None:
        reader = make_client(scopes=["billing:read"])
        for method in ("getBalance", "getBalanceAll", "getUsage"):
            assert "result" in call(method, reader, account="acme").json()

    def test_another_organization_sees_nothing(self, account: Account) -> None:
        error = call("getBalance", make_client(org="elsewhere"), account="acme").json()["error"]
        assert error["data"]["code"] == "not_found"


class TestIdempotency:
    @pytest.mark.parametrize("method", ["deposit", "recordUsage"])
    def test_a_key_has_one_effect(self, account: Account, method: str) -> None:
        answers = [call(method, key="k", account="acme", amount=5) for _ in range(2)]
        assert answers[0].json() == answers[1].json()
        assert answers[1].headers["Idempotent-Replayed"] == "true"
        assert LedgerEntry.objects.count() == 2
        problem(call(method, key="k", account="acme", amount=6), "idempotency_key_reused", 422)

    def test_a_refusal_leaves_nothing_behind(self, account: Account) -> None:
        events = Event.objects.count()
        assert call("deposit", key="k", account="acme", amount=5, currency="xxx").json()["error"]["code"] == -32602
        assert (LedgerEntry.objects.count(), Event.objects.count()) == (1, events)
