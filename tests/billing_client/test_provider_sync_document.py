"""What of a catalog document the provider is to have, and what is refused before anything is sent."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from billing_client.catalog_check import NotJson
from billing_client.provider_sync.document import DocumentRefused, read_catalog
from billing_client.provider_sync.forms import encode_form
from billing_client.provider_sync.wanted import Skipped, Terms, Tier, WantedCatalog, WantedMeter, WantedPrice
from tests.billing_client.provider import Document, Sync, make_catalog, make_flat, with_price
from tests.stripe_server.currencies import CURRENCIES
from tests.stripe_server.server import StripeServer

SECRET = "sk_" + "live_" + "x" * 24


def read(document: Document) -> WantedCatalog:
    return read_catalog(json.dumps(document))


def read_price(**terms: Any) -> WantedPrice | Skipped:
    """Return the one price of a document with these terms."""
    [price] = read(with_price(**terms)).prices
    return price


def terms_of(**terms: Any) -> Terms:
    price = read_price(**terms)
    assert isinstance(price, WantedPrice), price
    return price.terms


def reason_of(**terms: Any) -> str:
    price = read_price(**terms)
    assert isinstance(price, Skipped), price
    return price.reason


def findings_of(document: Document) -> list[tuple[str, str]]:
    with pytest.raises(DocumentRefused) as refused:
        read(document)
    return [(finding.pointer, finding.code) for finding in refused.value.findings]


class TestModels:
    def test_flat_and_per_unit_are_an_amount(self) -> None:
        assert terms_of(unit_amount=1000) == Terms(Decimal(1000))
        assert terms_of(unit_amount="0.00005", meter="llm_tokens") == Terms(Decimal("0.00005"))

    def test_per_unit_with_free_units_is_two_tiers(self) -> None:
        assert terms_of(unit_amount="2", meter="llm_tokens", free_quantity="100") == Terms(
            tiers=(Tier(100), Tier(None, Decimal(2))), tiers_mode="graduated"
        )

    def test_a_converted_quantity_is_divided_there(self) -> None:
        transform = {"divide_by": "1000", "round": "up"}
        assert terms_of(unit_amount="2", meter="llm_tokens", transform_quantity=transform) == Terms(
            Decimal(2), divide_by=1000, round="up"
        )

    def test_a_package_is_a_quantity_divided_and_rounded_up(self) -> None:
        assert terms_of(unit_amount=500, model="package", package_size="100") == Terms(
            Decimal(500), divide_by=100, round="up"
        )

    @pytest.mark.parametrize("model", ["graduated", "volume"])
    @pytest.mark.parametrize("bound", [None, 0, "0"])
    def test_tiers_keep_their_bounds_and_amounts(self, model: str, bound: Any) -> None:
        tiers = [{"up_to": 1000, "unit_amount": "0.5", "flat_amount": "100"}, {"up_to": bound, "unit_amount": 1}]
        assert terms_of(model=model, meter="llm_tokens", tiers=tiers) == Terms(
            tiers=(Tier(1000, Decimal("0.5"), Decimal(100)), Tier(None, Decimal(1))), tiers_mode=model
        )

    def test_steps_are_volume_tiers_with_flat_amounts(self) -> None:
        tiers = [{"up_to": 5, "flat_amount": 100}, {"flat_amount": 200}]
        assert terms_of(model="stairstep", tiers=tiers) == Terms(
            tiers=(Tier(5, flat_amount=Decimal(100)), Tier(None, flat_amount=Decimal(200))), tiers_mode="volume"
        )

    @pytest.mark.parametrize(
        ("terms", "reason"),
        [
            ({"model": "percentage", "percent": "1.2"}, "no percentage prices"),
            ({"model": "graduated_percentage", "tiers": [{"percent": "1"}]}, "no graduated_percentage prices"),
            ({"model": "dynamic"}, "no dynamic prices"),
            ({"model": "flat", "unit_amount": 5}, "no flat amount for a meter"),
            ({"unit_amount": "5", "minimum_amount": "100"}, "no minimum per interval"),
            ({"unit_amount": "5", "maximum_amount": "100"}, "no maximum per interval"),
            ({"unit_amount": "5", "variants": [{"when": {"model": "a"}, "unit_amount": "6"}]}, "prices by dimension"),
            ({"unit_amount": "5", "free_quantity": "0.5"}, "whole free quantities"),
            ({"unit_amount": "5", "transform_quantity": {"divide_by": "1000"}}, "rounds them up or down"),
            ({"unit_amount": "5", "transform_quantity": {"divide_by": "1.5", "round": "up"}}, "whole numbers"),
            (
                {"unit_amount": "5", "free_quantity": 1, "transform_quantity": {"divide_by": 2, "round": "up"}},
                "converted quantities that are partly free",
            ),
            ({"model": "package", "unit_amount": "5", "package_size": "1.5"}, "whole package sizes"),
            ({"model": "package", "unit_amount": "5", "package_size": "10", "free_quantity": "5"}, "no packages of"),
            ({"model": "graduated", "tiers": [{"up_to": "10.5", "unit_amount": 1}, {"unit_amount": 2}]}, "bounds"),
            ({"model": "graduated", "tiers": [{"up_to": 10, "flat_amount": "0.5"}, {"unit_amount": 2}]}, "whole flat"),
            ({"model": "graduated", "free_quantity": 5, "tiers": [{"unit_amount": 2}]}, "no tiers of"),
            (
                {"model": "volume", "bill_zero_usage": False, "tiers": [{"flat_amount": 9}]},
                "without usage too",
            ),
        ],
    )
    def test_that_the_provider_lacks_are_skipped_with_the_reason(self, terms: Document, reason: str) -> None:
        assert reason in reason_of(meter="llm_tokens", **terms)

    @pytest.mark.parametrize(
        "terms",
        [{"unit_amount": 0}, {"model": "graduated", "tiers": [{"up_to": 5, "unit_amount": 0}, {"flat_amount": "0"}]}],
    )
    def test_without_any_amount_are_skipped(self, terms: Document) -> None:
        assert reason_of(**terms) == "the amount is zero"

    def test_of_a_skipped_meter_are_skipped(self) -> None:
        document = make_catalog()
        document["meters"][0]["aggregation_type"] = "unique"
        wanted = read(document)
        assert wanted.meters == (
            Skipped("meter", "llm_tokens", "Stripe has no unique aggregation; aggregation_formula chooses another"),
        )
        assert wanted.prices[1] == Skipped("price", "basic:usd:month:llm_tokens", "its meter llm_tokens is skipped")
        document["meters"][0]["aggregation_formula"] = "sum"
        [meter] = read(document).meters
        assert isinstance(meter, WantedMeter)
        assert meter.formula == "sum"


class TestCycles:
    @pytest.mark.parametrize(
        ("terms", "reason"),
        [
            ({"billing_timing": "arrears"}, "Stripe bills fees in advance"),
            ({"interval": "year", "interval_count": 4}, "Stripe has intervals of at most three years"),
            ({"interval": "day", "interval_count": 1096}, "Stripe has intervals of at most three years"),
        ],
    )
    def test_that_the_provider_lacks_are_skipped(self, terms: Document, reason: str) -> None:
        assert reason_of(unit_amount=5, **terms) == reason

    def test_of_usage_are_months_unless_said(self) -> None:
        document = make_catalog()
        price = read(document).prices[1]
        assert isinstance(price, WantedPrice)
        assert (price.interval, price.meter) == ("month", "llm_tokens")

    def test_are_part_of_the_derived_lookup_key(self) -> None:
        assert read_price(unit_amount=5, interval_count=3).lookup_key == "basic:usd:3month"
        assert read_price(unit_amount=5, currency="EUR", lookup_key="own").lookup_key == "own"


class TestCurrencies:
    @pytest.mark.parametrize(
        ("currency", "amount", "expected"),
        [
            ("usd", 5, "5"),
            ("jpy", 5, "5"),
            ("isk", 5, "500"),
            ("ugx", 5, "500"),
            ("mga", 550, "5.5"),
            ("kwd", 50, "50"),
        ],
    )
    def test_are_counted_as_the_provider_counts_them(self, currency: str, amount: int, expected: str) -> None:
        assert terms_of(currency=currency, unit_amount=amount) == Terms(Decimal(expected))

    def test_with_a_last_digit_that_cannot_be_charged_are_skipped(self) -> None:
        assert reason_of(currency="kwd", unit_amount=1005) == "Stripe charges kwd in steps of ten minor units"

    def test_the_provider_does_not_take_are_skipped(self) -> None:
        assert reason_of(currency="irr", unit_amount=1005) == "Stripe does not take irr"

    def test_the_provider_takes_are_those_of_the_server(self) -> None:
        from billing_client.provider_sync.currencies import OTHERS, TAKEN

        assert TAKEN == CURRENCIES
        assert not TAKEN & OTHERS

    def test_are_all_known_that_the_catalog_knows(self) -> None:
        from billing_client.provider_sync.currencies import OTHERS, TAKEN
        from billing_site.kernel.money import CURRENCIES as KNOWN

        assert sorted(KNOWN - TAKEN - OTHERS) == []


class TestMeters:
    def test_have_defaults(self) -> None:
        [meter] = read(make_flat()).meters
        assert meter == WantedMeter("tokens", "llm_tokens", "Tokens", "sum", "by_id", "stripe_customer_id", "value")

    def test_take_their_settings_from_the_document(self) -> None:
        settings = {
            "aggregation_formula": "last",
            "customer_mapping_type": "by_id",
            "customer_mapping_event_payload_key": "customer",
            "value_settings_event_payload_key": "tokens",
        }
        [meter] = read(make_flat(meters=[{"event_name": "llm_tokens", **settings}])).meters
        assert meter == WantedMeter("llm_tokens", "llm_tokens", "llm_tokens", "last", "by_id", "customer", "tokens")


class TestFindings:
    def test_are_told_all_at_once_with_their_places(self) -> None:
        document = {
            "products": [{"name": "A"}, {"lookup_key": "b"}, {"lookup_key": "c", "name": "C"}],
            "prices": [
                {"product_lookup_key": "c", "currency": "usd", "unit_amount": 5},
                {"lookup_key": "p", "currency": "usd", "unit_amount": 5},
                {"lookup_key": "q", "product_lookup_key": "c", "unit_amount": 5},
                {"lookup_key": "r", "product_lookup_key": "c", "currency": "usd"},
                {"lookup_key": "s", "product_lookup_key": "z", "currency": "xxx", "unit_amount": -5},
                {"lookup_key": "t", "product_lookup_key": "c", "currency": "usd", "unit_amount": 5, "interval": "moon"},
            ],
            "meters": [{"lookup_key": "m", "display_name": "M"}],
        }
        assert findings_of(document) == [
            ("/products/0/lookup_key", "required"),
            ("/products/1/name", "required"),
            ("/meters/0/event_name", "required"),
            ("/prices/0/lookup_key", "required"),
            ("/prices/1/product_lookup_key", "required"),
            ("/prices/2/currency", "required"),
            ("/prices/3/unit_amount", "required"),
            ("/prices/4/product_lookup_key", "product_unknown"),
            ("/prices/4/currency", "currency_unsupported"),
            ("/prices/5/interval", "choice_invalid"),
        ]

    def test_in_plans(self) -> None:
        prices = [
            {"currency": "usd", "unit_amount": 5},
            {"currency": "usd", "unit_amount": "0.5", "interval": "month"},
            {"currency": "usd", "unit_amount": -1, "interval": "year"},
            {"currency": "usd", "unit_amount": "1", "meter": "nothing"},
            {"currency": "usd", "unit_amount": "1", "meter": "llm_tokens", "colour": "red"},
            {"currency": "usd", "unit_amount": "1", "meter": "llm_tokens"},
            {"currency": "usd", "meter": "llm_tokens", "interval": "year", "model": "cubic"},
        ]
        document = make_catalog(plans=[{"id": "a", "product_id": "nothing", "prices": prices}])
        assert findings_of(document) == [
            ("/plans/0/product_id", "product_unknown"),
            ("/plans/0/prices/0/interval", "required"),
            ("/plans/0/prices/1/unit_amount", "type_invalid"),
            ("/plans/0/prices/2/unit_amount", "negative"),
            ("/plans/0/prices/3/meter", "meter_unknown"),
            ("/plans/0/prices/4/colour", "unknown_key"),
            ("/plans/0/prices/5", "duplicate"),
            ("/plans/0/prices/6/model", "choice_invalid"),
            ("/plans/0/prices/6/unit_amount", "required"),
        ]

    @pytest.mark.parametrize(
        ("terms", "place", "code"),
        [
            ({"model": "graduated"}, "tiers", "required"),
            ({"model": "graduated", "tiers": "x"}, "tiers", "type_invalid"),
            ({"model": "graduated", "tiers": [{"up_to": 5}, {"up_to": 9}]}, "tiers/1/up_to", "tier_last_bounded"),
            ({"model": "graduated", "tiers": [{"unit_amount": 1}, {}]}, "tiers/0/up_to", "required"),
            (
                {"model": "graduated", "tiers": [{"up_to": 5}, {"up_to": 5}, {}]},
                "tiers/1/up_to",
                "tier_bound_unordered",
            ),
            ({"model": "package", "unit_amount": 1}, "package_size", "required"),
            ({"model": "package", "unit_amount": 1, "package_size": 0}, "package_size", "too_small"),
            ({"unit_amount": 1, "transform_quantity": {"divide_by": 0}}, "transform_quantity/divide_by", "too_small"),
            ({"unit_amount": "0.0000000000001"}, "unit_amount", "too_precise"),
            ({"unit_amount": "many"}, "unit_amount", "type_invalid"),
            ({"unit_amount": True}, "unit_amount", "type_invalid"),
            ({"unit_amount": 10**16}, "unit_amount", "too_large"),
            ({"unit_amount": 1, "interval_count": 0}, "interval_count", "too_small"),
            ({"unit_amount": 1, "interval_count": "2"}, "interval_count", "type_invalid"),
            ({"unit_amount": 1, "lookup_key": "x" * 201}, "lookup_key", "too_long"),
        ],
    )
    def test_about_terms(self, terms: Document, place: str, code: str) -> None:
        assert findings_of(with_price(meter="llm_tokens", **terms)) == [(f"/plans/0/prices/0/{place}", code)]

    def test_about_numbers_with_a_fraction_ask_for_text(self) -> None:
        text = json.dumps(with_price(unit_amount=1, meter="llm_tokens")).replace(
            '"unit_amount": 1', '"unit_amount": 0.1'
        )
        with pytest.raises(DocumentRefused) as refused:
            read_catalog(text)
        assert "a text such as “0.00005”" in refused.value.findings[0].detail

    def test_about_things_of_the_same_name(self) -> None:
        meters = [{"event_name": "a"}, {"event_name": "a", "lookup_key": "b"}, {"event_name": "c", "lookup_key": "b"}]
        products = [{"id": "p", "name": "P"}, {"lookup_key": "p", "name": "Q"}]
        assert findings_of({"products": products, "meters": meters}) == [
            ("/products/1/lookup_key", "duplicate"),
            ("/meters/1/event_name", "duplicate"),
            ("/meters/2/lookup_key", "duplicate"),
        ]

    def test_about_metadata_that_does_not_fit(self) -> None:
        metadata = {"a" * 41: "x", "b": "y" * 501, **{f"k{number}": "v" for number in range(50)}}
        assert findings_of({"products": [{"id": "p", "name": "P", "metadata": metadata}]}) == [
            ("/products/0/metadata", "too_many"),
            (f"/products/0/metadata/{'a' * 41}", "too_long"),
            ("/products/0/metadata/b", "too_long"),
        ]

    @pytest.mark.parametrize(
        ("document", "pointer", "code"),
        [
            ([], "", "type_invalid"),
            ({}, "/products", "required"),
            ({"products": {}}, "/products", "type_invalid"),
            ({"products": [5]}, "/products/0", "type_invalid"),
        ],
    )
    def test_about_the_document_itself(self, document: Any, pointer: str, code: str) -> None:
        assert findings_of(document) == [(pointer, code)]

    def test_that_it_is_no_json(self) -> None:
        with pytest.raises(NotJson):
            read_catalog("{")


class TestTheCommand:
    def test_sends_nothing_while_something_is_missing(self, sync: Sync, provider: StripeServer) -> None:
        document = make_flat()
        del document["prices"][1]["currency"]
        document["meters"][0] = {"lookup_key": "m", "display_name": "M"}
        outcome = sync(document)
        assert (outcome.code, outcome.out) == (2, "")
        assert outcome.err == (
            "Error: the catalog was refused, 2 findings\n"
            "/meters/0/event_name: this is missing\n"
            "/prices/1/currency: this is missing\n"
            "Hint: nothing was sent\n"
        )
        assert provider.requests == []

    def test_refuses_secrets_without_repeating_them(self, sync: Sync, provider: StripeServer) -> None:
        for document in (
            make_catalog(products=[{"id": "llm", "name": "Models", "description": f"call me with {SECRET}"}]),
            make_catalog(products=[{"id": "llm", "name": "Models", "metadata": {"api_key": "hunter2"}}]),
        ):
            outcome = sync(document)
            assert (outcome.code, outcome.out) == (2, "")
            assert "/products/0/" in outcome.err
            assert SECRET not in outcome.err
            assert "hunter2" not in outcome.err
        assert provider.requests == []

    @pytest.mark.parametrize("text", ["", "{", "[]", '"x"'])
    def test_refuses_what_is_no_catalog(self, sync: Sync, provider: StripeServer, text: str) -> None:
        outcome = sync(text)
        assert outcome.code == 2
        assert outcome.err.startswith("Error: the catalog ")
        assert provider.requests == []


class TestForms:
    def test_spell_out_objects_and_lists(self) -> None:
        form = {"a": 1, "b": {"c": True, "d": None}, "e": [{"f": Decimal("1E-5")}, {"f": "x"}]}
        assert encode_form(form) == [("a", "1"), ("b[c]", "true"), ("e[0][f]", "0.00001"), ("e[1][f]", "x")]
