"""Tax rates: adding, ending, removing."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from billing_site.kernel.errors import InvalidState, NotFound, ValidationFailed
from billing_site.kernel.ids import new_uuid
from billing_site.platform.models import Event
from catalog.models import TaxRate
from catalog.services.tax_rates import delete_tax_rate, end_tax_rate
from tests.factories.catalog import AT, PUBLISHER, make_tax_rate

pytestmark = pytest.mark.django_db


class TestCreateTaxRate:
    def test_keeps_what_it_says(self) -> None:
        rate = make_tax_rate(
            "us",
            "0.0725",
            name=" Sales tax ",
            state="us-ca",
            code="ST",
            inclusive=True,
            combinable=False,
            is_default=True,
            valid_from=date(2026, 1, 1),
            valid_to=date(2026, 12, 31),
        )
        rate.refresh_from_db()
        assert (rate.name, rate.code, rate.rate) == ("Sales tax", "ST", Decimal("0.0725"))
        assert (rate.country, rate.state, rate.jurisdiction) == ("US", "CA", "US-CA")
        assert (rate.inclusive, rate.combinable, rate.is_default) == (True, False, True)
        assert (rate.valid_from, rate.valid_to, rate.ended_on) == (date(2026, 1, 1), date(2026, 12, 31), None)
        event = Event.objects.get(type="tax_rate.created")
        assert (event.object_id, event.data["rate"], event.data["country"]) == (rate.public_id, "0.0725", "US")

    @pytest.mark.parametrize("rate", ["0", "1", "0.000000000001"])
    def test_takes_any_fraction(self, rate: str) -> None:
        assert make_tax_rate("DE", rate).rate == Decimal(rate)

    @pytest.mark.parametrize(
        ("values", "finding"),
        [
            ({"rate": "1.01"}, ("/rate", "out_of_range")),
            ({"rate": "-0.01"}, ("/rate", "out_of_range")),
            ({"rate": "19"}, ("/rate", "out_of_range")),
            ({"rate": "NaN"}, ("/rate", "invalid")),
            ({"rate": "0.1234567890123"}, ("/rate", "too_precise")),
            ({"country": "XX"}, ("/country", "invalid")),
            ({"country": "EU"}, ("/country", "invalid")),
            ({"country": ""}, ("/country", "invalid")),
            ({"name": " "}, ("/name", "required")),
            ({"valid_from": date(2026, 2, 1), "valid_to": date(2026, 1, 31)}, ("/valid_to", "before_start")),
        ],
    )
    def test_refuses_what_makes_no_sense(self, values: dict[str, Any], finding: tuple[str, str]) -> None:
        with pytest.raises(ValidationFailed) as refusal:
            make_tax_rate(**values)
        assert [(error.pointer, error.code) for error in refusal.value.errors] == [finding]
        assert not TaxRate.objects.exists()

    def test_names_everything_at_once(self) -> None:
        with pytest.raises(ValidationFailed) as refusal:
            make_tax_rate("??", "2", name="")
        assert {error.pointer for error in refusal.value.errors} == {"/name", "/rate", "/country"}

    def test_the_same_rate_twice_would_be_charged_twice(self) -> None:
        make_tax_rate(name="VAT", valid_from=date(2026, 1, 1), valid_to=date(2026, 6, 30))
        make_tax_rate(name="VAT", valid_from=date(2026, 7, 1))  # follows it
        make_tax_rate(name="VAT", org_id="acme")
        make_tax_rate("AT", name="VAT")
        for first, last in ((None, None), (date(2026, 6, 30), date(2026, 6, 30))):
            with pytest.raises(ValidationFailed) as refusal:
                make_tax_rate(name="vat", valid_from=first, valid_to=last)
            assert [(error.pointer, error.code) for error in refusal.value.errors] == [("/name", "exists")]

    def test_an_ended_rate_may_be_added_again(self) -> None:
        rate = make_tax_rate(name="VAT")
        end_tax_rate(rate_id=rate.pk, at=AT, actor=PUBLISHER)
        assert make_tax_rate(name="VAT").pk != rate.pk


class TestEndTaxRate:
    def test_ends_it_from_that_day_on(self) -> None:
        rate = make_tax_rate()
        at = datetime(2026, 3, 31, 23, 59, tzinfo=UTC)
        ended = end_tax_rate(rate_id=rate.pk, at=at, actor=PUBLISHER, reason="reform")
        assert ended.ended_on == date(2026, 3, 31)
        assert ended.holds_on(date(2026, 3, 30))
        assert not ended.holds_on(date(2026, 3, 31))
        event = Event.objects.get(type="tax_rate.ended")
        assert (event.reason, event.data["ended_on"]) == ("reform", "2026-03-31")

    def test_happens_once(self) -> None:
        rate = make_tax_rate()
        end_tax_rate(rate_id=rate.pk, at=AT, actor=PUBLISHER)
        with pytest.raises(InvalidState):
            end_tax_rate(rate_id=rate.pk, at=AT, actor=PUBLISHER)
        with pytest.raises(NotFound):
            end_tax_rate(rate_id=new_uuid(), at=AT, actor=PUBLISHER)


class TestDeleteTaxRate:
    def test_removes_an_unused_one(self) -> None:
        rate = make_tax_rate()
        delete_tax_rate(rate_id=rate.pk, at=AT, actor=PUBLISHER)
        assert not TaxRate.objects.exists()
        assert Event.objects.get(type="tax_rate.deleted").data["rate"] == "0.19"
