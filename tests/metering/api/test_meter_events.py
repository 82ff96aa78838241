"""Meter events of many accounts, and the aggregate of one meter."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Account, Member
from billing_site.kernel import clock
from catalog.models import Meter
from metering.models import UsageEvent
from tests.factories.metering import AT, make_account, make_meter, record
from tests.support.api import make_client
from tests.support.problems import findings, problem

pytestmark = pytest.mark.django_db
PATH = "/api/v1/billing/meter-events"


@pytest.fixture(autouse=True)
def _noon() -> Iterator[None]:
    with clock.travel(AT):
        yield


@pytest.fixture
def meter() -> Meter:
    return make_meter("tokens", unit="tokens")


@pytest.fixture
def account() -> Account:
    return make_account("Acme/Alice", org_id="acme")


def post(body: Any, **client: Any) -> Any:
    return make_client(**client).generic("POST", PATH, json.dumps(body), content_type="application/json")


class TestRecord:
    def test_takes_many_accounts_by_any_name(self, meter: Meter, account: Account) -> None:
        other = make_account("bob")
        events = [
            {"meter_id": "tokens", "account": " ACME/alice ", "value": "1", "idempotency": "k"},
            {"meter_id": meter.public_id, "account": other.public_id, "value": 2.5, "idempotency": "k"},
            {"meter_id": "tokens", "customer_id": "bob", "value": "3", "timestamp": "2026-03-01T00:00:00Z"},
            {"meter_id": "tokens", "account": account.public_id, "value": "9", "idempotency": "k"},
        ]
        response = post({"events": events})
        body = response.json()
        assert (response.status_code, body["count"]) == (201, 4)
        assert [event["status"] for event in body["events"]] == ["created", "created", "created", "duplicate"]
        assert body["events"][3]["id"] == body["events"][0]["id"]
        stored = UsageEvent.objects.order_by("value").values_list("account_id", "value")
        assert list(stored) == [(account.id, Decimal(1)), (other.id, Decimal("2.5")), (other.id, Decimal(3))]

    def test_keeps_dimensions(self, meter: Meter, account: Account) -> None:
        event = {"meter_id": "tokens", "account": account.public_id, "value": "1", "dimensions": {"model": "small"}}
        assert post({"events": [event]}).status_code == 201
        assert UsageEvent.objects.get().dimensions == {"model": "small"}

    def test_names_every_wrong_event(self, meter: Meter, account: Account) -> None:
        good = {"meter_id": "tokens", "account": "acme/alice", "value": "1"}
        events = [
            good,
            {**good, "value": "-1", "idempotency": "k" * 256},
            {**good, "account": "nobody"},
            {"meter_id": "tokens", "value": "1"},
            {**good, "user_id": "somebody else"},
            {"account": "acme/alice", "value": "1"},
            {**good, "timestamp": "soon"},
            {**good, "meter_id": "nope"},
            {**good, "value": "0.0000000000001"},
        ]
        body = problem(post({"events": events}), "validation_failed", 400)
        assert findings(body) == [
            ("/events/1/value", "min_value"),
            ("/events/1/idempotency", "max_length"),
            ("/events/2/account", "not_found"),
            ("/events/3/account", "required"),
            ("/events/4/account", "account_ambiguous"),
            ("/events/5/meter_id", "required"),
            ("/events/6/timestamp", "invalid"),
            ("/events/7/meter_id", "meter_not_found"),
            ("/events/8/value", "too_precise"),
        ]
        assert not UsageEvent.objects.exists()

    def test_an_unknown_meter_alone_is_not_found(self, meter: Meter, account: Account) -> None:
        events = [{"meter_id": name, "account": "acme/alice", "value": "1"} for name in ("tokens", "nope")]
        body = problem(post({"events": events}), "meter_not_found", 404)
        assert findings(body) == [("/events/1/meter_id", "meter_not_found")]
        assert not UsageEvent.objects.exists()

    def test_takes_100_events_and_no_more(self, meter: Meter, account: Account) -> None:
        event = {"meter_id": "tokens", "account": "acme/alice", "value": "1"}
        assert problem(post({"events": [event] * 101}), "batch_too_large", 400)["maximum"] == 100
        assert not UsageEvent.objects.exists()
        assert post({"events": [event] * 100}).json()["count"] == 100
        assert findings(problem(post({"events": []}), "validation_failed")) == [("/events", "empty")]

    def test_an_organizations_token_reaches_its_own_accounts_only(self, meter: Meter, account: Account) -> None:
        event = {"meter_id": "tokens", "account": "acme/alice", "value": "1"}
        body = problem(post({"events": [event]}, org="other"), "validation_failed", 400)
        assert findings(body) == [("/events/0/account", "not_found")]
        assert post({"events": [event]}, org="acme").status_code == 201

    @pytest.mark.parametrize("count", [1, 60])
    def test_takes_a_fixed_number_of_queries(self, meter: Meter, count: int) -> None:
        accounts = [make_account() for _ in range(count)]
        events = [{"meter_id": "tokens", "account": account.external_id, "value": "1"} for account in accounts]
        with CaptureQueriesContext(connection) as queries:
            assert post({"events": events}).status_code == 201
        assert len(queries) == 6  # accounts, meters, savepoint, lock, insert, release


class TestSummary:
    def test_sums_one_account_or_all(self, meter: Meter, account: Account) -> None:
        record(account, "tokens", "1.5")
        record(make_account(), "tokens", "2")
        one = make_client().get(f"{PATH}/summary?meter_id=tokens&account=ACME/ALICE").json()
        assert one == {
            "meter_id": meter.public_id,
            "meter_name": "tokens",
            "account_id": account.public_id,
            "aggregation_type": "sum",
            "value": "1.5",
            "event_count": 1,
            "period_start": "2026-03-01T00:00:00Z",
            "period_end": "2026-04-01T00:00:00Z",
        }
        everyone = make_client().get(f"{PATH}/summary?meterId={meter.public_id}&periodStart=2026-03-01").json()
        assert (everyone["account_id"], everyone["value"], everyone["event_count"]) == (None, "3.5", 2)
        mine = make_client(org="acme").get(f"{PATH}/summary?meter_id=tokens").json()
        assert mine["value"] == "1.5"

    def test_public_callers_get_their_own(self, meter: Meter, account: Account) -> None:
        Member.objects.create(account=account, user_id="ada", role="member", added_at=AT)
        other = make_account()
        record(account, "tokens", "1.5")
        record(other, "tokens", "2")
        client = make_client("public", "ada")
        assert client.get(f"{PATH}/summary?meter_id=tokens").json()["account_id"] == account.public_id
        response = client.get(f"{PATH}/summary?meter_id=tokens&account={other.public_id}")
        problem(response, "account_forbidden", 403)

    @pytest.mark.parametrize(
        ("query", "code", "status"),
        [
            ("", "validation_failed", 400),
            ("meter_id=nope", "meter_not_found", 404),
            ("meter_id=tokens&period_start=2026-03-02&period_end=2026-03-01T00:00:00Z", "period_invalid", 400),
            ("meter_id=tokens&account=nobody", "not_found", 404),
            ("meter_id=tokens&account=a&customer_id=b", "validation_failed", 400),
        ],
    )
    def test_refuses_nonsense(self, meter: Meter, query: str, code: str, status: int) -> None:
        problem(make_client().get(f"{PATH}/summary?{query}"), code, status)
