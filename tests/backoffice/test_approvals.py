"""The queue of approvals: who sees what, who may decide, and what the person who asked is told."""

from __future__ import annotations

import html
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.http import HttpRequest
from django.test import Client
from django.urls import reverse

from billing_site.backoffice.approvals import register_effect
from billing_site.backoffice.navigation import build_navigation
from billing_site.backoffice.roles import BILLING, FINANCE_LEAD, VIEWER, sync_roles
from billing_site.kernel import clock
from billing_site.kernel.actors import Actor
from billing_site.kernel.money import Money
from billing_site.platform.models import Approval
from tests.factories.approvals import KIND, Workshop, ask, open_workshop
from tests.factories.platform import AT

LIST = "admin:platform_approval_changelist"
SignIn = Callable[[str, str], Client]


@pytest.fixture(autouse=True)
def _real_admin(settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.backoffice.real_admin_urls"


@pytest.fixture
def workshop(db: None) -> Workshop:
    Permission.objects.create(
        content_type=ContentType.objects.get_for_model(Approval), codename="approve_paint", name="Can approve paint"
    )
    sync_roles()
    return open_workshop()


@pytest.fixture
def sign_in(workshop: Workshop) -> SignIn:
    """Return a client of a named person who holds a role."""

    def make(name: str, role: str) -> Client:
        user = User.objects.create_user(name, is_staff=True)
        user.groups.add(Group.objects.get(name=role))
        client = Client()
        client.force_login(user)
        return client

    return make


def url_of(approval: Approval, name: str = "change") -> str:
    change = reverse("admin:platform_approval_change", args=[approval.pk])
    return change.replace("/change/", f"/{name}/")


def page_of(client: Client, url: str) -> str:
    response = client.get(url, follow=True)
    assert response.status_code == 200
    return html.unescape(response.content.decode())


def act(client: Client, approval: Approval, name: str, comment: str = "") -> str:
    with clock.travel(AT + timedelta(hours=1)):
        answer = client.post(url_of(approval, name), {"_confirmed": "1", "reason": comment}, follow=True)
    return html.unescape(answer.content.decode())


def offered(client: Client, approval: Approval) -> set[str]:
    page = page_of(client, url_of(approval))
    return {name for name in ("approve", "reject", "cancel") if url_of(approval, name) in page}


class TestQueue:
    def test_shows_open_requests_first(self, sign_in: SignIn) -> None:
        first, second, third = (ask(colour=colour) for colour in ("red", "green", "blue"))
        client = sign_in("bob", FINANCE_LEAD)
        act(client, third, "approve")
        page = page_of(client, reverse(LIST))
        places = [page.index(approval.title) for approval in (second, first, third)]
        assert places == sorted(places)

    def test_can_be_narrowed_to_what_waits_for_me(self, sign_in: SignIn) -> None:
        mine, other = ask(actor=Actor("staff", "bob"), colour="red"), ask(colour="green")
        client = sign_in("bob", FINANCE_LEAD)
        assert client.get(reverse(LIST), {"queue": "decide"}).context["cl"].result_list[0] == other
        assert client.get(reverse(LIST), {"queue": "decide"}).context["cl"].result_count == 1
        assert list(client.get(reverse(LIST), {"queue": "asked"}).context["cl"].result_list) == [mine]

    def test_stands_in_the_sidebar_with_the_number_that_waits_for_me(self, sign_in: SignIn) -> None:
        ask()
        ask(actor=Actor("staff", "bob"))
        for name, role, badge in (("bob", FINANCE_LEAD, "1"), ("carol", FINANCE_LEAD, "2"), ("dan", BILLING, None)):
            sign_in(name, role)
            request = HttpRequest()
            request.user = User.objects.get(username=name)
            [entry] = [item for item in build_navigation(request)[0]["items"] if item["title"] == "Approvals"]
            assert entry.get("badge") == badge
            everywhere = [item["title"] for group in build_navigation(request) for item in group["items"]]
            assert everywhere.count("Approvals") == 1

    def test_stands_on_the_overview(self, sign_in: SignIn) -> None:
        approval = ask(effect=Money(123456, "usd"))
        page = page_of(sign_in("bob", FINANCE_LEAD), reverse("admin:index"))
        assert "Waiting for approval" in page
        assert approval.title in page
        assert "1,234.56 USD" in page


class TestDeciding:
    def test_the_second_person_approves_and_it_is_done(self, sign_in: SignIn, workshop: Workshop) -> None:
        approval = ask(effect=Money(2500, "usd"))
        client = sign_in("bob", FINANCE_LEAD)
        assert offered(client, approval) == {"approve", "reject"}
        page = page_of(client, url_of(approval))
        assert "This waits for your decision." in page
        assert "ordered by sales" in page
        assert "25.00" in page
        asked = page_of(client, url_of(approval, "approve"))
        assert "Paint a widget red. It is done at once, in your name, exactly as ada asked." in asked
        assert workshop.done == []
        assert "Approved and done: Paint a widget red." in act(client, approval, "approve")
        assert workshop.done == [("executed", {"colour": "red"}, "staff:bob")]
        assert offered(client, approval) == set()
        assert "Decision" in page_of(client, url_of(approval))

    def test_the_person_who_asked_is_told_that_another_one_must(self, sign_in: SignIn, workshop: Workshop) -> None:
        approval = ask()
        client = sign_in("ada", FINANCE_LEAD)
        sign_in("bob", FINANCE_LEAD)
        sign_in("vera", VIEWER)
        assert offered(client, approval) == {"cancel"}
        page = page_of(client, url_of(approval))
        assert "Waiting for another person." in page
        assert "You asked for this yourself: another person must approve it. bob may approve it." in page
        assert "another person must approve it" in page_of(client, url_of(approval, "approve"))
        assert "another person must approve it" in act(client, approval, "approve")
        assert workshop.done == []

    def test_says_when_nobody_else_may(self, sign_in: SignIn) -> None:
        approval = ask()
        page = page_of(sign_in("ada", FINANCE_LEAD), url_of(approval))
        assert "Nobody else may approve it yet" in page

    @pytest.mark.parametrize("role", [VIEWER, BILLING])
    def test_is_not_for_every_role(self, sign_in: SignIn, workshop: Workshop, role: str) -> None:
        approval = ask()
        client = sign_in("bob", role)
        assert offered(client, approval) == set()
        assert client.post(url_of(approval, "approve"), {"_confirmed": "1", "reason": ""}).status_code == 403
        assert workshop.done == []

    def test_needs_the_permission_of_the_kind(self, sign_in: SignIn, workshop: Workshop) -> None:
        approval = ask()
        client = sign_in("bob", FINANCE_LEAD)
        Group.objects.get(name=FINANCE_LEAD).permissions.remove(Permission.objects.get(codename="approve_paint"))
        assert offered(client, approval) == set()
        assert "Your role does not let you approve this." in act(client, approval, "approve")
        assert workshop.done == []

    def test_a_refusal_is_shown_and_leaves_it_open(self, sign_in: SignIn, workshop: Workshop) -> None:
        approval = ask()
        workshop.refusal = "The paint is dry."
        assert "The paint is dry." in act(sign_in("bob", FINANCE_LEAD), approval, "approve")
        approval.refresh_from_db()
        assert approval.is_pending

    def test_rejecting_asks_for_a_comment(self, sign_in: SignIn, workshop: Workshop) -> None:
        approval = ask()
        client = sign_in("bob", FINANCE_LEAD)
        assert "This field is required." in act(client, approval, "reject")
        act(client, approval, "reject", "too bright for us")
        approval.refresh_from_db()
        assert (approval.status, approval.comment) == ("rejected", "too bright for us")
        assert "too bright for us" in page_of(client, url_of(approval))

    def test_the_person_who_asked_takes_it_back(self, sign_in: SignIn) -> None:
        approval = ask()
        act(sign_in("ada", BILLING), approval, "cancel", "asked too early")
        approval.refresh_from_db()
        assert approval.status == "canceled"
        other = ask()
        assert "Only the person who asked can take this back." in act(
            sign_in("bob", FINANCE_LEAD), other, "cancel", "asked too early"
        )


class TestEffect:
    def test_is_drawn_by_the_app_that_owns_the_kind(self, sign_in: SignIn) -> None:
        approval = ask()
        client = sign_in("bob", FINANCE_LEAD)
        assert '"colour": "red"' in page_of(client, url_of(approval))
        register_effect(KIND, lambda shown: f"Everything turns {shown.payload['colour']}.")
        assert "Everything turns red." in page_of(client, url_of(approval))
