"""The doors of plan moves and of the impact of a catalog document, by real requests."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import PriceOverride, Subscription
from billing_site.platform.models import Event, IdempotencyKey
from catalog.models import CatalogRevision, PlanVersion
from invoicing.models import Invoice, PlanMove, PlanMoveItem
from tests.support import world
from tests.support.api import BillingClient
from tests.support.jobs import SentJobs
from tests.support.problems import findings, problem

pytestmark = pytest.mark.django_db

MOVES = "/api/internal/billing/plan-moves"
PREVIEW = f"{MOVES}/preview"
IMPACT = "/api/internal/billing/catalog/impact"
MIDDLE = datetime(2023, 11, 15, tzinfo=UTC)
JANUARY = datetime(2024, 1, 1, tzinfo=UTC)
BODY = {"plan_id": "pro", "reason": "new prices"}
Clients = Callable[..., BillingClient]


@pytest.fixture
def client(api_client: Clients) -> BillingClient:
    return api_client(subject="pricing")


@pytest.fixture
def subscriptions() -> list[Subscription]:
    """Three on version 1 of Pro with 1, 2 and 3 seats; the last ends with its period. Version 2 costs 5.00 more."""
    world.publish()
    made = [
        world.subscribe(world.open_account(f"acme/{seats}", name=f"Acme {seats}"), "pro", quantity=seats)
        for seats in (1, 2, 3)
    ]
    Subscription.objects.filter(pk=made[2].pk).update(cancel_at_period_end=True)
    world.publish(at=MIDDLE, fee=1500)
    return made


@pytest.fixture
def start(client: BillingClient, sent_jobs: SentJobs, django_capture_on_commit_callbacks: Any) -> Callable[..., Any]:
    """Start a move, let the worker do it, and return the answer of the start."""

    def call(**body: Any) -> Any:
        with django_capture_on_commit_callbacks(execute=True):
            response = client.post(MOVES, {**BODY, **body})
        sent_jobs.run()
        return response

    return call


class TestPreview:
    def test_says_what_changes_for_whom_and_writes_nothing(
        self, client: BillingClient, subscriptions: list[Subscription]
    ) -> None:
        events = Event.objects.count()
        body = client.post(PREVIEW, {"plan_id": "pro"}).json()
        assert (body["plan_id"], body["version"], body["when"]) == ("pro", 2, "period_end")
        assert (body["subscriptions"], body["movable"]) == (3, 2)
        assert body["versions"] == [{"version": 1, "subscriptions": 3}]
        # two that can go, with 1 and 2 seats: 3 × 10.00 becomes 3 × 15.00
        sums = {
            "next_invoice_before": 3000,
            "next_invoice_after": 4500,
            "monthly_before": 3000,
            "monthly_after": 4500,
            "monthly_difference": 1500,
        }
        assert body["totals"] == [{"currency": "usd", "subscriptions": 2, **sums}]
        assert body["not_movable"] == [
            {
                "code": "move_not_possible",
                "detail": "The subscription ends with this period; no next one begins.",
                "subscriptions": 1,
                "subscription_ids": [subscriptions[2].public_id],
            }
        ]
        row = body["rows"][0]
        assert (row["subscription_id"], row["account_name"]) == (subscriptions[1].public_id, "Acme 2")
        assert (row["from_version"], row["next_billing_at"]) == (1, "2023-12-01T00:00:00Z")
        assert (row["next_invoice_before"], row["next_invoice_after"], row["monthly_difference"]) == (2000, 3000, 1000)
        assert [each["monthly_difference"] for each in body["rows"]] == [1000, 500]
        assert (PlanMove.objects.count(), Event.objects.count()) == (0, events)

    def test_lists_no_more_than_asked_for_and_still_counts_all(
        self, client: BillingClient, subscriptions: list[Subscription]
    ) -> None:
        body = client.post(PREVIEW, {"plan_id": "pro", "limit": 1}).json()
        assert (len(body["rows"]), body["movable"], body["totals"][0]["subscriptions"]) == (1, 2, 2)

    def test_names_negotiated_prices_that_stay_and_go(
        self, client: BillingClient, subscriptions: list[Subscription]
    ) -> None:
        for key in ("pro:usd:month", "pro:usd:month:gone"):
            PriceOverride.objects.create(
                account=subscriptions[0].account,
                lookup_key=key,
                model="flat",
                unit_amount=900,
                effective_from=world.OCTOBER,
                reason="contract",
                created_by="staff:lead",
            )
        rows = client.post(PREVIEW, {"plan_id": "pro"}).json()["rows"]
        assert [(row["kept_prices"], row["lost_prices"]) for row in rows] == [
            ([], []),
            (["pro:usd:month"], ["pro:usd:month:gone"]),
        ]
        assert (rows[1]["next_invoice_before"], rows[1]["next_invoice_after"]) == (900, 900)

    def test_takes_the_body_of_the_move(self, client: BillingClient, subscriptions: list[Subscription]) -> None:
        chosen = [subscriptions[0].public_id, Subscription().public_id]
        body = client.post(PREVIEW, {**BODY, "when": "now", "from_versions": [1], "subscription_ids": chosen}).json()
        assert (body["subscriptions"], body["left_out"], body["when"]) == (1, chosen[1:], "now")

    def test_answers_a_repeated_key_from_what_is_true_by_then(
        self, client: BillingClient, subscriptions: list[Subscription]
    ) -> None:
        headers = {"Idempotency-Key": "look"}
        assert client.post(PREVIEW, {"plan_id": "pro"}, headers=headers).json()["subscriptions"] == 3
        Subscription.objects.filter(pk=subscriptions[0].pk).update(status="canceled", ended_at=MIDDLE)
        assert client.post(PREVIEW, {"plan_id": "pro"}, headers=headers).json()["subscriptions"] == 2
        assert not IdempotencyKey.objects.exists()

    @pytest.mark.parametrize(
        ("body", "found"),
        [
            ({}, [("/plan_id", "required")]),
            ({"plan_id": "pro", "when": "tomorrow"}, [("/when", "invalid_choice")]),
            ({"plan_id": "pro", "version": 0}, [("/version", "min_value")]),
            ({"plan_id": "pro", "from_version": [1]}, [("/from_version", "unknown")]),
            ({"plan_id": "pro", "from_versions": []}, [("/from_versions", "min_length")]),
            ({"plan_id": "pro", "subscription_ids": ["sub_x"]}, [("/subscription_ids/0", "invalid")]),
            ({"plan_id": "pro", "limit": 100_000}, [("/limit", "max_value")]),
        ],
    )
    def test_refuses_what_it_does_not_understand(
        self, client: BillingClient, body: dict[str, Any], found: list[tuple[str, str]]
    ) -> None:
        assert findings(problem(client.post(PREVIEW, body), "validation_failed", 400)) == found

    @pytest.mark.parametrize(("body", "kind"), [({"plan_id": "gold"}, "plan"), ({"version": 9}, "plan_version")])
    def test_of_an_unknown_plan_or_version_is_refused(
        self, client: BillingClient, subscriptions: list[Subscription], body: dict[str, Any], kind: str
    ) -> None:
        answer = client.post(PREVIEW, {"plan_id": "pro", **body})
        assert problem(answer, "not_found", 404)["object_type"] == kind


class TestStarting:
    def test_answers_at_once_and_moves_in_the_background(
        self, client: BillingClient, start: Callable[..., Any], subscriptions: list[Subscription]
    ) -> None:
        response = start()
        move = PlanMove.objects.get()
        body = response.json()
        assert (response.status_code, body["id"], body["status"]) == (201, move.public_id, "running")
        assert body["progress"] == {"pending": 3, "applied": 0, "failed": 0}
        assert (body["reason"], body["requested_by"]) == ("new prices", "token:pricing")
        shown = client.get(f"{MOVES}/{move.public_id}").json()
        assert (shown["status"], shown["progress"]) == ("completed", {"pending": 0, "applied": 2, "failed": 1})
        assert shown["finished_at"] is not None
        pending = Subscription.objects.filter(pending_plan_version__version=2)
        assert {each.pk for each in pending} == {subscriptions[0].pk, subscriptions[1].pk}

    def test_moves_those_named_and_no_others(
        self, start: Callable[..., Any], subscriptions: list[Subscription]
    ) -> None:
        start(when="now", version=2, subscription_ids=[subscriptions[1].public_id])
        assert list(Subscription.objects.filter(plan_version__version=2)) == [subscriptions[1]]

    def test_a_repeat_answers_the_same_move_as_far_as_it_is(
        self, client: BillingClient, start: Callable[..., Any], subscriptions: list[Subscription]
    ) -> None:
        headers = {"Idempotency-Key": "spring"}
        first = client.post(MOVES, BODY, headers=headers)
        again = client.post(MOVES, BODY, headers=headers)
        assert (again.status_code, again.json()["id"]) == (201, first.json()["id"])
        assert ("Idempotent-Replayed" in first, again["Idempotent-Replayed"]) == (False, "true")
        changed = client.post(MOVES, {**BODY, "when": "now"}, headers=headers)
        problem(changed, "idempotency_key_reused", 422)
        assert PlanMove.objects.count() == 1

    def test_needs_a_reason(self, client: BillingClient, subscriptions: list[Subscription]) -> None:
        for body in ({"plan_id": "pro"}, {"plan_id": "pro", "reason": " "}):
            assert findings(problem(client.post(MOVES, body), "validation_failed", 400))[0][0] == "/reason"
        assert not PlanMove.objects.exists()

    def test_beside_another_of_the_plan_is_refused(
        self, client: BillingClient, subscriptions: list[Subscription]
    ) -> None:
        client.post(MOVES, BODY)
        assert problem(client.post(MOVES, BODY), "move_in_progress", 409)["retryable"]

    def test_of_nobody_is_refused(self, client: BillingClient, subscriptions: list[Subscription]) -> None:
        problem(client.post(MOVES, {**BODY, "version": 1}), "nothing_to_move", 409)


class TestFollowing:
    def test_lists_moves_with_their_progress_in_a_fixed_number_of_queries(
        self, client: BillingClient, start: Callable[..., Any], subscriptions: list[Subscription]
    ) -> None:
        start()
        with CaptureQueriesContext(connection) as one:
            client.get(MOVES)
        start(version=1)
        with CaptureQueriesContext(connection) as two:
            items = client.get(MOVES).json()["items"]
        assert len(one) == len(two)
        assert [(item["version"], item["progress"]["applied"]) for item in items] == [(1, 2), (2, 2)]
        assert client.get(f"{MOVES}?plan_id=payg").json()["items"] == []
        assert len(client.get(f"{MOVES}?status=completed&limit=1").json()["items"]) == 1

    def test_shows_what_became_of_each(
        self, client: BillingClient, start: Callable[..., Any], subscriptions: list[Subscription]
    ) -> None:
        path = f"{MOVES}/{start().json()['id']}/items"
        (failed,) = client.get(f"{path}?status=failed").json()["items"]
        assert failed["subscription_id"] == subscriptions[2].public_id
        assert failed["account_name"] == "Acme 3"
        assert (failed["from_version"], failed["error_code"]) == (1, "move_not_possible")
        assert failed["error_detail"].startswith("The subscription ends")
        page = client.get(f"{path}?limit=2").json()
        rest = client.get(f"{path}?limit=2&cursor={page['next_cursor']}").json()
        seen = [item["subscription_id"] for item in page["items"] + rest["items"]]
        assert sorted(seen) == sorted(each.public_id for each in subscriptions)

    @pytest.mark.parametrize("path", ["mov_x", "mov_x/items", "nothing"])
    def test_of_an_unknown_move_is_refused(self, client: BillingClient, path: str) -> None:
        assert problem(client.get(f"{MOVES}/{path}"), "not_found", 404)["object_type"] == "plan_move"


class TestOrganizations:
    def test_a_limited_token_moves_and_sees_its_own(
        self, api_client: Clients, client: BillingClient, subscriptions: list[Subscription]
    ) -> None:
        world.subscribe(world.open_account("elsewhere/one"), "pro")
        Subscription.objects.update(plan_version=PlanVersion.objects.get(plan__key="pro", version=1))
        own, elsewhere = api_client(org="acme"), api_client(org="elsewhere")
        assert client.post(PREVIEW, {"plan_id": "pro"}).json()["subscriptions"] == 4
        assert own.post(PREVIEW, {"plan_id": "pro"}).json()["subscriptions"] == 3
        move_id = elsewhere.post(MOVES, BODY).json()["id"]
        assert PlanMoveItem.objects.count() == 1
        assert elsewhere.get(f"{MOVES}/{move_id}").status_code == 200
        problem(own.get(f"{MOVES}/{move_id}"), "not_found", 404)
        assert own.get(MOVES).json()["items"] == []
        assert len(client.get(MOVES).json()["items"]) == 1

    def test_a_token_limited_to_the_owner_of_the_catalog_sees_no_accounts_of_others(
        self, api_client: Clients, subscriptions: list[Subscription]
    ) -> None:
        default = api_client(org="default")
        assert default.post(PREVIEW, {"plan_id": "pro"}).json()["subscriptions"] == 0
        impact = default.post(IMPACT, world.make_document(fee=2000)).json()
        assert (impact["subscriptions"], impact["plans"][0]["versions"], impact["totals"]) == (0, [], [])

    def test_another_organization_is_refused(self, api_client: Clients, subscriptions: list[Subscription]) -> None:
        answer = api_client(org="mine").post(PREVIEW, {"plan_id": "pro", "org_id": "yours"})
        assert findings(problem(answer, "validation_failed", 400)) == [("/org_id", "forbidden")]

    def test_a_free_token_names_one(self, client: BillingClient) -> None:
        world.publish(org_id="shop")
        world.subscribe(world.open_account("shop/one"), "pro")
        world.publish(org_id="shop", at=MIDDLE, fee=1500)
        problem(client.post(PREVIEW, {"plan_id": "pro"}), "not_found", 404)
        assert client.post(PREVIEW, {"plan_id": "pro", "org_id": "shop"}).json()["movable"] == 1
        impact = client.post(f"{IMPACT}?org_id=shop", world.make_document(fee=1800)).json()
        assert impact["totals"][0]["monthly_difference"] == 800


class TestImpact:
    def test_says_what_a_document_would_do_to_whom(
        self, client: BillingClient, subscriptions: list[Subscription]
    ) -> None:
        world.subscribe(subscriptions[0].account, "free")
        world.subscribe(world.open_account("late"), "pro", at=MIDDLE)
        document = world.make_document(fee=2000)
        document["plans"] = [plan for plan in document["plans"] if plan["id"] != "free"]
        body = client.post(IMPACT, document).json()
        assert (body["revision"], body["subscriptions"]) == (2, 5)
        assert body["difference"]["plans"] == {"removed": ["free"], "changed": ["pro"]}
        free, pro = body["plans"]
        assert (free["change"], free["next_version"], free["subscriptions"], free["rows"]) == ("removed", None, 1, [])
        assert (pro["name"], pro["change"], pro["next_version"]) == ("Pro", "changed", 3)
        assert pro["versions"] == [{"version": 1, "subscriptions": 3}, {"version": 2, "subscriptions": 1}]
        # 1 + 2 seats at 10.00 and one at 15.00 become 4 × 20.00
        assert (pro["totals"][0]["monthly_before"], pro["totals"][0]["monthly_after"]) == (4500, 8000)
        assert pro["totals"] == body["totals"]
        assert [row["monthly_difference"] for row in pro["rows"]] == [2000, 1000, 500]
        assert pro["not_movable"][0]["subscriptions"] == 1
        assert CatalogRevision.objects.count() == 2

    def test_lists_as_many_subscriptions_as_asked_for(
        self, client: BillingClient, subscriptions: list[Subscription]
    ) -> None:
        (pro,) = client.post(f"{IMPACT}?limit=1", world.make_document(fee=2000)).json()["plans"]
        assert (len(pro["rows"]), pro["totals"][0]["subscriptions"]) == (1, 2)
        problem(client.post(f"{IMPACT}?limit=x", world.make_document()), "validation_failed", 400)

    def test_of_the_same_document_is_nothing(self, client: BillingClient, subscriptions: list[Subscription]) -> None:
        body = client.post(IMPACT, world.make_document(fee=1500)).json()
        assert (body["difference"], body["plans"], body["totals"]) == ({}, [], [])

    def test_answers_every_finding(self, client: BillingClient) -> None:
        document = world.make_document()
        document["plans"][1]["prices"][0]["unit_amount"] = -5
        document["plans"][2]["product_id"] = "nothing"
        found = findings(problem(client.post(IMPACT, document), "catalog_invalid", 400))
        assert {pointer for pointer, _ in found} == {"/plans/1/prices/0/unit_amount", "/plans/2/product_id"}

    def test_says_what_is_then_billed(
        self, client: BillingClient, start: Callable[..., Any], subscriptions: list[Subscription]
    ) -> None:
        world.use(subscriptions[0].account, "input_tokens", [4_000_000], at=MIDDLE)
        document = world.make_document(fee=1999, input_price="0.0001")
        (total,) = client.post(IMPACT, document).json()["totals"]
        world.publish(at=MIDDLE, fee=1999, input_price="0.0001")
        start()
        world.run_cycle(as_of=world.DECEMBER, org_id="acme")
        # fees: 3 × 19.99; usage of November at its own price: 4,000,000 × 0.00005 = 200
        assert total["next_invoice_after"] == 3 * 1999 + 200
        assert sum(invoice.total for invoice in Invoice.objects.filter(period_end=JANUARY)) == 3 * 1999 + 200


class TestScopes:
    @pytest.mark.parametrize("path", [PREVIEW, MOVES])
    def test_moving_needs_the_scope_of_publishing(self, api_client: Clients, path: str) -> None:
        client = api_client(scopes=["billing:subscription:write", "billing:catalog:read"])
        refused = problem(client.post(path, BODY), "scope_missing", 403)
        assert refused["required_scope"] == "billing:catalog:write"

    def test_looking_needs_the_scope_of_reading_catalogs(self, api_client: Clients) -> None:
        client = api_client(scopes=["billing:catalog:read"])
        assert client.get(MOVES).status_code == 200
        assert client.post(IMPACT, world.make_document()).status_code == 200
