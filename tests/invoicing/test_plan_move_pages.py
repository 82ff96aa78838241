"""The admin pages of plan moves: choose, preview, confirm, follow."""

from __future__ import annotations

import html
from collections.abc import Iterator
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import PriceOverride, Subscription
from billing_site.kernel import clock
from billing_site.platform.models import Event
from catalog.models import Plan
from invoicing.models import PlanMove
from invoicing.services.plan_moves import work_move
from tests.support import world
from tests.support.jobs import SentJobs

pytestmark = pytest.mark.django_db

MIDDLE = datetime(2023, 11, 15, tzinfo=UTC)
NEW = "/admin/invoicing/planmove/move-subscriptions/"


@pytest.fixture(autouse=True)
def _middle_of_november() -> Iterator[None]:
    with clock.travel(MIDDLE):
        yield


@pytest.fixture
def subscriptions() -> list[Subscription]:
    """Three on version 1 of Pro with 1, 2 and 3 seats; the last ends with its period. Version 2 costs 5.00 more."""
    world.publish()
    made = [
        world.subscribe(world.open_account(f"shop-{seats}", name=f"Shop {seats}"), "pro", quantity=seats)
        for seats in (1, 2, 3)
    ]
    Subscription.objects.filter(pk=made[2].pk).update(cancel_at_period_end=True)
    world.publish(at=MIDDLE, fee=1500)
    return made


