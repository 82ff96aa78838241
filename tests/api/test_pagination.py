"""Cursor pages stay put while rows are added."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.db import transaction

from billing_site.api.pagination import decode_cursor, encode_cursor
from billing_site.kernel.errors import ValidationFailed
from billing_site.platform.models import Event
from billing_site.platform.services import events
from tests.factories.platform import make_new_event
from tests.support.api import make_client
from tests.support.problems import findings, problem

pytestmark = [pytest.mark.urls("tests.api.probe"), pytest.mark.django_db]


def add(count: int) -> list[str]:
    with transaction.atomic():
        rows = events.emit_many([make_new_event() for _ in range(count)])
    return [str(row.pk) for row in rows]


def page(**query: Any) -> dict[str, Any]:
    answer: dict[str, Any] = make_client().get("/api/widgets", query).json()
    return answer


class TestPages:
    def test_walk_from_newest_to_oldest_once_each_while_rows_are_added(self) -> None:
        made = add(7)
        seen: list[str] = []
        cursor: str | None = None
        for _ in range(10):
            answer = page(limit=3, **({"cursor": cursor} if cursor else {}))
            seen += [item["id"] for item in answer["items"]]
            assert answer["has_more"] is (answer["next_cursor"] is not None)
            cursor = answer["next_cursor"]
            add(2)  # newer than everything on the pages that follow
            if cursor is None:
                break
        assert seen == made[::-1]

    def test_exactly_full_page_is_the_last(self) -> None:
        add(3)
        answer = page(limit=3)
        assert (len(answer["items"]), answer["next_cursor"], answer["has_more"]) == (3, None, False)

    def test_default_is_fifty_and_most_is_two_hundred(self) -> None:
        add(205)
        assert len(page()["items"]) == 50
        assert len(page(limit=200)["items"]) == 200

    def test_empty(self) -> None:
        assert page() == {"items": [], "next_cursor": None, "has_more": False}

    @pytest.mark.parametrize("limit", ["0", "201", "-1", "1.5", "ten", "9" * 30, "٣"])
    def test_limit_out_of_range(self, limit: str) -> None:
        response = make_client().get("/api/widgets", {"limit": limit})
        assert findings(problem(response, "validation_failed", 400)) == [("limit", "invalid")]

    @pytest.mark.parametrize(
        "cursor", ["x", "AAAA", "é", "' OR 1=1", encode_cursor(uuid.UUID(int=7))[:-1] + "!", "A" * 5000]
    )
    def test_foreign_cursor(self, cursor: str) -> None:
        response = make_client().get("/api/widgets", {"cursor": cursor})
        assert findings(problem(response, "validation_failed", 400)) == [("cursor", "invalid")]

    def test_cursor_of_a_row_that_is_gone_still_works(self) -> None:
        add(2)
        newest = Event.objects.order_by("-pk").values_list("pk", flat=True)[0]
        between = uuid.UUID(int=newest.int - 1)
        assert len(page(cursor=encode_cursor(between))["items"]) == 1


class TestCursor:
    def test_round_trip(self) -> None:
        key = uuid.uuid4()
        assert decode_cursor(encode_cursor(key)) == key

    def test_other_version_is_refused(self) -> None:
        with pytest.raises(ValidationFailed):
            decode_cursor("M" + encode_cursor(uuid.uuid4())[1:].replace("A", "B", 1)[:-3] + "x")
