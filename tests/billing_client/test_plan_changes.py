"""Changing plans, pausing and going on, on the command line."""

from __future__ import annotations

import pytest

from tests.billing_client.conftest import Billing
from tests.billing_client.service import Service


class TestUpgrade:
    def test_takes_the_plan_at_once(self, billing: Billing, service: Service) -> None:
        outcome = billing("subscription", "upgrade", "max", "--interval", "year", "--force")
        assert outcome.code == 0, outcome.err
        assert "Takes effect now, €25.00 to pay" in outcome.err
        asked = {"effective": "immediate", "proration_behavior": "always_invoice", "interval": "year"}
        assert service.requests[-1].path == "/api/v1/billing/subscriptions/sub_1/change-plan"
        assert service.requests[-1].data == {"plan_id": "max", **asked}

    def test_shows_the_amounts_and_changes_nothing(self, billing: Billing, service: Service) -> None:
        outcome = billing("subscription", "upgrade", "max", "--preview")
        assert (outcome.code, "15/30 days" in outcome.out, "€25.00" in outcome.out) == (0, True, True)
        changes = [request.data for request in service.requests if request.method == "POST"]
        assert [change["preview"] for change in changes] == [True]

    def test_answers_the_preview_as_json(self, billing: Billing, service: Service) -> None:
        outcome = billing("subscription", "upgrade", "max", "--preview", "--format", "json")
        assert outcome.data["preview"]["amount_due"] == 2500

    @pytest.mark.parametrize(
        ("plan", "says"), [("free", "free is not dearer than the present plan"), ("x", "plan not found: x")]
    )
    def test_refuses_other_plans(self, billing: Billing, service: Service, plan: str, says: str) -> None:
        outcome = billing("subscription", "upgrade", plan, "--force")
        assert (outcome.code, outcome.err.splitlines()[0]) == (1, f"Error: {says}")
        assert all(request.data.get("preview") for request in service.requests if request.method == "POST")

    def test_asks_first(self, billing: Billing, service: Service) -> None:
        outcome = billing("subscription", "upgrade", "max")
        assert (outcome.code, "nobody to ask" in outcome.err) == (2, True)
        assert service.requests[-1].data["preview"] is True

    def test_refuses_an_unknown_interval(self, billing: Billing, service: Service) -> None:
        assert billing("subscription", "upgrade", "max", "--interval", "week").code == 2
        assert service.requests == []


class TestDowngrade:
    def test_waits_for_the_period_to_end(self, billing: Billing, service: Service) -> None:
        outcome = billing("subscription", "downgrade", "free", "--force")
        assert outcome.code == 0, outcome.err
        assert "Becomes free on 2023-12-01" in outcome.out
        assert "nothing is charged now" in outcome.err
        assert service.requests[-1].data == {"plan_id": "free", "effective": "period_end"}

    def test_happens_at_once_when_told(self, billing: Billing, service: Service) -> None:
        outcome = billing("subscription", "downgrade", "free", "--immediate", "--force")
        assert "€25.00 become credit" in outcome.err
        assert service.requests[-1].data["effective"] == "immediate"

    def test_refuses_a_dearer_plan(self, billing: Billing, service: Service) -> None:
        outcome = billing("subscription", "downgrade", "max", "--force")
        assert (outcome.code, "max is not cheaper" in outcome.err) == (1, True)

    def test_says_when_there_is_none(self, billing: Billing, service: Service) -> None:
        service.subscription = None
        outcome = billing("subscription", "downgrade", "free", "--force")
        assert (outcome.code, outcome.err.splitlines()[0]) == (1, "Error: no active subscription")


class TestPause:
    def test_stops_until_a_day(self, billing: Billing, service: Service) -> None:
        outcome = billing("subscription", "pause", "--until", "2024-01-01")
        assert (outcome.code, "paused" in outcome.out) == (0, True)
        assert service.requests[-1].data == {"resume_at": "2024-01-01"}

    def test_goes_on(self, billing: Billing, service: Service) -> None:
        outcome = billing("subscription", "resume")
        assert (outcome.code, "Subscription goes on" in outcome.err) == (0, True)
        assert service.requests[-1].path.endswith("/sub_1/resume")
