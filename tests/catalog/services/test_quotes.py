"""A quote is what the invoice would say: the same checks, the same engine, the same rounding."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from billing_site.kernel.errors import ValidationFailed
from catalog.services.quotes import MAX_QUOTES, Quote, quote_price, quote_request, quote_requests

GRADUATED = {
    "model": "graduated",
    "tiers": [{"up_to": 1000, "unit_amount": "1"}, {"up_to": 10000, "unit_amount": "0.8"}, {"unit_amount": "0.5"}],
}


def get_findings(raw: object) -> list[tuple[str, str]]:
    with pytest.raises(ValidationFailed) as refusal:
        quote_request(raw)
    return [(error.pointer, error.code) for error in refusal.value.errors]


def make_request(**changes: Any) -> dict[str, Any]:
    return {"currency": "usd", "price": {"unit_amount": "1"}, "quantity": "1", **changes}


# The table of worked examples of the pricing policies is in major units; documents are in minor units.
WORKED: list[tuple[str, dict[str, Any], dict[str, Any], int]] = [
    # 1,000 at .01, the next 9,000 at .008, the rest at .005: 10.00 + 72.00 + 25.00 = 107.00
    ("graduated", GRADUATED, {"quantity": "15000"}, 10_700),
    # seats 1 to 10 at 10, from 11 at 8: 10 x 10.00 + 4 x 8.00 = 132.00
    (
        "graduated seats",
        {"model": "graduated", "tiers": [{"up_to": 10, "unit_amount": 1000}, {"unit_amount": 800}]},
        {"quantity": "14"},
        13_200,
    ),
    # the same as volume: 14 x 8.00 = 112.00
    (
        "volume seats",
        {"model": "volume", "tiers": [{"up_to": 10, "unit_amount": 1000}, {"unit_amount": 800}]},
        {"quantity": "14"},
        11_200,
    ),
    # to 10k .0010, to 50k .0008, to 100k .0006, rest .0004, flat 10: 65,000 x .0006 + 10.00 = 49.00
    (
        "volume with a flat amount",
        {
            "model": "volume",
            "tiers": [
                {"up_to": 10_000, "unit_amount": "0.10", "flat_amount": 1000},
                {"up_to": 50_000, "unit_amount": "0.08", "flat_amount": 1000},
                {"up_to": 100_000, "unit_amount": "0.06", "flat_amount": 1000},
                {"up_to": None, "unit_amount": "0.04", "flat_amount": 1000},
            ],
        },
        {"quantity": "65000"},
        4_900,
    ),
    # 5 per 100, the first 100 free: 101 units left are 2 started packages, 10.00
    (
        "package",
        {"model": "package", "unit_amount": 500, "package_size": 100, "free_quantity": 100},
        {"quantity": "201"},
        1_000,
    ),
    # 1.2 % + 0.10, 3 free events, the fourth of 50: 0.60 + 0.10 = 0.70
    (
        "percentage",
        {"model": "percentage", "percent": "1.2", "fixed_amount": 10, "free_events": 3},
        {"events": [{"value": "1000"}, {"value": "2000"}, {"value": "3000"}, {"value": "5000"}]},
        70,
    ),
    # a minimum of 1,000; usage of 800: 800.00 and a true-up of 200.00
    (
        "below the minimum",
        {"model": "per_unit", "unit_amount": 1, "minimum_amount": 100_000},
        {"quantity": "80000"},
        100_000,
    ),
    # usage of 1,300: no true-up
    (
        "above the minimum",
        {"model": "per_unit", "unit_amount": 1, "minimum_amount": 100_000},
        {"quantity": "130000"},
        130_000,
    ),
]


class TestWorkedExamples:
    @pytest.mark.parametrize(("price", "usage", "amount"), [row[1:] for row in WORKED], ids=[row[0] for row in WORKED])
    def test_come_out_as_published(self, price: dict[str, Any], usage: dict[str, Any], amount: int) -> None:
        assert quote_request({"currency": "usd", "price": price, **usage}).amount == amount


class TestQuotePrice:
    def test_answers_amount_and_breakdown(self) -> None:
        quote = quote_price(currency="usd", price=GRADUATED, quantity=Decimal(1500))
        # 1,000 x 1 + 500 x 0.8 = 1,400
        assert quote.as_dict() == {
            "currency": "usd",
            "amount_decimal": "1400",
            "amount": 1400,
            "tiers": [
                {"tier": 1, "quantity": "1000", "unit": "1", "flat": "0", "amount_decimal": "1000"},
                {"tier": 2, "quantity": "500", "unit": "0.8", "flat": "0", "amount_decimal": "400"},
            ],
        }

    def test_names_usage_and_true_up_apart(self) -> None:
        shown = quote_price(
            currency="usd", price={"unit_amount": "0.333", "minimum_amount": "10.5"}, quantity=Decimal(10)
        ).as_dict()
        # 3.33 rounds to 3; 10.5 - 3.33 = 7.17 rounds to 7
        assert (shown["usage_amount"], shown["true_up_amount"], shown["amount"]) == (3, 7, 10)
        assert shown["amount_decimal"] == "10.5"

    def test_names_kinds_and_variants(self) -> None:
        price = {
            "unit_amount": "2",
            "free_quantity": 5,
            "variants": [
                {"when": {"model": "large"}, "unit_amount": "10"},
                {"when": {"model": "small"}, "unit_amount": "1"},
            ],
        }
        events: list[dict[str, Any]] = [
            {"value": "3", "dimensions": {"model": "large"}},
            {"value": "4", "dimensions": {"model": "small"}},
            {"value": "7"},
        ]
        quote = quote_price(currency="usd", price=price, events=events)
        # 3 x 10 + 4 x 1 + (7 - 5 free) x 2 = 38
        assert quote.amount == 38
        assert [(tier.get("kind"), tier.get("variant")) for tier in quote.as_dict()["tiers"]] == [
            ("free", "other"),
            (None, "other"),
            (None, "model=large"),
            (None, "model=small"),
        ]

    def test_dimensions_choose_the_variant_of_a_quantity(self) -> None:
        price = {"unit_amount": "2", "variants": [{"when": {"model": "large"}, "unit_amount": "10"}]}
        for dimensions, amount in (({"model": "large"}, 30), ({"model": "other"}, 6), (None, 6)):
            quote = quote_price(currency="usd", price=price, quantity=Decimal(3), dimensions=dimensions)
            assert quote.amount == amount

    def test_a_flat_price_is_per_unit_as_a_fee_and_once_on_a_meter(self) -> None:
        fee = {"currency": "eur", "unit_amount": 1000, "interval": "month"}
        assert quote_price(currency="EUR", price=fee, quantity=Decimal(3)).amount == 3000
        usage = {"model": "flat", "unit_amount": 1000, "meter": "api"}
        assert quote_price(currency="eur", price=usage, quantity=Decimal(3)).amount == 1000

    def test_events_carry_a_dynamic_price(self) -> None:
        events = [{"value": "2", "unit_amount": "3"}, {"value": "4", "unit_amount": "0.5"}, {"value": "9"}]
        # 2 x 3 + 4 x 0.5 + 9 x 0 = 8
        assert quote_price(currency="jpy", price={"model": "dynamic"}, events=events).amount == 8

    def test_keeps_every_digit(self) -> None:
        quantity = Decimal("9" * 26 + "." + "9" * 12)
        quote = quote_price(currency="usd", price={"unit_amount": "1", "minimum_amount": 0}, quantity=quantity)
        assert quote.as_dict()["amount_decimal"] == str(quantity)
        events: list[dict[str, Any]] = [{"value": quantity}, {"value": "0.000000000001"}]
        assert quote_price(currency="usd", price={"unit_amount": "1"}, events=events).amount == 10**26


class TestFindings:
    def test_everything_is_named_at_its_place(self) -> None:
        tiers = [{"up_to": 10, "unit_amount": 0.5}, {"up_to": 5}, {"up_to": 20, "percent": "1"}]
        raw = make_request(currency="xxx", price={"model": "graduated", "tiers": tiers, "colour": 1}, quantity="-1")
        assert get_findings(raw) == [
            ("/currency", "currency_unsupported"),
            ("/price/colour", "unknown_key"),
            ("/price/tiers/0/unit_amount", "not_a_decimal_text"),
            ("/price/tiers/2/percent", "key_not_in_model"),
            ("/price/tiers/1/up_to", "tier_bound_unordered"),
            ("/price/tiers/2/up_to", "tier_last_bounded"),
            ("/quantity", "negative"),
        ]

    @pytest.mark.parametrize(
        ("raw", "expected"),
        [
            ([], [("", "not_an_object")]),
            ({}, [("/currency", "required"), ("/price", "required"), ("/quantity", "required")]),
            (make_request(price=5), [("/price", "not_an_object")]),
            (make_request(price={"currency": "eur", "unit_amount": "1"}), [("/price/currency", "currency_mixed")]),
            (make_request(quantity=1.5), [("/quantity", "not_a_decimal_text")]),
            (make_request(quantity="1e3"), [("/quantity", "not_a_decimal_text")]),
            (make_request(quantity="NaN"), [("/quantity", "not_a_decimal_text")]),
            (make_request(events=[]), [("/quantity", "conflict")]),
            (make_request(extra=1), [("/extra", "unknown_key")]),
            (make_request(price={"model": "dynamic"}), [("/quantity", "events_needed")]),
            (make_request(dimensions={"model": ""}), [("/dimensions/model", "blank")]),
            (make_request(dimensions=[]), [("/dimensions", "not_an_object")]),
            (
                make_request(quantity=None, events=[{}, 5]),
                [("/events/1", "not_an_object"), ("/events/0/value", "required")],
            ),
            (make_request(price={"unit_amount": "1", "interval": "decade"}), [("/price/interval", "choice_unknown")]),
        ],
    )
    def test_a_request_is_read_strictly(self, raw: object, expected: list[tuple[str, str]]) -> None:
        assert get_findings(raw) == expected

    def test_nothing_deep_gets_far(self) -> None:
        deep: Any = "1"
        for _ in range(50):
            deep = [deep]
        assert get_findings(make_request(price={"tiers": deep}))[0][1] == "too_deep"


class TestQuoteRequests:
    def test_answers_in_order(self) -> None:
        quotes = quote_requests([make_request(quantity=str(number)) for number in range(5)])
        assert [quote.amount for quote in quotes] == [0, 1, 2, 3, 4]
        assert all(isinstance(quote, Quote) for quote in quotes)

    def test_one_mistake_refuses_all_and_says_which(self) -> None:
        with pytest.raises(ValidationFailed) as refusal:
            quote_requests([make_request(), make_request(quantity="x"), make_request(currency="xxx")])
        assert [error.pointer for error in refusal.value.errors] == ["/1/quantity", "/2/currency"]

    def test_a_list_has_an_end(self) -> None:
        with pytest.raises(ValidationFailed):
            quote_requests([make_request()] * (MAX_QUOTES + 1))
