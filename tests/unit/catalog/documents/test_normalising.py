"""Documents that mean the same read the same."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.data import read_default, read_sample
from catalog.documents.content import CatalogContent
from catalog.documents.findings import DocumentInvalid
from catalog.documents.normalising import normalise_document
from catalog.documents.validation import validate_document
from catalog.documents.vocabulary import WINDOW_ALIASES
from tests.factories.catalog import make_document
from tests.unit.catalog.price_terms import amounts, fees, usage_prices

identifiers = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,12}", fullmatch=True)
words = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=20).filter(
    str.strip
)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """A valid document with a random choice of everything optional."""
    names = draw(st.lists(identifiers, min_size=6, max_size=6, unique_by=str))
    product, meter, other, *plans = (f"{kind}{name}" for kind, name in zip("pmnabc", names, strict=True))
    features = draw(st.lists(identifiers, unique=True, max_size=3))
    meters: list[dict[str, Any]] = [
        {"name": meter, "unit": draw(words)},
        {"name": other, "event_name": f"{other}-e", "unit": "x"},
    ]
    meters[1] |= {"aggregation_type": "SUM", "dimensions": ["model", "region"]}
    if draw(st.booleans()):
        meters[0]["aggregation_type"] = draw(st.sampled_from(["SUM", "count", "Last", "max", "unique"]))
    return {
        "version": 1,
        "products": [
            {
                "id": product,
                "name": draw(words),
                "metadata": draw(st.dictionaries(words.map("m-".__add__), st.integers())),
            }
        ],
        "meters": meters,
        "plans": [
            {
                "id": plan,
                "product_id": product,
                "name": draw(words),
                "features": features,
                "popular": draw(st.none() | st.booleans()),
                "trial_period_days": draw(st.none() | st.integers(0, 90)),
                "proration": draw(st.sampled_from([None, "day", "Second", "NONE"])),
                "proration_basis": draw(st.sampled_from([None, "actual", "Fixed_30"])),
                "limits": draw(st.dictionaries(st.sampled_from(["zones", "seats"]), st.integers(-1, 99))),
                "prices": [
                    {"currency": "Usd", "interval": "month", **draw(fees())},
                    {"currency": draw(st.sampled_from(["usd", "EUR", "Jpy"])), "interval": "year", **draw(fees())},
                    {"currency": "usd", "meter": meter, "unit_amount": draw(amounts)},
                    {"currency": "usd", "meter": f"{other}-e", **draw(usage_prices())},
                ],
                "quotas": [
                    {
                        "feature": feature,
                        "meter_event_name": meter,
                        "window": draw(st.sampled_from(sorted(WINDOW_ALIASES))),
                        "limit": draw(st.integers(1, 10**12)),
                        "overage_price": draw(st.none() | amounts),
                    }
                    for feature in features
                ],
            }
            for plan in plans
        ],
    }


class TestNormaliseDocument:
    @given(documents())
    @settings(deadline=None, max_examples=60)
    def test_reads_back_what_it_writes(self, document: dict[str, Any]) -> None:
        content = normalise_document(document)
        stored = json.loads(content.as_json())
        again = normalise_document(stored)
        assert again == content
        assert again.as_json() == content.as_json()
        assert normalise_document(content.as_editable_document()) == content

    @pytest.mark.parametrize("document", [read_sample(), read_default()])
    def test_reads_the_shipped_documents(self, document: dict[str, Any]) -> None:
        content = normalise_document(document)
        assert normalise_document(content.as_document()) == content

    def test_refuses_with_the_findings_of_validation(self) -> None:
        document = {**make_document(), "plans": None}
        with pytest.raises(DocumentInvalid) as refusal:
            normalise_document(document)
        assert refusal.value.findings == validate_document(document)

    def test_derives_lookup_keys(self) -> None:
        document = make_document()
        document["plans"][1]["prices"].append(
            {"currency": "EUR", "unit_amount": 7900, "interval": "month", "interval_count": 3}
        )
        content = normalise_document(document)
        assert [product.lookup_key for product in content.products] == ["platform", "ai"]
        assert content.meters[0].lookup_key == "api"
        assert [price.lookup_key for price in content.plans[1].prices] == [
            "pro:usd:month",
            "pro:usd:year",
            "pro:eur:month",
            "pro:eur:3month",
        ]
        assert content.plans[2].prices[0].lookup_key == "ai-payg:usd:month:llm_input_tokens"

    def test_folds_aliases_and_case(self) -> None:
        document = make_document()
        document["plans"][0]["quotas"][0]["window"] = " Per_Minute "
        document["plans"][1]["prices"][0].update({"currency": "USD", "interval": "Month"})
        content = normalise_document(document)
        assert content.plans[0].quotas[0].window == "minute"
        assert content.plans[1].prices[0].place == "usd:month"

    def test_fills_in_the_timing(self) -> None:
        content = normalise_document(make_document())
        assert content.plans[1].prices[0].billing_timing == "advance"
        assert content.plans[2].prices[0].billing_timing == "arrears"

    def test_a_usage_price_without_interval_is_monthly(self) -> None:
        document = make_document()
        for price in document["plans"][2]["prices"]:
            del price["interval"], price["model"]
        assert normalise_document(document) == normalise_document(make_document())

    @pytest.mark.parametrize("amount", ["0.00005", "0.000050000000", " 0.00005 "])
    def test_one_amount_has_one_spelling(self, amount: str) -> None:
        document = make_document()
        document["plans"][2]["prices"][0]["unit_amount"] = amount
        content = normalise_document(document)
        assert content.plans[2].prices[0].unit_amount == Decimal("0.00005")
        assert content.as_json() == normalise_document(make_document()).as_json()

    def test_zero_prices_are_kept(self) -> None:
        content = normalise_document(make_document())
        assert content.as_document()["plans"][0]["prices"][0]["unit_amount"] == 0

    def test_the_flat_form_gets_ids_and_names(self) -> None:
        content = normalise_document(
            {
                "products": [{"lookup_key": "llm", "name": "Models"}],
                "meters": [{"event_name": "llm_tokens", "display_name": "Tokens", "lookup_key": "tokens"}],
                "prices": [{"lookup_key": "a", "product_lookup_key": "llm", "currency": "EUR", "unit_amount": 5}],
            }
        )
        assert content.products[0].id == "llm"
        assert (content.meters[0].name, content.meters[0].lookup_key) == ("llm_tokens", "tokens")
        assert content.prices[0].currency == "eur"
        assert normalise_document(content.as_document()) == content

    def test_an_empty_catalog_is_one(self) -> None:
        content = normalise_document({"products": [], "meters": [], "plans": []})
        assert content == CatalogContent()


class TestContentHash:
    def hash_of(self, document: dict[str, Any]) -> str:
        return normalise_document(document).plans[1].compute_content_hash()

    def test_ignores_the_order_of_prices(self) -> None:
        document = make_document()
        document["plans"][1]["prices"].reverse()
        assert self.hash_of(document) == self.hash_of(make_document())

    @pytest.mark.parametrize(
        ("key", "value"), [("name", "Professional"), ("popular", False), ("features", ["service:api"]), ("prices", [])]
    )
    def test_changes_with_the_content(self, key: str, value: object) -> None:
        document = make_document()
        document["plans"][1][key] = value
        assert self.hash_of(document) != self.hash_of(make_document())
