"""The local checks of a catalog document, and that they agree with the server's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

import billing_client
from billing_client import catalog_words
from billing_client.catalog_check import NotJson, check_catalog, describe_secret_value, is_secret_key_name
from billing_site.kernel.money import CURRENCIES
from catalog.documents import price_models, secrets, vocabulary
from catalog.documents.validation import validate_document
from tests.factories.catalog import make_document
from tests.unit.catalog.documents.mistakes import MISTAKES, Change
from tests.unit.catalog.documents.test_normalising import documents
from tests.unit.catalog.documents.test_price_terms import FEE, FEE_MISTAKES
from tests.unit.catalog.documents.test_price_terms import MISTAKES as PRICE_MISTAKES
from tests.unit.catalog.documents.test_price_terms import make_catalog as make_priced

TEMPLATES = sorted((Path(billing_client.__file__).parent / "data").glob("catalog_*.json"))
SECRETS = [
    "sk_live_51Hxyz",
    "rk_test_abc",
    "whsec_abcdef",
    "-----BEGIN RSA PRIVATE KEY-----",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc",
    "postgres://me:hunter2@db/x",
    "AKIAIOSFODNN7EXAMPLE",
]
HARMLESS = ["pk_live_51Hxyz", "price_1Abc", "https://example.com/a?b=c", "https://me@example.com", "eyJ", "AKIA"]
SECRET_NAMES = [
    "secret",
    "Password",
    "passwd",
    "token",
    "api_key",
    "API-Key",
    "apiKey",
    "private.key",
    "webhook_secret",
]
HARMLESS_NAMES = ["tokens", "per_token", "tokens_per_minute", "keyboard", "id", "lookup_key"]


def make_catalog(**changes: Any) -> dict[str, Any]:
    plan = {
        "id": "p",
        "product_id": "x",
        "name": "P",
        "prices": [{"currency": "usd", "unit_amount": 5, "interval": "month"}],
    }
    return {
        "version": 1,
        "products": [{"id": "x", "name": "X"}],
        "meters": [{"name": "m", "unit": "u"}],
        "plans": [plan],
        **changes,
    }


def check(document: object) -> list[tuple[str, str]]:
    return [(finding.pointer, finding.code) for finding in check_catalog(json.dumps(document))]


# What compares amounts with each other, or needs lists the client does not carry.
LEFT_TO_THE_SERVER = {
    "above_maximum",
    "below_minimum",
    "choice_unknown",
    "currency_mixed",
    "currency_unsupported",
    "interval_mixed",
    "meter_unsuited",
    "not_a_boolean",
    "not_an_integer",
    "too_many",
}


def check_exactly(document: object) -> list[tuple[str, str]]:
    """The same for documents that hold a Decimal, which stands for a number with a point."""
    text = json.dumps(document, default=lambda number: f"§{number}§").replace('"§', "").replace('§"', "")
    return [(finding.pointer, finding.code) for finding in check_catalog(text)]


class TestTemplates:
    @pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
    def test_are_accepted_here_and_by_the_server(self, path: Path) -> None:
        text = path.read_text()
        assert check_catalog(text) == []
        assert list(validate_document(json.loads(text), currencies=CURRENCIES)) == []

    def test_there_are_some(self) -> None:
        assert [path.stem for path in TEMPLATES] == [
            f"catalog_{name}" for name in ("containers", "default", "llm", "starter", "usage")
        ]


class TestSecrets:
    @pytest.mark.parametrize("value", SECRETS)
    def test_values_are_found_and_never_shown(self, value: str) -> None:
        findings = check_catalog(json.dumps(make_catalog(plans=[{"id": "p", "metadata": {"a/b": value}}])))
        assert [finding.pointer for finding in findings] == ["/plans/0/metadata/a~1b"]
        assert value not in str(findings)

    @pytest.mark.parametrize("value", SECRETS)
    def test_keys_holding_one_are_not_shown_either(self, value: str) -> None:
        findings = check_catalog(json.dumps(make_catalog(products=[{"id": "x", "name": "X", "metadata": {value: 1}}])))
        assert findings[0].pointer == "/products/0/metadata/…"
        assert value not in str(findings)

    @pytest.mark.parametrize("name", SECRET_NAMES)
    def test_names_are_found(self, name: str) -> None:
        assert ("/products/0/metadata/" + name, "secret") in check(
            make_catalog(products=[{"id": "x", "name": "X", "metadata": {name: "harmless"}}])
        )

    def test_all_are_reported_at_once(self) -> None:
        metadata = {"token": "a", "url": SECRETS[5], "list": [1, SECRETS[0]]}
        found = check(make_catalog(products=[{"id": "x", "metadata": metadata}]))
        assert [pointer.rsplit("/metadata", 1)[1] for pointer, _ in found] == ["/token", "/url", "/list/1"]

    @pytest.mark.parametrize("value", [*SECRETS, *HARMLESS])
    def test_values_are_judged_as_the_server_does(self, value: str) -> None:
        assert describe_secret_value(value) == secrets.describe_secret_value(value)
        assert (describe_secret_value(value) is None) == (value in HARMLESS)

    @pytest.mark.parametrize("name", [*SECRET_NAMES, *HARMLESS_NAMES])
    def test_names_are_judged_as_the_server_does(self, name: str) -> None:
        assert is_secret_key_name(name) == secrets.is_secret_key_name(name) == (name in SECRET_NAMES)


class TestStructure:
    def test_a_good_one_has_no_findings(self) -> None:
        assert check(make_catalog()) == []

    def test_arrays_must_be_there(self) -> None:
        assert check({"products": {}}) == [
            ("/products", "type_invalid"),
            ("/plans", "required"),
            ("/meters", "required"),
        ]

    def test_everything_wrong_is_reported_at_once(self) -> None:
        document = make_catalog(
            meters=[{"name": "m"}, {"name": "m"}, 5],
            plans=[
                {
                    "id": "bad id",
                    "product_id": "nope",
                    "prices": [{"unit_amount": -1}, {"unit_amount": 1.5}, {"meter": "gone", "unit_amount": "0.1"}],
                    "quotas": [{"meter_event_name": "gone", "upgrade_plan_id": "gone"}],
                }
            ],
        )
        assert set(check(document)) == {
            ("/meters/1/name", "duplicate"),
            ("/meters/2", "type_invalid"),
            ("/plans/0/id", "identifier_invalid"),
            ("/plans/0/product_id", "product_unknown"),
            ("/plans/0/prices/0/unit_amount", "negative"),
            ("/plans/0/prices/1/unit_amount", "not_an_integer"),
            ("/plans/0/prices/2/meter", "meter_unknown"),
            ("/plans/0/quotas/0/meter_event_name", "meter_unknown"),
            ("/plans/0/quotas/0/upgrade_plan_id", "plan_unknown"),
        }

    @pytest.mark.parametrize("document", [[], "x", None, 5])
    def test_must_be_an_object(self, document: object) -> None:
        assert check(document) == [("", "type_invalid")]

    def test_bad_json_is_told_with_its_place(self) -> None:
        with pytest.raises(NotJson, match="line 2, column 1"):
            check_catalog('{"a":\n}')

    def test_deep_nesting_is_no_crash(self) -> None:
        with pytest.raises(NotJson):
            check_catalog("[" * 100_000)

    def test_the_flat_form_needs_neither_plans_nor_meters(self) -> None:
        price = {"lookup_key": "a", "product_lookup_key": "x", "currency": "usd", "unit_amount": 5}
        assert check({"products": [{"lookup_key": "x", "name": "X"}], "prices": [price]}) == []


class TestAgreement:
    """What is found here is found by the server too, and what it accepts is accepted here."""

    def test_the_words_are_the_servers(self) -> None:
        words = catalog_words
        assert words.DOCUMENT_KEYS == vocabulary.TOP_KEYS
        assert words.ENTRY_KEYS == {
            "products": vocabulary.PRODUCT_KEYS,
            "meters": vocabulary.METER_KEYS,
            "plans": vocabulary.PLAN_KEYS,
            "quotas": vocabulary.QUOTA_KEYS,
            "prices": vocabulary.FLAT_PRICE_KEYS,
        }
        assert words.PRICE_PLACE_KEYS | words.TERM_KEYS == vocabulary.PRICE_KEYS
        assert set(price_models.USAGE_TERMS) == words.USAGE_TERMS
        assert set(price_models.FEE_MODELS) == words.FEE_MODELS
        assert set(price_models.MODEL_RULES) == set(words.TERMS)
        for model, rule in price_models.MODEL_RULES.items():
            assert rule.required == words.REQUIRED_TERMS[model]
            assert {"up_to", *rule.tier_keys} == words.TIER_KEYS.get(model, {"up_to"})
            for is_usage in (False, True):
                assert rule.list_keys(is_usage=is_usage) == words.list_terms(model, is_usage=is_usage)

    @given(documents())
    @settings(max_examples=60)
    def test_every_valid_document_is_accepted(self, document: dict[str, Any]) -> None:
        assert check(document) == []

    @pytest.mark.parametrize(("name", "change"), [row[:2] for row in MISTAKES], ids=[row[0] for row in MISTAKES])
    def test_nothing_is_found_that_the_server_does_not_find(self, name: str, change: Change) -> None:
        document = make_document()
        change(document)
        found = {pointer for pointer, _ in check_exactly(document)}
        assert found <= {finding.pointer for finding in validate_document(document)}

    @pytest.mark.parametrize(
        ("price", "expected"), [row[1:] for row in PRICE_MISTAKES], ids=[row[0] for row in PRICE_MISTAKES]
    )
    def test_prices_are_judged_alike(self, price: dict[str, Any], expected: list[tuple[str, str]]) -> None:
        found = {(pointer.removeprefix("/plans/0/prices/1"), code) for pointer, code in check(make_priced(FEE, price))}
        assert found <= set(expected)
        assert found or {code for _, code in expected} <= LEFT_TO_THE_SERVER

    @pytest.mark.parametrize(
        ("price", "expected"), [row[1:] for row in FEE_MISTAKES], ids=[row[0] for row in FEE_MISTAKES]
    )
    def test_fees_are_judged_alike(self, price: dict[str, Any], expected: list[tuple[str, str]]) -> None:
        found = [(pointer.removeprefix("/plans/0/prices/0"), code) for pointer, code in check(make_priced(price))]
        assert found == expected
