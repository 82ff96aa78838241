"""A difference names what was added, removed and changed, down to the value."""

from __future__ import annotations

from typing import Any

from catalog.documents.differences import DocumentDifference, diff_documents
from catalog.documents.normalising import normalise_document
from tests.factories.catalog import make_document


def diff(document: dict[str, Any], old: dict[str, Any] | None = None) -> DocumentDifference:
    return diff_documents(normalise_document(old or make_document()), normalise_document(document))


class TestDiffDocuments:
    def test_nothing_between_equal_documents(self) -> None:
        difference = diff(make_document())
        assert difference.is_empty
        assert difference.summarise() == {}

    def test_order_is_no_difference(self) -> None:
        document = make_document()
        document["plans"].reverse()
        document["plans"][1]["prices"].reverse()
        assert diff(document).is_empty

    def test_everything_is_added_to_nothing(self) -> None:
        difference = diff_documents(None, normalise_document(make_document()))
        assert difference.summarise() == {
            "products": {"added": ["platform", "ai"]},
            "meters": {"added": ["api", "llm_input_tokens", "llm_output_tokens"]},
            "plans": {"added": ["free", "pro", "ai-payg"]},
        }

    def test_added_and_removed_entries_point_into_their_document(self) -> None:
        document = make_document()
        del document["plans"][2]
        document["plans"].insert(0, {"id": "team", "product_id": "ai", "name": "Team"})
        shown = diff(document).as_dict()["plans"]
        assert shown == {
            "added": [{"id": "team", "pointer": "/plans/0"}],
            "removed": [{"id": "ai-payg", "pointer": "/plans/2"}],
            "changed": [],
        }

    def test_changed_prices_are_named_one_by_one(self) -> None:
        document = make_document()
        document["plans"][1]["prices"][0]["unit_amount"] = 3900
        del document["plans"][1]["prices"][1]
        document["plans"][1]["prices"].append({"currency": "gbp", "unit_amount": 2500, "interval": "month"})
        (plan,) = diff(document).as_dict()["plans"]["changed"]
        assert plan["id"] == "pro"
        changes = {change["field"]: (change["pointer"], change["old"], change["new"]) for change in plan["changes"]}
        assert changes["price usd:month unit_amount"] == ("/plans/1/prices/0/unit_amount", 2900, 3900)
        assert changes["price usd:year"][0] == "/plans/1/prices/1"
        assert changes["price usd:year"][2] is None
        assert changes["price gbp:month"][:2] == ("/plans/1/prices/2", None)
        assert len(changes) == 3

    def test_a_value_that_is_gone_points_into_the_old_document(self) -> None:
        document = make_document()
        del document["plans"][0]["category"]
        document["plans"].append(document["plans"].pop(0))
        (plan,) = diff(document).as_dict()["plans"]["changed"]
        assert plan == {
            "id": "free",
            "pointer": "/plans/2",
            "changes": [{"pointer": "/plans/0/category", "field": "category", "old": "platform", "new": None}],
        }

    def test_quotas_are_compared_by_place(self) -> None:
        document = make_document()
        document["plans"][0]["quotas"][0]["limit"] = 5
        (plan,) = diff(document).as_dict()["plans"]["changed"]
        assert [change["field"] for change in plan["changes"]] == ["quota service:api api billing_period limit"]


METERED = {"currency": "usd", "meter": "api", "interval": "month"}
TIERS: list[dict[str, Any]] = [
    {"up_to": 1000, "unit_amount": "1"},
    {"up_to": 10_000, "unit_amount": "0.8", "flat_amount": 100},
    {"unit_amount": "0.5"},
]


def diff_prices(old: dict[str, Any], new: dict[str, Any]) -> list[tuple[str, str, Any, Any]]:
    """Return the changes of one usage price of `pro`, without its name."""
    documents = []
    for terms in (old, new):
        document = make_document()
        document["meters"][0]["dimensions"] = ["model", "region"]
        document["plans"][1]["prices"].append({**METERED, **terms})
        documents.append(document)
    (plan,) = diff(documents[1], documents[0]).as_dict()["plans"]["changed"]
    changes = [tuple(change.values()) for change in plan["changes"]]
    return [
        (pointer.removeprefix("/plans/1/prices/3"), name.removeprefix("price usd:month:api "), was, now)
        for pointer, name, was, now in changes
    ]


