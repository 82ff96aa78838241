"""What is wrong with the terms of a price is found at its place, everything at once."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given

from catalog.documents.findings import Finding
from catalog.documents.normalising import normalise_document
from catalog.documents.price_models import FEE_MODELS, MODEL_RULES, TERMS, USAGE_MODELS
from catalog.documents.validation import validate_document
from catalog.models import PriceModel
from catalog.models.plan import FEE_MODELS as STORED_FEE_MODELS
from catalog.pricing import engine
from tests.support.work import count_calls
from tests.unit.catalog.price_terms import fees, usage_prices

TIERS: list[dict[str, Any]] = [{"up_to": 100, "unit_amount": "1"}, {"up_to": None, "unit_amount": "0.5"}]
USAGE: dict[str, Any] = {"currency": "usd", "meter": "calls", "unit_amount": "1"}
LARGE: dict[str, Any] = {"when": {"model": "large"}, "unit_amount": "2"}


def make_catalog(*prices: dict[str, Any]) -> dict[str, Any]:
    """A catalog of one plan; meters `calls` (sum, with dimensions), `hits` (count), `peak` (max), `seats` (last)."""
    return {
        "products": [{"id": "app", "name": "App"}],
        "meters": [
            {"name": "calls", "unit": "calls", "dimensions": ["model", "region"]},
            {"name": "hits", "unit": "hits", "aggregation_type": "Count", "dimensions": ["model"]},
            {"name": "peak", "unit": "GB", "aggregation_type": "max", "dimensions": ["model"]},
            {"name": "seats", "unit": "seats", "aggregation_formula": "last"},
        ],
        "plans": [{"id": "pro", "product_id": "app", "name": "Pro", "prices": list(prices)}],
    }


def find_in(*prices: dict[str, Any]) -> list[Finding]:
    return list(validate_document(make_catalog(*prices)))


def find(*prices: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what is wrong, with pointers that begin at the plan's prices."""
    return [(finding.pointer.removeprefix("/plans/0/prices"), finding.code) for finding in find_in(*prices)]


def make_tiered(*tiers: dict[str, Any], model: str = "graduated", **more: Any) -> dict[str, Any]:
    return {"currency": "usd", "meter": "calls", "model": model, "tiers": list(tiers), **more}


class TestVocabulary:
    def test_names_the_models_of_the_engine_and_of_the_table(self) -> None:
        assert set(MODEL_RULES) == set(engine.MODELS) == set(PriceModel.values)
        assert set(FEE_MODELS) == set(engine.FEE_MODELS) == set(STORED_FEE_MODELS)
        assert set(USAGE_MODELS) == set(PriceModel.values)

    def test_every_term_belongs_to_some_model(self) -> None:
        known = {key for rule in MODEL_RULES.values() for key in rule.list_keys(is_usage=True)}
        assert known == set(TERMS)


class TestGoodPrices:
    @given(usage_prices(), fees())
    def test_are_accepted(self, usage: dict[str, Any], fee: dict[str, Any]) -> None:
        assert (
            find({"currency": "usd", "interval": "month", **fee}, {"currency": "usd", "meter": "calls", **usage}) == []
        )

    def test_a_tier_without_bound_may_say_so_in_three_ways(self) -> None:
        prices = [
            make_tiered(TIERS[0], {"unit_amount": "1", **bound}, interval=interval)
            for bound, interval in (({}, "day"), ({"up_to": None}, "week"), ({"up_to": 0}, "month"))
        ]
        content = normalise_document(make_catalog(*prices))
        assert {price.options.tiers[-1].up_to for price in content.plans[0].prices} == {None}

    def test_a_variant_converts_quantities_as_its_price_does(self) -> None:
        transform = {"divide_by": 1000, "round": "UP"}
        own = {**LARGE, "when": {"region": "eu"}, "transform_quantity": {"divide_by": "1"}}
        price = {**USAGE, "transform_quantity": transform, "variants": [LARGE, own]}
        options = normalise_document(make_catalog(price)).plans[0].prices[0].options
        assert [(each.options.divide_by, each.options.divide_round) for each in options.variants] == [
            (Decimal(1000), "up"),
            (Decimal(1), "none"),
        ]


