"""Plans given away: never invoiced, extended but never shortened, over by themselves."""

from __future__ import annotations

import html
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse

from accounts.models import Account, Subscription
from accounts.services.accounts import update_account
from accounts.services.approval_limits import SecondPersonNeeded
from accounts.services.subscriptions import SubscriptionExists
from billing_site.kernel import clock
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import InvalidState, ValidationFailed
from billing_site.platform.models import Approval, Event
from billing_site.platform.services.approvals import approve
from catalog.queries.plans import PlanNotFound, get_sellable_plan
from catalog.services.pricing_rules import create_pricing_rule
from catalog.services.publishing import publish_document
from invoicing.models import Invoice
from invoicing.queries.previews import preview_subscriptions
from invoicing.services.cancellations import cancel_subscription, reactivate_subscription
from invoicing.services.changes import ChangeRequest, change_subscription
from invoicing.services.grant_approvals import grant_or_request
from invoicing.services.subscription_grants import GrantedPlan, compute_worth, grant_subscription
from metering.queries.status import get_status
from tests.support import world
from tests.support.api import make_client
from tests.support.problems import problem

pytestmark = pytest.mark.django_db

SERVICE = Actor("token", "svc")
AT = world.NOVEMBER + timedelta(hours=9)
PLANS = (("free", "app", 0), ("pro", "app", 900), ("max", "app", 5000), ("addon", "other", 100))
DOCUMENT: dict[str, Any] = {
    "version": 1,
    "products": [{"id": "app", "name": "App"}, {"id": "other", "name": "Other"}],
    "meters": [{"name": "calls", "unit": "calls"}],
    "plans": [
        {
            "id": key,
            "product_id": product,
            "name": key.title(),
            "features": [f"app:{key}"],
            "prices": [
                {"currency": "usd", "interval": "month", "unit_amount": fee},
                {"currency": "usd", "interval": "year", "unit_amount": fee * 10},
            ],
        }
        for key, product, fee in PLANS
    ],
}


@pytest.fixture
def account() -> Account:
    publish_document(org_id="default", document=DOCUMENT, at=world.OCTOBER, actor=world.TESTER)
    return world.open_account("acme")


def give(account: Account, plan: str = "pro", months: int = 12, **values: Any) -> GrantedPlan:
    terms = {"at": AT, "actor": SERVICE, "reason": "sponsored", **values}
    return grant_subscription(account=account, plan_key=plan, months=months, **terms)


class TestGrant:
    def test_runs_for_its_months_and_is_over_by_itself_without_an_invoice(self, account: Account) -> None:
        subscription = give(account).subscription
        assert (subscription.provider_type, subscription.status) == ("manual_grant", "active")
        assert subscription.current_period_start == world.NOVEMBER
        end = datetime(2024, 11, 1, tzinfo=UTC)
        assert subscription.current_period_end == end
        world.use(account, "calls", [5], at=AT)
        world.run_cycle(as_of=end - timedelta(seconds=1))
        subscription.refresh_from_db()
        assert subscription.status == "active"
        run = world.run_cycle(as_of=end)
        subscription.refresh_from_db()
        assert (subscription.status, subscription.ended_at) == ("canceled", end)
        assert not Invoice.objects.exists()
        assert run.status == "completed"

    def test_is_not_invoiced_for_usage_that_a_rule_prices(self, account: Account) -> None:
        create_pricing_rule(
            org_id="default",
            meter="calls",
            unit_price=Decimal(5),
            currency="usd",
            at=world.OCTOBER,
            actor=world.TESTER,
        )
        subscription = give(account, months=1).subscription
        world.use(account, "calls", [5], at=AT)
        (preview,) = preview_subscriptions(subscription_ids=[subscription.id], as_of=world.DECEMBER)
        assert [draft.total for draft in preview.drafts if draft.lines] == []
        world.run_cycle(as_of=world.DECEMBER)
        assert not Invoice.objects.exists()

    def test_lasts_from_local_midnight_to_local_midnight(self, account: Account) -> None:
        update_account(account_id=account.pk, changes={"timezone": "America/New_York"}, at=AT, actor=SERVICE)
        account.refresh_from_db()
        late = datetime(2024, 1, 31, 23, tzinfo=UTC)
        subscription = give(account, months=1, at=late).subscription
        # 31 January, and its month later clamped to 29 February; midnight there is 05:00 UTC.
        assert subscription.current_period_start == datetime(2024, 1, 31, 5, tzinfo=UTC)
        assert subscription.current_period_end == datetime(2024, 2, 29, 5, tzinfo=UTC)

    def test_keeps_who_and_why(self, account: Account) -> None:
        subscription = give(account, granted_by="ada@example.org").subscription
        event = Event.objects.get(type="subscription.created")
        assert event.reason == "sponsored"
        assert (event.data["granted_by"], event.data["months"]) == ("ada@example.org", 12)
        assert event.data["id"] == subscription.public_id

    def test_gives_the_features_of_the_plan_until_it_ends(self, account: Account) -> None:
        give(account, months=1)
        assert get_status(account=account, at=AT).features == ("app:pro",)
        world.run_cycle(as_of=world.DECEMBER)
        assert get_status(account=account, at=world.DECEMBER).features == ()


