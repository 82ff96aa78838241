"""Plans on the command line: side by side, the present one, and prices of every model in words."""

from __future__ import annotations

from typing import Any

import pytest

from billing_client.cli.commands.plan_prices import show_rate
from billing_client.cli.commands.plans import _list_usage_prices
from tests.billing_client.conftest import Billing
from tests.billing_client.service import Service


class TestCompare:
    def test_puts_plans_side_by_side_price_first(self, billing: Billing) -> None:
        lines = billing("plan", "compare").out.splitlines()
        assert lines[0].split() == ["Pro", "Whale"]
        rows = [line.split("  ") for line in lines[2:]]
        cells = [[cell.strip() for cell in row if cell.strip()] for row in rows]
        assert cells == [
            ["Price/Month", "€50.00", "Custom"],
            ["Price/Month, yearly", "€40.00", "Custom"],
            ["llm_tokens per month", "1.0M", "Unlimited"],
            ["llm_tokens, price", "€0.50 / 1M tokens", "-"],
        ]

    def test_shows_usage_prices_in_the_currency_and_interval_of_the_price(self) -> None:
        plan = {
            "currency": "usd",
            "interval": "month",
            "prices": [
                {"meter": "m", "currency": currency, "interval": interval, "unit_amount_decimal": amount}
                for currency, interval, amount in (("usd", "month", "1"), ("usd", "year", "2"), ("eur", "month", "3"))
            ],
        }
        assert [price["unit_amount_decimal"] for price in _list_usage_prices(plan)] == ["1"]

    def test_takes_the_plans_that_are_named_in_their_order(self, billing: Billing) -> None:
        assert billing("plan", "compare", "--plans", "whale, llm-pro").out.splitlines()[0].split() == ["Whale", "Pro"]
        assert billing("plan", "compare", "--plans", "gold").err.startswith("Error: plan not found: gold\n")

    def test_writes_a_record_per_row(self, billing: Billing) -> None:
        lines = billing("plan", "compare", "--format=csv").out.splitlines()
        assert lines[:2] == ["row,llm-pro,whale", "Price/Month,€50.00,Custom"]

    def test_sets_a_plan_against_the_present_one(self, billing: Billing) -> None:
        assert billing("plan", "show", "whale", "--compare").out.splitlines()[0].split() == ["Pro", "Whale"]


class TestCurrent:
    def test_shows_the_plan_of_the_subscription(self, billing: Billing) -> None:
        assert billing("plan", "current").out == billing("plan", "show", "llm-pro").out

    def test_says_when_there_is_none(self, billing: Billing, service: Service) -> None:
        service.subscription = None
        answer = billing("plan", "current")
        assert (answer.code, answer.err.splitlines()[0]) == (1, "Error: no active subscription")


class TestSubscriptionPlans:
    def test_are_the_plans(self, billing: Billing) -> None:
        assert billing("subscription", "plans").out == billing("plan", "list").out


class TestShowRate:
    @pytest.mark.parametrize(
        ("price", "text"),
        [
            ({"unit_amount": 2900}, "$29.00"),
            ({"meter": "m", "unit_amount_decimal": "0.00005", "unit": "tokens"}, "$0.50 / 1M tokens"),
            ({"meter": "m", "unit_amount_decimal": "7", "unit": "requests"}, "$0.07 / requests"),
            (
                {"meter": "m", "unit_amount_decimal": "500", "unit": "mails", "options": {"package_size": "100"}},
                "$5.00 per 100 mails",
            ),
            (
                {
                    "model": "graduated",
                    "options": {
                        "tiers": [
                            {"up_to": "1000"},
                            {"up_to": "10000", "unit_amount": "0.8"},
                            {"up_to": None, "unit_amount": "0.5", "flat_amount": "100"},
                        ]
                    },
                },
                "graduated: $0.00 up to 1000; $0.008 up to 10.0K; $0.005 + $1.00 flat above",
            ),
            ({"model": "percentage", "options": {"percent": "1.2"}}, "1.2 %"),
            (
                {"model": "percentage", "options": {"percent": "1.2", "fixed_amount": "10"}},
                "1.2 % + $0.10 per event",
            ),
            ({"model": "dynamic"}, "as each event says"),
        ],
    )
    def test_says_every_model(self, price: dict[str, Any], text: str) -> None:
        assert show_rate({"currency": "usd", "unit_amount_decimal": None, **price}) == text