class TestPriceTerms:
    def test_a_tier_is_named_by_number_and_bound(self) -> None:
        tiers = [TIERS[0], {**TIERS[1], "unit_amount": "0.70"}, {**TIERS[2], "flat_amount": 50}]
        assert diff_prices({"model": "graduated", "tiers": TIERS}, {"model": "graduated", "tiers": tiers}) == [
            ("/tiers/1/unit_amount", "tier 2 up to 10,000", "0.8", "0.7"),
            ("/tiers/2/flat_amount", "tier 3 flat_amount", "0", "50"),
        ]

    def test_a_bound_that_moved_is_one_change(self) -> None:
        tiers = [TIERS[0], {**TIERS[1], "up_to": "20000.5"}, TIERS[2]]
        assert diff_prices({"model": "volume", "tiers": TIERS}, {"model": "volume", "tiers": tiers}) == [
            ("/tiers/1/up_to", "tier 2 up to 20,000.5 up_to", "10000", "20000.5")
        ]

    def test_a_tier_put_in_or_taken_out_is_named_alone(self) -> None:
        fewer = [TIERS[0], TIERS[2]]
        stored = {"up_to": "10000", "unit_amount": "0.8", "flat_amount": "100"}
        assert diff_prices({"model": "volume", "tiers": TIERS}, {"model": "volume", "tiers": fewer}) == [
            ("/tiers/1", "tier 2 up to 10,000", stored, None)
        ]
        assert diff_prices({"model": "volume", "tiers": fewer}, {"model": "volume", "tiers": TIERS}) == [
            ("/tiers/1", "tier 2 up to 10,000", None, stored)
        ]

    def test_variants_are_compared_by_the_usage_they_are_for(self) -> None:
        large, small = {"model": "large"}, {"region": "eu", "model": "small"}
        old = {"unit_amount": "1", "variants": [{"when": large, "unit_amount": 9}, {"when": small, "unit_amount": 2}]}
        new = {"unit_amount": "1", "variants": [{"when": small, "unit_amount": 3}, {"when": large, "unit_amount": 9}]}
        assert diff_prices(old, new) == [
            ("/variants/0/unit_amount", "variant model=small, region=eu unit_amount", "2", "3"),
            (
                "/variants",
                "order of variants",
                ["variant model=large", "variant model=small, region=eu"],
                ["variant model=small, region=eu", "variant model=large"],
            ),
        ]
        assert diff_prices(old, {"unit_amount": "1", "variants": old["variants"][:1]}) == [
            (
                "/variants/1",
                "variant model=small, region=eu",
                {"when": {"model": "small", "region": "eu"}, "unit_amount": "2"},
                None,
            )
        ]

    def test_other_terms_are_named_by_their_key(self) -> None:
        old = {"unit_amount": "1", "minimum_amount": "10.0", "transform_quantity": {"divide_by": 1000}}
        new = {"unit_amount": "1", "minimum_amount": 20, "model": "package", "package_size": 5}
        assert diff_prices(old, new) == [
            ("/model", "model", "per_unit", "package"),
            ("/package_size", "package_size", None, "5"),
            ("/minimum_amount", "minimum_amount", "10", "20"),
            ("/transform_quantity", "transform_quantity", {"divide_by": "1000", "round": "none"}, None),
        ]

    def test_the_same_terms_in_another_spelling_are_no_difference(self) -> None:
        document, other = make_document(), make_document()
        document["plans"][1]["prices"].append({**METERED, "model": "graduated", "tiers": TIERS})
        tiers = [{"flat_amount": "0", "unit_amount": "1.00", "up_to": " 1000"}, *TIERS[1:]]
        other["plans"][1]["prices"].append(
            {**METERED, "model": "Graduated", "tiers": [*tiers[:-1], {**TIERS[2], "up_to": 0}]}
        )
        assert diff(document, other).is_empty
