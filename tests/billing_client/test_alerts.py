"""Alerts on the command line."""

from __future__ import annotations

import pytest

from tests.billing_client.conftest import Billing
from tests.billing_client.service import Service

COST = "/api/v1/billing/realtime-cost/tenants/acme%2Falice/alerts"


class TestList:
    def test_shows_both_kinds(self, billing: Billing, service: Service) -> None:
        outcome = billing("alert", "list")
        assert outcome.code == 0, outcome.err
        for text in ("The roof", "$5,000.00", "triggered", "2023-11-20 10:30", "unusual day", "200 %", "armed"):
            assert text in outcome.out

    def test_is_what_the_group_does_alone(self, billing: Billing, service: Service) -> None:
        assert [each["id"] for each in billing("alert", "--format", "json").data["cost_alerts"]] == ["alert_2"]


class TestAdd:
    def test_asks_for_a_spend_alert(self, billing: Billing, service: Service) -> None:
        outcome = billing("alert", "add", "25.50", "--title", "Roof", "--currency", "EUR")
        assert outcome.code == 0, outcome.err
        sent = service.requests[-1]
        assert (sent.method, sent.path) == ("POST", "/api/v1/billing/spend-alerts")
        assert sent.data == {"account": "acme/alice", "title": "Roof", "threshold": 2550, "currency": "eur"}

    @pytest.mark.parametrize(
        ("kind", "amount", "field", "value"),
        [
            ("absolute", "25", "threshold_amount", 2500),
            ("daily_rate", "0.05", "threshold_amount", 5),
            ("percentage_of_budget", "80.5%", "threshold_percent", "80.5"),
            ("anomaly", "300", "threshold_percent", "300"),
        ],
    )
    def test_asks_for_a_cost_alert(
        self, billing: Billing, service: Service, kind: str, amount: str, field: str, value: object
    ) -> None:
        outcome = billing("alert", "add", amount, "--type", kind, "--email", "ops@example.com")
        assert outcome.code == 0, outcome.err
        assert service.requests[-1].data == {
            "threshold_type": kind,
            field: value,
            "currency": "usd",
            "notify_email": "ops@example.com",
        }

    @pytest.mark.parametrize(
        "arguments",
        [
            ("much",),
            ("much", "--type", "anomaly"),
            ("5.001",),
            ("5", "--type", "absolute", "--title", "x"),
            ("5", "--email", "ops@example.com"),
            ("5", "--type", "sometimes"),
        ],
    )
    def test_refuses_what_makes_no_sense_before_it_asks(
        self, billing: Billing, service: Service, arguments: tuple[str, ...]
    ) -> None:
        assert billing("alert", "add", *arguments).code == 2
        assert service.requests == []


class TestRemove:
    def test_deletes_a_spend_alert(self, billing: Billing, service: Service) -> None:
        outcome = billing("alert", "remove", "alert_1")
        assert (outcome.code, "alert_1 is deleted" in outcome.out + outcome.err) == (0, True)
        assert [request.method for request in service.requests] == ["DELETE"]

    def test_puts_a_cost_alert_to_rest(self, billing: Billing, service: Service) -> None:
        outcome = billing("alert", "remove", "alert_2")
        assert outcome.code == 0, outcome.err
        assert "dismissed" in outcome.out
        assert service.requests[-1].path.endswith("/alert_2/dismiss")

    def test_says_when_there_is_none(self, billing: Billing, service: Service) -> None:
        assert billing("alert", "remove", "alert_3").code == 1