# What is wrong with one price beside the monthly fee of its plan: name, price, findings.
MISTAKES: list[tuple[str, dict[str, Any], list[tuple[str, str]]]] = [
    ("no tiers", {**make_tiered(), "tiers": None}, [("/tiers", "required")]),
    ("empty tiers", make_tiered(), [("/tiers", "tiers_empty")]),
    ("tiers are an object", {**make_tiered(), "tiers": {}}, [("/tiers", "not_a_list")]),
    ("a tier is a number", make_tiered(5, *TIERS), [("/tiers/0", "not_an_object")]),  # type: ignore[arg-type]
    ("tiers for a model without", {**USAGE, "tiers": TIERS}, [("/tiers", "key_not_in_model")]),
    ("amount beside tiers", make_tiered(*TIERS, unit_amount="1"), [("/unit_amount", "key_not_in_model")]),
    ("bounds backwards", make_tiered({"up_to": 10}, {"up_to": 5}, {}), [("/tiers/1/up_to", "tier_bound_unordered")]),
    ("a bound twice", make_tiered({"up_to": 5}, {"up_to": "5.0"}, {}), [("/tiers/1/up_to", "tier_bound_repeated")]),
    ("bounded at the end", make_tiered({"up_to": 5}, {"up_to": 9}), [("/tiers/1/up_to", "tier_last_bounded")]),
    ("unbounded before the end", make_tiered({}, {"up_to": 9}, {}), [("/tiers/0/up_to", "tier_unbounded")]),
    ("a bound of zero in front", make_tiered({"up_to": 0}, {}), [("/tiers/0/up_to", "not_positive")]),
    ("a bound with a point", make_tiered({"up_to": 5.5}, {}), [("/tiers/0/up_to", "not_a_decimal_text")]),
    ("a percentage in a graduated tier", make_tiered({"percent": "1"}), [("/tiers/0/percent", "key_not_in_model")]),
    (
        "a unit price in a stairstep",
        make_tiered({"unit_amount": "1"}, model="stairstep"),
        [("/tiers/0/unit_amount", "key_not_in_model")],
    ),
    ("a misspelled tier key", make_tiered({"upto": 5}), [("/tiers/0/upto", "unknown_key")]),
    ("a negative tier", make_tiered({"unit_amount": "-1"}), [("/tiers/0/unit_amount", "negative")]),
    ("a float in a tier", make_tiered({"flat_amount": 0.1}), [("/tiers/0/flat_amount", "not_a_decimal_text")]),
    ("tiers without end", make_tiered(*[{"up_to": n + 1} for n in range(200)], {}), [("/tiers", "too_many")]),
    ("no package size", {**USAGE, "model": "package"}, [("/package_size", "required")]),
    ("packages of nothing", {**USAGE, "model": "package", "package_size": "0.0"}, [("/package_size", "not_positive")]),
    ("a package size per unit", {**USAGE, "package_size": 10}, [("/package_size", "key_not_in_model")]),
    ("no percentage", {**USAGE, "unit_amount": None, "model": "percentage"}, [("/percent", "required")]),
    (
        "a percentage above the money",
        {**USAGE, "unit_amount": None, "model": "percentage", "percent": "100.01"},
        [("/percent", "too_large")],
    ),
    (
        "a tier above the money",
        make_tiered({"percent": 290}, model="graduated_percentage"),
        [("/tiers/0/percent", "too_large")],
    ),
    (
        "least above most, per event and in all",
        {
            **USAGE,
            "unit_amount": None,
            "model": "percentage",
            "percent": 1,
            "fixed_amount": 30,
            "event_minimum": "20.5",
            "event_maximum": 20,
            "minimum_amount": 500,
            "maximum_amount": "499.9",
        },
        [("/minimum_amount", "above_maximum"), ("/event_minimum", "above_maximum"), ("/fixed_amount", "above_maximum")],
    ),
    (
        "free events as text",
        {**USAGE, "unit_amount": None, "model": "percentage", "percent": 1, "free_events": "3"},
        [("/free_events", "not_an_integer")],
    ),
    (
        "a flat amount below the minimum",
        {**USAGE, "model": "flat", "minimum_amount": 2},
        [("/minimum_amount", "below_minimum")],
    ),
    (
        "a flat amount above the maximum",
        {**USAGE, "model": "flat", "maximum_amount": 0},
        [("/unit_amount", "above_maximum")],
    ),
    ("an amount for a dynamic price", {**USAGE, "model": "dynamic"}, [("/unit_amount", "key_not_in_model")]),
    ("a negative minimum", {**USAGE, "minimum_amount": "-1"}, [("/minimum_amount", "negative")]),
    ("zero usage as a number", make_tiered(*TIERS, bill_zero_usage=0), [("/bill_zero_usage", "not_a_boolean")]),
    (
        "a conversion without divisor",
        {**USAGE, "transform_quantity": {"round": "nearest", "by": 5}},
        [
            ("/transform_quantity/by", "unknown_key"),
            ("/transform_quantity/divide_by", "required"),
            ("/transform_quantity/round", "choice_unknown"),
        ],
    ),
    ("a conversion as a number", {**USAGE, "transform_quantity": 1000}, [("/transform_quantity", "not_an_object")]),
    (
        "division by zero",
        {**USAGE, "transform_quantity": {"divide_by": 0}},
        [("/transform_quantity/divide_by", "not_positive")],
    ),
    ("a model nobody knows", {**USAGE, "model": "tiered"}, [("/model", "model_unsupported")]),
    ("a model that is no text", {**USAGE, "model": ["flat"]}, [("/model", "model_unsupported")]),
    # variants
    ("variants are an object", {**USAGE, "variants": {}}, [("/variants", "not_a_list")]),
    (
        "a variant for nothing",
        {**USAGE, "variants": [{"when": {}, "unit_amount": 1}]},
        [("/variants/0/when", "when_empty")],
    ),
    ("a variant without when", {**USAGE, "variants": [{"unit_amount": 1}]}, [("/variants/0/when", "required")]),
    (
        "a variant without amount",
        {**USAGE, "variants": [{"when": {"model": "x"}}]},
        [("/variants/0/unit_amount", "required")],
    ),
    (
        "two variants for the same usage",
        {
            **USAGE,
            "variants": [
                {"when": {"model": "a", "region": "b"}, "unit_amount": 1},
                {"when": {"region": "b", "model": "a"}, "unit_amount": 2},
            ],
        },
        [("/variants/1/when", "duplicate_when")],
    ),
    (
        "an unknown dimension",
        {**USAGE, "variants": [{**LARGE, "when": {"modle": "large"}}]},
        [("/variants/0/when/modle", "dimension_unknown")],
    ),
    (
        "a dimension without value",
        {**USAGE, "variants": [{**LARGE, "when": {"model": " ", "region": 5}}]},
        [("/variants/0/when/model", "blank"), ("/variants/0/when/region", "not_a_text")],
    ),
    (
        "a variant of another model",
        {**USAGE, "variants": [{**LARGE, "tiers": TIERS, "model": "volume", "minimum_amount": 1}]},
        [
            ("/variants/0/model", "unknown_key"),
            ("/variants/0/minimum_amount", "unknown_key"),
            ("/variants/0/tiers", "key_not_in_model"),
        ],
    ),
    (
        "wrong tiers in a variant",
        make_tiered(*TIERS, variants=[{"when": {"model": "x"}, "tiers": [{"up_to": 5}]}]),
        [("/variants/0/tiers/0/up_to", "tier_last_bounded")],
    ),
    (
        "variants of a dynamic price",
        {**USAGE, "unit_amount": None, "model": "dynamic", "variants": [LARGE]},
        [("/variants", "key_not_in_model")],
    ),
    # what the meter cannot carry
    (
        "a share of a count",
        {**USAGE, "unit_amount": None, "meter": "hits", "model": "percentage", "percent": 1},
        [("/meter", "meter_unsuited")],
    ),
    (
        "tiers of a share of a maximum",
        make_tiered({"percent": 1}, model="graduated_percentage", meter="peak"),
        [("/meter", "meter_unsuited")],
    ),
    (
        "a price carried by counted events",
        {"currency": "usd", "meter": "seats", "model": "dynamic"},
        [("/meter", "meter_unsuited")],
    ),
    (
        "a maximum divided among variants",
        {**USAGE, "meter": "peak", "variants": [LARGE]},
        [("/variants", "meter_unsuited")],
    ),
    # currencies and intervals
    ("a currency without fee", {**USAGE, "currency": "gbp"}, [("/currency", "currency_mixed")]),
    ("an interval without fee", {**USAGE, "interval": "year"}, [("/interval", "interval_mixed")]),
    ("a count without fee", {**USAGE, "interval_count": 3}, [("/interval", "interval_mixed")]),
    ("a currency of no country", {**USAGE, "currency": "btc"}, [("/currency", "currency_unsupported")]),
]
FEE: dict[str, Any] = {"currency": "usd", "unit_amount": 100, "interval": "month"}

