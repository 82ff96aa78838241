"""Pricing models, negotiated prices, overage and rules: from usage to lines that explain and recompute themselves."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from accounts.models import Account, PriceOverride, SubscriptionItem
from invoicing.api.serializers.invoice import LineItemSerializer
from invoicing.documents.formats import Formats
from invoicing.documents.parts import describe_parts
from invoicing.documents.words import load_words
from invoicing.models import Invoice, InvoiceLine
from invoicing.queries.documents import build_invoice_view
from invoicing.services.documents import get_invoice_pdf
from metering.queries.usage import summarize_usage
from tests.support import world
from tests.support.prices import NOON, bill, publish_prices, record

pytestmark = pytest.mark.django_db

JANUARY = datetime(2024, 1, 1, tzinfo=UTC)


def bill_usage(price: dict[str, Any], *events: str) -> list[tuple[str, int]]:
    """Return (type, amount) of the lines that usage of `calls` makes at this price."""
    publish_prices({"meter": "calls", **price})
    account = world.open_account()
    world.subscribe(account, "pay")
    record(account, "calls", *((value, {}) for value in events))
    return [(line.type, line.amount) for line in bill(account)]


class TestModels:
    def test_graduated_prices_each_band(self) -> None:
        tiers = [
            {"up_to": 1000, "unit_amount": "1"},
            {"up_to": 10_000, "unit_amount": "0.8"},
            {"up_to": None, "unit_amount": "0.5"},
        ]
        # 1,000 × 1 + 9,000 × 0.8 + 5,000 × 0.5 = 1,000 + 7,200 + 2,500 = 10,700 cents
        assert bill_usage({"model": "graduated", "tiers": tiers}, "9000", "6000") == [("usage", 10_700)]
        line = InvoiceLine.objects.get()
        assert [tier["amount"] for tier in line.trace["tiers"]] == ["1000", "7200", "2500"]
        # 10,700 ÷ 15,000, to twelve decimals
        assert line.unit_amount == Decimal("0.713333333333")

    def test_volume_prices_all_by_the_tier_of_the_whole(self) -> None:
        tiers = [
            {"up_to": 50_000, "unit_amount": "0.08", "flat_amount": 1000},
            {"up_to": 100_000, "unit_amount": "0.06", "flat_amount": 1000},
            {"up_to": None, "unit_amount": "0.04", "flat_amount": 1000},
        ]
        # 65,000 × 0.06 + 1,000 = 4,900 cents
        assert bill_usage({"model": "volume", "tiers": tiers}, "65000") == [("usage", 4_900)]

    def test_packages_are_whole(self) -> None:
        price = {"model": "package", "unit_amount": "500", "package_size": "100", "free_quantity": "100"}
        # 201 − 100 free = 101 in packages of 100: two started, 2 × 500
        assert bill_usage(price, "200", "1") == [("usage", 1_000)]

    def test_a_flat_first_tier_is_owed_without_usage(self) -> None:
        tiers = [{"up_to": None, "unit_amount": "1", "flat_amount": "250"}]
        assert bill_usage({"model": "graduated", "tiers": tiers}) == [("usage", 250)]

    def test_unless_the_price_waives_it(self) -> None:
        tiers = [{"up_to": None, "unit_amount": "1", "flat_amount": "250"}]
        assert bill_usage({"model": "graduated", "tiers": tiers, "bill_zero_usage": False}) == []

    def test_converts_the_cumulative_reading(self) -> None:
        price = {"model": "per_unit", "unit_amount": "7", "transform_quantity": {"divide_by": "1000", "round": "up"}}
        # three slices of 400 are 1,200: two thousands begun, not three
        assert bill_usage(price, "400", "400", "400") == [("usage", 14)]

    def test_a_minimum_is_topped_up_on_a_line_of_its_own(self) -> None:
        price = {"model": "per_unit", "unit_amount": "1", "minimum_amount": "1000"}
        # 800 used of 1,000 agreed: 200 missing
        assert bill_usage(price, "800") == [("usage", 800), ("one_off", 200)]

    def test_a_minimum_claims_its_period_without_usage(self) -> None:
        price = {"model": "per_unit", "unit_amount": "1", "minimum_amount": "1000"}
        assert bill_usage(price) == [("usage", 0), ("one_off", 1000)]

    def test_a_maximum_caps(self) -> None:
        price = {"model": "per_unit", "unit_amount": "1", "maximum_amount": "500"}
        assert bill_usage(price, "800") == [("usage", 500)]

    def test_seats_have_tiers_too(self) -> None:
        tiers = [{"up_to": 10, "unit_amount": "1000"}, {"up_to": None, "unit_amount": "800"}]
        publish_prices({"model": "graduated", "tiers": tiers})
        account = world.open_account()
        world.subscribe(account, "pay", quantity=14)
        # 10 × 1,000 + 4 × 800 = 13,200
        assert [line.amount for line in InvoiceLine.objects.all()] == [13_200]


class TestEvents:
    def test_a_percentage_counts_event_by_event(self) -> None:
        price = {"model": "percentage", "percent": "1.2", "fixed_amount": "10", "free_events": 3}
        publish_prices({"meter": "payments", **price})
        account = world.open_account()
        world.subscribe(account, "pay")
        record(account, "payments", *((value, {}) for value in ("100000", "2500", "999", "5000")))
        (line,) = bill(account)
        # three free, then 1.2 % of 5,000 + 10 = 70
        assert (line.quantity, line.amount) == (Decimal(108_499), 70)
        # the free events in order, the rest counted
        assert line.trace["charge"]["usage"]["events"] == [["100000", 1], ["2500", 1], ["999", 1], ["5000", 1]]

    def test_many_equal_events_stay_few_groups(self) -> None:
        publish_prices({"meter": "payments", "model": "percentage", "percent": "1", "fixed_amount": "1"})
        account = world.open_account()
        world.subscribe(account, "pay")
        record(account, "payments", *((value, {}) for value in ["100", "200"] * 200))
        (line,) = bill(account)
        # 400 events, 60,000 in all: 1 % = 600, + 400 × 1
        assert line.amount == 1_000
        assert line.trace["charge"]["usage"]["events"] == [["100", 200], ["200", 200]]

    def test_a_dynamic_price_is_carried_by_the_event(self) -> None:
        publish_prices({"meter": "calls", "model": "dynamic"})
        account = world.open_account()
        world.subscribe(account, "pay")
        record(
            account,
            "calls",
            ("2", {"metadata": {"unit_amount": "150"}}),
            ("3", {"metadata": {"unit_amount": "0.5"}}),
            ("9", {}),
        )
        (line,) = bill(account)
        # 2 × 150 + 3 × 0.5 + nothing = 301.5, half up
        assert line.amount == 302

    def test_a_price_that_is_none_fails_that_subscription_by_name(self) -> None:
        publish_prices({"meter": "calls", "model": "dynamic"})
        account = world.open_account()
        world.subscribe(account, "pay")
        record(account, "calls", ("2", {"metadata": {"unit_amount": "cheap"}}))
        run = world.run_cycle(as_of=world.DECEMBER)
        outcome = run.outcomes.get()
        assert (outcome.status, outcome.error_code) == ("failed", "usage_not_priceable")
        assert "cheap" in outcome.error_detail
        assert not InvoiceLine.objects.exists()


class TestDimensions:
    def test_choose_the_price(self) -> None:
        variants = [
            {"when": {"model": "large"}, "unit_amount": "5"},
            {"when": {"model": "large", "region": "eu"}, "unit_amount": "6"},
        ]
        publish_prices({"meter": "calls", "model": "per_unit", "unit_amount": "1", "variants": variants})
        account = world.open_account()
        world.subscribe(account, "pay")
        record(
            account,
            "calls",
            ("10", {"dimensions": {"model": "large", "region": "us"}}),
            ("10", {"dimensions": {"model": "large", "region": "eu"}}),
            ("10", {"dimensions": {"model": "small", "region": "eu"}}),
            ("10", {}),
        )
        (line,) = bill(account)
        # 10 × 5 + 10 × 6 + 20 × 1
        assert (line.quantity, line.amount) == (Decimal(40), 130)
        assert {tier["variant"]: tier["amount"] for tier in line.trace["tiers"]} == {
            "other": "20",
            "model=large": "50",
            "model=large, region=eu": "60",
        }
        usage = summarize_usage(account=account, at=NOON, start=world.NOVEMBER, end=world.DECEMBER)
        assert usage.total_cost == 130


class TestOverage:
    QUOTA = {
        "meter_event_name": "calls",
        "window": "billing_period",
        "limit": 1000,
        "enforcement": "soft",
        "overage_price": "0.5",
    }

    def test_of_a_soft_quota_is_billed_above_the_limit(self) -> None:
        publish_prices({"unit_amount": 2900}, quotas=[self.QUOTA])
        account = world.open_account()
        world.subscribe(account, "pay")
        record(account, "calls", ("1500", {}))
        usage = summarize_usage(account=account, at=NOON)
        assert [(each.included, each.overage, each.cost) for each in usage.metrics] == [
            (Decimal(1000), Decimal(500), 250)
        ]
        # (1,500 − 1,000) × 0.5
        assert [(line.type, line.amount) for line in bill(account)] == [("subscription", 2900), ("usage", 250)]

    def test_claims_its_periods_with_an_item_of_its_own(self) -> None:
        publish_prices({"unit_amount": 2900}, quotas=[self.QUOTA])
        account = world.open_account()
        world.subscribe(account, "pay")
        assert SubscriptionItem.objects.filter(meter__isnull=False).count() == 0
        record(account, "calls", ("1500", {}))
        bill(account)
        item = SubscriptionItem.objects.get(meter__event_name="calls")
        assert (item.price, item.billing_mode) == (None, "metered")
        world.use(account, "calls", ["1002"], at=world.DECEMBER, key="december")
        world.run_cycle(as_of=JANUARY)
        # the same item, the next period: (1,002 − 1,000) × 0.5
        assert list(item_lines(item)) == [(world.NOVEMBER, 250), (world.DECEMBER, 1)]

    @pytest.mark.parametrize("changed", [{"enforcement": "hard"}, {"window": "day"}])
    def test_of_others_is_not(self, changed: dict[str, Any]) -> None:
        quota = {**self.QUOTA, **changed}
        if changed.get("enforcement") == "hard":
            del quota["overage_price"]
        publish_prices({"unit_amount": 2900}, quotas=[quota])
        account = world.open_account()
        world.subscribe(account, "pay")
        record(account, "calls", ("1500", {}))
        assert [line.type for line in bill(account)] == ["subscription"]


def item_lines(item: SubscriptionItem) -> Any:
    return InvoiceLine.objects.filter(subscription_item=item).order_by("id").values_list("period_start", "amount")


def negotiate(account: Account, **terms: Any) -> PriceOverride:
    terms.setdefault("model", "flat")
    return PriceOverride.objects.create(account=account, reason="three-year contract", created_by="staff:lead", **terms)


class TestNegotiatedPrices:
    def test_replace_the_amounts_in_periods_that_start_in_their_time(self) -> None:
        publish_prices({"unit_amount": 2900}, {"meter": "calls", "model": "per_unit", "unit_amount": "7"})
        account = world.open_account()
        agreed = negotiate(
            account,
            lookup_key="pay:usd:month",
            unit_amount=Decimal(1900),
            effective_from=world.DECEMBER,
            effective_until=JANUARY,
        )
        world.subscribe(account, "pay")
        world.run_cycle(as_of=JANUARY)
        # November at 29.00, December at 19.00, January at 29.00 again
        fees = InvoiceLine.objects.filter(type="subscription").order_by("period_start")
        assert [line.amount for line in fees] == [2900, 1900, 2900]
        assert fees[1].trace["charge"]["price"]["origin"] == agreed.public_id
        assert "negotiated as" in fees[1].trace["steps"][0]["formula"]

    def test_may_have_another_model(self) -> None:
        publish_prices({"meter": "calls", "model": "per_unit", "unit_amount": "7"})
        account = world.open_account()
        negotiate(
            account,
            lookup_key="pay:usd:month:calls",
            model="graduated",
            unit_amount=None,
            options={"tiers": [{"up_to": "10"}, {"up_to": None, "unit_amount": "1"}]},
            effective_from=world.OCTOBER,
        )
        world.subscribe(account, "pay")
        record(account, "calls", ("25", {}))
        # ten free, 15 × 1
        assert [line.amount for line in bill(account)] == [15]


class TestDocuments:
    def test_show_the_parts_of_a_price_to_the_customer(self) -> None:
        tiers = [{"up_to": 1000, "unit_amount": "1"}, {"up_to": None, "unit_amount": "0.5", "flat_amount": "200"}]
        assert bill_usage({"model": "graduated", "tiers": tiers, "free_quantity": "500"}, "3000") == [("usage", 1950)]
        invoice = Invoice.objects.get()
        (line,) = build_invoice_view(invoice, list(invoice.lines.all())).lines
        assert line.unit_amount is None
        parts = list(describe_parts(line.parts, Formats(locale="en", currency="usd", timezone="UTC"), load_words("en")))
        # 3,000 − 500 free = 2,500: 1,000 × 0.01 + 1,500 × 0.005 + 2.00 = 19.50
        assert parts == ["500 free", "1,000 × 0.01", "1,500 × 0.005 + 2.00"]
        assert LineItemSerializer(invoice.lines.get()).data["tiers"][1]["amount"] == "1000"
        assert get_invoice_pdf(invoice).startswith(b"%PDF-")
