"""The published schema accepts what publishing accepts, and refuses what no editor should let pass."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from jsonschema import Draft202012Validator

import billing_client
import catalog
from catalog.documents import vocabulary
from catalog.documents.formatting import format_document
from catalog.documents.normalising import normalise_document
from catalog.documents.schema import build_schema
from catalog.documents.validation import validate_document
from tests.factories.catalog import make_document
from tests.unit.catalog.documents.mistakes import MISTAKES, Change
from tests.unit.catalog.documents.test_normalising import documents
from tests.unit.catalog.documents.test_price_terms import FEE, FEE_MISTAKES, make_catalog
from tests.unit.catalog.documents.test_price_terms import MISTAKES as PRICE_MISTAKES

ROOT = Path(__file__).resolve().parents[4]
SHIPPED = sorted(
    [
        *(Path(catalog.__file__).parent / "data").rglob("*.json"),
        *(Path(billing_client.__file__).parent / "data").glob("catalog_*.json"),
    ]
)
VALIDATOR = Draft202012Validator(build_schema())
# What only reading the whole document tells: these the schema lets pass.
BEYOND = {
    "product_unknown",
    "meter_unknown",
    "plan_unknown",
    "duplicate",
    "duplicate_lookup_key",
    "duplicate_price",
    "duplicate_quota",
    "duplicate_when",
    "feature_not_in_plan",
    "upgrade_circle",
    "fraction",
    "currency_unsupported",
    "currency_mixed",
    "interval_mixed",
    "dimension_unknown",
    "meter_unsuited",
    "below_minimum",
    "above_maximum",
    "tier_bound_unordered",
    "tier_bound_repeated",
    "tier_last_bounded",
    "tier_unbounded",
}
# To JSON Schema 1.0 is whole, and to Python's `$` a text ends before its last line break.
BEYOND_JSON = {"version as a fraction", "price with a point", "id ends in a line break"}
# Plain lists of ids it can compare.
SEEN_ANYWAY = {"a dimension twice", "a feature twice"}


def is_accepted(document: object) -> bool:
    # As any other program reads it: whole numbers and texts, fractions as numbers.
    return bool(VALIDATOR.is_valid(json.loads(json.dumps(document, default=float))))


class TestBuildSchema:
    def test_is_a_schema(self) -> None:
        Draft202012Validator.check_schema(build_schema())

    def test_is_the_file_in_the_documentation(self) -> None:
        """`python manage.py catalog_schema > docs/catalog.schema.json` writes it."""
        assert (ROOT / "docs" / "catalog.schema.json").read_text(encoding="utf-8") == format_document(build_schema())

    def test_names_the_keys_that_documents_are_read_with(self) -> None:
        definitions = build_schema()["$defs"]
        for name, keys in (
            ("product", vocabulary.PRODUCT_KEYS),
            ("meter", vocabulary.METER_KEYS),
            ("plan", vocabulary.PLAN_KEYS),
            ("quota", vocabulary.QUOTA_KEYS),
            ("price", vocabulary.PRICE_KEYS),
            ("flatPrice", vocabulary.FLAT_PRICE_KEYS),
        ):
            assert set(definitions[name]["properties"]) == keys
        assert set(build_schema()["properties"]) == vocabulary.TOP_KEYS


class TestAcceptance:
    @pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}-{path.stem}")
    def test_of_what_is_shipped(self, path: Path) -> None:
        document = json.loads(path.read_text(encoding="utf-8"))
        assert is_accepted(document)
        assert is_accepted(normalise_document(document).as_document())

    @given(documents())
    @settings(max_examples=60)
    def test_of_every_valid_document(self, document: dict[str, Any]) -> None:
        assert is_accepted(document)
        content = normalise_document(document)
        assert is_accepted(content.as_document())
        assert is_accepted(content.as_editable_document())

    def test_of_what_the_server_answers(self) -> None:
        answer = {"$schema": "https://billing.example/catalog.schema.json", "revision": 3, "published_by": "staff:a"}
        document = {**make_document(), **answer, "published_at": "2026-01-01T00:00:00Z"}
        assert is_accepted(document)
        assert validate_document(document).is_valid

    def test_of_the_flat_provider_form(self) -> None:
        document = {
            "products": [{"lookup_key": "llm", "name": "Models"}],
            "prices": [{"lookup_key": "a", "product_lookup_key": "llm", "currency": "EUR", "unit_amount": 5}],
        }
        assert validate_document(document).is_valid
        assert is_accepted(document)


class TestRefusal:
    @pytest.mark.parametrize(("name", "change", "found"), MISTAKES, ids=[row[0] for row in MISTAKES])
    def test_of_mistakes_of_structure(self, name: str, change: Change, found: list[tuple[str, str]]) -> None:
        document = make_document()
        change(document)
        is_beyond = {code for _, code in found} <= BEYOND
        assert is_accepted(document) == (name in BEYOND_JSON or (is_beyond and name not in SEEN_ANYWAY))

    @pytest.mark.parametrize(
        ("price", "found"), [row[1:] for row in PRICE_MISTAKES], ids=[row[0] for row in PRICE_MISTAKES]
    )
    def test_of_wrong_usage_prices(self, price: dict[str, Any], found: list[tuple[str, str]]) -> None:
        codes = {code for _, code in found}
        expected = codes <= BEYOND or found == [("/tiers/0/up_to", "not_positive")]
        assert is_accepted(make_catalog(FEE, price)) == expected

    @pytest.mark.parametrize(
        ("price", "found"), [row[1:] for row in FEE_MISTAKES], ids=[row[0] for row in FEE_MISTAKES]
    )
    def test_of_wrong_fees(self, price: dict[str, Any], found: list[tuple[str, str]]) -> None:
        assert not is_accepted(make_catalog(price))
