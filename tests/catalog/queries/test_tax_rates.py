"""Which tax rates a place asks for. Each expectation names the rates that add up."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from billing_site.kernel.errors import NotFound
from catalog.queries.tax_rates import get_tax_rate, list_applicable, list_tax_rates, load_tax_rates
from catalog.services.tax_rates import end_tax_rate
from tests.factories.catalog import PUBLISHER, make_tax_rate

pytestmark = pytest.mark.django_db

TODAY = date(2026, 3, 15)


def applicable(country: str, state: str = "", on: date = TODAY, org_id: str = "default") -> list[str]:
    return [rate.name for rate in list_applicable(org_id=org_id, country=country, state=state, on=on)]


class TestListApplicable:
    def test_needs_the_country_and_an_empty_or_equal_state(self) -> None:
        make_tax_rate("CA", "0.05", name="GST")
        make_tax_rate("CA", "0.07", name="PST", state="BC")
        make_tax_rate("US", "0.0725", name="Sales tax", state="CA")
        assert applicable("CA", "BC") == ["GST", "PST"]
        assert applicable("ca", "ca-bc") == ["GST", "PST"]
        assert applicable("CA", "ON") == ["GST"]
        assert applicable("CA") == ["GST"]
        assert applicable("US", "CA") == ["Sales tax"]
        assert applicable("US") == []
        assert applicable("DE") == []
        assert applicable("", "BC") == []

    def test_holds_from_its_first_to_its_last_day(self) -> None:
        make_tax_rate("DE", "0.16", name="Cut", valid_from=date(2020, 7, 1), valid_to=date(2020, 12, 31))
        make_tax_rate("DE", "0.19", name="Full", valid_from=date(2021, 1, 1))
        days = (date(2020, 6, 30), date(2020, 7, 1), date(2020, 12, 31), date(2021, 1, 1))
        assert [applicable("DE", on=day) for day in days] == [[], ["Cut"], ["Cut"], ["Full"]]

    def test_an_ended_rate_still_applies_to_days_before_its_end(self) -> None:
        rate = make_tax_rate(name="VAT")
        end_tax_rate(rate_id=rate.pk, at=datetime(2026, 3, 15, 9, tzinfo=UTC), actor=PUBLISHER)
        assert applicable("DE", on=TODAY - timedelta(days=1)) == ["VAT"]
        assert applicable("DE") == []

    def test_of_those_that_stand_alone_the_most_specific_place_wins(self) -> None:
        make_tax_rate("ES", "0.21", name="IVA", combinable=False, is_default=True)
        make_tax_rate("ES", "0.07", name="IGIC", combinable=False, state="CN")
        assert applicable("ES", "CN") == ["IGIC"]
        assert applicable("ES", "MD") == ["IVA"]

    def test_then_the_default(self) -> None:
        make_tax_rate("DE", "0.07", name="Reduced", combinable=False, valid_from=date(2026, 1, 1))
        make_tax_rate("DE", "0.19", name="Standard", combinable=False, is_default=True)
        assert applicable("DE") == ["Standard"]

    def test_then_the_latest_to_begin(self) -> None:
        make_tax_rate("DE", "0.19", name="New", combinable=False, valid_from=date(2026, 3, 1))
        make_tax_rate("DE", "0.16", name="Old", combinable=False, valid_from=date(2025, 1, 1))
        assert applicable("DE") == ["New"]
        assert applicable("DE", on=date(2026, 2, 28)) == ["Old"]

    def test_what_adds_up_is_added_to_the_one_that_stands_alone(self) -> None:
        make_tax_rate("US", "0.02", name="City", state="NY")
        make_tax_rate("US", "0.04", name="State", state="NY", combinable=False)
        make_tax_rate("US", "0.01", name="Federal", combinable=False)
        assert applicable("US", "NY") == ["City", "State"]

    def test_own_rates_of_a_country_replace_the_shared_ones(self) -> None:
        make_tax_rate(name="Shared")
        make_tax_rate("FR", "0.2", name="TVA")
        own = make_tax_rate(name="Own", org_id="acme", valid_from=date(2026, 3, 1))
        assert applicable("DE", org_id="acme") == ["Own"]
        assert applicable("DE", org_id="acme", on=date(2026, 2, 1)) == ["Shared"]
        assert applicable("FR", org_id="acme") == ["TVA"]
        assert applicable("DE") == ["Shared"]
        end_tax_rate(rate_id=own.pk, at=datetime(2026, 3, 10, tzinfo=UTC), actor=PUBLISHER)
        assert applicable("DE", org_id="acme") == ["Shared"]

    def test_many_places_take_one_query(self) -> None:
        make_tax_rate(name="VAT")
        make_tax_rate("FR", "0.2", name="TVA", org_id="acme")
        with CaptureQueriesContext(connection) as queries:
            book = load_tax_rates(org_ids=["acme", "other"])
            found = [
                rate.name
                for org_id, country in (("acme", "FR"), ("acme", "DE"), ("other", "FR"), ("other", "DE"))
                for rate in book.choose(org_id=org_id, country=country, state="", on=TODAY)
            ]
        assert found == ["TVA", "VAT", "VAT"]
        assert len(queries) == 1


class TestListTaxRates:
    def test_filters_by_place_and_leaves_out_what_was_ended(self) -> None:
        german, texan = make_tax_rate(), make_tax_rate("US", "0.0625", state="TX")
        ended = make_tax_rate("US", "0.01")
        end_tax_rate(rate_id=ended.pk, at=datetime(2026, 1, 1, tzinfo=UTC), actor=PUBLISHER)
        make_tax_rate("FR", "0.2", org_id="acme")
        assert set(list_tax_rates(org_id="default")) == {german, texan}
        assert set(list_tax_rates(org_id="default", country="us")) == {texan}
        assert set(list_tax_rates(org_id="default", country="us", state="us-tx")) == {texan}
        assert set(list_tax_rates(org_id="default", state="CA")) == set()
        assert len(list_tax_rates(org_id="acme")) == 3

    def test_one_is_found_by_its_organization(self) -> None:
        rate = make_tax_rate()
        assert get_tax_rate(org_id="default", reference=rate.public_id) == rate
        for org_id, reference in (("acme", rate.public_id), ("default", "txr_nothing")):
            with pytest.raises(NotFound):
                get_tax_rate(org_id=org_id, reference=reference)
