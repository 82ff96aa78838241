"""The doors of schedules, with real requests."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Account, SubscriptionSchedule
from billing_site.kernel import clock
from catalog.models import Price
from invoicing.services.schedule_steps import sweep_due_schedules
from tests.factories.accounts import make_member
from tests.support import world
from tests.support.api import make_client
from tests.support.problems import problem
from tests.support.schedules import FEBRUARY, JANUARY, MARCH, make_ramp, publish_ramp

pytestmark = pytest.mark.django_db
DOOR = "/api/v1/billing/subscription-schedules"
RAMP: list[dict[str, Any]] = [
    {"plan_id": "ten", "start_date": "2024-01-01T00:00:00Z", "end_date": "2024-02-01T00:00:00Z"},
    {"plan_id": "twenty", "items": [{"quantity": 3}]},
]


@pytest.fixture(autouse=True)
def _january() -> Iterator[None]:
    publish_ramp()
    with clock.travel(JANUARY):
        yield


@pytest.fixture
def account() -> Account:
    return world.open_account("acme/shop", owner_user_id="alice")


def post(body: dict[str, Any], **caller: Any) -> Any:
    return make_client(**caller).post(DOOR, body)


class TestCreate:
    def test_answers_the_schedule_and_the_subscription_names_it(self, account: Account) -> None:
        response = post({"account": "acme/shop", "phases": RAMP, "metadata": {"deal": "7"}})
        assert response.status_code == 201, response.content
        shown = response.json()
        schedule_id = shown.pop("id")
        assert schedule_id.startswith("sched_")
        subscription_id = shown.pop("subscription_id")
        shown.pop("created_at")
        common = {"trial_end": None, "proration_behavior": "create_prorations"}
        assert shown == {
            "account_id": account.public_id,
            "status": "active",
            "start_date": "2024-01-01T00:00:00Z",
            "end_behavior": "release",
            "current_phase": 0,
            "metadata": {"deal": "7"},
            "phases": [
                {
                    "plan_id": "ten",
                    "items": [],
                    "start_date": "2024-01-01T00:00:00Z",
                    "end_date": "2024-02-01T00:00:00Z",
                    **common,
                },
                {
                    "plan_id": "twenty",
                    "items": [{"price_id": None, "quantity": 3}],
                    "start_date": "2024-02-01T00:00:00Z",
                    "end_date": None,
                    **common,
                },
            ],
        }
        found = make_client().get(f"/api/v1/billing/subscriptions/{subscription_id}").json()
        assert found["schedule_id"] == schedule_id

    def test_takes_over_a_subscription(self, account: Account) -> None:
        subscription = world.subscribe(account, "ten", at=JANUARY)
        body = {"subscription_id": subscription.public_id, "phases": RAMP}
        shown = post(body).json()
        assert (shown["subscription_id"], shown["account_id"]) == (subscription.public_id, account.public_id)
        assert problem(post(body), "schedule_exists", 409)
        world.open_account("other")
        refused = problem(post({**body, "account": "other"}), "validation_failed", 400)
        assert refused["errors"][0]["pointer"] == "/subscription_id"

    def test_names_what_is_wrong_where_it_stands(self, account: Account) -> None:
        phases = [RAMP[0], {"plan_id": "twenty", "start_date": "2024-02-02T00:00:00Z"}]
        refused = problem(post({"account": "acme/shop", "phases": phases}), "validation_failed", 400)
        assert [(each["pointer"], each["code"]) for each in refused["errors"]] == [("/phases/1/start_date", "gap")]

    @pytest.mark.parametrize(
        ("body", "pointer"),
        [
            ({}, "/phases"),
            ({"phases": []}, "/phases"),
            ({"phases": [{"plan_id": "ten", "price": 5}]}, "/phases/0/price"),
            ({"phases": [{"plan_id": "ten", "items": [{"quantity": -1}]}]}, "/phases/0/items/0/quantity"),
            ({"phases": [{"plan_id": "ten", "proration_behavior": "always_invoice"}]}, "/phases/0/proration_behavior"),
            ({"phases": [{"plan_id": "ten"}], "end_behavior": "renew"}, "/end_behavior"),
        ],
    )
    def test_refuses_what_it_does_not_know(self, account: Account, body: dict[str, Any], pointer: str) -> None:
        refused = problem(post({"account": "acme/shop", **body}), "validation_failed", 400)
        assert [each["pointer"] for each in refused["errors"]] == [pointer]
        assert not SubscriptionSchedule.objects.exists()

    def test_refuses_unknown_plans(self, account: Account) -> None:
        refused = post({"account": "acme/shop", "phases": [{"plan_id": "nothing"}]})
        assert problem(refused, "plan_not_found", 404)

    def test_of_a_customer_has_no_trial_and_no_plan_of_the_staff(self, account: Account) -> None:
        alice = {"subject": "alice", "audience": "public"}
        trial = [{"plan_id": "ten", "trial_end": "2024-01-15"}]
        refused = problem(post({"phases": trial}, **alice), "validation_failed", 400)
        assert refused["errors"][0]["code"] == "internal_only"
        assert problem(post({"phases": [{"plan_id": "custom"}]}, **alice), "plan_not_subscribable", 422)
        assert post({"phases": RAMP}, **alice).status_code == 201

    def test_is_done_once_per_key(self, account: Account) -> None:
        body = {"account": "acme/shop", "phases": RAMP}
        client = make_client()
        first = client.post(DOOR, body, headers={"Idempotency-Key": "deal-7"}).json()
        assert client.post(DOOR, body, headers={"Idempotency-Key": "deal-7"}).json() == first
        assert SubscriptionSchedule.objects.count() == 1


class TestRead:
    def test_lists_by_account_and_status_in_a_fixed_number_of_queries(self, account: Account) -> None:
        make_ramp(account)
        client = make_client()
        with CaptureQueriesContext(connection) as few:
            assert [each["current_phase"] for each in client.get(DOOR).json()["items"]] == [0]
        for number in range(3):
            make_ramp(world.open_account(f"other-{number}"))
        with CaptureQueriesContext(connection) as many:
            assert len(client.get(DOOR).json()["items"]) == 4
        assert len(many) == len(few)
        assert len(client.get(DOOR, {"account": "acme/shop"}).json()["items"]) == 1
        assert client.get(DOOR, {"status": "released"}).json()["items"] == []

    def test_subscriptions_name_their_schedules_without_a_query_each(self, account: Account) -> None:
        make_ramp(account)
        client = make_client()
        with CaptureQueriesContext(connection) as few:
            (shown,) = client.get("/api/v1/billing/subscriptions").json()["items"]
        assert shown["schedule_id"].startswith("sched_")
        for number in range(3):
            make_ramp(world.open_account(f"other-{number}"))
        with CaptureQueriesContext(connection) as many:
            assert all(each["schedule_id"] for each in client.get("/api/v1/billing/subscriptions").json()["items"])
        assert len(many) == len(few)

    def test_shows_one_to_its_own_people_only(self, account: Account) -> None:
        door = f"{DOOR}/{make_ramp(account).public_id}"
        assert make_client().get(door).json()["status"] == "active"
        assert make_client(subject="alice", audience="public").get(door).status_code == 200
        assert problem(make_client(subject="eve", audience="public").get(door), "not_found", 404)
        assert problem(make_client().get(f"{DOOR}/sched_unknown"), "not_found", 404)


class TestChange:
    def test_changes_what_is_to_come(self, account: Account) -> None:
        door = f"{DOOR}/{make_ramp(account).public_id}"
        phases = [RAMP[0], {"plan_id": "thirty", "start_date": "2024-02-01T00:00:00Z"}]
        shown = make_client().patch(door, {"phases": phases, "end_behavior": "cancel"}).json()
        assert [each["plan_id"] for each in shown["phases"]] == ["ten", "thirty"]
        assert shown["end_behavior"] == "cancel"

    def test_takes_back_what_it_answered(self, account: Account) -> None:
        schedule = make_ramp(account)
        sweep_due_schedules(at=FEBRUARY)
        door = f"{DOOR}/{schedule.public_id}"
        with clock.travel(FEBRUARY):
            shown = make_client().get(door).json()
            again = make_client().patch(door, {"phases": shown["phases"]})
        assert again.status_code == 200, again.content
        assert again.json() == shown

    def test_keeps_a_price_that_it_answered(self, account: Account) -> None:
        price = Price.objects.get(plan_version__plan__key="ten", meter__isnull=True).public_id
        shown = post({"account": "acme/shop", "phases": [{"plan_id": "ten", "items": [{"price_id": price}]}]}).json()
        assert shown["phases"][0]["items"] == [{"price_id": price, "quantity": None}]

    def test_refuses_to_move_what_has_begun(self, account: Account) -> None:
        door = f"{DOOR}/{make_ramp(account).public_id}"
        phases = [{**RAMP[0], "start_date": "2024-01-02T00:00:00Z"}, RAMP[1]]
        refused = problem(make_client().patch(door, {"phases": phases}), "validation_failed", 400)
        assert refused["errors"][0]["pointer"] == "/phases/0/start_date"
        assert problem(make_client().patch(door, {}), "validation_failed", 400)

    def test_is_not_for_what_is_over(self, account: Account) -> None:
        door = f"{DOOR}/{make_ramp(account).public_id}"
        assert make_client().post(f"{door}/release").json()["status"] == "released"
        assert problem(make_client().patch(door, {"end_behavior": "cancel"}), "invalid_state", 409)
        assert problem(make_client().post(f"{door}/release"), "invalid_state", 409)
        assert problem(make_client().post(f"{door}/cancel"), "invalid_state", 409)


class TestEnd:
    @pytest.mark.parametrize(
        ("body", "status"), [({}, "canceled"), ({"cancel_subscription": False}, "active")], ids=["with", "without"]
    )
    def test_cancels_with_or_without_the_subscription(
        self, account: Account, body: dict[str, Any], status: str
    ) -> None:
        schedule = make_ramp(account)
        with clock.travel(JANUARY + timedelta(days=9)):
            shown = make_client().post(f"{DOOR}/{schedule.public_id}/cancel", body).json()
        assert shown["status"] == "canceled"
        found = make_client().get(f"/api/v1/billing/subscriptions/{shown['subscription_id']}").json()
        assert (found["status"], found["schedule_id"]) == (status, None)

    def test_is_not_for_those_who_only_read(self, account: Account) -> None:
        door = f"{DOOR}/{make_ramp(account).public_id}"
        make_member(account, user_id="bob", role="member")
        for caller, status, code in (("bob", 403, "account_forbidden"), ("eve", 404, "not_found")):
            client = make_client(subject=caller, audience="public")
            assert problem(client.post(f"{door}/cancel"), code, status)
            assert problem(client.post(f"{door}/release"), code, status)
            assert problem(client.patch(door, {"end_behavior": "cancel"}), code, status)
        reader = make_client(scopes=["billing:read"])
        assert problem(reader.post(f"{door}/cancel"), "scope_missing", 403)

    def test_lets_the_subscription_go_on(self, account: Account) -> None:
        schedule = make_ramp(account)
        shown = make_client().post(f"{DOOR}/{schedule.public_id}/release").json()
        assert shown["status"] == "released"
        assert sweep_due_schedules(at=MARCH).steps == 0