FEE_MISTAKES: list[tuple[str, dict[str, Any], list[tuple[str, str]]]] = [
    ("a share as a fee", {**FEE, "model": "percentage", "percent": 1}, [("/model", "model_unsupported")]),
    ("a fee with a minimum", {**FEE, "minimum_amount": 5}, [("/minimum_amount", "key_not_in_model")]),
    ("a fee with variants", {**FEE, "variants": [LARGE]}, [("/variants", "key_not_in_model")]),
    ("free units of a flat fee", {**FEE, "free_quantity": 5}, [("/free_quantity", "key_not_in_model")]),
    ("a fraction per seat", {**FEE, "model": "per_unit", "unit_amount": "0.5"}, [("/unit_amount", "not_an_integer")]),
    (
        "seats in packages of nothing",
        {**FEE, "model": "package", "package_size": 0},
        [("/package_size", "not_positive")],
    ),
    ("a stairstep without steps", {**FEE, "unit_amount": None, "model": "stairstep"}, [("/tiers", "required")]),
]


class TestMistakes:
    @pytest.mark.parametrize(("price", "expected"), [row[1:] for row in MISTAKES], ids=[row[0] for row in MISTAKES])
    def test_of_usage_prices_are_named(self, price: dict[str, Any], expected: list[tuple[str, str]]) -> None:
        assert find(FEE, price) == [(f"/1{pointer}", code) for pointer, code in expected]

    @pytest.mark.parametrize(
        ("price", "expected"), [row[1:] for row in FEE_MISTAKES], ids=[row[0] for row in FEE_MISTAKES]
    )
    def test_of_fees_are_named(self, price: dict[str, Any], expected: list[tuple[str, str]]) -> None:
        assert find(price) == [(f"/0{pointer}", code) for pointer, code in expected]

    def test_usage_may_be_priced_at_will_where_there_is_no_fee_to_miss(self) -> None:
        euro = {**USAGE, "currency": "eur", "interval": "week"}
        assert find(USAGE, euro) == []
        assert find({**FEE, "unit_amount": 0}, USAGE, euro) == []

    def test_a_fee_that_cannot_be_read_makes_no_usage_price_wrong(self) -> None:
        assert find(FEE, {**FEE, "currency": "eurr"}, {**USAGE, "currency": "eur"}) == [
            ("/1/currency", "currency_unsupported")
        ]

    def test_are_told_in_sentences(self) -> None:
        price = make_tiered({"up_to": 5, "unit_amount": 0.5}, {"up_to": 3}, {}, model="volume", package_size=5)
        assert [finding.detail for finding in find_in(FEE, price, {**USAGE, "currency": "eur"})] == [
            "“package_size” does not belong to model “volume”; it does to: package.",
            "This number has passed through binary floating point; write it in quotes, as it is meant.",
            "Bounds are cumulative and ascend: 3 comes after 5.",
            "The plan has fees in usd, and none in eur.",
        ]

    def test_are_all_found_in_one_document(self) -> None:
        """Every row of the tables in one plan each: as many findings as alone, in the order of the document."""
        document = make_catalog()
        expected = []
        for number, (_, price, found) in enumerate([*MISTAKES, *FEE_MISTAKES]):
            fees_first = [] if number >= len(MISTAKES) else [FEE]
            document["plans"].append(
                {"id": f"plan-{number}", "product_id": "app", "name": "Plan", "prices": [*fees_first, price]}
            )
            place = f"/plans/{number + 1}/prices/{len(fees_first)}"
            expected += [(place + pointer, code) for pointer, code in found]
        findings = [(finding.pointer, finding.code) for finding in validate_document(document)]
        assert len(expected) > 60
        assert findings == expected


class TestLargeDocuments:
    def measure(self, plans: int) -> int:
        """Return how many functions are called to read so many plans with eight prices each."""
        tiers = [{"up_to": bound * 10, "unit_amount": "0.5", "flat_amount": 10} for bound in range(1, 20)]
        variants = [{"when": {"model": str(number)}, "tiers": [*tiers, {}]} for number in range(3)]
        document = make_catalog()
        document["plans"] = [
            {
                "id": f"plan-{number}",
                "product_id": "app",
                "name": "Plan",
                "prices": [
                    {"currency": code, "interval": interval, **terms}
                    for code in ("usd", "eur")
                    for interval in ("month", "year")
                    for terms in (
                        {"unit_amount": 5},
                        {"meter": "calls", "model": "graduated", "tiers": [*tiers, {}], "variants": variants},
                    )
                ],
            }
            for number in range(plans)
        ]
        return count_calls(lambda: normalise_document(document))

    def test_take_work_by_their_size(self) -> None:
        self.measure(2)
        small, large = self.measure(4), self.measure(24)
        assert large < 6 * small * 1.2
