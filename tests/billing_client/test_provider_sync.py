"""billing operator stripe catalog sync: a catalog at the provider, over real HTTP."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from tests.billing_client.conftest import Billing
from tests.billing_client.provider import Document, Sync, make_catalog, make_flat, results_of, rows_of, with_price
from tests.stripe_server.resources.products import PRODUCT, make_product
from tests.stripe_server.server import StripeServer

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = sorted(
    path
    for folder in ("billing_client/data", "catalog/data")
    for path in (ROOT / folder).rglob("*.json")
    if "products" in json.loads(path.read_text())
)


def change_fee(amount: int) -> Document:
    document = make_catalog()
    document["plans"][0]["prices"][0]["unit_amount"] = amount
    return document


def find_by_key(provider: StripeServer, lookup_key: str) -> dict[str, Any]:
    """Return the one price with a lookup key."""
    [found] = [price for price in provider.objects("price") if price["lookup_key"] == lookup_key]
    return found


class TestFirstSync:
    def test_creates_everything_in_order(self, sync: Sync, provider: StripeServer) -> None:
        outcome = sync(make_catalog())
        assert (outcome.code, outcome.err) == (0, "")
        assert rows_of(outcome) == [
            ("product", "llm", "created"),
            ("meter", "llm_tokens", "created"),
            ("price", "basic:usd:month", "created"),
            ("price", "basic:usd:month:llm_tokens", "created"),
        ]
        ids = {item["lookup_key"]: item["id"] for item in outcome.data["items"]}
        [product], [meter] = provider.objects("product"), provider.objects("billing.meter")
        assert (product["id"], product["name"], product["metadata"]) == (
            ids["llm"],
            "Language models",
            {"lookup_key": "llm"},
        )
        assert (meter["event_name"], meter["display_name"]) == ("llm_tokens", "Tokens")
        assert meter["default_aggregation"] == {"formula": "sum"}
        assert meter["customer_mapping"] == {"type": "by_id", "event_payload_key": "stripe_customer_id"}
        assert meter["value_settings"] == {"event_payload_key": "value"}

    def test_gives_prices_their_terms(self, sync: Sync, provider: StripeServer) -> None:
        sync(make_catalog())
        fee = find_by_key(provider, "basic:usd:month")
        assert (fee["unit_amount"], fee["currency"], fee["nickname"]) == (1000, "usd", "Basic")
        assert fee["recurring"]["usage_type"] == "licensed"
        assert fee["metadata"] == {"plan_id": "basic"}
        usage = find_by_key(provider, "basic:usd:month:llm_tokens")
        assert (usage["unit_amount"], usage["unit_amount_decimal"]) == (None, "0.00005")
        assert usage["recurring"]["usage_type"] == "metered"
        assert usage["recurring"]["meter"] == provider.objects("billing.meter")[0]["id"]
        assert {fee["product"], usage["product"]} == {provider.objects("product")[0]["id"]}

    def test_takes_the_flat_form(self, sync: Sync, provider: StripeServer) -> None:
        assert rows_of(sync(make_flat())) == [
            ("product", "llm", "created"),
            ("meter", "tokens", "created"),
            ("price", "basic-month", "created"),
            ("price", "setup", "created"),
        ]
        setup = find_by_key(provider, "setup")
        assert (setup["type"], setup["recurring"], setup["unit_amount"]) == ("one_time", None, 5000)

    def test_passes_zero_prices_over(self, sync: Sync, provider: StripeServer) -> None:
        outcome = sync(change_fee(0))
        [skipped] = [item for item in outcome.data["items"] if item["result"] == "skipped"]
        assert skipped == {
            "kind": "price",
            "lookup_key": "basic:usd:month",
            "id": None,
            "result": "skipped",
            "detail": "the amount is zero",
        }
        assert len(provider.objects("price")) == 1

    def test_shows_a_table(self, billing: Billing, provider: StripeServer, tmp_path: Path) -> None:
        file = tmp_path / "catalog.json"
        file.write_text(json.dumps(with_price(unit_amount=0)))
        outcome = billing("operator", "stripe", "catalog", "sync", "--file", str(file))
        lines = [line.split(maxsplit=3) for line in outcome.out.splitlines()]
        assert lines[0] == ["Kind", "Lookup", "key", "ID                             Result"]
        assert lines[2][::3] == ["product", "created"]
        assert lines[4] == ["price", "basic:usd:month", "-", "skipped: the amount is zero"]
        assert outcome.out.splitlines()[-1] == "2 created, 1 skipped"

    def test_writes_csv(self, sync: Sync) -> None:
        out = sync(with_price(unit_amount=0), "--format", "csv").out
        assert out.splitlines()[0] == "kind,lookup_key,id,result,detail"
        assert out.splitlines()[-1] == "price,basic:usd:month,,skipped,the amount is zero"

    def test_warns_about_a_live_key(self, sync: Sync, provider: StripeServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("BILLING_STRIPE_SECRET_KEY", provider.live_key)
        outcome = sync(make_catalog())
        assert outcome.err == "Warning: this is a live key: what is created here is for real customers\n"
        assert outcome.data["livemode"] is True
        assert len(provider.objects("product", livemode=True)) == 1
        assert provider.objects("product") == []
        assert sync(make_catalog(), "--dry-run").err == ""


class TestSecondSync:
    @pytest.mark.parametrize("document", [make_catalog(), make_flat()], ids=["full form", "flat form"])
    def test_finds_everything_and_writes_nothing(self, sync: Sync, provider: StripeServer, document: Document) -> None:
        first = sync(document)
        second = sync(document)
        assert {item["result"] for item in second.data["items"]} == {"found"}
        assert [item["id"] for item in second.data["items"]] == [item["id"] for item in first.data["items"]]
        assert provider.writes == []

    @pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.stem)
    def test_keeps_what_a_template_of_the_product_made(
        self, sync: Sync, provider: StripeServer, template: Path
    ) -> None:
        first = sync(template.read_text())
        assert (first.code, first.err) == (0, "")
        assert {item["result"] for item in first.data["items"]} <= {"created", "skipped"}
        assert sum(item["result"] == "created" for item in first.data["items"]) >= 4
        kept = {item["id"] for item in first.data["items"] if item["id"]}
        second = sync(template.read_text())
        assert {item["id"] for item in second.data["items"] if item["result"] == "found"} == kept
        assert provider.writes == []


class TestChanges:
    def test_of_a_products_name_update_it(self, sync: Sync, provider: StripeServer) -> None:
        sync(make_catalog())
        document = make_catalog(products=[{"id": "llm", "name": "Models", "description": "All of them"}])
        outcome = sync(document)
        assert results_of(outcome)["product llm"] == "updated"
        assert outcome.data["items"][0]["detail"] == "name, description"
        [product] = provider.objects("product")
        assert (product["name"], product["description"]) == ("Models", "All of them")
        assert set(results_of(sync(document)).values()) == {"found"}

    def test_of_a_name_to_and_fro_on_one_day_are_all_made(self, sync: Sync, provider: StripeServer) -> None:
        for name in ("A", "B", "A", "B", "A"):
            sync(make_catalog(products=[{"id": "llm", "name": name}]))
            assert [product["name"] for product in provider.objects("product")] == [name]

    def test_leave_alone_what_the_document_says_nothing_of(self, sync: Sync, provider: StripeServer) -> None:
        sync(make_catalog())
        [product] = provider.objects("product")
        product["description"] = "Written in the dashboard"
        product["metadata"]["owner"] = "sales"
        assert results_of(sync(make_catalog()))["product llm"] == "found"
        sync(make_catalog(products=[{"id": "llm", "name": "Models", "metadata": {"tier": 2, "tags": ["a"]}}]))
        assert product["description"] == "Written in the dashboard"
        assert product["metadata"] == {"lookup_key": "llm", "owner": "sales", "tier": "2", "tags": '["a"]'}

    def test_of_an_amount_make_a_new_price_that_takes_over(self, sync: Sync, provider: StripeServer) -> None:
        sync(make_catalog())
        old = find_by_key(provider, "basic:usd:month")
        outcome = sync(change_fee(1200))
        new = find_by_key(provider, "basic:usd:month")
        [row] = [item for item in outcome.data["items"] if item["lookup_key"] == "basic:usd:month"]
        assert (row["id"], row["result"], row["detail"]) == (new["id"], "updated", f"{old['id']} archived")
        assert new["id"] != old["id"]
        assert (new["unit_amount"], new["active"], new["metadata"]) == (
            1200,
            True,
            {"plan_id": "basic", "replaces": old["id"]},
        )
        assert (old["unit_amount"], old["active"], old["lookup_key"]) == (1000, False, None)
        assert set(results_of(sync(change_fee(1200))).values()) == {"found"}

    def test_of_an_amount_to_and_fro_on_one_day_are_all_made(self, sync: Sync, provider: StripeServer) -> None:
        for place, amount in enumerate((1000, 1200, 1000, 1200, 1000), 1):
            sync(change_fee(amount))
            assert find_by_key(provider, "basic:usd:month")["unit_amount"] == amount
            fees = [price for price in provider.objects("price") if price["recurring"]["usage_type"] == "licensed"]
            assert (len(fees), sum(price["active"] for price in fees)) == (place, 1)

    def test_of_the_default_price_make_the_new_one_the_default(self, sync: Sync, provider: StripeServer) -> None:
        sync(make_catalog())
        [product] = provider.objects("product")
        old = find_by_key(provider, "basic:usd:month")
        product["default_price"] = old["id"]
        assert sync(change_fee(1200)).code == 0
        assert product["default_price"] == find_by_key(provider, "basic:usd:month")["id"]
        assert old["active"] is False

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"currency": "usd", "interval": "year"}, "interval"),
            ({"currency": "usd", "interval": "month", "interval_count": 3}, "interval"),
            ({"currency": "eur", "interval": "month"}, "currency"),
            ({"currency": "usd", "interval": "month", "unit_amount": "1", "meter": "llm_tokens"}, "amount"),
            ({"currency": "usd", "interval": "month", "model": "package", "package_size": 2}, "amount"),
        ],
    )
    def test_of_other_terms_replace_a_price(
        self, sync: Sync, provider: StripeServer, change: Document, reason: str
    ) -> None:
        sync(with_price(unit_amount=1000, lookup_key="fee"))
        outcome = sync(with_price(**{"unit_amount": 1000, "lookup_key": "fee", **change}), "--dry-run")
        assert outcome.data["items"][-1] | {"id": ""} == {
            "kind": "price",
            "lookup_key": "fee",
            "id": "",
            "result": "would be updated",
            "detail": reason,
        }
        assert (
            results_of(sync(with_price(**{"unit_amount": 1000, "lookup_key": "fee", **change})))["price fee"]
            == "updated"
        )

    def test_keep_how_a_price_is_taxed(self, sync: Sync, provider: StripeServer) -> None:
        sync(make_catalog())
        find_by_key(provider, "basic:usd:month")["tax_behavior"] = "exclusive"
        sync(change_fee(1200))
        assert find_by_key(provider, "basic:usd:month")["tax_behavior"] == "exclusive"

    def test_of_a_plans_name_rename_its_prices(self, sync: Sync, provider: StripeServer) -> None:
        sync(make_catalog())
        document = make_catalog()
        document["plans"][0]["name"] = "Starter"
        assert results_of(sync(document))["price basic:usd:month"] == "updated"
        assert {price["nickname"] for price in provider.objects("price")} == {"Starter"}
        assert len(provider.objects("price")) == 2

    def test_of_a_meters_display_name_update_it(self, sync: Sync, provider: StripeServer) -> None:
        sync(make_catalog())
        document = make_catalog(meters=[{"name": "llm_tokens", "unit": "tokens", "display_name": "All tokens"}])
        assert results_of(sync(document))["meter llm_tokens"] == "updated"
        assert provider.objects("billing.meter")[0]["display_name"] == "All tokens"

    def test_of_how_a_meter_counts_are_refused_before_anything_is_written(
        self, sync: Sync, provider: StripeServer
    ) -> None:
        sync(make_catalog())
        document = change_fee(1200)
        document["meters"][0] |= {"aggregation_formula": "last", "value_settings_event_payload_key": "tokens"}
        outcome = sync(document)
        assert outcome.code == 1
        assert provider.writes == []
        id = provider.objects("billing.meter")[0]["id"]
        assert f"meter llm_tokens: aggregation_formula is sum in {id}, last in the document" in outcome.err
        assert f"value_settings_event_payload_key is value in {id}, tokens in the document" in outcome.err

    def test_of_a_lookup_key_leave_the_old_objects(self, sync: Sync, provider: StripeServer) -> None:
        sync(make_catalog())
        document = make_catalog()
        document["products"][0]["id"] = document["plans"][0]["product_id"] = "models"
        outcome = sync(document)
        assert results_of(outcome)["product models"] == "created"
        assert results_of(outcome)["price basic:usd:month"] == "updated"
        assert outcome.data["items"][-1] == {
            "kind": "product",
            "lookup_key": "llm",
            "id": provider.objects("product")[0]["id"],
            "result": "kept",
            "detail": "not in the document",
        }
        assert provider.objects("product")[0]["active"] is True


class TestWhatOthersDid:
    def test_an_archived_product_is_taken_into_use_again(self, sync: Sync, provider: StripeServer) -> None:
        sync(make_catalog())
        provider.objects("product")[0]["active"] = False
        assert results_of(sync(make_catalog()))["product llm"] == "updated"
        assert provider.objects("product")[0]["active"] is True

    def test_an_archived_price_is_replaced_and_stays_archived(self, sync: Sync, provider: StripeServer) -> None:
        sync(make_catalog())
        old = find_by_key(provider, "basic:usd:month")
        old["active"] = False
        outcome = sync(make_catalog())
        assert results_of(outcome)["price basic:usd:month"] == "updated"
        assert f"{old['id']} was archived before" in outcome.out
        assert find_by_key(provider, "basic:usd:month")["active"] is True
        assert old["active"] is False

    def test_objects_of_other_catalogs_are_left_alone(self, sync: Sync, provider: StripeServer) -> None:
        before = copy.deepcopy(make_foreign_objects(provider))
        sync(make_catalog())
        outcome = sync(make_catalog())
        assert set(results_of(outcome).values()) == {"found"}
        assert provider.objects("product")[:120] == before

    def test_of_two_products_with_one_lookup_key_the_older_is_used(self, sync: Sync, provider: StripeServer) -> None:
        sync(make_catalog())
        [first] = provider.objects("product")
        copied = {key: value for key, value in first.items() if key != "id"}
        second = provider.store().add(PRODUCT, copied)
        outcome = sync(make_catalog())
        assert outcome.data["items"][0]["id"] == first["id"]
        assert outcome.err == (
            f"Warning: two products have the lookup key llm: {first['id']} is used, {second['id']} is not\n"
        )


def make_foreign_objects(provider: StripeServer) -> list[dict[str, Any]]:
    """Products of someone else's, more than a page of a hundred."""
    for number in range(120):
        provider.store().add(PRODUCT, {**make_product(provider.store(), name=f"P{number}"), "updated": 1})
    return provider.objects("product")


class TestDryRun:
    def test_tells_the_plan_and_sends_only_reads(self, sync: Sync, provider: StripeServer) -> None:
        outcome = sync(make_catalog(), "--dry-run")
        assert outcome.code == 0
        assert set(results_of(outcome).values()) == {"would be created"}
        assert outcome.data["dry_run"] is True
        assert provider.requests != []
        assert provider.writes == []

    def test_knows_what_would_change(self, sync: Sync, provider: StripeServer) -> None:
        sync(make_catalog())
        document = change_fee(1200)
        document["products"][0]["name"] = "Models"
        assert results_of(sync(document, "--dry-run")) == {
            "product llm": "would be updated",
            "meter llm_tokens": "found",
            "price basic:usd:month": "would be updated",
            "price basic:usd:month:llm_tokens": "found",
        }
        assert provider.writes == []
