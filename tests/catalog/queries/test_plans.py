"""Plans and meters: which catalog applies, and how many queries it takes."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from catalog.queries.meters import MeterNotFound, get_meter, list_meters
from catalog.queries.plans import PlanNotFound, get_plan, get_sellable_plan, list_plans
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
    def test_takes_a_constant_number_of_queries(self) -> None:
        publish_catalog()
        with CaptureQueriesContext(connection) as queries:
            plans = list(list_plans(catalog_org="default"))
            for plan in plans:
                version = plan.current_version
                assert version is not None
                assert plan.product.key
                assert [(price.meter, price.currency) for price in version.prices.all()]
                assert [link.feature.key for link in version.feature_links.all()]
                assert all(rule.meter.unit and rule.feature.key for rule in version.quota_rules.all())
        assert len(plans) == 3
        assert len(queries) == 4  # plans, prices, quotas, features

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
