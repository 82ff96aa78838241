"""DNS use against the daily limit of the plan."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from accounts.models import Account, Subscription
from billing_site.kernel import clock
from catalog.data import read_default
from catalog.models import Meter
from catalog.services.publishing import publish_document
from metering.models import UsageEvent
from tests.support import world
from tests.support.api import make_client
from tests.support.parallel import race
from tests.support.problems import problem

pytestmark = pytest.mark.django_db

DOOR = "/api/v1/dns/usage"
NOW = world.NOVEMBER + timedelta(days=10, hours=5)


@pytest.fixture(autouse=True)
def _now() -> Iterator[None]:
    with clock.travel(NOW):
        yield


@pytest.fixture
def account() -> Account:
    publish_document(org_id="default", document=read_default(), at=world.OCTOBER, actor=world.TESTER)
    return world.open_account("alice")


def send(queries: Any, *, zone: str = "example.com", **more: Any) -> Any:
    return make_client().post(DOOR, {"account": "alice", "zone": zone, "queries": queries, **more})


def record(queries: int, **more: Any) -> tuple[int, int, int]:
    response = send(queries, **more)
    answer = response.json()
    assert answer["recorded"] is True, answer
    return response.status_code, answer["remaining"], answer["limit"]


def show(**query: str) -> dict[str, Any]:
    response = make_client().get(f"{DOOR}/summary", {"account": "alice", **query})
    assert response.status_code == 200
    answer: dict[str, Any] = response.json()
    return answer


class TestRecord:
    def test_counts_on_the_day_up_to_the_limit_of_the_free_plan(self, account: Account) -> None:
        assert record(9_000, errors=3) == (201, 1_000, 10_000)
        assert record(1_000, timestamp="2023-11-11T04:00:00Z") == (201, 0, 10_000)
        event = UsageEvent.objects.get(value=9_000)
        assert event.dimensions == {"zone": "example.com", "errors": "3"}
        assert event.idempotency_key == "dns:example.com:2023-11-11T05:00:00+00:00"

    def test_past_the_limit_stores_nothing(self, account: Account) -> None:
        record(9_000)
        answer = problem(send(1_001, zone="other.org"), "dns_daily_limit_exceeded", 429)
        assert (answer["used"], answer["limit"], answer["retryable"]) == (9_000, 10_000, False)
        assert UsageEvent.objects.count() == 1
        assert show()["queries"] == 9_000
        assert record(1_000, zone="other.org") == (201, 0, 10_000)

    def test_counts_each_utc_day_alone(self, account: Account) -> None:
        assert record(10_000, timestamp="2023-11-10T23:59:59Z") == (201, 0, 10_000)
        assert record(4_000, timestamp="2023-11-11T01:30:00+01:00") == (201, 6_000, 10_000)  # 00:30 UTC
        problem(send(1, timestamp="2023-11-11T00:30:00+01:00"), "dns_daily_limit_exceeded", 429)  # 23:30 the day before

    def test_of_a_running_plan_has_its_limit(self, account: Account) -> None:
        world.subscribe(account, "dns-pro")
        assert record(600_000) == (201, 400_000, 1_000_000)
        Subscription.objects.update(status="past_due")
        problem(send(1, zone="other.org"), "dns_daily_limit_exceeded", 429)
        assert show()["plan"] == "dns-free"

    def test_of_an_unlimited_plan_is_never_refused(self, account: Account) -> None:
        world.subscribe(account, "dns-enterprise")
        assert record(10**12) == (201, -1, -1)

    @pytest.mark.parametrize("queries", [0, -5])
    def test_of_nothing_records_nothing(self, account: Account, queries: int) -> None:
        assert record(queries) == (200, -1, -1)
        assert not UsageEvent.objects.exists()

    def test_of_a_batch_that_is_known_changes_nothing(self, account: Account) -> None:
        assert record(6_000, timestamp="2023-11-11T04:00:00Z") == (201, 4_000, 10_000)
        again = record(6_000, timestamp="2023-11-11T05:00:00+01:00", zone="EXAMPLE.com.")
        assert again == (200, 4_000, 10_000)
        assert show()["queries"] == 6_000

    def test_with_a_key_answers_the_same_refusal(self, account: Account) -> None:
        body = {"account": "alice", "zone": "a.org", "queries": 10_001}
        headers = {"Idempotency-Key": "one"}
        for _ in range(2):
            problem(make_client().post(DOOR, body, headers=headers), "dns_daily_limit_exceeded", 429)

    def test_makes_the_meter_where_the_catalog_has_none(self) -> None:
        world.open_account("alice")
        assert record(10_000) == (201, 0, 10_000)
        meter = Meter.objects.get(event_name="dns-queries")
        assert (meter.unit, meter.dimensions) == ("queries", ["zone", "errors"])
        assert show()["queries"] == 10_000

    @pytest.mark.parametrize(
        ("body", "pointer"),
        [
            ({"zone": ""}, "/zone"),
            ({"zone": "two words.org"}, "/zone"),
            ({"zone": "a" * 256}, "/zone"),
            ({"queries": "many"}, "/queries"),
            ({"queries": 10**15 + 1}, "/queries"),
            ({"errors": -1}, "/errors"),
            ({"timestamp": "yesterday"}, "/timestamp"),
            ({"timestamp": "2023-11-11T05:06:00Z"}, "/timestamp"),  # six minutes ahead
            ({"nonsense": 1}, "/nonsense"),
        ],
    )
    def test_names_what_is_wrong(self, account: Account, body: dict[str, Any], pointer: str) -> None:
        sent = {"account": "alice", "zone": "a.org", "queries": 5, **body}
        answer = problem(make_client().post(DOOR, sent), "validation_failed", 400)
        assert [each["pointer"] for each in answer["errors"]] == [pointer]
        assert not UsageEvent.objects.exists()

    def test_is_for_internal_callers_who_name_the_account(self, account: Account) -> None:
        body = {"zone": "a.org", "queries": 5}
        problem(make_client().post(DOOR, body), "account_required", 400)
        problem(make_client().post(DOOR, {**body, "account": "nobody"}), "not_found", 404)
        problem(make_client("public", "alice").post(DOOR, body), "audience_rejected", 403)
        problem(make_client().post(DOOR, {"account": "alice", "queries": 5}), "validation_failed", 400)


class TestSummary:
    def test_shows_the_day_and_the_month(self, account: Account) -> None:
        record(10)
        record(20, zone="b.org")
        record(40, zone="b.org", timestamp="2023-11-11T00:00:00Z")
        record(80, zone="c.org", timestamp="2023-11-02T00:00:00Z")
        record(160, zone="d.org", timestamp="2023-10-31T23:59:59Z")
        base = {"account_id": account.public_id, "records": 0, "limit": 10_000, "plan": "dns-free"}
        assert show() == {**base, "period": "day", "queries": 70, "zones": 2}
        assert show(period="month") == {**base, "period": "month", "queries": 150, "zones": 3}

    def test_of_nothing_is_empty(self) -> None:
        account = world.open_account("alice")
        base = {"account_id": account.public_id, "period": "day", "queries": 0, "zones": 0, "records": 0}
        assert show() == {**base, "limit": 10_000, "plan": "dns-free"}

    def test_is_shown_to_callers_about_their_own(self, account: Account) -> None:
        assert make_client("public", "alice").get(f"{DOOR}/summary").json()["account_id"] == account.public_id
        problem(make_client("public", "bob").get(f"{DOOR}/summary", {"account": "alice"}), "account_forbidden", 403)
        problem(make_client().get(f"{DOOR}/summary"), "account_required", 400)
        problem(make_client().get(f"{DOOR}/summary", {"account": "alice", "period": "year"}), "validation_failed", 400)


@pytest.mark.django_db(transaction=True)
class TestAtOnce:
    def test_never_passes_the_limit(self) -> None:
        world.open_account("alice")

        def post(number: int) -> int:
            with clock.travel(NOW):
                return int(send(300, zone=f"z{number}.org").status_code)

        codes = race(*[lambda number=number: post(number) for number in range(50)], connections=25)
        assert sorted(codes) == [201] * 33 + [429] * 17  # 33 x 300 = 9,900; one more makes 10,200
        with clock.travel(NOW):
            assert (show()["queries"], show()["zones"]) == (9_900, 33)
