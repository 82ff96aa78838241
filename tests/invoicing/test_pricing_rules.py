"""Pricing rules: which one prices usage that the plan does not, and that none of it is billed twice or not at all."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from catalog.models import Meter, PricingRule
from catalog.services.publishing import publish_document
from invoicing.models import InvoiceLine
from tests.support import world
from tests.support.prices import METERS, NOON, bill, publish_prices, record

pytestmark = pytest.mark.django_db

JANUARY = datetime(2024, 1, 1, tzinfo=UTC)


def add_rule(unit_price: str, *, plan_key: str = "", at: datetime = world.OCTOBER, **more: Any) -> PricingRule:
    return PricingRule.objects.create(
        org_id=more.pop("org_id", "default"),
        meter=Meter.objects.get(event_name="calls"),
        plan_key=plan_key,
        currency="usd",
        unit_price=Decimal(unit_price),
        valid_from=at,
        **more,
    )


class TestRules:
    def test_price_a_meter_the_plan_does_not(self) -> None:
        publish_prices({"unit_amount": 2900})
        add_rule("2")
        account = world.open_account()
        world.subscribe(account, "pay")
        record(account, "calls", ("15", {}))
        assert [(line.type, line.amount) for line in bill(account)] == [("subscription", 2900), ("usage", 30)]

    def test_of_the_plan_come_before_those_for_every_plan(self) -> None:
        publish_prices({"unit_amount": 2900})
        add_rule("2")
        add_rule("3", plan_key="pay")
        account = world.open_account()
        world.subscribe(account, "pay")
        record(account, "calls", ("15", {}))
        assert [line.amount for line in bill(account)] == [2900, 45]

    def test_give_way_to_a_price_of_the_plan(self) -> None:
        publish_prices({"unit_amount": 2900}, {"meter": "calls", "model": "per_unit", "unit_amount": "7"})
        add_rule("2")
        account = world.open_account()
        world.subscribe(account, "pay")
        record(account, "calls", ("10", {}))
        assert [line.amount for line in bill(account)] == [2900, 70]

    def test_that_were_closed_price_the_period_they_were_in_force_in(self) -> None:
        publish_prices({"unit_amount": 2900})
        add_rule("2", closed_at=NOON)
        account = world.open_account()
        world.subscribe(account, "pay")
        record(account, "calls", ("15", {}))
        assert [line.amount for line in bill(account)] == [2900, 30]
        world.use(account, "calls", ["15"], at=world.DECEMBER, key="december")
        world.run_cycle(as_of=JANUARY)
        assert [
            line.amount for line in InvoiceLine.objects.filter(period_start__gte=world.DECEMBER, type="usage")
        ] == []

    def test_for_every_plan_bill_usage_once_however_many_plans_an_account_has(self) -> None:
        document = world.make_document()
        document["meters"].append(METERS[0])
        publish_document(org_id="default", document=document, at=world.OCTOBER, actor=world.TESTER)
        add_rule("2")
        account = world.open_account()
        world.subscribe(account, "pro")
        world.subscribe(account, "free")
        record(account, "calls", ("15", {}))
        world.run_cycle(as_of=world.DECEMBER)
        assert [line.amount for line in InvoiceLine.objects.filter(meter__event_name="calls")] == [30]

    def test_of_the_organization_come_before_those_of_the_catalog_it_sells_from(self) -> None:
        publish_prices({"unit_amount": 2900})
        add_rule("2")
        add_rule("5", org_id="acme")
        account = world.open_account("acme/shop")
        world.subscribe(account, "pay")
        record(account, "calls", ("10", {}))
        assert [line.amount for line in bill(account)] == [2900, 50]

    def test_for_every_plan_take_over_when_the_plans_own_is_closed(self) -> None:
        publish_prices({"unit_amount": 2900})
        add_rule("2")
        add_rule("3", plan_key="pay", at=world.OCTOBER, closed_at=datetime(2023, 10, 20, tzinfo=UTC))
        account = world.open_account()
        world.subscribe(account, "pay")
        record(account, "calls", ("10", {}))
        assert [line.amount for line in bill(account)] == [2900, 20]

    def test_of_a_plan_in_another_currency_keep_nothing_from_being_billed(self) -> None:
        publish_prices({"unit_amount": 2900})
        add_rule("2")
        PricingRule.objects.create(
            org_id="default",
            meter=Meter.objects.get(event_name="calls"),
            plan_key="pay",
            currency="eur",
            unit_price=Decimal(9),
            valid_from=world.OCTOBER,
        )
        account = world.open_account()
        world.subscribe(account, "pay")
        record(account, "calls", ("10", {}))
        assert [line.amount for line in bill(account)] == [2900, 20]
