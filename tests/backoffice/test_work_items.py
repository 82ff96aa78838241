"""The operators' inbox in the admin: who sees what, what can be done, and what stays."""

from __future__ import annotations

import html
from collections.abc import Callable

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse

from billing_site.backoffice.roles import BILLING, SUPPORT, VIEWER, sync_roles
from billing_site.kernel.ids import new_uuid
from billing_site.platform.models import WorkItem
from tests.factories.work_items import KIND, Plumber, call_plumber, report

LIST = "admin:platform_workitem_changelist"
SignIn = Callable[[str], Client]


@pytest.fixture
def plumber(db: None, settings: object) -> Plumber:
    settings.ROOT_URLCONF = "tests.backoffice.real_admin_urls"  # type: ignore[attr-defined]
    sync_roles()
    return call_plumber()


@pytest.fixture
def sign_in(plumber: Plumber) -> SignIn:
    def make(role: str) -> Client:
        user = User.objects.create_user(f"a-{role}", is_staff=True)
        user.groups.add(Group.objects.get(name=role))
        client = Client()
        client.force_login(user)
        return client

    return make


def url_of(item: WorkItem, action: str = "") -> str:
    change = reverse("admin:platform_workitem_change", args=[item.pk])
    return change.replace("/change/", f"/{action}/") if action else change


def page_of(client: Client, url: str) -> str:
    response = client.get(url, follow=True)
    assert response.status_code == 200
    return html.unescape(response.content.decode())


def send(client: Client, item: WorkItem, action: str, **fields: str) -> str:
    answer = client.post(url_of(item, action), {"_confirmed": "1", **fields}, follow=True)
    return html.unescape(answer.content.decode())


def offered(client: Client, item: WorkItem) -> set[str]:
    page = page_of(client, url_of(item))
    return {name for name in ("act", "mark-done", "dismiss") if url_of(item, name) in page}


class TestInbox:
    def test_lists_what_is_open_first_and_narrows(self, sign_in: SignIn) -> None:
        first, second = report("pipe-1"), report("pipe-2", severity="critical")
        third = report("pipe-3")
        client = sign_in(BILLING)
        send(client, third, "mark-done", reason="dry")
        rows = list(client.get(reverse(LIST)).context["cl"].result_list)
        assert rows == [second, first, third]
        narrowed = client.get(reverse(LIST), {"severity__exact": "critical"}).context["cl"].result_list
        assert list(narrowed) == [second]
        assert list(client.get(reverse(LIST), {"kind": KIND, "status__exact": "done"}).context["cl"].result_list) == [
            third
        ]

    def test_counts_on_the_overview_and_in_the_sidebar(self, sign_in: SignIn) -> None:
        client = sign_in(VIEWER)
        assert "wait for an operator" not in page_of(client, reverse("admin:index"))
        report("pipe-1")
        report("pipe-2", severity="critical")
        page = page_of(client, reverse("admin:index"))
        assert "wait for an operator" in page
        assert page.index("pipe-2 leaks") < page.index("pipe-1 leaks")

    def test_shows_what_it_is_about(self, sign_in: SignIn) -> None:
        account_id = new_uuid()
        item = report(detail="Since noon.", data={"litres": 7}, account_id=account_id)
        page = page_of(sign_in(VIEWER), url_of(item))
        assert "Since noon." in page
        assert '"litres": 7' in page
        assert reverse("admin:accounts_account_change", args=[account_id]) in page


class TestHandling:
    def test_what_the_kind_offers_is_done_in_the_persons_name(self, sign_in: SignIn, plumber: Plumber) -> None:
        item = report()
        client = sign_in(BILLING)
        assert offered(client, item) == {"act", "mark-done", "dismiss"}
        assert "Repair" in page_of(client, url_of(item, "act"))
        assert plumber.done == []
        assert "pipe-1 is tight." in send(client, item, "act", what="repair", reason="")
        assert plumber.done == [("pipe-1", f"staff:a-{BILLING}")]
        assert offered(client, item) == set()
        assert "What became of it" in page_of(client, url_of(item))

    def test_an_action_nobody_offers_is_refused(self, sign_in: SignIn, plumber: Plumber) -> None:
        item = report()
        assert "Select a valid choice" in send(sign_in(BILLING), item, "act", what="burn", reason="")
        item.refresh_from_db()
        assert item.is_open

    def test_a_refusal_is_shown_and_leaves_it_open(self, sign_in: SignIn, plumber: Plumber) -> None:
        plumber.refusal = "No gasket."
        item = report()
        assert "No gasket." in send(sign_in(BILLING), item, "act", what="repair", reason="")
        item.refresh_from_db()
        assert item.is_open

    def test_many_at_once(self, sign_in: SignIn, plumber: Plumber) -> None:
        items = [report("pipe-1"), report("pipe-2")]
        client = sign_in(BILLING)
        selection = {"_selected_action": [str(item.pk) for item in items], "index": "0"}
        client.post(
            reverse(LIST),
            {**selection, "action": "act", "what": "repair", "_confirmed": "1", "reason": ""},
            follow=True,
        )
        assert sorted(pipe for pipe, _ in plumber.done) == ["pipe-1", "pipe-2"]

    def test_a_dismissal_needs_a_reason(self, sign_in: SignIn) -> None:
        item = report()
        client = sign_in(BILLING)
        assert "This field is required." in send(client, item, "dismiss", reason="")
        send(client, item, "dismiss", reason="an old pipe")
        item.refresh_from_db()
        assert (item.status, item.comment, item.closed_by) == ("dismissed", "an old pipe", f"staff:a-{BILLING}")

    @pytest.mark.parametrize("role", [VIEWER, SUPPORT])
    def test_is_not_for_every_role(self, sign_in: SignIn, plumber: Plumber, role: str) -> None:
        item = report()
        client = sign_in(role)
        assert offered(client, item) == set()
        fields = {"_confirmed": "1", "what": "repair", "reason": ""}
        assert client.post(url_of(item, "act"), fields).status_code == 403
        assert plumber.done == []

    def test_a_kind_may_ask_for_a_permission_of_its_own(self, sign_in: SignIn) -> None:
        plumber = call_plumber(permission="invoicing.approve_refund")
        item = report()
        client = sign_in(BILLING)
        assert offered(client, item) == set()
        assert "Your role does not let you handle" in send(client, item, "act", what="repair", reason="")
        assert plumber.done == []
