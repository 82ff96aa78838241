"""The doors that change a subscription, with real requests."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from accounts.models import Account, Subscription
from billing_site.kernel import clock
from billing_site.platform.models import Event
from invoicing.models import Invoice, InvoiceLine, PendingCharge
from invoicing.services.billing import bill_subscriptions
from tests.factories.accounts import ACTOR, AT, make_account, make_member, make_subscription, publish_catalog
from tests.factories.payment_methods import make_payment_method
from tests.support.api import make_client
from tests.support.problems import findings, problem

pytestmark = pytest.mark.django_db

# The period is 15 March to 15 April, 31 days; on 30 March 16 of them are left.
LATER = AT + timedelta(days=15)
PERIOD_END = "2026-04-15T00:00:00Z"


@pytest.fixture
def account() -> Account:
    publish_catalog()
    return make_account("acme/shop", owner_user_id="alice")


@pytest.fixture(autouse=True)
def _later() -> Iterator[None]:
    with clock.travel(LATER):
        yield


def start(account: Account, plan_key: str = "pro", **options: Any) -> Subscription:
    """Start a subscription on 15 March, its first period billed."""
    subscription = make_subscription(account, plan_key, **options)
    bill_subscriptions(subscription_ids=[subscription.id], as_of=AT, actor=ACTOR)
    subscription.refresh_from_db()
    return subscription


def door(subscription: Subscription, what: str = "") -> str:
    return f"/api/v1/billing/subscriptions/{subscription.public_id}{what}"


def list_prorations() -> list[int]:
    return list(
        InvoiceLine.objects.filter(type="proration").order_by("invoice_id", "position").values_list("amount", flat=True)
    )


class TestUpdate:
    def test_takes_a_dearer_plan_at_once(self, account: Account) -> None:
        subscription = start(account, "free")
        shown = make_client().patch(door(subscription), {"plan_id": "pro"}).json()
        assert (shown["plan_id"], shown["plan"]["price"], shown["pending_plan_id"]) == ("pro", 4900, None)
        assert list_prorations() == [2529]  # 49.00 × 16/31 = 25.2903
        assert shown["current_invoice_id"] == Invoice.objects.latest("id").public_id

    def test_lets_a_cheaper_plan_wait_in_sight(self, account: Account) -> None:
        subscription = start(account, "pro", quantity=2)
        shown = make_client().patch(door(subscription), {"plan_id": "free", "quantity": 1}).json()
        assert (shown["plan_id"], shown["quantity"]) == ("pro", 2)
        assert (shown["pending_plan_id"], shown["pending_quantity"], shown["pending_at"]) == ("free", 1, PERIOD_END)
        assert make_client().get(door(subscription)).json() == shown
        assert list_prorations() == []

    def test_takes_what_waits_back_when_asked_for_the_terms_in_force(self, account: Account) -> None:
        subscription = start(account)
        make_client().patch(door(subscription), {"plan_id": "free"})
        shown = make_client().patch(door(subscription), {"plan_id": "pro"}).json()
        assert (shown["pending_plan_id"], shown["pending_at"]) == (None, None)

    @pytest.mark.parametrize(
        ("how", "invoiced", "waiting"),
        [
            ({}, [-2529, 7587], 0),  # -49.00 × 16/31, 147.00 × 16/31 = 75.8709
            ({"prorate": True}, [], 2),
            ({"prorate": False}, [], 0),
            ({"proration_behavior": "create_prorations", "prorate": True}, [], 2),
            ({"proration_behavior": "always_invoice"}, [-2529, 7587], 0),
        ],
    )
    def test_prorates_as_it_is_told(
        self, account: Account, how: dict[str, Any], invoiced: list[int], waiting: int
    ) -> None:
        subscription = start(account)
        shown = make_client().patch(door(subscription), {"quantity": 3, **how}).json()
        assert shown["quantity"] == 3
        assert (list_prorations(), PendingCharge.objects.count()) == (invoiced, waiting)

    def test_takes_fewer_seats_at_once_when_told(self, account: Account) -> None:
        subscription = start(account, quantity=3)
        body = {"quantity": 1, "effective": "immediate", "proration_behavior": "create_prorations"}
        assert make_client().patch(door(subscription), body).json()["quantity"] == 1
        assert PendingCharge.objects.count() == 2

    def test_changes_the_interval(self, account: Account) -> None:
        subscription = start(account)
        shown = make_client().patch(door(subscription), {"interval": "year"}).json()
        # 490.00 a year is cheaper by the month than 49.00: with the next period.
        assert (shown["plan"]["interval"], shown["pending_interval"], shown["pending_at"]) == (
            "month",
            "year",
            PERIOD_END,
        )

    def test_changes_settings_and_says_so(self, account: Account) -> None:
        subscription = start(account)
        body = {"collection_method": "send_invoice", "billing_threshold": 5000, "metadata": {"po": "7"}}
        shown = make_client().patch(door(subscription), body).json()
        assert {name: shown[name] for name in body} == body
        event = Event.objects.get(type="subscription.updated")
        assert event.previous_data == {
            "collection_method": "charge_automatically",
            "billing_threshold": None,
            "metadata": {},
        }
        make_client().patch(door(subscription), body)
        assert Event.objects.filter(type="subscription.updated").count() == 1
        assert make_client().patch(door(subscription), {"billing_threshold": None}).json()["billing_threshold"] is None

    def test_takes_a_payment_method_of_the_account(self, account: Account) -> None:
        subscription = start(account)
        method = make_payment_method(account)
        body: dict[str, Any] = {"default_payment_method": method.public_id}
        assert make_client().patch(door(subscription), body).json()["default_payment_method"] == method.public_id
        body = {"default_payment_method": None}
        assert make_client().patch(door(subscription), body).json()["default_payment_method"] is None
        foreign = make_payment_method(make_account("other/shop"))
        body = {"default_payment_method": foreign.public_id}
        assert problem(make_client().patch(door(subscription), body), "not_found", 404)

    def test_changes_terms_and_settings_together_or_not_at_all(self, account: Account) -> None:
        subscription = start(account)
        body = {"plan_id": "nothing", "metadata": {"po": "7"}}
        assert problem(make_client().patch(door(subscription), body), "plan_not_found", 404)
        subscription.refresh_from_db()
        assert subscription.metadata == {}
        shown = make_client().patch(door(subscription), {"quantity": 2, "collection_method": "send_invoice"}).json()
        assert (shown["quantity"], shown["collection_method"]) == (2, "send_invoice")

    @pytest.mark.parametrize(
        ("body", "found"),
        [
            ({}, [("", "empty")]),
            ({"prorate": True}, [("/prorate", "nothing_changes")]),
            ({"effective": "immediate", "metadata": {}}, [("/effective", "nothing_changes")]),
            (
                {"quantity": 2, "prorate": True, "proration_behavior": "none"},
                [("/prorate", "contradiction")],
            ),
            ({"quantity": 0}, [("/quantity", "min_value")]),
            ({"interval": "week"}, [("/interval", "invalid_choice")]),
            ({"plan": "pro"}, [("/plan", "unknown")]),
            ({"effective": "tomorrow", "plan_id": "free"}, [("/effective", "invalid_choice")]),
        ],
    )
    def test_refuses_what_makes_no_sense(
        self, account: Account, body: dict[str, Any], found: list[tuple[str, str]]
    ) -> None:
        subscription = start(account)
        assert findings(problem(make_client().patch(door(subscription), body), "validation_failed", 400)) == found

    @pytest.mark.parametrize("body", [{"quantity": 2}, {"metadata": {"po": "7"}}])
    @pytest.mark.parametrize("status", ["canceled", "incomplete", "paused"])
    def test_is_not_for_what_does_not_run(self, account: Account, status: str, body: dict[str, Any]) -> None:
        subscription = start(account)
        Subscription.objects.update(
            status=status,
            ended_at=AT if status == "canceled" else None,
            paused_at=AT if status == "paused" else None,
        )
        refused = problem(make_client().patch(door(subscription), body), "invalid_state", 409)
        assert refused["current_status"] == status

    def test_refuses_a_plan_that_only_our_staff_sells(self, account: Account) -> None:
        subscription = start(account)
        alice = make_client("public", "alice")
        assert problem(alice.patch(door(subscription), {"plan_id": "enterprise"}), "plan_not_subscribable", 422)
        assert make_client().patch(door(subscription), {"plan_id": "enterprise"}).status_code == 200

    def test_refuses_a_second_subscription_for_a_product(self, account: Account) -> None:
        subscription = start(account)
        start(account, "mixed")
        response = make_client().patch(door(subscription), {"plan_id": "trial", "effective": "immediate"})
        assert problem(response, "subscription_exists", 409)

    def test_is_for_those_who_may_write(self, account: Account) -> None:
        subscription = start(account)
        make_member(account, user_id="bob", role="member")
        for caller, status, code in (("bob", 403, "account_forbidden"), ("eve", 404, "not_found")):
            client = make_client("public", caller)
            assert problem(client.patch(door(subscription), {"quantity": 2}), code, status)
        reader = make_client("public", "alice", scopes=["billing:read"])
        assert problem(reader.patch(door(subscription), {"quantity": 2}), "scope_missing", 403)
        assert make_client("public", "alice").patch(door(subscription), {"quantity": 2}).status_code == 200

    def test_asks_the_database_as_often_however_much_there_is(
        self, account: Account, django_assert_max_num_queries: Any
    ) -> None:
        subscription = start(account)
        client = make_client()
        client.patch(door(subscription), {"quantity": 2})
        for number in range(5):
            start(make_account(f"other/{number}"))
        with django_assert_max_num_queries(55) as first:
            client.patch(door(subscription), {"quantity": 3, "prorate": True})
            queries = len(first)
        for quantity in range(4, 9):
            client.patch(door(subscription), {"quantity": quantity, "prorate": True})
        with django_assert_max_num_queries(queries):
            client.patch(door(subscription), {"quantity": 20, "prorate": True})


class TestChangePlan:
    @pytest.mark.parametrize(
        ("query", "body"),
        [
            ("", {"plan_id": "pro"}),
            ("", {"new_plan_id": "pro"}),
            ("?plan_id=pro", {}),
            ("?new_plan_id=pro", {"plan_id": "pro"}),
            ("?newPlanId=pro", {}),
        ],
    )
    def test_takes_the_plan_under_each_of_its_names(self, account: Account, query: str, body: dict[str, Any]) -> None:
        subscription = start(account, "free")
        response = make_client().post(door(subscription, "/change-plan") + query, body)
        assert response.status_code == 200, response.content
        shown = response.json()
        assert shown["plan_id"] == "pro"
        assert "preview" not in shown

    @pytest.mark.parametrize(
        ("query", "body", "code"),
        [("", {}, "required"), ("?plan_id=free", {"plan_id": "pro"}, "ambiguous")],
    )
    def test_needs_one_plan(self, account: Account, query: str, body: dict[str, Any], code: str) -> None:
        subscription = start(account)
        response = make_client().post(door(subscription, "/change-plan") + query, body)
        assert findings(problem(response, "validation_failed", 400)) == [("/plan_id", code)]

    def test_previews_and_changes_nothing(self, account: Account) -> None:
        subscription = start(account)
        before = make_client().get(door(subscription)).json()
        body = {"plan_id": "pro", "quantity": 3, "preview": True}
        shown = make_client().post(door(subscription, "/change-plan"), body).json()
        preview = shown.pop("preview")
        assert (shown["quantity"], shown["current_invoice_id"]) == (3, before["current_invoice_id"])
        assert (preview["direction"], preview["when"], preview["proration_behavior"]) == (
            "upgrade",
            "immediate",
            "always_invoice",
        )
        assert preview["effective_at"] == "2026-03-30T00:00:00Z"
        credit, charge = preview["lines"]
        assert (credit["amount"], credit["quantity"], credit["share"]) == (-2529, "1", "16/31 days")
        assert (charge["amount"], charge["quantity"], charge["type"]) == (7587, "3", "proration")
        assert (charge["period_start"], charge["period_end"]) == ("2026-03-30T00:00:00Z", PERIOD_END)
        amounts = {name: preview[name] for name in ("subtotal", "discount", "tax", "total", "amount_due", "currency")}
        assert amounts == {
            "subtotal": 5058,
            "discount": 0,
            "tax": 0,
            "total": 5058,
            "amount_due": 5058,
            "currency": "usd",
        }
        assert make_client().get(door(subscription)).json() == before
        assert (Invoice.objects.count(), Event.objects.filter(type="subscription.updated").count()) == (1, 0)

    def test_previews_what_would_wait(self, account: Account) -> None:
        subscription = start(account)
        body = {"plan_id": "free", "preview": True}
        shown = make_client().post(door(subscription, "/change-plan"), body).json()
        preview = shown["preview"]
        assert (shown["plan_id"], shown["pending_plan_id"]) == ("pro", "free")
        assert (preview["direction"], preview["when"], preview["effective_at"]) == (
            "downgrade",
            "period_end",
            PERIOD_END,
        )
        assert (preview["lines"], preview["total"], preview["amount_due"]) == ([], 0, 0)

    def test_previews_what_would_be_left_for_the_next_invoice(self, account: Account) -> None:
        subscription = start(account)
        body = {"plan_id": "pro", "quantity": 3, "preview": True, "proration_behavior": "create_prorations"}
        preview = make_client().post(door(subscription, "/change-plan"), body).json()["preview"]
        assert (preview["total"], preview["amount_due"], PendingCharge.objects.count()) == (5058, 0, 0)

    def test_previews_that_nothing_would_change(self, account: Account) -> None:
        subscription = start(account)
        body = {"plan_id": "pro", "preview": True}
        preview = make_client().post(door(subscription, "/change-plan"), body).json()["preview"]
        assert (preview["when"], preview["direction"], preview["lines"]) == (None, None, [])

    def test_does_it_once_for_a_key(self, account: Account) -> None:
        subscription = start(account, "free")
        for _ in range(2):
            response = make_client().post(
                door(subscription, "/change-plan"), {"plan_id": "pro"}, HTTP_IDEMPOTENCY_KEY="one"
            )
            assert response.status_code == 200, response.content
        assert list_prorations() == [2529]

    def test_refuses_what_a_change_refuses(self, account: Account) -> None:
        subscription = start(account)
        make_client().post(door(subscription, "/cancel"), {"immediately": True})
        for plan, status, code in (("free", 409, "invalid_state"), ("nothing", 409, "invalid_state")):
            assert problem(make_client().post(door(subscription, "/change-plan"), {"plan_id": plan}), code, status)
        other = start(make_account("acme/other"))
        assert problem(make_client().post(door(other, "/change-plan"), {"plan_id": "x"}), "plan_not_found", 404)
