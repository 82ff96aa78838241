"""Cost alerts and spend alerts over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from accounts.models import Account
from billing_site.kernel import clock
from billing_site.platform.models import Event
from metering.models import CostAlert
from metering.services.cost_alerts import MAX_ALERTS
from tests.factories.accounts import make_account, make_member
from tests.factories.cost_alerts import make_cost_alert, make_spend_alert
from tests.factories.cost_centers import make_cost_center
from tests.support import world
from tests.support.api import BillingClient
from tests.support.jobs import SentJobs
from tests.support.problems import problem

pytestmark = pytest.mark.django_db

Clients = Callable[..., BillingClient]
NOW = world.NOVEMBER + timedelta(days=10, hours=5)
SPEND = "/api/v1/billing/spend-alerts"


@pytest.fixture(autouse=True)
def _now() -> Iterator[None]:
    with clock.travel(NOW):
        yield


@pytest.fixture
def account() -> Account:
    return make_account("acme/shop")


@pytest.fixture
def client(api_client: Clients) -> BillingClient:
    return api_client()


def of(account: Account) -> str:
    return f"/api/v1/billing/realtime-cost/tenants/{account.external_id}/alerts"


def dismiss(alert: CostAlert) -> str:
    return f"/api/v1/billing/realtime-cost/alerts/{alert.public_id}/dismiss"


def fire(alert: CostAlert, **columns: Any) -> None:
    """Write what firing leaves, for the rest of the day."""
    CostAlert.objects.filter(pk=alert.pk).update(
        status="triggered", triggered_at=NOW, triggered_value=700, silent_until=NOW + timedelta(hours=19), **columns
    )


class TestCreatingCostAlerts:
    def test_answers_the_alert_armed(self, client: BillingClient, account: Account) -> None:
        body = {"threshold_amount": 5000, "currency": "USD", "notify_email": "ops@example.com", "notify_slack": True}
        response = client.post(of(account), body)
        assert response.status_code == 201
        alert = CostAlert.objects.get()
        assert response.json() == {
            "id": alert.public_id,
            "account_id": account.public_id,
            "threshold_type": "absolute",
            "threshold_amount": 5000,
            "threshold_percent": None,
            "currency": "usd",
            "notify_email": "ops@example.com",
            "notify_slack": True,
            "status": "armed",
            "triggered_at": None,
            "triggered_value": None,
            "created_at": response.json()["created_at"],
        }
        event = Event.objects.get(type="cost_alert.created")
        assert (event.object_id, event.data["threshold_amount"]) == (alert.public_id, 5000)

    def test_has_what_is_above_already_looked_at(
        self,
        client: BillingClient,
        account: Account,
        sent_jobs: SentJobs,
        django_capture_on_commit_callbacks: Any,
    ) -> None:
        with django_capture_on_commit_callbacks(execute=True):
            client.post(of(account), {"threshold_amount": 5000})
        assert sent_jobs.of("metering.evaluate_alerts") == [{"account_ids": [str(account.pk)]}]

    def test_takes_twice_the_mean_for_unusual(self, client: BillingClient, account: Account) -> None:
        body = client.post(of(account), {"threshold_type": "anomaly"}).json()
        assert (body["threshold_percent"], body["threshold_amount"]) == ("200", None)

    @pytest.mark.parametrize(
        ("body", "pointers"),
        [
            ({}, [("/threshold_amount", "required")]),
            ({"threshold_type": "daily_rate"}, [("/threshold_amount", "required")]),
            ({"threshold_type": "percentage_of_budget"}, [("/threshold_percent", "required")]),
            ({"threshold_type": "anomaly", "threshold_percent": "0"}, [("/threshold_percent", "min_value")]),
            (
                {"threshold_type": "anomaly", "threshold_amount": 5},
                [("/threshold_amount", "not_taken")],
            ),
            (
                {"threshold_type": "absolute", "threshold_percent": "5"},
                [("/threshold_amount", "required"), ("/threshold_percent", "not_taken")],
            ),
            ({"threshold_type": "sometimes"}, [("/threshold_type", "invalid_choice")]),
            ({"threshold_amount": 5, "notify_email": "nobody"}, [("/notify_email", "invalid")]),
            ({"threshold_amount": 5, "notify_mail": "a@example.com"}, [("/notify_mail", "unknown")]),
        ],
    )
    def test_names_what_is_wrong(
        self, client: BillingClient, account: Account, body: dict[str, Any], pointers: list[tuple[str, str]]
    ) -> None:
        refused = problem(client.post(of(account), body), "validation_failed", 400)
        assert [(each["pointer"], each["code"]) for each in refused["errors"]] == pointers
        assert not CostAlert.objects.exists()

    def test_refuses_an_amount_of_nothing(self, client: BillingClient, account: Account) -> None:
        problem(client.post(of(account), {"threshold_amount": 0}), "amount_not_positive", 400)

    @pytest.mark.parametrize(
        "center",
        [
            {},
            {"is_active": False, "budget": 100},
            {"currency": "eur", "budget": 100},
        ],
    )
    def test_refuses_a_share_of_no_budget(
        self, client: BillingClient, account: Account, center: dict[str, Any]
    ) -> None:
        make_cost_center(account, "top", **center)
        body = {"threshold_type": "percentage_of_budget", "threshold_percent": "80"}
        problem(client.post(of(account), body), "budget_missing", 422)

    def test_takes_a_share_of_the_budget_at_the_top(self, client: BillingClient, account: Account) -> None:
        make_cost_center(account, "top", budget=100)
        body = {"threshold_type": "percentage_of_budget", "threshold_percent": "80.5"}
        assert client.post(of(account), body).json()["threshold_percent"] == "80.5"

    def test_ends_at_a_hundred(self, client: BillingClient, account: Account) -> None:
        first = make_cost_alert(account)
        copies = [CostAlert(account=account, scope="period", threshold_amount=5, currency="usd", next_check_at=NOW)]
        CostAlert.objects.bulk_create([*copies, *(_copy(copies[0]) for _ in range(MAX_ALERTS - 2))])
        assert CostAlert.objects.count() == MAX_ALERTS
        problem(client.post(of(account), {"threshold_amount": 5}), "validation_failed", 400)
        CostAlert.objects.filter(pk=first.pk).update(deleted_at=NOW)
        assert client.post(of(account), {"threshold_amount": 5}).status_code == 201

    def test_happens_once_per_key(self, client: BillingClient, account: Account) -> None:
        answers = [
            client.post(of(account), {"threshold_amount": 5}, headers={"Idempotency-Key": "k"}).json() for _ in range(2)
        ]
        assert answers[0] == answers[1]
        assert CostAlert.objects.count() == 1


def _copy(alert: CostAlert) -> CostAlert:
    return CostAlert(account=alert.account, scope="period", threshold_amount=5, currency="usd", next_check_at=NOW)


class TestListingCostAlerts:
    def test_is_newest_first_and_without_spend_alerts(self, client: BillingClient, account: Account) -> None:
        first, second = make_cost_alert(account), make_cost_alert(account, threshold_type="anomaly")
        make_spend_alert(account)
        make_cost_alert(make_account("other"))
        items = client.get(of(account)).json()["items"]
        assert [item["id"] for item in items] == [second.public_id, first.public_id]

    def test_knows_the_state_of_the_moment(self, client: BillingClient, account: Account) -> None:
        fired, over, armed = (make_cost_alert(account) for _ in range(3))
        fire(fired)
        fire(over)
        CostAlert.objects.filter(pk=over.pk).update(silent_until=NOW)  # its period has just ended

        def ids(status: str) -> list[str]:
            items = client.get(of(account), {"status": status}).json()["items"]
            assert {item["status"] for item in items} <= {status}
            return [item["id"] for item in items]

        assert ids("triggered") == [fired.public_id]
        assert ids("armed") == [armed.public_id, over.public_id]
        assert ids("dismissed") == []
        [triggered] = client.get(of(account), {"status": "triggered"}).json()["items"]
        assert (triggered["triggered_at"], triggered["triggered_value"]) == ("2023-11-11T05:00:00Z", 700)
        shown = client.get(of(account), {"status": "armed"}).json()["items"]
        assert {item["triggered_at"] for item in shown} == {None}


class TestDismissing:
    def test_silences_until_the_period_ends(self, client: BillingClient, account: Account) -> None:
        alert = make_cost_alert(account, threshold_type="daily_rate")
        fire(alert)
        body = client.post(dismiss(alert)).json()
        assert (body["status"], body["triggered_value"]) == ("dismissed", 700)
        assert client.post(dismiss(alert)).json() == body
        assert Event.objects.filter(type="cost_alert.dismissed").count() == 1
        with clock.travel(NOW + timedelta(hours=19)):
            [item] = client.get(of(account)).json()["items"]
        assert (item["status"], item["triggered_at"]) == ("armed", None)

    @pytest.mark.parametrize(
        ("options", "until"),
        [
            ({"threshold_type": "daily_rate"}, world.NOVEMBER + timedelta(days=11)),
            ({"threshold_type": "absolute"}, world.DECEMBER),  # no subscription: the calendar month
        ],
    )
    def test_silences_what_has_not_fired_too(
        self, client: BillingClient, account: Account, options: dict[str, Any], until: Any
    ) -> None:
        alert = make_cost_alert(account, **options)
        assert client.post(dismiss(alert)).json()["status"] == "dismissed"
        alert.refresh_from_db()
        assert (alert.silent_until, alert.triggered_at) == (until, None)

    def test_of_an_unknown_one_is_refused(self, client: BillingClient, account: Account) -> None:
        for path in ("alert_00", "x"):
            problem(client.post(f"/api/v1/billing/realtime-cost/alerts/{path}/dismiss"), "not_found", 404)


class TestSpendAlerts:
    def test_are_created_listed_changed_and_deleted(self, client: BillingClient, account: Account) -> None:
        made = client.post(SPEND, {"account": "acme/shop", "title": " The  roof ", "threshold": 5000})
        assert made.status_code == 201
        body = made.json()
        assert body == {
            "id": body["id"],
            "account_id": account.public_id,
            "title": "The roof",
            "threshold": 5000,
            "currency": "usd",
            "triggered_at": None,
            "created_at": body["created_at"],
            "updated_at": body["updated_at"],
        }
        assert client.get(SPEND, {"account": "acme/shop"}).json()["items"] == [body]
        changed = client.patch(f"{SPEND}/{body['id']}", {"threshold": 6000}).json()
        assert changed == {**body, "threshold": 6000, "updated_at": changed["updated_at"]}
        assert client.delete(f"{SPEND}/{body['id']}").status_code == 204
        problem(client.delete(f"{SPEND}/{body['id']}"), "not_found", 404)
        assert client.get(SPEND, {"account": "acme/shop"}).json()["items"] == []
        types = Event.objects.filter(type__startswith="spend_alert").order_by("id").values_list("type", flat=True)
        assert list(types) == ["spend_alert.created", "spend_alert.updated", "spend_alert.deleted"]

    def test_are_absolute_cost_alerts_over_the_month(self, client: BillingClient, account: Account) -> None:
        client.post(SPEND, {"account": "acme/shop", "threshold": 5000})
        alert = CostAlert.objects.get()
        assert (alert.threshold_type, alert.scope, alert.threshold_amount) == ("absolute", "month", 5000)

    @pytest.mark.parametrize("threshold", [0, -1])
    def test_need_a_threshold_above_zero(self, client: BillingClient, account: Account, threshold: int) -> None:
        alert = make_spend_alert(account)
        problem(client.post(SPEND, {"account": "acme/shop", "threshold": threshold}), "amount_not_positive", 400)
        problem(client.patch(f"{SPEND}/{alert.public_id}", {"threshold": threshold}), "amount_not_positive", 400)

    def test_are_armed_again_by_another_threshold(self, client: BillingClient, account: Account) -> None:
        alert = make_spend_alert(account)
        fire(alert)
        path = f"{SPEND}/{alert.public_id}"
        assert client.patch(path, {"title": "x", "threshold": 500}).json()["triggered_at"] is not None
        assert client.patch(path, {"threshold": 501}).json()["triggered_at"] is None
        alert.refresh_from_db()
        assert (alert.status, alert.arming) == ("armed", 2)

    def test_need_something_to_change(self, client: BillingClient, account: Account) -> None:
        path = f"{SPEND}/{make_spend_alert(account).public_id}"
        problem(client.patch(path, {}), "validation_failed", 400)

    def test_internal_callers_name_the_account(self, client: BillingClient) -> None:
        problem(client.get(SPEND), "account_required", 400)
        problem(client.post(SPEND, {"threshold": 5}), "account_required", 400)

    def test_cost_alerts_are_none(self, client: BillingClient, account: Account) -> None:
        path = f"{SPEND}/{make_cost_alert(account).public_id}"
        problem(client.patch(path, {"title": "x"}), "not_found", 404)
        problem(client.delete(path), "not_found", 404)


class TestAccess:
    def test_members_read_and_admins_write(self, api_client: Clients, account: Account) -> None:
        make_member(account, "mia", role="member")
        make_member(account, "ada", role="admin")
        member, admin = (api_client("public", name) for name in ("mia", "ada"))
        alert, spend = make_cost_alert(account), make_spend_alert(account)
        assert len(member.get(of(account)).json()["items"]) == 1
        assert len(member.get(SPEND).json()["items"]) == 1
        for client, status in ((member, 403), (admin, None)):
            answers = [
                client.post(of(account), {"threshold_amount": 5}),
                client.post(dismiss(alert)),
                client.post(SPEND, {"threshold": 5}),
                client.patch(f"{SPEND}/{spend.public_id}", {"title": "x"}),
                client.delete(f"{SPEND}/{spend.public_id}"),
            ]
            if status is None:
                assert [answer.status_code for answer in answers] == [201, 200, 201, 200, 204]
            else:
                for answer in answers:
                    problem(answer, "account_forbidden", status)

    def test_strangers_see_nothing(self, api_client: Clients, account: Account) -> None:
        make_member(make_account("other"), "eve", role="owner")
        alert, spend = make_cost_alert(account), make_spend_alert(account)
        eve, foreign = api_client("public", "eve"), api_client(org="elsewhere")
        problem(eve.get(of(account)), "account_forbidden", 403)
        problem(foreign.get(of(account)), "not_found", 404)
        for client in (eve, foreign):
            problem(client.post(dismiss(alert)), "not_found", 404)
            problem(client.delete(f"{SPEND}/{spend.public_id}"), "not_found", 404)
        assert CostAlert.objects.filter(deleted_at__isnull=True, status="armed").count() == 2