def sign_in(role: str = "finance_lead") -> Client:
    user = User.objects.create_user(f"ada-{role}", is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    client = Client()
    client.force_login(user)
    return client


def choose(**values: Any) -> dict[str, Any]:
    """What the browser sends for the form."""
    plan = Plan.objects.get(key="pro")
    chosen = {"plan": str(plan.pk), "version": "2", "when": "period_end", "only": "", "reason": "spring prices"}
    return {"_confirmed": "1", **chosen, **values}


class Forms(HTMLParser):
    """Collects the hidden inputs of each form of a page, by the text of its button."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[dict[str, list[str]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "form":
            self.found.append({})
        elif tag == "input" and given.get("type") == "hidden" and self.found:
            self.found[-1].setdefault(given.get("name") or "", []).append(given.get("value") or "")

    @property
    def start(self) -> dict[str, list[str]]:
        return next(form for form in self.found if "_start" in form)

    @property
    def change(self) -> dict[str, list[str]]:
        return next(form for form in self.found if "plan" in form and "_confirmed" not in form)


def text_of(response: Any) -> str:
    return " ".join(html.unescape(response.content.decode()).split())


class TestChoosing:
    def test_asks_for_the_plan_first(self, subscriptions: list[Subscription]) -> None:
        browser = sign_in()
        page = browser.get(NEW)
        assert set(page.context["form"].fields) == {"plan"}
        assert "Pro (pro, default)" in text_of(page)
        plan = Plan.objects.get(key="pro")
        response = browser.post(NEW, {"_confirmed": "1", "plan": str(plan.pk)})
        assert (response.status_code, response["Location"]) == (302, f"{NEW}?plan={plan.pk}")

    def test_offers_the_versions_of_the_plan(self, subscriptions: list[Subscription]) -> None:
        form = sign_in().get(f"{NEW}?plan={Plan.objects.get(key='pro').pk}").context["form"]
        assert form.fields["version"].choices == [(2, "v2, on sale"), (1, "v1")]
        assert form.fields["from_versions"].choices == [(1, "v1 (3 running)")]
        assert form.initial["version"] == 2

    def test_is_offered_on_the_page_of_a_plan(self, subscriptions: list[Subscription]) -> None:
        plan = Plan.objects.get(key="pro")
        address = reverse("admin:catalog_plan_change", args=[plan.pk])
        assert f"{NEW}?plan={plan.pk}" in sign_in().get(address).content.decode()
        assert NEW not in sign_in("billing").get(address).content.decode()

    @pytest.mark.parametrize(
        ("values", "field"),
        [
            ({"reason": ""}, "reason"),
            ({"version": "9"}, "version"),
            ({"when": "tomorrow"}, "when"),
            ({"only": "sub_1 nonsense"}, "only"),
        ],
    )
    def test_shows_what_is_wrong_beside_its_field(
        self, subscriptions: list[Subscription], values: dict[str, str], field: str
    ) -> None:
        page = sign_in().post(NEW, choose(**values))
        assert list(page.context["form"].errors) == [field]
        assert not PlanMove.objects.exists()

    def test_of_nobody_is_refused_with_the_form(self, subscriptions: list[Subscription]) -> None:
        page = sign_in().post(NEW, choose(version="1"))
        assert page.status_code == 409
        assert "No running subscription that you chose is on another version than v1." in text_of(page)
        assert page.context["form"].data["reason"] == "spring prices"


class TestPreview:
    def test_shows_sums_rows_and_obstacles_and_writes_nothing(self, subscriptions: list[Subscription]) -> None:
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
        page = sign_in().post(NEW, choose())
        assert page.status_code == 200
        (total,) = page.context["totals"]
        # 9.00, negotiated, stays; two seats go from 10.00 to 15.00
        assert "29.00" in total["next_before"]
        assert "39.00" in total["next_after"]
        assert "10.00" in total["difference"]
        assert [row.version for row in page.context["rows"]] == ["v1", "v1"]
        assert "Shop 2" in page.context["rows"][0].account
        assert (page.context["rows"][1].kept, page.context["rows"][1].lost) == (
            ("pro:usd:month",),
            ("pro:usd:month:gone",),
        )
        text = text_of(page)
        assert "2 of 3 running subscriptions would go to" in text
        assert "1 cannot be moved: The subscription ends with this period" in text
        assert "1 subscription would lose a negotiated price" in text
        assert "Move 2 subscriptions" in text
        assert not PlanMove.objects.exists()

    def test_leads_back_to_the_form_as_it_was_filled_in(self, subscriptions: list[Subscription]) -> None:
        browser = sign_in()
        filled = choose(when="now", from_versions=["1"], only=subscriptions[0].public_id)
        form = browser.post(NEW, Forms(browser.post(NEW, filled).content.decode()).change).context["form"]
        assert not form.is_bound
        shown = {name: form[name].value() for name in ("version", "when", "from_versions", "only", "reason")}
        assert shown == {
            "version": "2",
            "when": "now",
            "from_versions": ["1"],
            "only": subscriptions[0].public_id,
            "reason": "spring prices",
        }

    def test_where_nobody_can_be_moved_offers_no_button(self, subscriptions: list[Subscription]) -> None:
        page = sign_in().post(NEW, choose(only=subscriptions[2].public_id))
        assert "0 of 1 running subscription would go to" in text_of(page)
        assert "_start" not in page.content.decode()


class TestConfirming:
    def test_starts_the_move_and_leads_to_its_page(
        self, subscriptions: list[Subscription], sent_jobs: SentJobs, django_capture_on_commit_callbacks: Any
    ) -> None:
        browser = sign_in()
        preview = browser.post(NEW, choose(from_versions=["1"]))
        with django_capture_on_commit_callbacks(execute=True):
            response = browser.post(NEW, Forms(preview.content.decode()).start)
        move = PlanMove.objects.get()
        address = reverse("admin:invoicing_planmove_change", args=[move.pk])
        assert (response.status_code, response["Location"]) == (302, address)
        assert (move.requested_by, move.reason, move.to_version.version) == (
            "staff:ada-finance_lead",
            "spring prices",
            2,
        )
        page = browser.get(address)
        assert (page["Refresh"], "0 of 3 applied" in text_of(page)) == ("3", True)
        sent_jobs.run()
        page = browser.get(address)
        assert "Refresh" not in page
        text = text_of(page)
        for expected in ("2 of 3 applied", "Completed", "plan_move.started", "plan_move.completed", "spring prices"):
            assert expected in text
        assert "The subscription ends with this period; no next one begins." in text
        assert reverse("admin:accounts_subscription_change", args=[subscriptions[2].pk]) in page.content.decode()

    def test_twice_starts_one_move(self, subscriptions: list[Subscription]) -> None:
        browser = sign_in()
        form = Forms(browser.post(NEW, choose()).content.decode()).start
        assert [browser.post(NEW, form).status_code for _ in range(2)] == [302, 302]
        assert PlanMove.objects.count() == 1

    def test_something_else_than_was_shown_is_shown_again(self, subscriptions: list[Subscription]) -> None:
        browser = sign_in()
        form = Forms(browser.post(NEW, choose()).content.decode()).start
        late = world.subscribe(world.open_account("late"), "pro")
        Subscription.objects.filter(pk=late.pk).update(plan_version=subscriptions[0].plan_version)
        page = browser.post(NEW, form)
        assert page.status_code == 200
        assert "You confirmed 3 subscriptions; now they are 4." in text_of(page)
        assert not PlanMove.objects.exists()

    def test_beside_another_move_is_refused(self, subscriptions: list[Subscription]) -> None:
        browser = sign_in()
        forms = [Forms(browser.post(NEW, choose()).content.decode()).start for _ in range(2)]
        browser.post(NEW, forms[0])
        page = browser.post(NEW, forms[1])
        assert page.status_code == 409
        assert "A move of this plan is not finished" in text_of(page)

    @pytest.mark.parametrize("role", ["viewer", "billing"])
    def test_is_not_for_everybody(self, subscriptions: list[Subscription], role: str) -> None:
        browser = sign_in(role)
        assert browser.get(NEW).status_code == 403
        assert browser.post(NEW, choose(_start="1", _seen="3")).status_code == 403
        assert not PlanMove.objects.exists()


class TestFollowing:
    @pytest.fixture
    def move(self, subscriptions: list[Subscription]) -> PlanMove:
        browser = sign_in()
        browser.post(NEW, Forms(browser.post(NEW, choose()).content.decode()).start)
        move = PlanMove.objects.get()
        return work_move(move_id=move.id, at=MIDDLE, actor=world.TESTER)

    @pytest.mark.parametrize("role", ["viewer", "billing", "admin"])
    def test_pages_open_and_change_nothing(self, move: PlanMove, role: str) -> None:
        browser = sign_in(role)
        changelist = reverse("admin:invoicing_planmove_changelist")
        address = reverse("admin:invoicing_planmove_change", args=[move.pk])
        assert "pro to version 2" in text_of(browser.get(changelist))
        assert browser.get(address).status_code == 200
        assert browser.post(address, {"reason": "other"}).status_code == 403
        assert browser.post(reverse("admin:invoicing_planmove_delete", args=[move.pk])).status_code == 403
        assert list(browser.get(changelist, {"q": move.public_id}).context["cl"].result_list) == [move]

    def test_needs_as_many_queries_for_many_subscriptions_as_for_few(
        self, move: PlanMove, subscriptions: list[Subscription]
    ) -> None:
        browser = sign_in("viewer")
        address = reverse("admin:invoicing_planmove_change", args=[move.pk])
        with CaptureQueriesContext(connection) as few:
            browser.get(address)
        for number in range(5):
            added = world.subscribe(world.open_account(f"more-{number}"), "pro")
            move.items.create(subscription=added, account=added.account, from_version=added.plan_version)
        with CaptureQueriesContext(connection) as many:
            browser.get(address)
        assert len(many) == len(few)

    def test_says_who_did_it(self, move: PlanMove) -> None:
        event = Event.objects.get(type="plan_move.started")
        assert (event.actor_id, event.data["subscriptions"]) == ("ada-finance_lead", 3)
