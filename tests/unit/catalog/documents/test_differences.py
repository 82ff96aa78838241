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
