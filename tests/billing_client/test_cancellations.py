"""Cancelling and reactivating on the command line."""

from __future__ import annotations

import pytest

from tests.billing_client.conftest import Billing
from tests.billing_client.service import SUBSCRIPTION, Service


class TestCancel:
    def test_ends_with_the_period(self, billing: Billing, service: Service) -> None:
        outcome = billing("subscription", "cancel", "--force", "--reason", "too-expensive")
        assert outcome.code == 0, outcome.err
        assert "Ends at the period end, 2023-12-01" in outcome.out
        assert "Subscription ends on 2023-12-01" in outcome.err
        assert service.requests[-1].path == "/api/v1/billing/subscriptions/sub_1/cancel"
        assert service.requests[-1].data == {"immediately": False, "reason": "too_expensive"}

    @pytest.mark.parametrize("option", ["--immediate", "--immediately"])
    def test_ends_at_once(self, billing: Billing, service: Service, option: str) -> None:
        outcome = billing("subscription", "cancel", option, "--force")
        assert "Subscription canceled" in outcome.err
        assert service.requests[-1].data == {"immediately": True}

    def test_asks_first_and_does_nothing_where_nobody_can_answer(self, billing: Billing, service: Service) -> None:
        outcome = billing("subscription", "cancel")
        assert outcome.code == 2
        assert "nobody to ask" in outcome.err
        assert [request.method for request in service.requests] == ["GET"]

    @pytest.mark.parametrize(
        "options", [("--immediate", "--at-period-end"), ("--reason", "bored")], ids=["contradiction", "reason"]
    )
    def test_refuses_misuse_before_anything_is_sent(
        self, billing: Billing, service: Service, options: tuple[str, ...]
    ) -> None:
        assert billing("subscription", "cancel", "--force", *options).code == 2
        assert service.requests == []

    def test_says_when_there_is_none(self, billing: Billing, service: Service) -> None:
        service.subscription = None
        outcome = billing("subscription", "cancel", "--force")
        assert (outcome.code, outcome.err.splitlines()[0]) == (1, "Error: no active subscription")


class TestReactivate:
    def test_takes_a_scheduled_end_back(self, billing: Billing, service: Service) -> None:
        outcome = billing("subscription", "reactivate")
        assert outcome.code == 0, outcome.err
        assert "Subscription goes on" in outcome.err
        assert service.requests[-1].path.endswith("/sub_1/reactivate")

    def test_says_when_nothing_is_scheduled(self, billing: Billing, service: Service) -> None:
        service.subscription = {**SUBSCRIPTION, "cancel_at_period_end": False}
        outcome = billing("subscription", "reactivate")
        assert (outcome.code, outcome.err.splitlines()[0]) == (1, "Error: the subscription is not set to cancel")
