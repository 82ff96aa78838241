"""Plans and meters: which catalog applies, and how many queries it takes."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from catalog.models import Product
from catalog.queries.meters import MeterNotFound, get_meter, list_meters
from catalog.queries.plans import PlanNotFound, get_plan, get_sellable_plan, list_plans, read_listed_plan
from catalog.queries.revisions import CatalogEmpty, find_catalog_org, get_revision
from tests.factories.catalog import find_entry, make_document, publish_catalog

pytestmark = pytest.mark.django_db


class TestGetSellablePlan:
    def test_returns_the_version_on_sale_with_its_prices(self) -> None:
        publish_catalog()
        document = make_document()
        find_entry(document, "plans", "pro")["name"] = "Professional"
        publish_catalog(document)
        with CaptureQueriesContext(connection) as queries:
            version = get_sellable_plan(org_id="default", key="pro")
            assert (version.name, version.version, version.plan.key) == ("Professional", 2, "pro")
            assert version.plan.product.key == "platform"
            assert {price.currency for price in version.prices.all()} == {"usd", "eur"}
            assert {price.meter for price in version.prices.all()} == {None}
        assert len(queries) == 3

    def test_falls_back_to_the_default_catalog(self) -> None:
        publish_catalog()
        assert get_sellable_plan(org_id="acme", key="pro").plan.org_id == "default"

    def test_an_own_catalog_stands_alone(self) -> None:
        publish_catalog()
        document = make_document()
        document["plans"] = [find_entry(document, "plans", "ai-payg")]
        publish_catalog(document, org_id="acme")
        assert get_sellable_plan(org_id="acme", key="ai-payg").plan.org_id == "acme"
        with pytest.raises(PlanNotFound):
            get_sellable_plan(org_id="acme", key="pro")

    @pytest.mark.parametrize("key", ["Pro", "pro ", "", "nothing"])
    def test_keys_are_exact(self, key: str) -> None:
        publish_catalog()
        with pytest.raises(PlanNotFound):
            get_sellable_plan(org_id="default", key=key)

    def test_a_removed_plan_is_not_sold(self) -> None:
        publish_catalog()
        document = make_document()
        document["plans"] = document["plans"][1:]
        publish_catalog(document)
        with pytest.raises(PlanNotFound):
            get_sellable_plan(org_id="default", key="free")
        with pytest.raises(PlanNotFound):
            get_plan(org_id="default", key="free")


class TestListPlans:
    def test_reads_everything_in_one_query(self) -> None:
        publish_catalog()
        with CaptureQueriesContext(connection) as queries:
            plans = {plan.key: read_listed_plan(plan) for plan in list_plans(catalog_org="default")}
        assert len(queries) == 1
        assert set(plans) == {"free", "pro", "ai-payg"}
        tokens = plans["ai-payg"].prices[0]
        assert (tokens.meter, tokens.unit, tokens.unit_amount) == ("llm_input_tokens", "tokens", Decimal("0.00005"))
        assert [price.lookup_key for price in plans["pro"].prices] == ["pro:usd:month", "pro:usd:year", "pro:eur:month"]
        assert plans["pro"].features == ("service:api", "support:priority")
        (quota,) = plans["free"].quotas
        assert (quota.feature, quota.meter_event_name, quota.limit) == ("service:api", "api", 10000)
        assert (quota.overage_price, quota.upgrade_plan_id) == (None, "pro")

    def test_keeps_every_digit(self) -> None:
        document = make_document()
        exact = "12345678901234.123456789012"  # a binary fraction would lose the end
        find_entry(document, "plans", "ai-payg")["prices"][0]["unit_amount"] = exact
        publish_catalog(document)
        assert get_plan(org_id="default", key="ai-payg").prices[0].unit_amount == Decimal(exact)

    def test_leaves_out_plans_of_an_archived_product(self) -> None:
        publish_catalog()
        Product.objects.filter(key="ai").update(is_active=False)
        assert {plan.key for plan in list_plans(catalog_org="default")} == {"free", "pro"}
        for find in (get_plan, get_sellable_plan):
            with pytest.raises(PlanNotFound):
                find(org_id="default", key="ai-payg")
        everything = {plan.key: plan for plan in list_plans(catalog_org="default", include_inactive=True)}
        assert read_listed_plan(everything["ai-payg"]).is_on_offer is False

    def test_shows_inactive_plans_on_request(self) -> None:
        publish_catalog()
        document = make_document()
        document["plans"] = document["plans"][1:]
        publish_catalog(document)
        assert {plan.key for plan in list_plans(catalog_org="default")} == {"pro", "ai-payg"}
        assert {plan.key for plan in list_plans(catalog_org="default", include_inactive=True)} == {
            "free",
            "pro",
            "ai-payg",
        }


class TestMeters:
    def test_are_found_by_name_and_id(self) -> None:
        publish_catalog()
        meter = get_meter(org_id="acme", reference=" api ")
        assert meter.event_name == "api"
        assert get_meter(org_id="default", reference=meter.public_id) == meter
        assert list(list_meters(org_id="default", event_name="api")) == [meter]

    def test_retired_ones_are_found_by_id_only(self) -> None:
        publish_catalog()
        meter = get_meter(org_id="default", reference="llm_output_tokens")
        document = make_document()
        document["meters"] = document["meters"][:2]
        find_entry(document, "plans", "ai-payg")["prices"].pop()
        publish_catalog(document)
        assert get_meter(org_id="default", reference=meter.public_id) == meter
        with pytest.raises(MeterNotFound):
            get_meter(org_id="default", reference="llm_output_tokens")
        assert list(list_meters(org_id="default", event_name="llm_output_tokens")) == []

    def test_of_another_catalog_are_not_found(self) -> None:
        publish_catalog()
        other = get_meter(org_id="default", reference="api")
        publish_catalog(org_id="acme")
        with pytest.raises(MeterNotFound):
            get_meter(org_id="acme", reference=other.public_id)


class TestRevisions:
    def test_before_the_first(self) -> None:
        assert find_catalog_org(org_id="acme") == "acme"
        for number in (None, 1):
            with pytest.raises(CatalogEmpty):
                get_revision(org_id="default", number=number)

    def test_older_ones_stay_readable(self) -> None:
        first = publish_catalog()
        document = make_document()
        document["plans"].pop()
        second = publish_catalog(document)
        assert get_revision(org_id="default") == second
        assert get_revision(org_id="default", number=1) == first