class TestAgain:
    def test_moves_the_end_out_and_never_in(self, account: Account) -> None:
        first = give(account, months=6)
        longer = give(account, months=9, reason="sponsored longer")
        shorter = give(account, months=2)
        assert (first.created, first.extended) == (True, False)
        assert (longer.created, longer.extended, longer.subscription.pk) == (False, True, first.subscription.pk)
        assert (shorter.created, shorter.extended) == (False, False)
        subscription = Subscription.objects.get()
        assert subscription.current_period_end == datetime(2024, 8, 1, tzinfo=UTC)
        event = Event.objects.get(type="subscription.updated")
        assert (event.reason, event.data["months"]) == ("sponsored longer", 9)
        assert event.previous_data is not None
        assert event.previous_data["current_period_end"].startswith("2024-05-01")
        world.run_cycle(as_of=datetime(2024, 7, 31, tzinfo=UTC))
        subscription.refresh_from_db()
        assert subscription.status == "active"
        world.run_cycle(as_of=datetime(2024, 8, 1, tzinfo=UTC))
        subscription.refresh_from_db()
        assert subscription.status == "canceled"

    def test_of_another_plan_or_beside_a_paid_one_is_refused(self, account: Account) -> None:
        give(account)
        with pytest.raises(SubscriptionExists):
            give(account, "max")
        world.subscribe(account, "addon")
        with pytest.raises(SubscriptionExists):
            give(account, "addon")

    def test_takes_the_place_of_a_free_subscription(self, account: Account) -> None:
        free = world.subscribe(account, "free", at=AT)
        granted = give(account, at=AT + timedelta(hours=1))
        free.refresh_from_db()
        assert (free.status, free.ended_at) == ("canceled", AT + timedelta(hours=1))
        assert granted.created
        assert not Invoice.objects.exists()


class TestRefusals:
    def test_of_what_cannot_be_given(self, account: Account) -> None:
        with pytest.raises(PlanNotFound):
            give(account, "nope")
        for months in (0, 121):
            with pytest.raises(ValidationFailed):
                give(account, months=months)
        Account.objects.update(status="closed")
        with pytest.raises(InvalidState):
            give(account)

    def test_of_changes_to_a_plan_given_away(self, account: Account) -> None:
        key = give(account).subscription.pk
        with pytest.raises(InvalidState):
            change_subscription(subscription_id=key, request=ChangeRequest(plan_key="max"), at=AT, actor=SERVICE)
        with pytest.raises(InvalidState):
            reactivate_subscription(subscription_id=key, at=AT, actor=SERVICE)
        assert (
            cancel_subscription(subscription_id=key, at=AT, actor=SERVICE, at_period_end=False).subscription.status
            == "canceled"
        )
        assert not Invoice.objects.exists()


