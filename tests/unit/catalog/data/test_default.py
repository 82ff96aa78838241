"""The default catalog says what the table of the contract says, number by number."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest

import billing_client
import catalog
from catalog.data import read_default
from catalog.documents.content import PlanEntry
from catalog.documents.normalising import normalise_document
from catalog.pricing.monthly import Fee, compute_monthly_price

CONTENT: Final = normalise_document(read_default())
PLANS: Final[dict[str, PlanEntry]] = {plan.id: plan for plan in CONTENT.plans}

# Plan, product, minor units per month, per month billed yearly (rounded), per seat; None is contact sales.
TABLE: Final = [
    ("free", "platform", 0, 0, False),
    ("starter", "platform", 2900, 2417, False),  # 29000 a year / 12 = 2416.67
    ("pro", "platform", 9900, 8250, False),  # 99000 a year
    ("enterprise", "platform", None, None, False),
    ("developer", "ai", 0, 0, False),
    ("ai-pro", "ai", 2000, 1600, True),
    ("team", "ai", 2500, 2000, True),
    ("max", "ai", 20000, 16000, True),
    ("team-max", "ai", 22500, 18000, True),
    ("ai-enterprise", "ai", None, None, False),
    ("monitor-free", "monitor", 0, 0, False),
    ("monitor-pro", "monitor", 2900, 2417, False),  # 29000 a year
    ("monitor-team", "monitor", 9900, 8250, False),  # 99000 a year
    ("dns-free", "dns", 0, 0, False),
    ("dns-pro", "dns", 500, 400, False),
    ("dns-enterprise", "dns", 2500, 2000, False),
]
# The whole year, where the table or the text names it.
YEARS: Final = {"starter": 29000, "pro": 99000, "ai-pro": 19200, "monitor-pro": 29000, "monitor-team": 99000}
LIMITS: Final[dict[str, dict[str, int]]] = {
    "developer": {"requests_per_minute": 60, "tokens_per_minute": 100_000, "free_credit": 500},
    "ai-pro": {"requests_per_minute": 500, "tokens_per_minute": 1_000_000},
    "team": {"requests_per_minute": 1000, "tokens_per_minute": 2_000_000},
    "max": {"requests_per_minute": 5000, "tokens_per_minute": 10_000_000, "included_cloud_credits": 10_000},
    "team-max": {
        "requests_per_minute": 5000,
        "tokens_per_minute": 10_000_000,
        "included_cloud_credits": 10_000,
        "cloud_credits_per_seat": 1,
    },
    "ai-enterprise": {"requests_per_minute": 50_000, "tokens_per_minute": 100_000_000},
    "monitor-free": {"max_alerts": 3, "api_rate_limit": 60, "mcp_rate_limit": 30},
    "monitor-pro": {"max_alerts": -1, "api_rate_limit": 6000, "mcp_rate_limit": 3000},
    "monitor-team": {"max_members": 5, "max_alerts": -1, "api_rate_limit": 30_000, "mcp_rate_limit": 15_000},
    "dns-free": {"zones": 2, "records_per_zone": 50, "queries_per_day": 10_000},
    "dns-pro": {"zones": 25, "records_per_zone": 500, "queries_per_day": 1_000_000},
    "dns-enterprise": {"zones": -1, "records_per_zone": -1, "queries_per_day": -1},
}
# Service, unit, limits of free, starter and pro, list price (overage on starter), overage on pro.
QUOTAS: Final = [
    ("api", "requests", 10_000, 100_000, 1_000_000, "0.01", "0.005"),
    ("storage", "GB-hours", 1, 10, 100, "0.1", "0.08"),
    ("bandwidth", "GB", 5, 50, 500, "1", "0.8"),
    ("compute", "CPU-hours", 1, 5, 50, "5", "4"),
    ("database", "queries", 50_000, 500_000, 5_000_000, "0.001", "0.0005"),
    ("functions", "invocations", 1000, 10_000, 100_000, "0.02", "0.01"),
]


def show_quotas(plan: PlanEntry) -> list[dict[str, Any]]:
    return [quota.as_dict() for quota in plan.quotas]


class TestDefaultCatalog:
    def test_has_the_plans_of_the_table(self) -> None:
        assert [(plan.id, plan.product_id) for plan in CONTENT.plans] == [row[:2] for row in TABLE]
        assert [product.id for product in CONTENT.products] == ["platform", "ai", "monitor", "dns"]

    @pytest.mark.parametrize(("key", "product", "month", "year", "per_seat"), TABLE)
    def test_prices_are_those_of_the_table(
        self, key: str, product: str, month: int | None, year: int | None, per_seat: bool
    ) -> None:
        plan = PLANS[key]
        fees = [Fee(price.unit_amount, price.interval) for price in plan.prices if price.unit_amount is not None]
        monthly = compute_monthly_price(fees)
        assert (monthly.price, monthly.price_annual) == (month, year)
        assert plan.contact_sales == (month is None)
        assert plan.price_per_seat == per_seat
        assert {price.currency for price in plan.prices} <= {"usd"}

    @pytest.mark.parametrize(("key", "amount"), YEARS.items())
    def test_a_year_is_stored_whole(self, key: str, amount: int) -> None:
        assert [price.unit_amount for price in PLANS[key].prices if price.interval == "year"] == [amount]

    def test_limits_are_those_of_the_table(self) -> None:
        assert {key: dict(plan.limits) for key, plan in PLANS.items() if plan.limits} == LIMITS

    def test_popular_plans(self) -> None:
        assert {key for key, plan in PLANS.items() if plan.popular} == {"team", "monitor-pro", "dns-pro"}

    @pytest.mark.parametrize(
        ("key", "column", "enforcement", "overage", "upgrade"),
        [
            ("free", 2, "hard", None, "starter"),
            ("starter", 3, "soft", 5, "pro"),
            ("pro", 4, "soft", 6, "enterprise"),
        ],
    )
    def test_platform_quotas_are_those_of_the_table(
        self, key: str, column: int, enforcement: str, overage: int | None, upgrade: str
    ) -> None:
        expected = []
        for row in QUOTAS:
            quota = {
                "feature": f"service:{row[0]}",
                "meter_event_name": row[0],
                "window": "billing_period",
                "limit": row[column],
                "enforcement": enforcement,
                "upgrade_plan_id": upgrade,
            }
            expected.append(quota if overage is None else {**quota, "overage_price": row[overage]})
        assert show_quotas(PLANS[key]) == expected

    def test_nothing_else_has_quotas(self) -> None:
        assert {key for key, plan in PLANS.items() if plan.quotas} == {"free", "starter", "pro"}

    def test_every_service_has_its_meter(self) -> None:
        meters = {meter.event_name: meter for meter in CONTENT.meters}
        assert {name: meters[name].unit for name, *_ in QUOTAS} == {row[0]: row[1] for row in QUOTAS}
        assert meters["dns-queries"].dimensions == ("zone", "errors")
        assert meters["api-usage"].dimensions == ("model", "provider")

    def test_the_client_prints_the_same_document(self) -> None:
        own = Path(catalog.__file__).parent / "data" / "default.json"
        printed = Path(billing_client.__file__).parent / "data" / "catalog_default.json"
        assert printed.read_bytes() == own.read_bytes()
