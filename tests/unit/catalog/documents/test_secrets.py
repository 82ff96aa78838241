"""Secrets are refused by value and by name, and never repeated."""

from __future__ import annotations

import json
from typing import Any

import pytest

from catalog.documents.secrets import is_secret_key_name
from catalog.documents.validation import validate_document
from tests.factories.catalog import make_document

# Put together here, so that no scanner takes this file for a leak.
SECRETS = {
    "live key": "sk_" + "live_4eC39HqLyjWDarjtT1zdp7dc",
    "test key": "sk_" + "test_4eC39HqLyjWDarjtT1zdp7dc",
    "restricted live key": "use rk_" + "live_4eC39Hq here",
    "restricted test key": "rk_" + "test_4eC39Hq",
    "webhook secret": "wh" + "sec_0123456789abcdef",
    "private key": "-----BEGIN RSA PRIVATE" + " KEY-----\nMIIE",
    "plain private key": "-----BEGIN PRIVATE" + " KEY-----",
    "token": "eyJ" + "hbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
    "unsigned token": "Bearer eyJ" + "hbGciOiJub25lIn0.eyJzdWIiOiIxIn0.",
    "database URL": "postgres://billing:hunter2" + "@db.internal/billing",
    "URL with a password and no user": "redis://:hunter2" + "@cache:6379/0",
    "access key id": "AKIA" + "IOSFODNN7EXAMPLE",
}
HARMLESS = [
    "pk_live_4eC39HqLyjWDarjtT1zdp7dc",
    "price_1MoBy5LkdIwHu7ixZhnattbh",
    "prod_NWjs8kKbJWmuuc",
    "disk_test_plan",
    "https://example.com:8443/pricing?mail=a@b.example",
    "https://user@example.com/",
    "eyJ is how a token begins",
    "one.two.three",
    "ASIAPACIFICREGIONPLANSALL",
]


def with_metadata(value: object, key: str = "note") -> dict[str, Any]:
    document = make_document()
    document["products"][0]["metadata"] = {key: value}
    return document


class TestValues:
    @pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS.keys())
    def test_are_refused_anywhere_and_not_repeated(self, secret: str) -> None:
        document = with_metadata([{"deep": secret}])
        document["plans"][0]["name"] = secret
        findings = validate_document(document)
        assert findings.has_secret
        assert [finding.pointer for finding in findings] == ["/products/0/metadata/note/0/deep", "/plans/0/name"]
        assert secret not in json.dumps([finding.as_dict() for finding in findings], ensure_ascii=False)

    @pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS.keys())
    def test_are_refused_as_keys_without_naming_the_key(self, secret: str) -> None:
        findings = validate_document(with_metadata({"more": "harmless"}, key=secret))
        assert [finding.pointer for finding in findings] == ["/products/0/metadata/…"]
        assert secret not in json.dumps([finding.as_dict() for finding in findings], ensure_ascii=False)

    @pytest.mark.parametrize("text", HARMLESS)
    def test_of_other_kinds_pass(self, text: str) -> None:
        assert validate_document(with_metadata(text)).is_valid

    def test_come_before_every_other_finding(self) -> None:
        document = with_metadata(SECRETS["live key"])
        document["plans"][0]["product_id"] = "nothing"
        assert {finding.code for finding in validate_document(document)} == {"secret"}


class TestKeyNames:
    @pytest.mark.parametrize(
        "name",
        [
            "secret",
            "Secret",
            "password",
            "PASSWD",
            "token",
            "api_key",
            "API-Key",
            "apiKey",
            "APIKEY",
            "api key",
            "private.key",
            "privateKey",
            "webhook_secret",
            "WebhookSecret",
            "client_secret",
            "accessToken",
            "db-password",
        ],
    )
    def test_that_announce_a_secret(self, name: str) -> None:
        assert is_secret_key_name(name)
        (finding,) = validate_document(with_metadata("anything", key=name))
        assert (finding.pointer, finding.code) == (f"/products/0/metadata/{name}", "secret")

    @pytest.mark.parametrize(
        "name",
        ["tokens", "tokens_per_minute", "price_per_token", "key", "public_key", "lookup_key", "secretary"],
    )
    def test_that_do_not(self, name: str) -> None:
        assert not is_secret_key_name(name)
        assert validate_document(with_metadata("anything", key=name)).is_valid

    def test_are_refused_outside_metadata_as_well(self) -> None:
        document = make_document()
        document["plans"][0]["limits"] = {"token": 5}
        (finding,) = validate_document(document)
        assert (finding.pointer, finding.code) == ("/plans/0/limits/token", "secret")
