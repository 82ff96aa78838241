"""The subscription doors, with real requests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from accounts.models import Account, Subscription
from billing_site.kernel import clock
from billing_site.kernel.ids import encode_id, new_uuid
from billing_site.platform.models import Event
from invoicing.models import Invoice, ProviderCustomer
from tests.factories.accounts import AT, make_account, make_member, make_subscription, publish_catalog
from tests.support.api import make_client
from tests.support.problems import findings, problem

pytestmark = pytest.mark.django_db

SUBSCRIPTIONS = "/api/v1/billing/subscriptions"
FIELDS = {
    "id", "account_id", "plan_id", "plan", "status", "quantity", "current_period_start", "current_period_end",
    "cancel_at_period_end", "cancellation_reason", "pending_plan_id", "pending_quantity", "pending_interval",
    "pending_at", "discount", "provider_type",
    "provider_subscription_id", "default_payment_method", "collection_method", "billing_threshold", "billing_anchor",
    "alignment", "billing_cycle_anchor",
    "current_invoice_id", "schedule_id", "trial_start", "trial_end", "paused_at", "canceled_at",
    "ended_at", "incomplete_until", "metadata",
    "created_at", "updated_at",
}  # fmt: skip


@pytest.fixture
def account() -> Account:
    """`acme/shop`, owned by alice, with a catalog to choose from."""
    publish_catalog()
    return make_account("acme/shop", owner_user_id="alice")


@pytest.fixture(autouse=True)
def _noon() -> Iterator[None]:
    with clock.travel(AT):
        yield


class TestCreate:
    @pytest.mark.parametrize("door", [SUBSCRIPTIONS, "/api/v1/billing/tenants/acme/shop/subscriptions"])
    def test_starts_and_bills_the_fee_in_advance(self, account: Account, door: str) -> None:
        body: dict[str, Any] = {"plan_id": "pro", "quantity": 2, "metadata": {"po": "7"}, "billing_threshold": 5000}
        if door == SUBSCRIPTIONS:
            body["account"] = "acme/shop"
        response = make_client().post(door, body)
        assert response.status_code == 201, response.content
        shown = response.json()
        assert shown.keys() == FIELDS
        assert (shown["account_id"], shown["plan_id"], shown["status"]) == (account.public_id, "pro", "active")
        assert shown["plan"] == {
            "id": "pro",
            "name": "Pro",
            "price": 4900,
            "currency": "usd",
            "interval": "month",
        }
        assert (shown["quantity"], shown["billing_anchor"], shown["billing_threshold"]) == (2, 15, 5000)
        assert (shown["current_period_start"], shown["current_period_end"]) == (
            "2026-03-15T00:00:00Z",
            "2026-04-15T00:00:00Z",
        )
        invoice = Invoice.objects.get()
        assert (invoice.total, shown["current_invoice_id"]) == (9800, invoice.public_id)  # 2 * 49.00
        assert make_client().get(f"{SUBSCRIPTIONS}/{shown['id']}").json() == shown

    def test_on_trial_bills_nothing(self, account: Account) -> None:
        shown = make_client().post(SUBSCRIPTIONS, {"account": "acme/shop", "plan_id": "trial"}).json()
        assert (shown["status"], shown["trial_end"], shown["current_invoice_id"]) == (
            "trialing",
            "2026-03-29T00:00:00Z",
            None,
        )
        assert not Invoice.objects.exists()

    def test_on_the_calendar_bills_the_rest_of_the_month(self, account: Account) -> None:
        body = {"account": "acme/shop", "plan_id": "pro", "alignment": "calendar"}
        shown = make_client().post(SUBSCRIPTIONS, body).json()
        assert (shown["alignment"], shown["billing_cycle_anchor"], shown["billing_anchor"]) == ("calendar", None, 1)
        assert shown["current_period_end"] == "2026-04-01T00:00:00Z"
        assert Invoice.objects.get().total == 2687  # 4,900 × 17 / 31 = 2,687.09…

    def test_with_an_anchor_since_a_day_in_the_past(self, account: Account) -> None:
        body = {
            "account": "acme/shop",
            "plan_id": "pro",
            "billing_cycle_anchor": "2026-03-01",
            "start_at": "2026-02-15T09:00:00Z",
        }
        shown = make_client().post(SUBSCRIPTIONS, body).json()
        assert (shown["alignment"], shown["billing_cycle_anchor"]) == ("anniversary", "2026-03-01")
        assert (shown["current_period_start"], shown["current_period_end"]) == (
            "2026-03-01T00:00:00Z",
            "2026-04-01T00:00:00Z",
        )
        # 4,900 × 14 / 28, then a whole month
        assert list(Invoice.objects.order_by("id").values_list("total", flat=True)) == [2450, 4900]

    @pytest.mark.parametrize(
        ("given", "finding"),
        [
            ({"start_at": "2026-03-16T00:00:00Z"}, ("/start_at", "in_future")),
            ({"billing_cycle_anchor": "2028-03-15"}, ("/billing_cycle_anchor", "out_of_range")),
            ({"billing_cycle_anchor": "the first"}, ("/billing_cycle_anchor", "invalid")),
            ({"alignment": "moon"}, ("/alignment", "invalid_choice")),
            (
                {"alignment": "calendar", "billing_cycle_anchor": "2026-04-01"},
                ("/billing_cycle_anchor", "conflict"),
            ),
        ],
    )
    def test_refuses_a_cycle_that_cannot_be(
        self, account: Account, given: dict[str, str], finding: tuple[str, str]
    ) -> None:
        response = make_client().post(SUBSCRIPTIONS, {"account": "acme/shop", "plan_id": "pro", **given})
        assert findings(problem(response, "validation_failed", 400)) == [finding]
        assert not Subscription.objects.exists()

    def test_leaves_the_cycle_to_services(self, account: Account) -> None:
        body = {
            "plan_id": "free",
            "alignment": "calendar",
            "billing_cycle_anchor": "2026-04-01",
            "start_at": "2026-03-01",
            "payment_gated": True,
        }
        response = make_client("public", "alice").post(SUBSCRIPTIONS, body)
        assert findings(problem(response, "validation_failed", 400)) == [
            ("/alignment", "internal_only"),
            ("/billing_cycle_anchor", "internal_only"),
            ("/start_at", "internal_only"),
            ("/payment_gated", "internal_only"),
        ]

    def test_that_waits_for_payment_says_until_when(self, account: Account) -> None:
        body = {"account": "acme/shop", "plan_id": "pro", "payment_gated": True}
        shown = make_client().post(SUBSCRIPTIONS, body).json()
        assert (shown["status"], shown["incomplete_until"]) == ("incomplete", "2026-03-16T11:00:00Z")
        address = f"{SUBSCRIPTIONS}/{shown['id']}"
        refused = make_client().patch(address, {"quantity": 2})
        assert problem(refused, "invalid_state", 409)["current_status"] == "incomplete"

    def test_takes_the_plan_from_the_query_string(self, account: Account) -> None:
        response = make_client().post(f"{SUBSCRIPTIONS}?planId=payg&account=acme/shop")
        assert (response.status_code, response.json()["plan_id"]) == (201, "payg")

    def test_by_the_owner(self, account: Account) -> None:
        response = make_client("public", "alice").post(SUBSCRIPTIONS, {"plan_id": "free"})
        assert response.json()["account_id"] == account.public_id
        assert Event.objects.get(type="subscription.created").actor_id == "alice"

    @pytest.mark.parametrize(
        ("body", "code", "status"),
        [
            ({"plan_id": "nothing"}, "plan_not_found", 404),
            ({}, "validation_failed", 400),
            ({"plan_id": "pro", "quantity": 0}, "validation_failed", 400),
            ({"plan_id": "pro", "quantity": "2.5"}, "validation_failed", 400),
            ({"plan_id": "pro", "interval": "week"}, "validation_failed", 400),
            ({"plan_id": "pro", "currency": "jpy"}, "validation_failed", 400),
            ({"plan_id": "pro", "currency": "xyz"}, "currency_unsupported", 400),
            ({"plan_id": "pro", "collection_method": "cash"}, "validation_failed", 400),
            ({"plan_id": "pro", "billing_threshold": 0}, "amount_not_positive", 400),
            ({"plan_id": "pro", "trial_period_days": -1}, "validation_failed", 400),
            ({"plan_id": "pro", "plan": "x"}, "validation_failed", 400),
            ({"plan_id": "pro", "account": "nobody"}, "not_found", 404),
        ],
    )
    def test_refuses_and_writes_nothing(self, account: Account, body: dict[str, Any], code: str, status: int) -> None:
        before = Event.objects.count()
        problem(make_client().post(SUBSCRIPTIONS, {"account": "acme/shop", **body}), code, status)
        assert not Subscription.objects.exists()
        assert Event.objects.count() == before

    @pytest.mark.parametrize(
        ("name", "provider"), [("provider_customer_id", "local"), ("stripe_customer_id", "stripe")]
    )
    def test_links_the_customer_of_the_provider(self, account: Account, name: str, provider: str) -> None:
        body = {"account": "acme/shop", "plan_id": "pro", name: "cus_9"}
        assert make_client().post(SUBSCRIPTIONS, body).status_code == 201
        tie = ProviderCustomer.objects.get()
        assert (tie.account_id, tie.provider_type, tie.ref) == (account.pk, provider, "cus_9")
        account.refresh_from_db()
        assert account.provider_customer_id == "cus_9"

    def test_links_no_customer_of_another_account_and_starts_nothing(self, account: Account) -> None:
        ProviderCustomer.objects.create(account=make_account("acme/other"), provider_type="local", ref="cus_9")
        body = {"account": "acme/shop", "plan_id": "pro", "provider_customer_id": "cus_9"}
        problem(make_client().post(SUBSCRIPTIONS, body), "provider_customer_mismatch", 409)
        assert not Subscription.objects.exists()

    def test_of_a_public_caller_links_nothing_that_is_not_linked_already(self, account: Account) -> None:
        body = {"account": "acme/shop", "plan_id": "pro", "provider_customer_id": "cus_9"}
        alice = make_client("public", "alice")
        problem(alice.post(SUBSCRIPTIONS, body), "provider_customer_mismatch", 409)
        assert not ProviderCustomer.objects.exists()
        ProviderCustomer.objects.create(account=account, provider_type="local", ref="cus_9")
        assert alice.post(SUBSCRIPTIONS, body).status_code == 201

    def test_takes_one_customer_at_a_time(self, account: Account) -> None:
        names = {"provider_customer_id": "cus_9", "stripe_customer_id": "cus_8"}
        body = {"account": "acme/shop", "plan_id": "pro", **names}
        problem(make_client().post(SUBSCRIPTIONS, body), "validation_failed", 400)
        assert not Subscription.objects.exists()

    def test_refuses_a_second_one_for_the_product(self, account: Account) -> None:
        make_subscription(account, "free")
        response = make_client().post(SUBSCRIPTIONS, {"account": "acme/shop", "plan_id": "pro"})
        problem(response, "subscription_exists", 409)
        assert Subscription.objects.count() == 1
        assert not Invoice.objects.exists()

    def test_of_contact_sales_plans_is_for_services(self, account: Account) -> None:
        body = {"plan_id": "enterprise", "account": "acme/shop"}
        problem(make_client("public", "alice").post(SUBSCRIPTIONS, body), "plan_not_subscribable", 422)
        assert not Subscription.objects.exists()
        assert make_client().post(SUBSCRIPTIONS, body).status_code == 201

    def test_lets_no_person_choose_their_trial(self, account: Account) -> None:
        body = {"plan_id": "pro", "trial_period_days": 700}
        shown = problem(make_client("public", "alice").post(SUBSCRIPTIONS, body), "validation_failed", 400)
        assert findings(shown) == [("/trial_period_days", "internal_only")]
        assert not Subscription.objects.exists()

    @pytest.mark.parametrize("caller", ["bob", "carol"])
    def test_needs_a_writing_role(self, account: Account, caller: str) -> None:
        make_member(account, "carol", "member")
        client = make_client("public", caller)
        problem(client.post(SUBSCRIPTIONS, {"plan_id": "pro", "account": "acme/shop"}), "account_forbidden", 403)
        assert not Subscription.objects.exists()

    def test_happens_once_per_key(self, account: Account) -> None:
        body = {"plan_id": "pro", "account": "acme/shop"}
        first, again = (make_client().post(SUBSCRIPTIONS, body, headers={"Idempotency-Key": "k"}) for _ in range(2))
        assert (first.json(), again.status_code) == (again.json(), 201)
        assert (Subscription.objects.count(), Invoice.objects.count()) == (1, 1)


class TestList:
    @pytest.fixture
    def rows(self, account: Account) -> dict[str, Subscription]:
        """An ended and a running one of acme, and one of globex."""
        ended = make_subscription(account, "free")
        Subscription.objects.filter(pk=ended.pk).update(status="canceled", ended_at=AT)
        return {
            "ended": ended,
            "running": make_subscription(account, "pro"),
            "other": make_subscription(make_account("globex/shop"), "payg"),
        }

    @pytest.mark.parametrize(
        ("client", "query", "expected"),
        [
            (("internal", "svc"), {}, ["other", "running", "ended"]),
            (("internal", "svc"), {"account": "acme/shop"}, ["running", "ended"]),
            (("internal", "svc"), {"tenantId": "acme/shop", "status": "active"}, ["running"]),
            (("internal", "svc"), {"planId": "payg"}, ["other"]),
            (("public", "alice"), {}, ["running", "ended"]),
            (("public", "globex/shop"), {}, ["other"]),
            (("public", "dave"), {}, []),
        ],
    )
    def test_shows_what_the_caller_may_see(
        self, rows: dict[str, Subscription], client: tuple[Any, str], query: dict[str, str], expected: list[str]
    ) -> None:
        items = make_client(*client).get(SUBSCRIPTIONS, query).json()["items"]
        assert [item["id"] for item in items] == [rows[name].public_id for name in expected]

    def test_of_a_limited_token_and_of_strangers(self, rows: dict[str, Subscription]) -> None:
        items = make_client(org="globex").get(SUBSCRIPTIONS).json()["items"]
        assert [item["id"] for item in items] == [rows["other"].public_id]
        client = make_client("public", "dave")
        problem(client.get(SUBSCRIPTIONS, {"account": "acme/shop"}), "account_forbidden", 403)
        problem(make_client().get(SUBSCRIPTIONS, {"status": "gone"}), "validation_failed", 400)

    def test_of_the_account_in_the_path(self, rows: dict[str, Subscription]) -> None:
        path = "/api/v1/billing/tenants/acme/shop/subscriptions"
        items = make_client().get(path).json()["items"]
        assert [item["id"] for item in items] == [rows["running"].public_id, rows["ended"].public_id]
        assert len(make_client("public", "alice").get(path, {"status": "canceled"}).json()["items"]) == 1
        problem(make_client().get("/api/v1/billing/tenants/nobody/subscriptions"), "not_found", 404)
        problem(make_client("public", "dave").get(path), "account_forbidden", 403)


class TestCurrent:
    PATH = "/api/v1/billing/tenants/acme/shop/subscription"

    def test_is_the_newest_running_one(self, account: Account) -> None:
        platform = make_subscription(account, "pro")
        ai = make_subscription(account, "payg")
        assert make_client().get(self.PATH).json()["id"] == ai.public_id
        for product in ("platform", platform.product.public_id):
            assert make_client().get(self.PATH, {"product": product}).json()["id"] == platform.public_id

    @pytest.mark.parametrize("status", ["incomplete", "unpaid", "canceled"])
    def test_is_none_that_gives_no_access(self, account: Account, status: str) -> None:
        row = make_subscription(account, "pro")
        Subscription.objects.filter(pk=row.pk).update(status=status, ended_at=AT if status == "canceled" else None)
        problem(make_client().get(self.PATH), "subscription_not_found", 404)

    def test_of_an_unknown_product_or_account(self, account: Account) -> None:
        make_subscription(account, "pro")
        problem(make_client().get(self.PATH, {"product": "ai"}), "subscription_not_found", 404)
        problem(make_client().get("/api/v1/billing/tenants/nobody/subscription"), "not_found", 404)


class TestGet:
    def test_finds_only_what_is_visible(self, account: Account) -> None:
        key = make_subscription(account, "pro").public_id
        assert make_client("public", "alice").get(f"{SUBSCRIPTIONS}/{key}").json()["id"] == key
        for client in (make_client("public", "dave"), make_client(org="globex")):
            problem(client.get(f"{SUBSCRIPTIONS}/{key}"), "not_found", 404)
        for unknown in (encode_id("sub", new_uuid()), "nonsense"):
            problem(make_client().get(f"{SUBSCRIPTIONS}/{unknown}"), "not_found", 404)
