"""Limits over HTTP: made, listed, checked, replaced and removed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Account, Member
from billing_site.kernel import clock
from billing_site.platform.models import Event
from catalog.models import Meter, QuotaRule
from metering.models import AccountQuota
from metering.services.ingest import NewUsageEvent, record_usage_events
from tests.factories.quotas import limit, make_plan, make_quota, publish_limits
from tests.support import world
from tests.support.api import make_client
from tests.support.problems import problem

pytestmark = pytest.mark.django_db

DOOR = "/api/v1/billing/quotas"
NOW = world.NOVEMBER + timedelta(days=10, hours=5)


@pytest.fixture(autouse=True)
def _now() -> Iterator[None]:
    with clock.travel(NOW):
        yield


@pytest.fixture
def account() -> Account:
    publish_limits()
    return world.open_account("alice")


def use(account: Account, meter: str, quantity: int | str) -> None:
    event = NewUsageEvent(account, meter, Decimal(quantity), timestamp=NOW)
    record_usage_events(events=[event], at=NOW, actor=world.TESTER)


def create(**body: Any) -> dict[str, Any]:
    response = make_client().post(DOOR, {"account": "alice", "resource_type": "tokens", "quota_limit": 100, **body})
    assert response.status_code == 201, response.content
    answer: dict[str, Any] = response.json()
    return answer


def show(**query: Any) -> list[dict[str, Any]]:
    response = make_client().get(f"{DOOR}/tenants/alice", query)
    assert response.status_code == 200, response.content
    items: list[dict[str, Any]] = response.json()["items"]
    return items


def check(**query: Any) -> dict[str, Any]:
    response = make_client().get(f"{DOOR}/tenants/alice/check", query)
    assert response.status_code == 200, response.content
    answer: dict[str, Any] = response.json()
    return answer


class TestCreate:
    def test_answers_the_quota_with_what_is_used(self, account: Account) -> None:
        use(account, "tokens", 25)
        answer = create()
        quota = AccountQuota.objects.get()
        assert answer == {
            "id": quota.public_id,
            "account_id": account.public_id,
            "resource_type": "tokens",
            "resource_name": "",
            "meter_event_name": "tokens",
            "feature": "",
            "quota_limit": "100",
            "current_usage": "25",
            "reserved": "0",
            "unit": "tokens",
            "window": "billing_period",
            "warning_threshold_percent": "80",
            "enforce_hard_limit": True,
            "overage_price": None,
            "upgrade_plan_id": "",
            "alert_recipients": [],
            "is_active": True,
            "source": "account",
            "created_at": quota.created_at.isoformat().replace("+00:00", "Z"),
            "updated_at": quota.updated_at.isoformat().replace("+00:00", "Z"),
        }

    def test_takes_everything_and_writes_an_event(self, account: Account) -> None:
        body = {
            "resource_name": "Tokens of the lab",
            "quota_limit": "12.5",
            "window": "per_minute",
            "warning_threshold_percent": 62.5,
            "enforce_hard_limit": False,
            "overage_price": "0.25",
            "upgrade_plan_id": "small",
            "feature": "llm:proxy",
            "alert_recipients": ["Ada@Example.com", "ada@example.com", "bob@example.com"],
            "is_active": False,
        }
        answer = create(**body)
        expected = {**body, "window": "minute", "warning_threshold_percent": "62.5"}
        expected["alert_recipients"] = ["ada@example.com", "bob@example.com"]
        assert {name: answer[name] for name in body} == expected
        event = Event.objects.get(type="quota.created")
        assert (event.object_id, event.account_id) == (answer["id"], account.pk)
        assert event.data["quota_limit"] == "12.5"

    @pytest.mark.parametrize("given", [-1, "-1", None])
    def test_knows_unlimited(self, account: Account, given: Any) -> None:
        assert create(quota_limit=given)["quota_limit"] is None
        [item] = check()["items"]
        assert (item["unlimited"], item["limit"], item["allowed"]) == (True, None, True)

    def test_converts_the_limit_to_what_the_meter_counts(self, account: Account) -> None:
        Meter.objects.create(
            org_id="default", event_name="bandwidth", display_name="Bandwidth", unit="bytes", lookup_key="bandwidth"
        )
        answer = create(resource_type="DATA_TRANSFER_GB", quota_limit=2)
        assert (answer["meter_event_name"], answer["unit"], answer["quota_limit"]) == ("bandwidth", "GB", "2")
        use(account, "bandwidth", 3 * 2**29)
        assert show()[0]["current_usage"] == "1.5"
        [item] = check(resource_type="data_transfer_gb")["items"]
        # 2 GB of 1,073,741,824 bytes
        assert (item["limit"], item["used"], item["utilization_percent"]) == ("2147483648", "1610612736", 75)

    @pytest.mark.parametrize(
        ("resource", "meter", "aggregation", "unit"),
        [
            ("cpu_cores", "cpu_cores", "last", "cores"),
            ("API_CALLS", "api", "sum", "requests"),
            ("active_users", "active_users", "unique", "users"),
            ("ai_tokens", "llm_tokens", "sum", "tokens"),
        ],
    )
    def test_makes_the_meter_of_a_resource_type_that_nothing_counts_on(
        self, account: Account, resource: str, meter: str, aggregation: str, unit: str
    ) -> None:
        answer = create(resource_type=resource, quota_limit=4)
        made = Meter.objects.get(event_name=answer["meter_event_name"])
        assert (made.event_name, made.aggregation, made.unit) == (resource.lower(), aggregation, unit)
        use(account, resource, 3)
        assert check(service=resource)["items"][0]["used"] == ("0" if resource == "active_users" else "3")

    def test_is_refused_for_the_same_resource_and_window(self, account: Account) -> None:
        first = create(window="month")
        create(window="day")
        body = {"account": "alice", "resource_type": "TOKENS", "quota_limit": 5, "window": "monthly"}
        answer = problem(make_client().post(DOOR, body), "quota_exists", 409)
        assert answer["quota_id"] == first["id"]
        assert AccountQuota.objects.count() == 2

    @pytest.mark.parametrize(
        ("body", "pointer", "code"),
        [
            ({"resource_type": "nonsense"}, "/resource_type", "unknown_resource"),
            ({"window": "fortnight"}, "/window", "invalid_choice"),
            ({"quota_limit": -2}, "/quota_limit", "negative"),
            ({"quota_limit": "-0.5"}, "/quota_limit", "negative"),
            ({"quota_limit": "many"}, "/quota_limit", "invalid"),
            ({"unit": "hours"}, "/unit", "unit_not_convertible"),
            ({"warning_threshold_percent": 0}, "/warning_threshold_percent", "out_of_range"),
            ({"warning_threshold_percent": 101}, "/warning_threshold_percent", "out_of_range"),
            ({"overage_price": -1}, "/overage_price", "min_value"),
            ({"upgrade_plan_id": "nobody"}, "/upgrade_plan_id", "plan_not_found"),
            ({"alert_recipients": ["nobody"]}, "/alert_recipients/0", "invalid"),
            ({"feature": "no good"}, "/feature", "invalid"),
            ({"limit": 5}, "/limit", "unknown"),
        ],
    )
    def test_names_what_is_wrong_and_writes_nothing(
        self, account: Account, body: dict[str, Any], pointer: str, code: str
    ) -> None:
        sent = {"account": "alice", "resource_type": "tokens", "quota_limit": 100, **body}
        answer = problem(make_client().post(DOOR, sent), "validation_failed", 400)
        assert [(each["pointer"], each["code"]) for each in answer["errors"]] == [(pointer, code)]
        assert not AccountQuota.objects.exists()
        assert not Event.objects.filter(type="quota.created").exists()

    def test_needs_a_limit(self, account: Account) -> None:
        body = {"account": "alice", "resource_type": "tokens"}
        answer = problem(make_client().post(DOOR, body), "validation_failed", 400)
        assert [(each["pointer"], each["code"]) for each in answer["errors"]] == [("/quota_limit", "required")]

    def test_is_for_internal_callers_of_an_account_they_see(self, account: Account) -> None:
        body = {"account": "alice", "resource_type": "tokens", "quota_limit": 1}
        problem(make_client("public", "alice").post(DOOR, body), "audience_rejected", 403)
        problem(make_client().post(DOOR, {**body, "account": "nobody"}), "not_found", 404)
        problem(make_client(org="other").post(DOOR, body), "not_found", 404)

    def test_with_one_key_happens_once(self, account: Account) -> None:
        body = {"account": "alice", "resource_type": "tokens", "quota_limit": 1}
        answers = [make_client().post(DOOR, body, headers={"Idempotency-Key": "one"}) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [201, 201]
        assert answers[0].json() == answers[1].json()
        assert AccountQuota.objects.count() == 1


class TestList:
    def test_shows_the_own_and_those_of_plans_that_they_do_not_replace(self, account: Account) -> None:
        world.subscribe(account, "small")
        own = create(window="month", quota_limit=500)
        off = create(window="day", quota_limit=1, is_active=False)
        rule = QuotaRule.objects.get(window="day")
        shown = {
            (item["id"], item["source"], item["window"], item["quota_limit"], item["is_active"]) for item in show()
        }
        assert shown == {
            (own["id"], "account", "month", "500", True),
            (off["id"], "account", "day", "1", False),
            (rule.public_id, "plan", "day", "40", True),
        }
        assert [item["id"] for item in show(source="plan")] == [rule.public_id]
        assert [item["id"] for item in show(window="monthly")] == [own["id"]]
        assert {item["source"] for item in show(service="tokens")} == {"plan", "account"}
        assert show(service="calls") == []
        assert show(service="cpu_cores") == []

    def test_comes_in_pages(self, account: Account) -> None:
        world.subscribe(account, "small")
        windows = ("minute", "hour", "week", "total")
        created = [create(window=window)["id"] for window in windows]
        seen, cursor = [], None
        while True:
            query: dict[str, Any] = {"limit": 4, **({"cursor": cursor} if cursor else {})}
            answer = make_client().get(f"{DOOR}/tenants/alice", query).json()
            seen += [item["id"] for item in answer["items"]]
            cursor = answer["next_cursor"]
            assert answer["has_more"] == (cursor is not None)
            if cursor is None:
                break
        assert len(seen) == len(set(seen)) == 6
        assert [each for each in seen if each in created] == created[::-1]

    def test_refuses_what_it_does_not_know(self, account: Account) -> None:
        problem(make_client().get(f"{DOOR}/tenants/alice", {"service": "nonsense"}), "validation_failed", 400)
        problem(make_client().get(f"{DOOR}/tenants/alice", {"window": "fortnight"}), "validation_failed", 400)
        problem(make_client().get(f"{DOOR}/tenants/nobody"), "not_found", 404)
        problem(make_client("public", "bob").get(f"{DOOR}/tenants/alice"), "account_forbidden", 403)
        Member.objects.create(account=account, user_id="bob", role="member", added_at=NOW)
        assert make_client("public", "bob").get(f"{DOOR}/tenants/alice").status_code == 200

    def test_asks_as_much_for_many_as_for_one(self, account: Account) -> None:
        world.subscribe(account, "small")
        client, counts = make_client(), []
        for window in ("minute", "hour", "week", "total"):
            create(window=window)
            with CaptureQueriesContext(connection) as asked:
                assert client.get(f"{DOOR}/tenants/alice").status_code == 200
            counts.append(len(asked))
        assert set(counts) == {counts[0]}


class TestCheck:
    def test_compares_all_windows_at_once(self, account: Account) -> None:
        world.subscribe(account, "small")
        use(account, "tokens", 38)
        answer = check(service="tokens", requested=5)
        assert (answer["account_id"], answer["allowed"]) == (account.public_id, False)
        by_window = {item["window"]: item for item in answer["items"]}
        rule = QuotaRule.objects.get(window="day")
        assert by_window["day"] == {
            "quota_id": rule.public_id,
            "source": "plan",
            "resource_type": "tokens",
            "service": "tokens",
            "feature": "use:tokens",
            "unit": "tokens",
            "window": "day",
            "limit": "40",
            "unlimited": False,
            "used": "38",
            "reserved": "0",
            "requested": "5",
            "remaining": "2",
            "utilization_percent": 95,
            "status": "critical",
            "mode": "hard",
            "allowed": False,  # 38 + 5 > 40
            "resets_at": "2023-11-12T00:00:00Z",
            "upgrade_plan_id": "",
        }
        assert (by_window["month"]["allowed"], by_window["month"]["status"]) == (True, "ok")
        assert check(service="tokens", requested=2)["allowed"]

    @pytest.mark.parametrize(("requested", "allowed"), [("0", False), ("0.1", False)])
    def test_of_what_is_used_up_allows_nothing(self, account: Account, requested: str, allowed: bool) -> None:
        make_quota(account, "tokens", 10)
        use(account, "tokens", 10)
        assert check(requested=requested)["allowed"] is allowed

    def test_of_a_limit_of_zero_allows_nothing(self, account: Account) -> None:
        create(quota_limit=0)
        answer = check()
        assert (answer["allowed"], answer["items"][0]["status"]) == (False, "exceeded")

    def test_of_a_soft_limit_always_allows(self, account: Account) -> None:
        make_quota(account, "tokens", 10, is_hard=False)
        use(account, "tokens", 25)
        answer = check(requested=5)
        [item] = answer["items"]
        assert (answer["allowed"], item["allowed"], item["mode"], item["status"]) == (True, True, "soft", "exceeded")
        assert (item["remaining"], item["utilization_percent"]) == ("0", 250)

    def test_of_what_nothing_limits_allows(self, account: Account) -> None:
        assert check(service="tokens", requested=10**12) == {
            "account_id": account.public_id,
            "allowed": True,
            "items": [],
        }
        assert check(resource_type="gpu_units", requested=5)["allowed"]

    def test_converts_what_is_requested(self) -> None:
        publish_limits()
        account = world.open_account("alice")
        meter = Meter.objects.get(event_name="tokens")
        Meter.objects.filter(pk=meter.pk).update(unit="seconds")
        make_quota(account, "tokens", 3600)
        assert check(requested="60", unit="minutes")["allowed"]  # 60 minutes are 3,600 s
        answer = check(requested="61", unit="minutes")
        assert (answer["allowed"], answer["items"][0]["requested"]) == (False, "3660")
        problem(
            make_client().get(f"{DOOR}/tenants/alice/check", {"requested": "1", "unit": "GB"}), "validation_failed", 400
        )

    def test_shows_only_what_alerts_and_decides_on_all(self, account: Account) -> None:
        make_quota(account, "tokens", 10, "day")
        make_quota(account, "tokens", 100, "month")
        make_quota(account, "calls", 1, "month")
        use(account, "tokens", 8)
        answer = check(alerts_only="true")
        assert [(item["service"], item["window"]) for item in answer["items"]] == [("tokens", "day")]
        assert answer["allowed"]
        assert not check(alerts_only="true", requested=2.5)["allowed"]

    def test_narrows_to_a_feature(self) -> None:
        publish_limits(make_plan("small", 1000, limit("tokens", 100), limit("calls", 5)))
        account = world.open_account("alice")
        world.subscribe(account, "small")
        make_quota(account, "tokens", 50, "day")
        make_quota(account, "people", 5, "day")
        found = check(feature="use:tokens")["items"]
        assert {(item["service"], item["window"]) for item in found} == {("tokens", "day"), ("tokens", "month")}
        assert check(feature="other", requested=1000)["allowed"]

    def test_consumes_nothing_and_refuses_what_it_does_not_know(self, account: Account) -> None:
        create(quota_limit=10)
        for _ in range(3):
            assert check(requested=10)["allowed"]
        wrong: tuple[dict[str, str], ...] = ({"service": "nonsense"}, {"requested": "-1"}, {"requested": "x"})
        for query in wrong:
            problem(make_client().get(f"{DOOR}/tenants/alice/check", query), "validation_failed", 400)
        problem(make_client().get(f"{DOOR}/tenants/nobody/check"), "not_found", 404)


class TestUpdate:
    def test_replaces_what_is_given_and_keeps_the_count(self, account: Account) -> None:
        first = create(quota_limit=10, window="day", warning_threshold_percent=50, resource_name="Lab")
        use(account, "tokens", 9)
        response = make_client().put(f"{DOOR}/{first['id']}", {"quota_limit": 90, "window": "month"})
        assert response.status_code == 200
        expected = {**first, "quota_limit": "90", "window": "month", "current_usage": "9"}
        assert response.json() == {**expected, "updated_at": response.json()["updated_at"]}
        event = Event.objects.get(type="quota.updated")
        assert event.previous_data == {"quota_limit": "10", "window": "day"}

    def test_without_a_difference_writes_nothing(self, account: Account) -> None:
        first = create(quota_limit=10)
        assert make_client().put(f"{DOOR}/{first['id']}", {"quota_limit": "10.0"}).json() == first
        assert not Event.objects.filter(type="quota.updated").exists()

    def test_counts_at_once(self, account: Account) -> None:
        first = create(quota_limit=10)
        use(account, "tokens", 10)
        assert not check()["allowed"]
        make_client().put(f"{DOOR}/{first['id']}", {"quota_limit": -1})
        assert check()["allowed"]
        make_client().put(f"{DOOR}/{first['id']}", {"quota_limit": 5, "is_active": False})
        assert check() == {"account_id": account.public_id, "allowed": True, "items": []}

    def test_is_refused_for_a_window_that_is_taken(self, account: Account) -> None:
        create(window="day")
        second = create(window="month")
        body = {"quota_limit": 1, "window": "day"}
        problem(make_client().put(f"{DOOR}/{second['id']}", body), "quota_exists", 409)

    def test_needs_the_limit_and_refuses_what_is_fixed(self, account: Account) -> None:
        first = create()
        for body in ({"window": "day"}, {"quota_limit": 1, "resource_type": "calls"}, {"quota_limit": -7}):
            problem(make_client().put(f"{DOOR}/{first['id']}", body), "validation_failed", 400)


class TestDelete:
    def test_lets_the_plan_apply_again(self, account: Account) -> None:
        world.subscribe(account, "small")
        own = create(window="day", quota_limit=1)
        use(account, "tokens", 20)
        assert not check()["allowed"]
        response = make_client().delete(f"{DOOR}/{own['id']}")
        assert (response.status_code, response.json()) == (200, {"id": own["id"], "deleted": True})
        assert check()["allowed"]
        assert Event.objects.filter(type="quota.deleted", object_id=own["id"]).exists()
        problem(make_client().delete(f"{DOOR}/{own['id']}"), "not_found", 404)


class TestDoors:
    @pytest.mark.parametrize("method", ["put", "delete"])
    def test_leave_plans_to_the_catalog(self, account: Account, method: str) -> None:
        rule = QuotaRule.objects.get(window="day")
        client = make_client()
        send: Any = getattr(client, method)
        body = {"quota_limit": 1} if method == "put" else None
        problem(send(f"{DOOR}/{rule.public_id}", body), "plan_quota_read_only", 409)
        for unknown in ("qr_00000000000000000000000000", "aq_00000000000000000000000000", "nonsense"):
            problem(send(f"{DOOR}/{unknown}", body), "not_found", 404)
        quota = make_quota(account, "tokens", 5)
        problem(getattr(make_client(org="other"), method)(f"{DOOR}/{quota.public_id}", body), "not_found", 404)
        public: Any = getattr(make_client("public", "alice"), method)
        problem(public(f"{DOOR}/{quota.public_id}", body), "audience_rejected", 403)
