"""Requests that usage doors refuse are kept with reasons, a bounded number of each caller's, without secrets."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError
from pytest import MonkeyPatch

from accounts.models import Account
from billing_site.api.permissions import internal
from billing_site.kernel import clock
from metering.api import refusals
from metering.api.urls import urlpatterns
from metering.models import RejectedUsageCount, RejectedUsageRequest, UsageEvent
from metering.services import rejected_usage
from metering.tasks import purge_rejected_usage
from tests.factories.metering import AT, make_account, make_meter
from tests.support.api import make_client
from tests.support.problems import problem

pytestmark = pytest.mark.django_db
PATH = "/api/internal/billing/rejected-usage"
TENANT = "/api/v1/billing/tenants/acme%2Falice/usage"
EVENTS = "/api/v1/billing/meter-events"


@pytest.fixture(autouse=True)
def _noon() -> Iterator[None]:
    with clock.travel(AT):
        yield


@pytest.fixture
def account() -> Account:
    make_meter("api", unit="requests")
    return make_account("acme/alice", org_id="acme")


def post(path: str, body: Any, subject: str = "svc", **headers: str) -> Any:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    content_type = headers.pop("content_type", "application/json")
    client: Any = make_client(subject=subject)
    return client.generic("POST", path, content, content_type=content_type, headers=headers)


def usage(**values: Any) -> dict[str, Any]:
    return {"metric_type": "api", "quantity": "1", **values}


def kept(query: str = "", **client: Any) -> list[dict[str, Any]]:
    response = make_client(**client).get(f"{PATH}{query}")
    assert response.status_code == 200, response.content
    items: list[dict[str, Any]] = response.json()["items"]
    return items


def list_doors() -> Iterator[tuple[str, type[Any], str]]:
    """Yield path, view and action of every operation that records usage, by the scope it asks for."""
    for pattern in urlpatterns:
        view: Any = getattr(pattern.callback, "cls", None)
        actions: dict[str, str] = getattr(pattern.callback, "actions", None) or {"post": "post"}
        action = actions.get("post", "")
        if view is not None and view.scopes.get(action) == internal("billing:usage:write"):
            yield str(pattern.pattern), view, action


class TestDoors:
    def test_every_door_for_usage_keeps_what_it_refuses(self) -> None:
        doors = list(list_doors())
        assert len(doors) >= 8
        forgetful = [
            path
            for path, view, action in doors
            if not (issubclass(view, refusals.KeepsRefusals) and action in view.recording_actions)
        ]
        # These take a promise or a whole file: no event is refused there that its sender believes to be sent.
        assert [path for path in forgetful if not re.search("quota-reservations|usage-imports", path)] == []


class TestWhatIsKept:
    def test_every_reason_with_its_event_and_what_was_sent(self, account: Account) -> None:
        events = [usage(), usage(quantity="-1", idempotency_key="k1"), usage(metric_type="nope")]
        refused = problem(post(f"{TENANT}/batch", {"events": events}), "validation_failed", 400)
        [row] = kept()
        assert {key: row[key] for key in row if key not in ("id", "excerpt")} == {
            "rejected_at": "2026-03-15T12:00:00Z",
            "door": "usage_record_batch",
            "account_id": account.public_id,
            "account_reference": "acme/alice",
            "org_id": "acme",
            "caller": "internal:svc",
            "request_id": refused["instance"],
            "status": 400,
            "code": "validation_failed",
            "detail": refused["detail"],
            "event_count": 3,
            "finding_count": 2,
            "findings": [
                {
                    "index": 1,
                    "pointer": "/events/1/quantity",
                    "code": "min_value",
                    "detail": "A quantity cannot be negative.",
                },
                {
                    "index": 2,
                    "pointer": "/events/2/metric_type",
                    "code": "meter_not_found",
                    "detail": "There is no meter 'nope'.",
                },
            ],
            "not_kept": 0,
        }
        assert [(each["index"], json.loads(each["content"])) for each in row["excerpt"]] == [
            (1, events[1]),
            (2, events[2]),
        ]

    @pytest.mark.parametrize(
        ("path", "body", "code", "count"),
        [
            (TENANT, usage(quantity="-1"), "validation_failed", 1),
            (TENANT, usage(metric_type="nope"), "meter_not_found", 1),
            (TENANT, b"{", "malformed_body", None),
            (f"{TENANT}/batch", [usage()] * 1001, "batch_too_large", 1001),
            (f"{TENANT}/batch", b"[]", "validation_failed", 0),
            (TENANT, b" " * (5 * 1024 * 1024 + 1), "validation_failed", None),
            (EVENTS, {"events": [{"meter_id": "api", "value": 1}]}, "validation_failed", 1),
            (EVENTS, {"events": [{"meter_id": "nope", "value": 1, "account": "ACME/alice"}]}, "meter_not_found", 1),
            ("/api/v1/billing/usage", {"account": "acme/alice", "amount": "x"}, "validation_failed", 1),
            ("/api/v1/billing/tenants/nobody/usage", usage(), "not_found", 1),
            ("/api/internal/usage-events", {"nothing": "known"}, "validation_failed", 1),
            ("/api/internal/billing/usage-exports", {"account": "acme/alice"}, "quantity_not_derivable", 1),
            ("/api/v1/dns/usage", {"account": "acme/alice", "queries": "many"}, "validation_failed", 1),
        ],
    )
    def test_by_every_door(self, account: Account, path: str, body: Any, code: str, count: int | None) -> None:
        problem(post(path, body), code)
        [row] = kept()
        assert (row["code"], row["event_count"]) == (code, count)
        known = path.startswith(TENANT) or b"acme/alice" in json.dumps(str(body)).lower().encode()
        assert row["account_id"] == (account.public_id if known else None)

    def test_another_media_type_is_kept_too(self, account: Account) -> None:
        problem(post(TENANT, b"a,b", content_type="text/csv"), "unsupported_media_type", 415)
        [row] = kept()
        assert (row["code"], row["excerpt"]) == ("unsupported_media_type", [{"index": None, "content": "a,b"}])

    def test_what_concerns_the_caller_is_not_kept(self, account: Account) -> None:
        client: Any = make_client(scopes=["billing:read"])
        problem(client.post(TENANT, usage()), "scope_missing", 403)
        problem(make_client("public", "alice").post(TENANT, usage()), "audience_rejected", 403)
        assert post(TENANT, usage()).status_code == 201
        problem(make_client().get(f"{TENANT}?limit=0"), "validation_failed")
        assert kept() == []

    def test_a_keyed_request_is_kept_once(self, account: Account) -> None:
        for _ in range(2):
            problem(post(TENANT, usage(quantity="-1"), **{"Idempotency-Key": "k"}), "validation_failed")
        assert len(kept()) == 1
        assert not UsageEvent.objects.exists()

    def test_much_is_cut(self, account: Account) -> None:
        problem(post(f"{TENANT}/batch", [usage(quantity="-1", resource_id="r" * 3000)] * 200), "validation_failed")
        [row] = kept()
        assert (row["finding_count"], len(row["findings"]), len(row["excerpt"])) == (400, 50, 5)
        assert {len(each["content"]) for each in row["excerpt"]} == {1000}

    @pytest.mark.parametrize("body", [b"\xff\xfe", b'{"metric_type": "\\ud800"}', b"[" * 100_000, b"\0", b"null", b"3"])
    def test_the_strangest_bodies_are_answered_as_always(self, account: Account, body: bytes) -> None:
        assert post(TENANT, body).status_code == 400
        assert len(kept()) == 1


class TestSecrets:
    @pytest.mark.parametrize("broken", ["", "}}"])
    def test_are_replaced(self, account: Account, broken: str) -> None:
        metadata = {
            "api_key": "very-hidden-1",
            "note": "Bearer very-hidden-2 and sk_live_veryhidden3",
            "deep": {"password": "very-hidden-4"},
            "tokens": 7,
        }
        body = json.dumps(usage(quantity="-1", metadata=metadata)) + broken
        assert post(TENANT, body.encode()).status_code == 400
        [row] = kept()
        [excerpt] = row["excerpt"]
        assert "hidden" not in excerpt["content"]
        assert '"tokens": 7' in excerpt["content"]

    def test_nothing_is_kept_of_card_data(self, account: Account) -> None:
        problem(post(TENANT, usage(metadata={"note": "4242424242424242"})), "validation_failed")
        [row] = kept()
        assert row["findings"][0]["code"] == "card_number_refused"
        assert "4242" not in json.dumps(row)

    def test_card_numbers_in_a_body_that_is_no_json_are_hidden(self, account: Account) -> None:
        problem(post(TENANT, b'{"note": "pay 4242424242424242 now"'), "malformed_body")
        [row] = kept()
        assert "4242" not in json.dumps(row)


class TestBounds:
    def test_only_so_many_of_a_caller_are_kept_in_a_minute(self, account: Account, settings: Any) -> None:
        settings.BILLING_REJECTED_USAGE_PER_MINUTE = 3
        for _ in range(5):
            problem(post(TENANT, usage(quantity="-1")), "validation_failed", 400)
        problem(post(TENANT, usage(quantity="-1"), subject="other"), "validation_failed", 400)
        rows = kept()
        assert [(row["caller"], row["not_kept"]) for row in rows] == [
            ("internal:other", 0),
            *[("internal:svc", 2)] * 3,
        ]
        with clock.travel(AT + timedelta(minutes=1)):
            problem(post(TENANT, usage(quantity="-1")), "validation_failed", 400)
        assert len(kept()) == 5
        assert RejectedUsageCount.objects.count() == 3

    def test_and_in_a_day(self, account: Account, monkeypatch: MonkeyPatch) -> None:
        monkeypatch.setattr(rejected_usage, "KEPT_A_DAY", 2)
        for minute in range(4):
            with clock.travel(AT + timedelta(minutes=minute)):
                problem(post(TENANT, usage(quantity="-1")), "validation_failed", 400)
        assert len(kept()) == 2
        assert [(row.refused, row.kept) for row in RejectedUsageCount.objects.order_by("minute")] == [
            (1, 1),
            (1, 1),
            (1, 0),
            (1, 0),
        ]
        with clock.travel(AT + timedelta(days=1, minutes=1)):
            problem(post(TENANT, usage(quantity="-1")), "validation_failed", 400)
        assert len(kept()) == 3

    def test_leave_after_thirty_days(self, account: Account) -> None:
        problem(post(TENANT, usage(quantity="-1")), "validation_failed", 400)
        with clock.travel(AT + timedelta(days=30)):
            assert purge_rejected_usage() == 0
        with clock.travel(AT + timedelta(days=30, seconds=1)):
            assert purge_rejected_usage() == 1
        assert not RejectedUsageRequest.objects.exists()
        assert not RejectedUsageCount.objects.exists()

    @pytest.mark.parametrize("failure", [DatabaseError("disk full"), ValueError("a mistake of ours")])
    def test_what_cannot_be_kept_changes_no_answer(
        self, account: Account, monkeypatch: MonkeyPatch, failure: Exception
    ) -> None:
        def fail(*_: Any, **__: Any) -> None:
            raise failure

        monkeypatch.setattr(refusals, "keep_refusal", fail)
        problem(post(TENANT, usage(quantity="-1")), "validation_failed", 400)
        assert kept() == []


@pytest.mark.django_db(transaction=True)
class TestTransactions:
    @pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "k"}])
    def test_is_kept_though_the_request_was_rolled_back(self, headers: dict[str, str]) -> None:
        make_meter("api", unit="requests")
        make_account("acme/alice", org_id="acme")
        problem(post(f"{TENANT}/batch", [usage(), usage(quantity="-1")], **headers), "validation_failed", 400)
        assert (RejectedUsageRequest.objects.count(), UsageEvent.objects.count()) == (1, 0)


class TestList:
    def test_filters(self, account: Account) -> None:
        other = make_account("globex/bob", org_id="globex")
        post(TENANT, usage(quantity="-1"))
        with clock.travel(AT + timedelta(days=1)):
            post("/api/v1/billing/tenants/globex%2Fbob/usage", usage(metric_type="nope"))
        first, second = account.public_id, other.public_id

        def found(query: str, **client: Any) -> list[str]:
            return [row["account_id"] for row in kept(query, **client)]

        assert found("") == [second, first]
        assert found("?account=ACME/alice") == [first]
        assert found("?code=meter_not_found") == [second]
        assert found("?code=min_value") == [first]
        assert found("?start=2026-03-16") == [second]
        assert found("?end=2026-03-15") == [first]
        assert found("", org="acme") == [first]
        problem(make_client(org="acme").get(f"{PATH}?account=globex/bob"), "not_found", 404)
        problem(make_client().get(f"{PATH}?start=2026-03-16&end=2026-03-15T00:00:00Z"), "period_invalid", 400)

    def test_pages(self, account: Account) -> None:
        for _ in range(3):
            post(TENANT, usage(quantity="-1"))
        first = make_client().get(f"{PATH}?limit=2").json()
        second = make_client().get(f"{PATH}?limit=2&cursor={first['next_cursor']}").json()
        ids = [row["id"] for row in first["items"] + second["items"]]
        assert (len(set(ids)), second["has_more"]) == (3, False)
        assert ids == sorted(ids, reverse=True)
