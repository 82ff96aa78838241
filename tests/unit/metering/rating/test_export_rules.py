"""What of the usage feed is billed, and how much."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.rating.export_rules import (
    DEFAULT_RULES,
    EVENT_TYPES,
    MAX_QUANTITY,
    TOKEN_FIELDS,
    ExportRule,
    QuantityMissing,
    RulesNotValid,
    derive_key,
    derive_quantity,
    match_rules,
    measure_event,
    parse_rules,
)

TOKENS, RUNTIME = DEFAULT_RULES
BYTES = {
    "event_type": "backend_request_finished",
    "feature": "traffic",
    "meter_event_name": "bandwidth",
    "quantity_field": "bytes",
}
whole = st.integers(min_value=1, max_value=10**12)
names = st.sampled_from([name for fields in TOKEN_FIELDS for name in fields])


class TestMatchRules:
    def test_by_default_bills_recorded_usage_and_finished_runs_alone(self) -> None:
        billed = {name for name in EVENT_TYPES if match_rules(DEFAULT_RULES, name)}
        assert len(EVENT_TYPES) == 18
        assert billed == {"usage_recorded", "container_run_finished"}

    def test_may_take_an_event_to_several_meters_in_order(self) -> None:
        rules = [TOKENS, RUNTIME, ExportRule("usage_recorded", "llm:proxy", "output_tokens", "output_tokens")]
        assert [rule.meter_event_name for rule in match_rules(rules, "usage_recorded")] == [
            "llm_tokens",
            "output_tokens",
        ]


class TestDeriveQuantity:
    @pytest.mark.parametrize(
        ("data", "expected"),
        [
            ({"total_tokens": 7, "tokens": 9}, 7),
            ({"tokens": 9, "input_tokens": 1, "output_tokens": 1}, 9),
            ({"input_tokens": 3, "output_tokens": 4, "prompt_tokens": 100}, 7),
            ({"prompt_tokens": 5, "completion_tokens": 6}, 11),
            ({"total_tokens": None, "tokens": 9}, 9),
            ({"input_tokens": 3}, 3),
            ({"input_tokens": 3, "output_tokens": 0}, 3),
            ({"total_tokens": Decimal("100.0")}, 100),
            ({"total_tokens": Decimal("1E+3")}, 1000),
            ({"total_tokens": MAX_QUANTITY}, MAX_QUANTITY),
            ({"total_tokens": Decimal("9007199254740993.0")}, 9007199254740993),  # 2^53 + 1, which a float has not
        ],
    )
    def test_takes_the_first_that_is_there(self, data: dict[str, Any], expected: int) -> None:
        assert derive_quantity(data) == expected

    @pytest.mark.parametrize(
        "data",
        [
            {},
            {"total_tokens": 0},
            {"total_tokens": 0, "tokens": 5},
            {"total_tokens": -1, "tokens": 5},
            {"total_tokens": "7", "tokens": 5},
            {"total_tokens": True},
            {"total_tokens": Decimal("7.5")},
            {"total_tokens": [7]},
            {"total_tokens": MAX_QUANTITY + 1},
            {"total_tokens": Decimal("1E+999999")},
            {"total_tokens": Decimal("NaN")},
            {"input_tokens": 5, "output_tokens": -4},
            {"input_tokens": 0, "output_tokens": 0},
            {"input_tokens": 5, "output_tokens": "4"},
            {"duration_ms": 700},
        ],
    )
    def test_refuses_what_is_no_whole_number_above_zero(self, data: dict[str, Any]) -> None:
        with pytest.raises(QuantityMissing):
            derive_quantity(data)

    @given(st.dictionaries(names, whole), st.dictionaries(st.text(), whole))
    def test_depends_on_the_first_names_alone(self, data: dict[str, int], others: dict[str, int]) -> None:
        first = next((fields for fields in TOKEN_FIELDS if any(name in data for name in fields)), None)
        mixed = {**{name: value for name, value in others.items() if name not in data}, **data}
        if first is None or any(name in others for fields in TOKEN_FIELDS for name in fields):
            return
        assert derive_quantity(mixed) == sum(data.get(name, 0) for name in first)

    @given(whole, st.integers(min_value=0, max_value=6))
    def test_is_the_same_however_a_whole_number_is_written(self, quantity: int, zeros: int) -> None:
        written = Decimal(f"{quantity}.{'0' * zeros}") if zeros else Decimal(quantity)
        assert derive_quantity({"tokens": written}) == derive_quantity({"tokens": quantity}) == quantity


class TestMeasureEvent:
    @pytest.mark.parametrize(
        ("duration", "seconds"),
        [(1, 1), (999, 1), (1000, 1), (1001, 2), (Decimal("1000.000001"), 2), (Decimal("0.5"), 1), (3_600_000, 3600)],
    )
    def test_counts_started_seconds(self, duration: int | Decimal, seconds: int) -> None:
        assert measure_event(RUNTIME, {"duration_ms": duration}) == seconds

    @given(st.decimals(min_value="0.000001", max_value=10**15, allow_nan=False, places=6))
    def test_never_counts_less_than_was_used_nor_a_second_more(self, duration: Decimal) -> None:
        seconds = measure_event(RUNTIME, {"duration_ms": duration})
        assert (seconds - 1) * 1000 < duration <= seconds * 1000

    @pytest.mark.parametrize(
        "duration", [0, -5, "5", None, True, Decimal("Infinity"), Decimal("1E+30"), Decimal("1E-500000")]
    )
    def test_refuses_a_duration_that_is_none(self, duration: object) -> None:
        with pytest.raises(QuantityMissing):
            measure_event(RUNTIME, {"duration_ms": duration, "tokens": 5})

    def test_looks_for_tokens_under_their_other_names(self) -> None:
        assert measure_event(TOKENS, {"prompt_tokens": 5, "completion_tokens": 6}) == 11

    def test_takes_its_own_field_before_the_order_of_names(self) -> None:
        [rule] = parse_rules({"rules": [{**BYTES, "quantity_field": "output_tokens"}]})
        assert measure_event(rule, {"total_tokens": 11, "output_tokens": 6}) == 6

    def test_never_bills_tokens_where_something_else_is_asked_for(self) -> None:
        [rule] = parse_rules({"rules": [BYTES]})
        assert measure_event(rule, {"bytes": 512, "tokens": 5}) == 512
        with pytest.raises(QuantityMissing, match="no bytes"):
            measure_event(rule, {"tokens": 5})


class TestDeriveKey:
    @given(st.tuples(st.text(), st.text(), whole), st.tuples(st.text(), st.text(), whole))
    def test_is_the_same_for_the_same_account_meter_and_quantity_alone(
        self, one: tuple[str, str, int], other: tuple[str, str, int]
    ) -> None:
        def key(parts: tuple[str, str, int]) -> str:
            return derive_key(account=parts[0], meter=parts[1], quantity=parts[2])

        assert key(one) == key(one)
        if "\x1f" not in "".join((one[0], one[1], other[0], other[1])):
            assert (key(one) == key(other)) == (one == other)


class TestParseRules:
    def test_reads_rules(self) -> None:
        assert parse_rules({"rules": [BYTES]}) == (
            ExportRule("backend_request_finished", "traffic", "bandwidth", "bytes"),
        )
        assert parse_rules({"rules": []}) == ()

    def test_names_everything_that_is_wrong(self) -> None:
        document = {
            "rules": [
                {**BYTES, "event_type": "usage_guessed"},
                {**BYTES, "quantity_field": " ", "price": 5},
                {name: value for name, value in BYTES.items() if name != "feature"},
                BYTES,
                BYTES,
                "usage_recorded",
            ],
            "version": 1,
        }
        with pytest.raises(RulesNotValid) as refusal:
            parse_rules(document)
        found = " | ".join(refusal.value.findings)
        assert len(refusal.value.findings) == 7
        for expected in (
            "unknown member 'version'",
            "/rules/0/event_type: 'usage_guessed' is no event type",
            "/rules/1/price: there is no such field",
            "/rules/1/quantity_field: a text is needed",
            "/rules/2/feature: a text is needed",
            "/rules/4: backend_request_finished goes to bandwidth already",
            "/rules/5: a rule is an object",
        ):
            assert expected in found

    @pytest.mark.parametrize("document", [None, [], {}, {"rules": {}}, "rules", {"rules": [BYTES] * 201}])
    def test_refuses_what_is_no_list_of_rules(self, document: object) -> None:
        with pytest.raises(RulesNotValid):
            parse_rules(document)
