"""billing account agenda."""

from __future__ import annotations

import json
from typing import Any

from billing_client.http import BillingClient
from tests.billing_client.conftest import Billing
from tests.billing_client.service import Reply, Service

AGENDA: dict[str, Any] = {
    "account_id": "acc_1",
    "start": "2026-11-21T09:00:00Z",
    "until": "2027-02-19T09:00:00Z",
    "items": [
        {
            "at": "2026-12-01T05:00:00Z",
            "kind": "invoice",
            "subject": "sub_1",
            "text": "Pro is invoiced.",
            "amount": 12247,
            "currency": "usd",
        },
        {
            "at": "2026-12-31T05:00:00Z",
            "kind": "subscription_ends",
            "subject": "sub_1",
            "text": "Pro ends.",
            "amount": None,
            "currency": None,
        },
    ],
}


class TestAgenda:
    def test_is_a_table_for_people(self, billing: Billing, service: Service) -> None:
        service.fail_next(Reply(200, AGENDA), path="agenda")
        outcome = billing("account", "agenda", "acme/shop", "--until=2027-02-19")
        assert outcome.code == 0, outcome.err
        request = service.requests[0]
        assert (request.method, request.path) == ("GET", "/api/internal/billing/accounts/acme%2Fshop/agenda")
        assert request.query == {"until": "2027-02-19"}
        for shown in ("2026-12-01 05:00", "Pro is invoiced.", "$122.47", "Pro ends.", "sub_1"):
            assert shown in outcome.out

    def test_is_what_the_service_says_as_json(self, billing: Billing, service: Service) -> None:
        service.fail_next(Reply(200, AGENDA), path="agenda")
        assert json.loads(billing("account", "agenda", "a", "--format=json").out) == AGENDA

    def test_is_a_row_per_entry_as_csv(self, billing: Billing, service: Service) -> None:
        service.fail_next(Reply(200, AGENDA), path="agenda")
        lines = billing("account", "agenda", "a", "--format=csv").out.splitlines()
        assert lines[1] == "2026-12-01T05:00:00Z,invoice,sub_1,Pro is invoiced.,12247,usd"

    def test_says_when_nothing_comes(self, billing: Billing, service: Service) -> None:
        service.fail_next(Reply(200, {**AGENDA, "items": []}), path="agenda")
        assert billing("account", "agenda", "a").out == "Nothing is to be expected before 2027-02-19 09:00\n"

    def test_is_a_call_of_the_client(self, service: Service) -> None:
        service.fail_next(Reply(200, AGENDA), path="agenda")
        with BillingClient(service.url, token="t") as client:
            assert client.get_agenda("acc_1")["items"] == AGENDA["items"]
        assert service.requests[0].path == "/api/internal/billing/accounts/acc_1/agenda"
