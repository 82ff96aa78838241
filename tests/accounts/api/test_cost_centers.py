"""Cost centers over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from accounts.models import Account, CostCenter
from metering.services.ingest import NewUsageEvent, record_usage_events
from tests.factories.accounts import AT, make_account, make_member
from tests.factories.cost_centers import make_branch, make_cost_center
from tests.support import world
from tests.support.api import BillingClient
from tests.support.prices import publish_prices
from tests.support.problems import findings, problem

pytestmark = pytest.mark.django_db

Clients = Callable[..., BillingClient]
PATH = "/api/v1/billing/cost-centers"


@pytest.fixture(autouse=True)
def _noon(clock_at: Callable[[datetime], AbstractContextManager[None]]) -> Iterator[None]:
    with clock_at(AT):
        yield


@pytest.fixture
def account() -> Account:
    return make_account("acme/shop")


@pytest.fixture
def client(api_client: Clients) -> BillingClient:
    return api_client()


def of(center: CostCenter) -> str:
    return f"{PATH}/{center.public_id}"


class TestCreating:
    def test_answers_the_center(self, client: BillingClient, account: Account) -> None:
        top = make_cost_center(account, "top")
        body = {"name": "Ops", "code": "ops", "parent_id": top.public_id, "budget": 25_000, "description": "On call"}
        response = client.post(PATH, {"account": "ACME/shop", **body})
        assert response.status_code == 201
        shown = response.json()
        center = CostCenter.objects.get(code="ops")
        assert {name: shown.pop(name) for name in ("created_at", "updated_at")} == {
            "created_at": center.created_at.isoformat().replace("+00:00", "Z"),
            "updated_at": center.updated_at.isoformat().replace("+00:00", "Z"),
        }
        assert shown == {
            **body,
            "id": center.public_id,
            "account_id": account.public_id,
            "currency": "usd",
            "is_active": True,
        }

    @pytest.mark.parametrize("word", ["account", "account_id", "tenant_id", "customer_id"])
    def test_names_the_account_in_any_word(self, client: BillingClient, account: Account, word: str) -> None:
        response = client.post(PATH, {word: account.public_id, "name": "Ops", "code": "ops"})
        assert (response.status_code, CostCenter.objects.get().account) == (201, account)

    @pytest.mark.parametrize(
        ("changes", "found"),
        [
            ({"code": ""}, ("/code", "blank")),
            ({"budget": -1}, ("/budget", "min_value")),
            ({"budget": "1.5"}, ("/budget", "invalid")),
            ({"parent_id": "cc_nothing"}, ("/parent_id", "not_found")),
            ({"colour": "red"}, ("/colour", "unknown")),
        ],
    )
    def test_points_at_what_is_wrong(
        self, client: BillingClient, account: Account, changes: dict[str, Any], found: tuple[str, str]
    ) -> None:
        answer = client.post(PATH, {"account": "acme/shop", "name": "Ops", "code": "ops", **changes})
        assert findings(problem(answer, "validation_failed", 400)) == [found]
        assert not CostCenter.objects.exists()

    def test_refuses_a_taken_code_and_a_currency_that_is_not_offered(
        self, client: BillingClient, account: Account
    ) -> None:
        make_cost_center(account, "ops")
        body = {"account": "acme/shop", "name": "Ops", "code": "OPS"}
        problem(client.post(PATH, body), "cost_center_code_taken", 409)
        problem(client.post(PATH, {**body, "code": "x", "currency": "xxq"}), "currency_unsupported", 400)

    def test_needs_an_account(self, client: BillingClient) -> None:
        problem(client.post(PATH, {"name": "Ops", "code": "ops"}), "account_required", 400)
        problem(client.post(PATH, {"account": "nobody", "name": "Ops", "code": "ops"}), "not_found", 404)

    def test_happens_once_per_key(self, client: BillingClient, account: Account) -> None:
        body = {"account": "acme/shop", "name": "Ops", "code": "ops"}
        first = client.post(PATH, body, headers={"Idempotency-Key": "center-1"})
        again = client.post(PATH, body, headers={"Idempotency-Key": "center-1"})
        assert (again.json(), again["Idempotent-Replayed"]) == (first.json(), "true")
        assert CostCenter.objects.count() == 1


class TestListing:
    def test_pages_and_filters(self, client: BillingClient, account: Account) -> None:
        top, below = make_branch(account, "top", "below")
        make_cost_center(account, "off", is_active=False)
        make_cost_center(make_account("globex"), "theirs")
        path = f"{PATH}/tenants/acme/shop"
        page = client.get(path, {"limit": 2}).json()
        assert ([row["code"] for row in page["items"]], page["has_more"]) == (["off", "below"], True)
        rest = client.get(path, {"limit": 2, "cursor": page["next_cursor"]}).json()
        assert ([row["code"] for row in rest["items"]], rest["has_more"]) == (["top"], False)
        found = client.get(path, {"active": "true", "parent_id": top.public_id}).json()["items"]
        assert [row["id"] for row in found] == [below.public_id]
        assert findings(problem(client.get(path, {"parent_id": "x"}), "validation_failed", 400)) == [
            ("parent_id", "invalid")
        ]
        problem(client.get(f"{PATH}/tenants/nobody"), "not_found", 404)

    def test_needs_the_same_queries_for_any_number(
        self, client: BillingClient, account: Account, django_assert_num_queries: Any
    ) -> None:
        make_branch(account, "a", "b", "c", "d")
        with django_assert_num_queries(2):
            assert len(client.get(f"{PATH}/tenants/acme/shop").json()["items"]) == 4


class TestReplacing:
    def test_empties_what_is_left_out(self, client: BillingClient, account: Account) -> None:
        top = make_cost_center(account, "top")
        center = make_cost_center(
            account, "ops", parent=top, description="On call", budget=5, currency="eur", is_active=False
        )
        shown = client.put(of(center), {"name": "Operations", "code": "ops"}).json()
        assert (shown["name"], shown["description"], shown["parent_id"], shown["budget"]) == (
            "Operations",
            "",
            None,
            None,
        )
        assert (shown["currency"], shown["is_active"]) == ("eur", False)
        assert client.get(of(center)).json() == shown

    def test_refuses_a_circle(self, client: BillingClient, account: Account) -> None:
        top, below = make_branch(account, "top", "below")
        answer = client.put(of(top), {"name": "Top", "code": "top", "parent_id": below.public_id})
        assert findings(problem(answer, "validation_failed", 400)) == [("/parent_id", "cycle")]

    def test_needs_name_and_code(self, client: BillingClient, account: Account) -> None:
        answer = client.put(of(make_cost_center(account)), {})
        assert findings(problem(answer, "validation_failed", 400)) == [("/name", "required"), ("/code", "required")]


class TestRemoving:
    def test_answers_its_id_once(self, client: BillingClient, account: Account) -> None:
        center = make_cost_center(account)
        response = client.delete(of(center))
        assert (response.status_code, response.json()) == (200, {"id": center.public_id, "deleted": True})
        assert problem(client.delete(of(center)), "not_found", 404)["object_type"] == "cost_center"

    def test_refuses_a_center_in_use(self, client: BillingClient, account: Account) -> None:
        top, _ = make_branch(account, "top", "below")
        assert problem(client.delete(of(top)), "cost_center_in_use", 409)["uses"] == ["cost centers"]


class TestCallers:
    def test_of_the_public_see_their_own_account_only(self, api_client: Clients, account: Account) -> None:
        center = make_cost_center(account)
        stranger = api_client("public", "eve")
        make_account("eve")
        body = {"name": "Ops", "code": "x"}
        problem(stranger.get(of(center)), "not_found", 404)
        problem(stranger.put(of(center), body), "not_found", 404)
        problem(stranger.delete(of(center)), "not_found", 404)
        problem(stranger.get(f"{PATH}/tenants/acme/shop"), "account_forbidden", 403)
        problem(stranger.post(PATH, {"account": "acme/shop", **body}), "account_forbidden", 403)
        assert [row.code for row in CostCenter.objects.all()] == ["ops"]

    def test_of_the_public_default_to_their_own_account(self, api_client: Clients, account: Account) -> None:
        owner = api_client("public", "acme/shop")
        assert owner.post(PATH, {"name": "Ops", "code": "ops"}).json()["account_id"] == account.public_id

    def test_who_are_members_read_only(self, api_client: Clients, account: Account) -> None:
        center = make_cost_center(account)
        make_member(account, "bob")
        bob = api_client("public", "bob")
        body = {"name": "Ops", "code": "x"}
        assert bob.get(of(center)).status_code == 200
        problem(bob.put(of(center), body), "account_forbidden", 403)
        problem(bob.delete(of(center)), "account_forbidden", 403)
        problem(bob.post(PATH, {"account": account.public_id, **body}), "account_forbidden", 403)

    def test_of_another_organization_see_nothing(self, api_client: Clients, account: Account) -> None:
        center = make_cost_center(account)
        service = api_client(org="globex")
        problem(service.get(of(center)), "not_found", 404)
        problem(service.get(f"{PATH}/tenants/acme/shop"), "not_found", 404)
        assert api_client(org="acme").get(of(center)).status_code == 200

    def test_need_the_scope(self, api_client: Clients, account: Account) -> None:
        reader = api_client(scopes=["billing:read"])
        answer = reader.post(PATH, {"account": "acme/shop", "name": "Ops", "code": "ops"})
        assert problem(answer, "scope_missing", 403)["required_scope"] == "billing:cost-center:write"


class TestAllocation:
    @pytest.fixture
    def account(self) -> Account:
        """An account that used 300 calls for ops, below top, and 100 for nobody, at a cent each; its fee is 10.00."""
        publish_prices({"unit_amount": 1000}, {"meter": "calls", "model": "per_unit", "unit_amount": "1"})
        account = make_account("acme/shop")
        make_branch(account, "top", "ops")
        CostCenter.objects.filter(code="top").update(budget=400)
        world.subscribe(account, "pay", at=AT.replace(day=1, hour=0))
        for value, code in ((300, "ops"), (100, "")):
            event = NewUsageEvent(account, "calls", Decimal(value), cost_center=code)
            record_usage_events(events=[event], at=AT, actor=world.TESTER)
        return account

    def test_answers_every_center_and_what_is_left(self, client: BillingClient, account: Account) -> None:
        top, ops = CostCenter.objects.order_by("id")
        answer = client.get(f"{PATH}/tenants/ACME/shop/allocation")
        assert answer.status_code == 200
        metric = {"metric_type": "calls", "unit": "calls", "quantity": "300", "cost": 300}
        budget = {"budget_currency": "usd"}
        assert answer.json() == {
            "account_id": account.public_id,
            "period": {"start": "2026-03-01T00:00:00Z", "end": "2026-04-01T00:00:00Z"},
            "items": [
                {
                    **{"cost_center_id": top.public_id, "code": "top", "name": "Top", "parent_id": None},
                    **{"direct_cost": 0, "rolled_up_cost": 300, "by_metric": []},
                    **{"budget": 400, "budget_used_percent": 75, **budget},
                },
                {
                    **{"cost_center_id": ops.public_id, "code": "ops", "name": "Ops", "parent_id": top.public_id},
                    **{"direct_cost": 300, "rolled_up_cost": 300, "by_metric": [metric]},
                    **{"budget": None, "budget_used_percent": None, **budget},
                },
            ],
            "unallocated": 1100,
            "total": 1400,
            "currency": "usd",
        }

    def test_takes_days_of_the_account(self, client: BillingClient, account: Account) -> None:
        answer = client.get(f"{PATH}/tenants/{account.public_id}/allocation?start=2026-03-15&end=2026-03-15").json()
        assert answer["period"] == {"start": "2026-03-15T00:00:00Z", "end": "2026-03-16T00:00:00Z"}
        assert (answer["unallocated"], answer["total"]) == (100, 400)

    @pytest.mark.parametrize(
        ("query", "code"),
        [("start=2026-03-02&end=2026-03-01", "period_invalid"), ("start=soon", "validation_failed")],
    )
    def test_refuses_nonsense(self, client: BillingClient, account: Account, query: str, code: str) -> None:
        problem(client.get(f"{PATH}/tenants/{account.public_id}/allocation?{query}"), code, 400)

    def test_is_for_members(self, api_client: Clients, account: Account) -> None:
        make_member(account, "ada")
        address = f"{PATH}/tenants/{account.public_id}/allocation"
        assert api_client("public", "ada").get(address).status_code == 200
        problem(api_client("public", "eve").get(address), "account_forbidden", 403)