class TestSecondPerson:
    ADA, BOB = Actor("staff", "ada"), Actor("staff", "bob")

    def test_is_asked_above_the_limit(self, account: Account) -> None:
        assert isinstance(grant_or_request(account=account, plan_key="addon", months=12, **self.by_ada()), GrantedPlan)
        request = grant_or_request(account=account, plan_key="pro", months=12, **self.by_ada())
        assert isinstance(request, Approval)
        assert request.amount == 10_800  # 12 x 900, above 10,000
        with pytest.raises(SecondPersonNeeded):
            give(account, actor=self.ADA)
        approve(approval_id=request.pk, at=AT, actor=self.BOB, comment="agreed")
        subscription = Subscription.objects.get(product__key="app")
        event = Event.objects.get(type="subscription.created", object_id=subscription.public_id)
        assert event.data["granted_by"] == "staff:ada"

    def test_is_not_asked_of_services(self, account: Account) -> None:
        assert give(account, "max").created

    def test_is_asked_where_nobody_can_tell_the_worth(self, account: Account) -> None:
        Account.objects.update(currency="eur")
        account.refresh_from_db()
        asked = grant_or_request(account=account, plan_key="addon", months=1, **self.by_ada())
        assert isinstance(asked, Approval)
        assert asked.amount is None
        approve(approval_id=asked.pk, at=AT, actor=self.BOB, comment="agreed")
        assert Subscription.objects.get().currency == "eur"

    def by_ada(self) -> dict[str, Any]:
        return {"at": AT, "actor": self.ADA, "reason": "sponsored"}


class TestWorth:
    def test_is_the_fee_by_the_month(self, account: Account) -> None:
        for plan, months, worth in (("free", 12, 0), ("pro", 3, 2700)):
            version = get_sellable_plan(org_id="default", key=plan)
            assert compute_worth(account=account, version=version, months=months) == worth


class TestDoor:
    DOOR = "/api/internal/billing/accounts/acme/subscription-grants"

    @pytest.fixture(autouse=True)
    def _now(self) -> Any:
        with clock.travel(AT):
            yield

    def test_gives_and_extends(self, account: Account) -> None:
        body = {"plan_id": "pro", "months": 3, "reason": "sponsored"}
        first = make_client().post(self.DOOR, body)
        assert first.status_code == 201
        shown = first.json()
        assert (shown["extended"], shown["period_end"]) == (False, "2024-02-01T00:00:00Z")
        assert (shown["subscription"]["provider_type"], shown["subscription"]["plan_id"]) == ("manual_grant", "pro")
        again = make_client().post(self.DOOR, {"plan_id": "pro", "reason": "longer"}).json()
        assert (again["extended"], again["period_end"]) == (True, "2024-11-01T00:00:00Z")
        assert again["subscription"]["id"] == shown["subscription"]["id"]

    def test_with_dry_run_writes_nothing(self, account: Account) -> None:
        world.subscribe(account, "free", at=AT)
        events = Event.objects.count()
        body = {"plan_id": "pro", "reason": "sponsored", "dry_run": True}
        shown = make_client().post(self.DOOR, body, headers={"Idempotency-Key": "k"}).json()
        assert shown["period_end"] == "2024-11-01T00:00:00Z"
        assert Event.objects.count() == events
        assert [each.plan_version.plan.key for each in Subscription.objects.all()] == ["free"]

    def test_refuses(self, account: Account) -> None:
        client = make_client()
        problem(client.post(self.DOOR, {"plan_id": "nope", "reason": "x"}), "plan_not_found", 404)
        problem(client.post(self.DOOR, {"plan_id": "pro"}), "validation_failed", 400)
        problem(client.post(self.DOOR.replace("acme", "no"), {"plan_id": "pro", "reason": "x"}), "not_found", 404)
        few = make_client(scopes=["billing:subscription:write"])
        problem(few.post(self.DOOR, {"plan_id": "pro", "reason": "x"}), "scope_missing", 403)
        world.subscribe(account, "pro", at=AT)
        problem(client.post(self.DOOR, {"plan_id": "pro", "reason": "x"}), "subscription_exists", 409)


class TestPage:
    def act(self, name: str, address: str, **form: Any) -> str:
        user, _ = User.objects.get_or_create(username=name, is_staff=True)
        user.groups.add(Group.objects.get(name="finance_lead"))
        browser = Client()
        browser.force_login(user)
        with clock.travel(AT):
            answer = browser.post(address, {"_confirmed": "1", "reason": "sponsored", **form}, follow=True)
        return html.unescape(answer.content.decode())

    def test_gives_what_is_within_the_limit_and_asks_for_more(self, account: Account) -> None:
        address = reverse("admin:accounts_account_grant_plan", args=[account.pk])
        assert "has the plan until 2023-12-01" in self.act("ada", address, plan="addon", months="1")
        assert "waits for the approval" in self.act("ada", address, plan="pro", months="12")
        approval = Approval.objects.get()
        self.act("bob", reverse("admin:platform_approval_approve_request", args=[approval.pk]))
        assert Subscription.objects.get(product__key="app").provider_type == "manual_grant"
