"""Pricing rules: adding and closing."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from billing_site.kernel.errors import NotFound, ValidationFailed
from billing_site.platform.models import Event
from catalog.models import PricingRule
from catalog.services.pricing_rules import RuleExists, RuleTier, close_pricing_rule
from tests.factories.catalog import AT, PUBLISHER, make_document, make_meter, make_rule, publish_catalog

pytestmark = pytest.mark.django_db

TIERS = (
    RuleTier(Decimal(100), Decimal(10)),
    RuleTier(Decimal("500.5"), Decimal("0.5"), 250),
    RuleTier(None, Decimal("0.25")),
)


@pytest.fixture(autouse=True)
def catalog() -> None:
    publish_catalog()


class TestCreatePricingRule:
    def test_prices_a_meter_by_name_or_id(self) -> None:
        rule = make_rule("api", "0.000000000001", reason="list price")
        rule.refresh_from_db()
        assert (rule.meter.event_name, rule.plan_key, rule.currency) == ("api", "", "usd")
        assert (rule.model, rule.unit_price, rule.tiers) == ("per_unit", Decimal("0.000000000001"), [])
        assert (rule.valid_from, rule.closed_at) == (AT, None)
        by_id = make_rule(rule.meter.public_id, plan_key="pro", currency="EUR")
        assert (by_id.meter, by_id.plan_key, by_id.currency) == (rule.meter, "pro", "eur")
        event = Event.objects.filter(type="pricing_rule.created").earliest("sequence")
        assert (event.object_id, event.reason) == (rule.public_id, "list price")
        assert (event.data["event_name"], event.data["plan_id"]) == ("api", "")

    def test_keeps_every_digit(self) -> None:
        exact = "12345678901234567890123456.123456789012"
        rule = make_rule("api", exact)
        rule.refresh_from_db()
        assert rule.unit_price == Decimal(exact)
        assert Event.objects.get(type="pricing_rule.created").data["unit_price"] == exact

    @pytest.mark.parametrize("model", ["tiered", "volume"])
    def test_stores_tiers_exactly(self, model: str) -> None:
        rule = make_rule("api", None, model=model, tiers=TIERS)
        rule.refresh_from_db()
        assert rule.unit_price is None
        assert rule.tiers == [
            {"up_to": "100", "price": "10", "flat": 0},
            {"up_to": "500.5", "price": "0.5", "flat": 250},
            {"up_to": None, "price": "0.25", "flat": 0},
        ]

    def test_a_bound_of_zero_is_none(self) -> None:
        rule = make_rule("api", None, model="volume", tiers=[RuleTier(Decimal(0), Decimal(1))])
        assert rule.tiers == [{"up_to": None, "price": "1", "flat": 0}]

    @pytest.mark.parametrize(
        ("values", "finding"),
        [
            ({"unit_price": None}, ("/unit_price", "required")),
            ({"unit_price": "-1"}, ("/unit_price", "negative")),
            ({"unit_price": "1E+30"}, ("/unit_price", "out_of_range")),
            ({"unit_price": "0.0000000000001"}, ("/unit_price", "too_precise")),
            ({"unit_price": "12345678901234567890123456.0000000000001"}, ("/unit_price", "too_precise")),
            ({"unit_price": "NaN"}, ("/unit_price", "invalid")),
            (
                {"model": "volume", "unit_price": None, "tiers": [RuleTier(Decimal("Infinity")), RuleTier(None)]},
                ("/tiers/0/up_to", "invalid"),
            ),
            (
                {"model": "volume", "unit_price": None, "tiers": [RuleTier(None, Decimal("NaN"))]},
                ("/tiers/0/price", "invalid"),
            ),
            ({"tiers": TIERS}, ("/tiers", "not_allowed")),
            ({"model": "stairs"}, ("/model", "invalid_choice")),
            ({"currency": "xyz"}, ("/currency", "currency_unsupported")),
            ({"model": "tiered", "unit_price": None}, ("/tiers", "required")),
            ({"model": "tiered", "tiers": TIERS}, ("/unit_price", "not_allowed")),
            (
                {"model": "tiered", "unit_price": None, "tiers": [*TIERS[:2], TIERS[0], TIERS[2]]},
                ("/tiers/2/up_to", "not_ascending"),
            ),
            (
                {"model": "tiered", "unit_price": None, "tiers": [TIERS[0], TIERS[2], TIERS[1]]},
                ("/tiers/1/up_to", "unbounded_not_last"),
            ),
            ({"model": "volume", "unit_price": None, "tiers": TIERS[:2]}, ("/tiers/1/up_to", "bounded_last")),
            (
                {"model": "volume", "unit_price": None, "tiers": [RuleTier(None, Decimal(-1))]},
                ("/tiers/0/price", "negative"),
            ),
            (
                {"model": "volume", "unit_price": None, "tiers": [RuleTier(None, flat=-1)]},
                ("/tiers/0/flat", "out_of_range"),
            ),
        ],
    )
    def test_refuses_what_makes_no_sense(self, values: dict[str, Any], finding: tuple[str, str]) -> None:
        with pytest.raises(ValidationFailed) as refusal:
            make_rule("api", **values)
        found = [(error.pointer, error.code) for error in refusal.value.errors]
        # A list whose order is wrong is wrong at its end, too.
        assert found[0] == finding
        assert {pointer for pointer, _ in found} <= {finding[0], "/tiers/2/up_to"}
        assert not PricingRule.objects.exists()

    def test_names_every_tier_that_is_wrong(self) -> None:
        tiers = [RuleTier(Decimal(5), Decimal(-1)), RuleTier(None), RuleTier(Decimal(4), flat=-2), RuleTier(None)]
        with pytest.raises(ValidationFailed) as refusal:
            make_rule("api", None, model="tiered", tiers=tiers, currency="zzz")
        assert [error.pointer for error in refusal.value.errors] == [
            "/currency",
            "/tiers/0/price",
            "/tiers/1/up_to",
            "/tiers/2/flat",
            "/tiers/2/up_to",
        ]

    @pytest.mark.parametrize(("meter", "plan"), [("nothing", ""), ("api", "nothing"), ("api", "Pro")])
    def test_refuses_what_it_does_not_know(self, meter: str, plan: str) -> None:
        with pytest.raises(NotFound) as refusal:
            make_rule(meter, plan_key=plan)
        assert refusal.value.members["object_type"] == ("plan" if plan else "meter")

    def test_a_retired_plan_still_has_subscribers(self) -> None:
        document = make_document()
        document["plans"] = document["plans"][1:]
        publish_catalog(document)
        assert make_rule("api", plan_key="free").plan_key == "free"

    def test_one_rule_for_a_meter_plan_and_currency(self) -> None:
        rule = make_rule("api")
        make_rule("api", plan_key="pro")
        make_rule("api", currency="eur")
        make_rule("llm_input_tokens")
        with pytest.raises(RuleExists):
            make_rule("api", "9")
        close_pricing_rule(rule_id=rule.pk, at=AT, actor=PUBLISHER)
        assert make_rule("api", "9").unit_price == 9

    def test_organizations_have_rules_of_their_own(self) -> None:
        make_rule("api")
        assert make_rule("api", "9", org_id="acme").org_id == "acme"
        make_meter(org_id="acme")
        with pytest.raises(NotFound):
            make_rule("gpu_seconds")


class TestClosePricingRule:
    def test_ends_it_and_keeps_it(self) -> None:
        rule = make_rule("api")
        later = AT + timedelta(days=10)
        closed = close_pricing_rule(rule_id=rule.pk, at=later, actor=PUBLISHER, reason="dearer from now on")
        assert (closed.valid_from, closed.closed_at) == (AT, later)
        event = Event.objects.get(type="pricing_rule.closed")
        assert (event.reason, event.previous_data) == ("dearer from now on", {"closed_at": None})
        with pytest.raises(NotFound):
            close_pricing_rule(rule_id=rule.pk, at=later, actor=PUBLISHER)

    def test_never_ends_before_it_began(self) -> None:
        rule = make_rule("api")
        closed = close_pricing_rule(rule_id=rule.pk, at=AT - timedelta(days=1), actor=PUBLISHER)
        assert closed.closed_at == AT
