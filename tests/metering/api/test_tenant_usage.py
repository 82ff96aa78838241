"""The usage doors of one account, called as clients call them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Account, Member
from accounts.services.cost_centers import update_cost_center
from billing_site.api.dialect import CAMEL_MEDIA_TYPE
from billing_site.kernel import clock
from billing_site.kernel.actors import SYSTEM
from catalog.models import Meter
from metering.models import UsageEvent
from tests.factories.cost_centers import make_cost_center
from tests.factories.metering import AT, make_account, make_meter, make_subscription, record
from tests.support.api import make_client
from tests.support.problems import findings, problem

pytestmark = pytest.mark.django_db
PATH = "/api/v1/billing/tenants/acme%2Falice/usage"


@pytest.fixture(autouse=True)
def _noon() -> Iterator[None]:
    with clock.travel(AT):
        yield


@pytest.fixture
def account() -> Account:
    make_meter("api", unit="requests")
    return make_account("acme/alice", org_id="acme")


def post(path: str, body: Any, **headers: str) -> Any:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    content_type = headers.pop("content_type", "application/json")
    client: Any = make_client()
    return client.generic("POST", path, content, content_type=content_type, headers=headers)


def usage(**values: Any) -> dict[str, Any]:
    return {"metric_type": "api", "quantity": "1", **values}


class TestRecord:
    def test_answers_the_stored_record(self, account: Account) -> None:
        response = post(
            PATH,
            usage(
                quantity=1.5,
                timestamp="2026-03-02T01:00:00+01:00",
                idempotency_key="k",
                user_id="ada",
                resource_id="r",
                resource_type="vm",
                metadata='{"a": 1}',
            ),
        )
        assert response.status_code == 201
        body = response.json()
        event = UsageEvent.objects.get()
        assert body == {
            "id": event.public_id,
            "account_id": account.public_id,
            "metric_type": "api",
            "meter_id": event.meter.public_id,
            "quantity": "1.5",
            "unit": "requests",
            "resource_id": "r",
            "resource_type": "vm",
            "actor_id": "ada",
            "cost_center_id": None,
            "idempotency_key": "k",
            "metadata": {"a": 1},
            "timestamp": "2026-03-02T00:00:00Z",
            "recorded_at": "2026-03-15T12:00:00Z",
            "status": "created",
        }

    def test_counts_on_the_cost_center_it_names(self, account: Account) -> None:
        center = make_cost_center(account, "ops")
        by_field = post(PATH, usage(cost_center="OPS")).json()
        by_metadata = post(PATH, usage(metadata={"cost_center": center.public_id})).json()
        assert [by_field["cost_center_id"], by_metadata["cost_center_id"]] == [center.public_id] * 2
        batch = post(f"{PATH}/batch", [usage(), usage(cost_center=center.public_id)]).json()
        assert [item["cost_center_id"] for item in batch["items"]] == [None, center.public_id]

    def test_a_repeat_answers_200_and_changes_nothing(self, account: Account) -> None:
        first = post(PATH, usage(idempotency_key="k")).json()
        response = post(PATH, usage(idempotency_key="k", quantity="7"))
        assert (response.status_code, response.json()) == (200, {**first, "status": "duplicate"})
        assert UsageEvent.objects.count() == 1

    def test_the_header_alone_makes_a_repeat_safe(self, account: Account) -> None:
        answers = [post(PATH, usage(), **{"Idempotency-Key": "once"}) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [201, 201]
        assert answers[0].content == answers[1].content
        assert answers[1].headers["Idempotent-Replayed"] == "true"
        assert UsageEvent.objects.count() == 1
        # The same request in another spelling is the same request; another one is refused.
        spaced = json.dumps({"quantity": "1", "metric_type": "api"}, indent=2).encode()
        assert post(PATH, spaced, **{"Idempotency-Key": "once"}).content == answers[0].content
        problem(post(PATH, usage(quantity="2"), **{"Idempotency-Key": "once"}), "idempotency_key_reused", 422)

    @pytest.mark.parametrize("text", ["0.1", "0.123456789012", "12345678901234567890123456.5"])
    def test_a_json_number_is_taken_exactly(self, account: Account, text: str) -> None:
        body = b'{"metric_type": "api", "quantity": ' + text.encode() + b"}"
        assert post(PATH, body).json()["quantity"] == text

    def test_takes_a_plain_date(self, account: Account) -> None:
        assert post(PATH, usage(timestamp="2026-03-02")).json()["timestamp"] == "2026-03-02T00:00:00Z"

    def test_speaks_camel_case(self, account: Account) -> None:
        body = {"metricType": "api", "quantity": "1", "resourceId": "r", "metadata": {"snake_key": {"camelKey": 1}}}
        response = make_client().generic(
            "POST", PATH, json.dumps(body), content_type=CAMEL_MEDIA_TYPE, headers={"Accept": CAMEL_MEDIA_TYPE}
        )
        answer = response.json()
        assert response.headers["Content-Type"] == CAMEL_MEDIA_TYPE
        assert (answer["metricType"], answer["resourceId"], answer["metadata"]) == ("api", "r", body["metadata"])
        wrong = post(PATH, b'{"metricType": 1}', content_type=CAMEL_MEDIA_TYPE)
        assert findings(problem(wrong, "validation_failed", 400)) == [
            ("/metricType", "invalid"),
            ("/quantity", "required"),
        ]

    @pytest.mark.parametrize(
        ("values", "pointer", "code"),
        [
            ({"quantity": "-1"}, "/quantity", "min_value"),
            ({"quantity": "0.0000000000001"}, "/quantity", "too_precise"),
            ({"quantity": "1,5"}, "/quantity", "invalid"),
            ({"quantity": True}, "/quantity", "invalid"),
            ({"quantity": "NaN"}, "/quantity", "invalid"),
            ({"quantity": None}, "/quantity", "invalid"),
            ({"metric_type": 5}, "/metric_type", "invalid"),
            ({"unit": "bytes"}, "/unit", "unit_not_convertible"),
            ({"timestamp": "yesterday"}, "/timestamp", "invalid"),
            ({"timestamp": "2026-03-01T00:00:00"}, "/timestamp", "invalid"),
            ({"timestamp": "2026-03-15T12:05:01Z"}, "/timestamp", "in_future"),
            ({"idempotency_key": "k" * 256}, "/idempotency_key", "max_length"),
            ({"metadata": "[1]"}, "/metadata", "invalid"),
            ({"metadata": [1]}, "/metadata", "invalid"),
            ({"cost_center": "ops"}, "/cost_center", "unknown_cost_center"),
            ({"metadata": {"cost_center": "ops"}}, "/metadata/cost_center", "unknown_cost_center"),
            ({"actor_id": "ada", "user_id": "bob"}, "/user_id", "ambiguous"),
        ],
    )
    def test_names_the_wrong_field(self, account: Account, values: dict[str, Any], pointer: str, code: str) -> None:
        body = problem(post(PATH, usage(**values)), "validation_failed", 400)
        assert findings(body) == [(pointer, code)]
        assert not UsageEvent.objects.exists()

    @pytest.mark.parametrize(
        ("content", "code", "status"),
        [
            (b"", "malformed_body", 400),
            (b"{", "malformed_body", 400),
            (b'{"quantity": 1e}', "malformed_body", 400),
            (b"\xff\xfe", "malformed_body", 400),
            (b'{"metric_type": "api", "quantity": 1, "resource_id": "\\u0000"}', "malformed_body", 400),
            (b'{"metric_type": "api", "quantity": 1, "resource_id": "\\ud800"}', "malformed_body", 400),
            (b'{"metric_type": "api", "quantity": 1, "metadata": ' + b"[" * 100_000, "malformed_body", 400),
            (b"[]", "validation_failed", 400),
            (b"3", "validation_failed", 400),
            (b"null", "validation_failed", 400),
            (b'{"metric_type": "nope", "quantity": 1}', "meter_not_found", 404),
            (b" " * (10 * 1024 * 1024), "validation_failed", 400),
        ],
    )
    def test_refuses_what_it_cannot_read(self, account: Account, content: bytes, code: str, status: int) -> None:
        problem(post(PATH, content), code, status)
        assert not UsageEvent.objects.exists()

    def test_takes_no_other_type(self, account: Account) -> None:
        problem(post(PATH, b"a=1", content_type="text/csv"), "unsupported_media_type", 415)

    @pytest.mark.parametrize("path", [PATH, f"{PATH}/batch"])
    def test_takes_internal_tokens_with_the_scope_only(self, account: Account, path: str) -> None:
        Member.objects.create(account=account, user_id="alice", role="owner", added_at=AT)
        public = make_client("public", "alice")
        problem(public.post(path, usage()), "audience_rejected", 403)
        problem(make_client(scopes=["billing:read"]).post(path, usage()), "scope_missing", 403)
        problem(make_client(org="other").post(path, usage()), "not_found", 404)
        problem(post("/api/v1/billing/tenants/nobody/usage", usage()), "not_found", 404)
        assert not UsageEvent.objects.exists()


class TestRecordBatch:
    def test_answers_in_request_order(self, account: Account) -> None:
        record(account, "api", idempotency_key="b")
        response = post(f"{PATH}/batch", {"events": [usage(idempotency_key=key) for key in "cbac"]})
        body = response.json()
        assert (response.status_code, body["created"], body["duplicates"]) == (201, 2, 2)
        assert [(item["idempotency_key"], item["status"]) for item in body["items"]] == [
            ("c", "created"),
            ("b", "duplicate"),
            ("a", "created"),
            ("c", "duplicate"),
        ]

    @pytest.mark.parametrize("bare", [True, False])
    def test_names_every_wrong_event(self, account: Account, bare: bool) -> None:
        events = [
            usage(),
            usage(quantity="-1"),
            usage(metric_type="nope", metadata="{"),
            7,
            {"quantity": "x"},
            usage(timestamp="2026-03-01", unit="bytes"),
        ]
        body = problem(post(f"{PATH}/batch", events if bare else {"events": events}), "validation_failed", 400)
        root = "" if bare else "/events"
        assert findings(body) == [
            (f"{root}/1/quantity", "min_value"),
            (f"{root}/2/metadata", "invalid"),
            (f"{root}/2/metric_type", "meter_not_found"),
            (f"{root}/3", "invalid"),
            (f"{root}/4/metric_type", "required"),
            (f"{root}/4/quantity", "invalid"),
            (f"{root}/5/unit", "unit_not_convertible"),
        ]
        assert not UsageEvent.objects.exists()

    def test_an_unknown_meter_stores_nothing(self, account: Account) -> None:
        body = problem(post(f"{PATH}/batch", [usage(), usage(metric_type="nope")]), "meter_not_found", 404)
        assert findings(body) == [("/1/metric_type", "meter_not_found")]
        assert not UsageEvent.objects.exists()

    @pytest.mark.parametrize("extra", [{}, {"timestamp": "2026-03-01"}])  # read at once, and field by field
    def test_takes_1000_events_and_no_more(self, account: Account, extra: dict[str, str]) -> None:
        body = problem(post(f"{PATH}/batch", [usage(**extra)] * 1001), "batch_too_large", 400)
        assert body["maximum"] == 1000
        assert not UsageEvent.objects.exists()
        assert post(f"{PATH}/batch", [usage(**extra)] * 1000).json()["created"] == 1000

    @pytest.mark.parametrize(
        ("content", "pointer", "code"),
        [
            (b"[]", "", "empty"),
            (b'{"events": []}', "/events", "empty"),
            (b"{}", "/events", "invalid"),
            (b'{"events": 5}', "/events", "invalid"),
            (b"5", "", "invalid"),
        ],
    )
    def test_needs_events(self, account: Account, content: bytes, pointer: str, code: str) -> None:
        assert findings(problem(post(f"{PATH}/batch", content), "validation_failed")) == [(pointer, code)]

    def test_refuses_10_mb_unread(self, account: Account) -> None:
        content = json.dumps([usage(resource_id="r" * 200)] * 40_000).encode()
        assert len(content) > 10_000_000
        body = problem(post(f"{PATH}/batch", content), "validation_failed", 400)
        assert findings(body) == [("", "body_too_large")]

    @pytest.mark.parametrize("count", [1, 500])
    def test_takes_a_fixed_number_of_queries(self, account: Account, count: int) -> None:
        with CaptureQueriesContext(connection) as queries:
            post(f"{PATH}/batch", [usage(idempotency_key=f"k{number}") for number in range(count)])
        assert len(queries) == 6  # account, meters, savepoint, lock, insert, release


class TestList:
    def test_pages_newest_first_by_event_time(self, account: Account) -> None:
        for hour in (1, 3, 2, 3, 3):
            record(account, "api", hour, at=AT.replace(hour=hour))
        record(make_account(org_id="acme"), "api")
        seen: list[Any] = []
        cursor = ""
        while True:
            page = make_client().get(f"{PATH}?limit=2{cursor}").json()
            seen += page["items"]
            if not page["has_more"]:
                break
            cursor = f"&cursor={page['next_cursor']}"
        assert [item["quantity"] for item in seen] == ["3", "3", "3", "2", "1"]
        assert len({item["id"] for item in seen}) == 5
        assert {item["account_id"] for item in seen} == {account.public_id}

    def test_filters_by_time_and_metric(self, account: Account) -> None:
        make_meter("database")
        record(account, "database", at=AT)
        for day in (1, 2, 3):
            record(account, "api", day, at=AT.replace(day=day))
        page = make_client().get(f"{PATH}?metricType=API_CALLS&start=2026-03-02&end=2026-03-02").json()
        assert [item["quantity"] for item in page["items"]] == ["2"]

    def test_filters_by_cost_center(self, account: Account) -> None:
        ops, old = make_cost_center(account, "ops"), make_cost_center(account, "old")
        for quantity, code in ((1, "ops"), (2, ""), (3, "old"), (4, "ops")):
            record(account, "api", quantity, cost_center=code)
        update_cost_center(center_id=old.pk, changes={"is_active": False}, at=AT, actor=SYSTEM)
        by_code = make_client().get(f"{PATH}?cost_center=OPS").json()["items"]
        assert {(item["quantity"], item["cost_center_id"]) for item in by_code} == {
            ("1", ops.public_id),
            ("4", ops.public_id),
        }
        by_id = make_client().get(f"{PATH}?cost_center={old.public_id}").json()["items"]
        assert [item["quantity"] for item in by_id] == ["3"]

    @pytest.mark.parametrize(
        ("query", "code"),
        [
            ("metric_type=nope", "meter_not_found"),
            ("start=2026-03-02&end=2026-03-01T00:00:00Z", "period_invalid"),
            ("start=soon", "validation_failed"),
            ("cost_center=ops", "validation_failed"),
            ("cursor=AAAA", "validation_failed"),
            ("limit=201", "validation_failed"),
        ],
    )
    def test_refuses_nonsense(self, account: Account, query: str, code: str) -> None:
        problem(make_client().get(f"{PATH}?{query}"), code)

    def test_members_read_their_own_account_only(self, account: Account) -> None:
        Member.objects.create(account=account, user_id="ada", role="member", added_at=AT)
        record(account, "api")
        assert len(make_client("public", "ada").get(PATH).json()["items"]) == 1
        problem(make_client("public", "eve").get(PATH), "account_forbidden", 403)

    @pytest.mark.parametrize("count", [1, 20])
    def test_takes_a_fixed_number_of_queries(self, account: Account, count: int) -> None:
        for _ in range(count):
            record(account, "api")
        with CaptureQueriesContext(connection) as queries:
            make_client().get(PATH)
        assert len(queries) == 2  # account, events with their meters


class TestSummary:
    def test_answers_quantities_and_costs(self, account: Account) -> None:
        meter = Meter.objects.get()
        make_subscription(account, {meter: "0.25"}, currency="eur")
        for day in (1, 1, 2):
            record(account, "api", "2.5", at=AT.replace(day=day))
        assert make_client().get(f"{PATH}/summary?group_by=day").json() == {
            "account_id": account.public_id,
            "period": {"start": "2026-03-01T00:00:00Z", "end": "2026-04-01T00:00:00Z"},
            "metrics": [
                {
                    "metric_type": "api",
                    "unit": "requests",
                    "quantity": "7.5",
                    "event_count": 3,
                    "included": None,
                    "overage": "0",
                    "cost": 2,  # 7.5 x 0.25 = 1.875 cents
                    "daily": [
                        {"date": "2026-03-01", "quantity": "5", "event_count": 2},
                        {"date": "2026-03-02", "quantity": "2.5", "event_count": 1},
                    ],
                }
            ],
            "total_cost": 2,
            "currency": "eur",
        }

    def test_includes_the_whole_day_of_a_plain_end_date(self, account: Account) -> None:
        record(account, "api", at=AT.replace(day=2, hour=23))
        record(account, "api", at=AT.replace(day=3, hour=0, minute=0))
        body = make_client().get(f"{PATH}/summary?start=2026-03-02&end=2026-03-02&group_by=hour").json()
        assert body["period"] == {"start": "2026-03-02T00:00:00Z", "end": "2026-03-03T00:00:00Z"}
        assert [metric["hourly"] for metric in body["metrics"]] == [
            [{"start": "2026-03-02T23:00:00Z", "quantity": "1", "event_count": 1}]
        ]

    @pytest.mark.parametrize(
        ("query", "code"),
        [
            ("start=2026-03-02&end=2026-03-01T00:00:00Z", "period_invalid"),
            ("start=2025-01-01&end=2026-03-01", "period_invalid"),
            ("metric_type=nope", "meter_not_found"),
            ("group_by=week", "validation_failed"),
        ],
    )
    def test_refuses_nonsense(self, account: Account, query: str, code: str) -> None:
        problem(make_client().get(f"{PATH}/summary?{query}"), code)

    def test_is_not_open_to_strangers(self, account: Account) -> None:
        problem(make_client("public", "eve").get(f"{PATH}/summary"), "account_forbidden", 403)
        problem(make_client(org="other").get(f"{PATH}/summary"), "not_found", 404)
        assert make_client(org="acme").get(f"{PATH}/summary").status_code == 200


def test_a_test_clock_moves_what_is_too_far_ahead(account: Account) -> None:
    from accounts.models import TestClock

    account.test_clock = TestClock.objects.create(name="clock", now_at=AT + timedelta(days=30))
    account.save()
    assert post(PATH, usage()).json()["timestamp"] == "2026-04-14T12:00:00Z"
