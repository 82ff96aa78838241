"""Which rule prices a meter, and what it comes to."""

from __future__ import annotations

from decimal import Decimal

import pytest

from catalog.models import Meter
from catalog.pricing.engine import price_quantity
from catalog.queries.pricing_rules import get_rule_terms, list_pricing_rules
from catalog.services.pricing_rules import RuleTier, close_pricing_rule
from tests.factories.catalog import AT, PUBLISHER, make_rule, publish_catalog

pytestmark = pytest.mark.django_db

STEPS = (RuleTier(Decimal(100), Decimal(10)), RuleTier(Decimal(500), Decimal(5)), RuleTier(None, Decimal(2)))


@pytest.fixture(autouse=True)
def api() -> Meter:
    publish_catalog()
    return Meter.objects.get(event_name="api")


class TestListPricingRules:
    def test_filters_the_open_ones(self, api: Meter) -> None:
        first, second, third = make_rule("api"), make_rule("api", plan_key="pro"), make_rule("api", currency="eur")
        closed = make_rule("llm_input_tokens")
        close_pricing_rule(rule_id=closed.pk, at=AT, actor=PUBLISHER)
        assert set(list_pricing_rules(org_id="default")) == {first, second, third}
        assert set(list_pricing_rules(org_id="default", meter=api.public_id)) == {first, second, third}
        assert set(list_pricing_rules(org_id="default", meter="llm_input_tokens")) == set()
        assert set(list_pricing_rules(org_id="default", plan_key="pro")) == {second}
        assert set(list_pricing_rules(org_id="default", currency="eur")) == {third}
        assert set(list_pricing_rules(org_id="acme")) == {first, second, third}


class TestGetRuleTerms:
    @pytest.mark.parametrize(
        ("model", "amount"),
        [
            ("tiered", 3200),  # 100 x 10 + 400 x 5 + 100 x 2
            ("volume", 1200),  # 600 x 2
        ],
    )
    def test_price_as_the_contract_says(self, model: str, amount: int) -> None:
        rule = make_rule("api", None, model=model, tiers=STEPS)
        terms = get_rule_terms(rule)
        assert price_quantity(terms, Decimal(600)).amount_decimal == amount
        assert (terms.meter, terms.unit, terms.currency, terms.billing_timing) == ("api", "requests", "usd", "arrears")
        assert (terms.price_id, terms.origin) == (rule.public_id, rule.public_id)

    def test_flat_amounts_are_added_once_for_every_tier_entered(self) -> None:
        tiers = [RuleTier(Decimal(10), flat=100), RuleTier(None, Decimal("0.5"), 50)]
        rule = make_rule("api", None, model="tiered", tiers=tiers)
        # 100 for the first, 50 and 15 x 0.5 for the second
        assert price_quantity(get_rule_terms(rule), Decimal(25)).amount_decimal == Decimal("157.5")

    def test_per_unit(self) -> None:
        terms = get_rule_terms(make_rule("api", "0.00005"))
        assert price_quantity(terms, Decimal(1_000_000)).amount_decimal == 50  # 1,000,000 x 0.00005
