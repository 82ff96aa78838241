"""The usage feed over HTTP: telling events, reading pages, dropping what was stored."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from metering.models import UsageEvent, UsageFeedEvent, UsageFeedReading
from metering.services import usage_feed
from tests.factories.metering import make_account, make_meter
from tests.support.api import make_client
from tests.support.problems import problem

pytestmark = pytest.mark.django_db

DOOR = "/api/internal/usage-events"
NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _now(clock_at: Any) -> Any:
    with clock_at(NOW):
        yield


def tell(event_type: str = "usage_recorded", client: Any = None, **body: Any) -> Any:
    headers = body.pop("headers", {})
    return (client or make_client()).post(DOOR, {"event_type": event_type, **body}, headers=headers)


def read(client: Any = None, **query: Any) -> dict[str, Any]:
    response = (client or make_client()).get(DOOR, query)
    assert response.status_code == 200, response.content
    page: dict[str, Any] = response.json()
    return page


def drop(client: Any = None, **query: Any) -> Any:
    return (client or make_client()).delete(f"{DOOR}?" + "&".join(f"{name}={value}" for name, value in query.items()))


def at(minutes: int) -> str:
    return (NOW - timedelta(hours=2) + timedelta(minutes=minutes)).isoformat().replace("+00:00", "Z")


def list_usage() -> list[tuple[str, int, str]]:
    rows = UsageEvent.objects.select_related("meter").order_by("timestamp", "idempotency_key")
    return [(row.meter.event_name, int(row.value), row.idempotency_key) for row in rows]


class TestRecord:
    def test_keeps_the_event_and_counts_what_the_rules_find(self) -> None:
        account, meter = make_account("acme"), make_meter("llm_tokens", dimensions=["model"])
        response = tell(
            account_id="ACME",
            event_id="e1",
            occurred_at="2026-03-15T11:00:00+01:00",
            data={"total_tokens": 120, "model": "model-a", "cost_center": "nowhere"},
        )
        assert response.status_code == 201
        row = UsageFeedEvent.objects.get()
        assert response.json() == {
            "id": row.pk,
            "event_id": "e1",
            "occurred_at": "2026-03-15T10:00:00Z",
            "account_id": account.public_id,
            "event_type": "usage_recorded",
            "data": {"total_tokens": 120, "model": "model-a", "cost_center": "nowhere"},
        }
        usage = UsageEvent.objects.get()
        assert (usage.meter, int(usage.value), usage.idempotency_key) == (meter, 120, "e1")
        assert usage.timestamp == datetime(2026, 3, 15, 10, tzinfo=UTC)
        assert (usage.dimensions, usage.cost_center) == ({"model": "model-a"}, None)
        assert usage.metadata == {"event_type": "usage_recorded", "feature": "llm:proxy"}
        assert row.outcome == "counted"

    def test_counts_finished_runs_in_started_seconds(self) -> None:
        make_account("acme")
        make_meter("container_runtime_seconds")
        tell("container_run_finished", account_id="acme", event_id="r1", data={"duration_ms": 61_001})
        assert list_usage() == [("container_runtime_seconds", 62, "r1")]  # 61.001 s

    @pytest.mark.parametrize(
        "event_type", ["request_failed", "client_aborted", "container_run_failed", "usage_missing", "container.run"]
    )
    def test_bills_nothing_that_is_unmapped_failed_or_aborted(self, event_type: str) -> None:
        make_account("acme")
        make_meter("llm_tokens")
        response = tell(event_type, account_id="acme", event_id="e1", data={"total_tokens": 5, "duration_ms": 5})
        assert response.status_code == 201
        assert "warning" not in response.json()
        assert UsageFeedEvent.objects.get().outcome == "not_billed"
        assert not UsageEvent.objects.exists()

    def test_repeated_answers_the_first_and_counts_nothing(self) -> None:
        make_account("acme")
        make_meter("llm_tokens")
        body: dict[str, Any] = {"account_id": "acme", "event_id": "e1", "data": {"total_tokens": 5}}
        first, again = tell(**body), tell(**{**body, "data": {"total_tokens": 900}})
        assert (first.status_code, again.status_code) == (201, 200)
        assert again.json() == first.json()
        assert list_usage() == [("llm_tokens", 5, "e1")]

    def test_counts_an_event_id_once_per_account(self) -> None:
        make_meter("llm_tokens")
        for handle in ("acme", "other"):
            make_account(handle)
            assert tell(account_id=handle, event_id="e1", data={"tokens": 5}).status_code == 201
        assert list_usage() == [("llm_tokens", 5, "e1")] * 2

    def test_repeated_after_collection_is_still_known(self) -> None:
        make_account("acme")
        make_meter("llm_tokens")
        body: dict[str, Any] = {
            "account_id": "acme",
            "event_id": "e1",
            "occurred_at": at(0),
            "data": {"total_tokens": 5},
        }
        first = tell(**body).json()
        before = read()["before"]
        assert drop(before=before).json() == {"deleted": 1}
        again = tell(**body)
        assert again.status_code == 200
        assert again.json() == {**first, "data": {}}
        assert read(before=before)["items"] == []
        assert list_usage() == [("llm_tokens", 5, "e1")]

    def test_without_event_id_warns_and_counts_equal_quantities_once(self) -> None:
        make_account("acme")
        make_meter("llm_tokens")
        one, two, other = (tell(account_id="acme", data={"tokens": tokens}) for tokens in (5, 5, 6))
        assert [each.status_code for each in (one, two, other)] == [201, 201, 201]
        assert "event_id" not in one.json()
        assert "Send event_id" in one.json()["warning"]
        assert "was not" not in one.json()["warning"]
        assert "counted before; this one was not" in two.json()["warning"]
        assert sorted(value for _, value, _ in list_usage()) == [5, 6]
        assert UsageFeedEvent.objects.count() == 3

    def test_with_an_idempotency_key_counts_equal_quantities_each(self) -> None:
        make_account("acme")
        make_meter("llm_tokens")
        answers = [
            tell(account_id="acme", data={"tokens": 5}, headers={"Idempotency-Key": key}) for key in ("a", "b", "a")
        ]
        assert ["warning" in answer.json() for answer in answers] == [False] * 3
        assert answers[2]["Idempotent-Replayed"] == "true"
        assert [value for _, value, _ in list_usage()] == [5, 5]
        assert UsageFeedEvent.objects.count() == 2

    @pytest.mark.parametrize(
        ("body", "code"),
        [
            ({"data": {"tokens": 5}}, "account_required"),
            ({"account_id": str(uuid.uuid4()), "data": {"tokens": 5}}, "account_unknown"),
            ({"account_id": "acme", "data": {"tokens": 0}}, "quantity_not_derivable"),
            ({"account_id": "acme"}, "quantity_not_derivable"),
        ],
    )
    def test_keeps_what_cannot_be_counted_with_the_reason(self, body: dict[str, Any], code: str) -> None:
        make_account("acme")
        make_meter("llm_tokens")
        response = tell(event_id="e1", **body)
        assert response.status_code == 201
        assert response.json()["warning"].startswith("Kept, but not counted: ")
        row = UsageFeedEvent.objects.get()
        assert (row.outcome, row.outcome_code) == ("uncounted", code)
        assert not UsageEvent.objects.exists()

    def test_keeps_usage_of_a_meter_that_is_not_there(self) -> None:
        make_account("acme")
        assert "no meter 'llm_tokens'" in tell(account_id="acme", event_id="e", data={"tokens": 5}).json()["warning"]
        assert UsageFeedEvent.objects.get().outcome_code == "meter_not_found"

    def test_shows_an_unknown_account_as_it_was_named(self) -> None:
        reference = str(uuid.uuid4())
        assert tell(account_id=reference.upper(), event_id="e1").json()["account_id"] == reference
        assert tell(account_id=reference, event_id="e1").status_code == 200
        assert tell("request_started").json()["account_id"] is None

    @pytest.mark.parametrize(
        ("body", "pointer"),
        [
            ({"event_type": "usage_guessed"}, "/event_type"),
            ({"account_id": "nobody"}, "/account_id"),
            ({"occurred_at": "2026-03-15T12:05:01Z"}, "/occurred_at"),
            ({"occurred_at": "yesterday"}, "/occurred_at"),
            ({"data": [1]}, "/data"),
            ({"data": {"text": "x" * 20_000}}, "/data"),
            ({"event_id": "x" * 256}, "/event_id"),
            ({"evnt_id": "e1"}, "/evnt_id"),
        ],
    )
    def test_refuses_what_is_wrong_and_keeps_nothing(self, body: dict[str, Any], pointer: str) -> None:
        make_account("acme")
        response = make_client().post(DOOR, {"event_type": "usage_recorded", "account_id": "acme", **body})
        found = problem(response, "validation_failed", 400)
        assert [finding["pointer"] for finding in found["errors"]] == [pointer]
        assert not UsageFeedEvent.objects.exists()

    def test_of_an_organization_does_not_see_accounts_of_another(self) -> None:
        other = str(uuid.uuid4())
        make_account(other, org_id="other")
        client = make_client(org="acme")
        assert tell(client=client, account_id=other, event_id="e1").json()["account_id"] == other
        assert UsageFeedEvent.objects.get().account is None

    def test_counts_by_a_rules_file(self, settings: Any, tmp_path: Path) -> None:
        rules = [
            {"event_type": "usage_recorded", "feature": "llm", "meter_event_name": name, "quantity_field": name}
            for name in ("input_tokens", "output_tokens")
        ]
        file = tmp_path / "rules.json"
        file.write_text(json.dumps({"rules": rules}))
        settings.BILLING_USAGE_EXPORT_POLICY = str(file)
        make_account("acme")
        make_meter("input_tokens")
        make_meter("output_tokens")
        tell(account_id="acme", event_id="e1", data={"input_tokens": 3, "output_tokens": 4, "total_tokens": 7})
        assert sorted(list_usage()) == [("input_tokens", 3, "e1"), ("output_tokens", 4, "e1")]

    def test_bills_nothing_under_the_policy_none(self, settings: Any) -> None:
        settings.BILLING_USAGE_EXPORT_POLICY = "none"
        make_account("acme")
        make_meter("llm_tokens")
        tell(account_id="acme", event_id="e1", data={"tokens": 5})
        assert not UsageEvent.objects.exists()


class TestList:
    def test_orders_by_time_then_id_and_pages(self) -> None:
        ids = {name: tell("request_started", event_id=name, occurred_at=at(when)).json()["id"]
               for name, when in (("c", 2), ("a", 1), ("d", 2), ("b", 1))}  # fmt: skip
        tell("request_started", event_id="later", occurred_at=at(200))
        pages = [read(before=at(3), page=page, page_size=3) for page in (1, 2, 3)]
        assert [[item["event_id"] for item in page["items"]] for page in pages] == [["a", "b", "c"], ["d"], []]
        assert pages[0]["items"][0]["id"] == ids["a"]
        assert {name: pages[0][name] for name in ("page", "page_size", "before", "has_more")} == {
            "page": 1, "page_size": 3, "before": at(3), "has_more": True,
        }  # fmt: skip
        assert [page["has_more"] for page in pages] == [True, False, False]

    def test_leaves_out_what_happens_at_the_border(self) -> None:
        tell("request_started", event_id="border", occurred_at=at(3))
        assert read(before=at(3))["items"] == []
        assert len(read(before=at(4))["items"]) == 1

    def test_reads_up_to_now_by_default_and_says_so(self) -> None:
        tell("request_started", event_id="past", occurred_at=at(0))
        tell("request_started", event_id="ahead", occurred_at="2026-03-15T12:03:00Z")
        page = read()
        assert page["before"] == "2026-03-15T12:00:00Z"
        assert [item["event_id"] for item in page["items"]] == ["past"]

    @pytest.mark.parametrize("query", [{"page": 0}, {"page_size": 0}, {"page_size": 10_001}, {"page": "x"}])
    def test_refuses_pages_out_of_range(self, query: dict[str, Any]) -> None:
        problem(make_client().get(DOOR, query), "validation_failed", 400)

    def test_shows_an_organization_its_own_events_alone(self) -> None:
        make_account("a", org_id="one")
        make_account("b", org_id="two")
        for handle in ("a", "b"):
            tell("request_started", account_id=handle, event_id=handle, occurred_at=at(0))
        tell("request_started", client=make_client(org="one"), event_id="nameless", occurred_at=at(1))
        assert [each["event_id"] for each in read(make_client(org="one"))["items"]] == ["a", "nameless"]
        assert len(read()["items"]) == 3
        assert drop(make_client(org="two"), before=at(9)).json() == {"deleted": 1}
        assert [each["event_id"] for each in read()["items"]] == ["a", "nameless"]

    def test_reads_a_page_with_as_many_queries_whatever_its_size(self) -> None:
        make_account("acme")
        for number in range(12):
            tell("request_started", account_id="acme", event_id=str(number), occurred_at=at(number))
        client = make_client()
        counts = []
        for size in (2, 12):
            with CaptureQueriesContext(connection) as queries:
                assert len(read(client, before=at(50), page_size=size)["items"]) == size
            counts.append(len(queries))
        assert counts[0] == counts[1] <= 9


class TestDelete:
    def test_drops_the_page_that_was_read_until_none_is_left(self) -> None:
        make_account("acme")
        make_meter("llm_tokens")
        for number in range(5):
            tell(account_id="acme", event_id=f"e{number}", occurred_at=at(number), data={"tokens": number + 1})
        before, collected = read(page_size=1)["before"], []
        while items := read(before=before, page=1, page_size=2)["items"]:
            collected += [item["event_id"] for item in items]
            assert drop(before=before, page=1, page_size=2).json() == {"deleted": len(items)}
        assert collected == ["e0", "e1", "e2", "e3", "e4"]
        assert sum(value for _, value, _ in list_usage()) == 15  # 1 + 2 + 3 + 4 + 5: billed usage stays
        assert set(UsageFeedEvent.objects.values_list("collected_at", flat=True)) == {NOW}
        assert [row.data for row in UsageFeedEvent.objects.all()] == [{}] * 5

    def test_keeps_what_arrived_since_the_page_was_read(self) -> None:
        for number in (2, 3):
            tell("request_started", event_id=f"e{number}", occurred_at=at(number))
        before = read()["before"]
        assert len(read(before=before, page_size=2)["items"]) == 2
        tell("request_started", event_id="late", occurred_at=at(1))  # first of the page by time, and unread
        assert drop(before=before, page_size=2).json() == {"deleted": 2}
        assert [item["event_id"] for item in read(before=before)["items"]] == ["late"]
        assert drop(before=before).json() == {"deleted": 1}

    def test_drops_unread_events_for_nobody_who_read_before(self) -> None:
        tell("request_started", event_id="e1", occurred_at=at(1))
        before = read()["before"]
        tell("request_started", event_id="late", occurred_at=at(0))
        assert len(read(make_client(subject="other"), before=before)["items"]) == 2
        assert drop(before=before).json() == {"deleted": 1}
        assert [item["event_id"] for item in read()["items"]] == ["late"]

    @pytest.mark.parametrize(
        "query", [{}, {"before": "2026-03-15T12:00:01Z"}, {"before": "soon"}, {"before": "2026-03-15"}]
    )
    def test_refuses_without_a_time_in_the_past(self, query: dict[str, str]) -> None:
        tell("request_started", event_id="e1", occurred_at=at(1))
        problem(drop(**query), "validation_failed", 400)
        assert len(read()["items"]) == 1

    def test_needs_its_own_scope(self) -> None:
        reader = make_client(scopes=["usage:read"])
        assert reader.get(DOOR).status_code == 200
        problem(drop(reader, before=at(0)), "scope_missing", 403)
        problem(reader.post(DOOR, {"event_type": "request_started"}), "scope_missing", 403)
        problem(make_client("public").get(DOOR), "audience_rejected", 403)


class TestPurge:
    def test_forgets_what_was_collected_and_is_not_repeated_any_more(self) -> None:
        for number in range(3):
            tell("request_started", event_id=f"e{number}", occurred_at=at(number))
        before = at(2)
        read(before=before)
        drop(before=before)
        assert usage_feed.purge_collected(at=NOW + timedelta(days=35)) == 0
        assert usage_feed.purge_collected(at=NOW + timedelta(days=35, seconds=1)) == 2
        assert [row.event_id for row in UsageFeedEvent.objects.all()] == ["e2"]  # never collected: kept
        assert not UsageFeedReading.objects.exists()
