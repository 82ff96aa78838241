"""Every mistake of a document is found, at its place, all at once."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any

import pytest

from catalog.data import read_default, read_sample
from catalog.documents.findings import MAX_FINDINGS
from catalog.documents.validation import validate_document
from tests.factories.catalog import make_document
from tests.unit.catalog.documents.mistakes import FEE, MISTAKES, QUOTA, Change, put


def found(document: object) -> list[tuple[str, str]]:
    return [(finding.pointer, finding.code) for finding in validate_document(document)]


class TestValidateDocument:
    @pytest.mark.parametrize("document", [make_document(), read_sample(), read_default()])
    def test_finds_nothing_in_a_good_document(self, document: dict[str, Any]) -> None:
        assert found(document) == []

    @pytest.mark.parametrize(("change", "expected"), [row[1:] for row in MISTAKES], ids=[row[0] for row in MISTAKES])
    def test_names_place_and_kind_of_a_mistake(self, change: Change, expected: list[tuple[str, str]]) -> None:
        document = make_document()
        change(document)
        assert found(document) == expected

    def test_reports_independent_mistakes_together(self) -> None:
        document = make_document()
        for change in (
            put("/products/0/name", ""),
            put(f"{FEE}/unit_amount", -5),
            put(f"{QUOTA}/limit", 0),
            put("/plans/2/product_id", "gone"),
        ):
            change(document)
        assert set(found(document)) == {
            ("/products/0/name", "blank"),
            (f"{FEE}/unit_amount", "negative"),
            (f"{QUOTA}/limit", "too_small"),
            ("/plans/2/product_id", "product_unknown"),
        }

    @pytest.mark.parametrize("raw", [None, [], "text", 5, True])
    def test_wants_an_object(self, raw: object) -> None:
        assert found(raw) == [("", "not_an_object")]

    def test_suggests_the_key_that_was_meant(self) -> None:
        document = make_document()
        put(f"{FEE}/unit_amout", 5)(document)
        assert "“unit_amount”" in next(iter(validate_document(document))).detail

    def test_finds_a_circle_over_several_plans(self) -> None:
        document = make_document()
        quota = {"feature": "service:api", "meter_event_name": "api", "window": "day", "limit": 1}
        put("/plans/1/quotas", [{**quota, "upgrade_plan_id": "free"}])(document)
        (finding,) = validate_document(document)
        assert (finding.pointer, finding.code) == ("/plans/1/quotas/0/upgrade_plan_id", "upgrade_circle")
        assert "free → pro → free" in finding.detail

    def test_two_ways_to_one_plan_are_no_circle(self) -> None:
        document = make_document()
        put("/plans/0/quotas/-", {**document["plans"][0]["quotas"][0], "window": "day"})(document)
        assert found(document) == []

    def test_only_takes_the_currencies_on_offer(self) -> None:
        pointers = {finding.pointer for finding in validate_document(make_document(), currencies={"usd"})}
        assert pointers == {"/plans/1/prices/2/currency"}

    def test_passes_over_what_the_server_added(self) -> None:
        document = {**make_document(), "revision": 3, "published_at": "2026-01-01T00:00:00Z", "published_by": "staff:a"}
        assert found(document) == []

    def test_takes_the_flat_provider_form_alone(self) -> None:
        assert (
            found(
                {
                    "products": [{"lookup_key": "llm", "name": "Language models"}],
                    "prices": [
                        {
                            "lookup_key": "llm-month",
                            "product_lookup_key": "llm",
                            "currency": "EUR",
                            "unit_amount": 1000,
                            "interval": "month",
                        }
                    ],
                    "meters": [{"lookup_key": "tokens", "display_name": "Tokens", "event_name": "llm_tokens"}],
                }
            )
            == []
        )

    def test_stops_counting_at_some_point(self) -> None:
        findings = validate_document({**make_document(), **{f"x{number}": 1 for number in range(2_000)}})
        assert len(findings) == MAX_FINDINGS + 1
        assert [finding.code for finding in findings][-1] == "too_many_findings"


class TestHostileDocuments:
    """None of these may take noticeable time or reach the database."""

    @pytest.fixture(autouse=True)
    def quick(self) -> Any:
        started = time.process_time()
        yield
        assert time.process_time() - started < 60, "it does not end"

    def test_refuses_depth(self) -> None:
        deep: Any = []
        for _ in range(100_000):
            deep = [deep]
        assert [code for _, code in found({**make_document(), "products": deep})] == ["too_deep"]

    def test_refuses_size(self) -> None:
        assert found({**make_document(), "plans": [0] * 300_000}) == [("", "too_large")]

    @pytest.mark.parametrize(
        ("value", "code"),
        [
            ("a\x00b", "text_invalid"),
            ("\ud800", "text_invalid"),
            ("x" * 10_001, "too_long"),
            (10**40, "too_large"),
            (Decimal("1E+999999"), "number_invalid"),
            (float("inf"), "number_invalid"),
            ({"\x00": 1}, "key_invalid"),
            ({"k" * 201: 1}, "key_invalid"),
        ],
    )
    def test_refuses_what_cannot_be_stored(self, value: object, code: str) -> None:
        document = make_document()
        document["products"][0]["metadata"] = {"note": value}
        assert [found_code for _, found_code in found(document)] == [code]

    def test_survives_a_long_chain_of_upgrades(self) -> None:
        document = make_document()
        quota = {"feature": "f", "meter_event_name": "api", "window": "day", "limit": 1}
        document["plans"] = [
            {
                "id": f"p{number}",
                "product_id": "ai",
                "name": "P",
                "features": ["f"],
                "quotas": [{**quota, "upgrade_plan_id": f"p{(number + 1) % 1_900}"}],
            }
            for number in range(1_900)
        ]
        assert found(document) == [("/plans/1899/quotas/0/upgrade_plan_id", "upgrade_circle")]

    def test_survives_many_unknown_keys(self) -> None:
        document = make_document()
        document["plans"][0].update({f"unit_amout_{number}": 1 for number in range(100_000)})
        assert len(validate_document(document)) == MAX_FINDINGS + 1

    @pytest.mark.parametrize("text", ["://a:" * 1_999, "eyJ" * 3_333, "-----BEGIN " * 900, "a" * 9_990 + "://"])
    def test_patterns_run_in_linear_time(self, text: str) -> None:
        document = make_document()
        document["products"][0]["metadata"] = {f"k{number}": text for number in range(300)}
        assert found(document) == []
