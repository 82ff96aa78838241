"""The event inspector in the admin: what became of an event, and correcting it as it was previewed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import Account
from billing_site.kernel import clock
from metering.models import UsageCorrection, UsageEvent
from metering.services.ingest import RecordedUsage
from tests.factories.metering import AT, make_account, make_meter, make_subscription, record
from tests.factories.quotas import make_quota

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _noon() -> Iterator[None]:
    with clock.travel(AT):
        yield


def sign_in(role: str) -> Client:
    user = User.objects.create_user(f"{role}-person", is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def account() -> Account:
    account = make_account("acme", name="Acme")
    make_subscription(account, {make_meter("tokens", unit="tokens", dimensions=["model"]): "1"})
    return account


@pytest.fixture
def event(account: Account) -> RecordedUsage:
    return record(account, "tokens", 30, idempotency_key="k", dimensions={"model": "large"}, actor_id="ann")


def page_url(event: RecordedUsage, action: str = "change") -> str:
    return reverse(f"admin:metering_usageevent_{action}", args=[event.row.id])


def read(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200
    return " ".join(re.sub(r"<[^>]+>", " ", response.content.decode()).split())


def carry_out(client: Client, url: str, **typed: str) -> tuple[Any, Any]:
    """Fill the form, look at the preview, confirm it; return both answers."""
    preview = client.post(url, {"_confirmed": "1", "reason": "Sent twice", **typed})
    assert preview.status_code == 200
    seal = preview.context["seal"]
    body = {"_confirmed": "1", "_commit": "1", "reason": "Sent twice", seal[0]: seal[1], **typed}
    return preview, client.post(url, body, follow=True)


class TestPage:
    def test_says_what_became_of_it(self, account: Account, event: RecordedUsage) -> None:
        make_quota(account, "tokens", 100, "day")
        record(account, "tokens", 12)
        text = read(sign_in("viewer"), page_url(event))
        for expected in ("Counts", "30 tokens", "Will be on the next invoice", "42 tokens", "42%", "large", "ann"):
            assert expected in text, expected
        assert "Void" not in text

    def test_takes_the_same_queries_whatever_there_is(self, account: Account, event: RecordedUsage) -> None:
        client = sign_in("viewer")

        def count() -> int:
            with CaptureQueriesContext(connection) as queries:
                client.get(page_url(event))
            return len(queries)

        count()
        first = count()
        for number in range(6):
            record(account, "tokens", number + 1)
        assert count() == first

    def test_of_nothing_is_not_an_error(self, account: Account) -> None:
        client = sign_in("viewer")
        for reference in ("00000000-0000-0000-0000-000000000001", "nonsense"):
            url = reverse("admin:metering_usageevent_change", args=[reference])
            assert client.get(url).status_code in (302, 404)


class TestList:
    @pytest.mark.parametrize(
        ("filters", "found"),
        [
            ({"dimension": "model:large"}, ["k"]),
            ({"dimension": "model:small"}, []),
            ({"dimension": "large"}, []),
            ({"actor": "ann"}, ["k"]),
            ({"resource": "r1"}, ["other"]),
            ({"kind": "void"}, []),
        ],
    )
    def test_is_narrowed_within_an_account(
        self, account: Account, event: RecordedUsage, filters: dict[str, str], found: list[str]
    ) -> None:
        record(account, "tokens", 1, idempotency_key="other", resource_id="r1")
        url = reverse("admin:metering_usageevent_changelist")
        response = sign_in("viewer").get(url, {"account__id__exact": str(account.pk), **filters})
        assert [row.idempotency_key for row in response.context["cl"].result_list] == found

    def test_asks_for_an_account_first(self, account: Account, event: RecordedUsage) -> None:
        response = sign_in("viewer").get(reverse("admin:metering_usageevent_changelist"), {"actor": "ann"})
        assert list(response.context["cl"].result_list) == []
        assert "Choose an account as well" in response.content.decode()


class TestCorrecting:
    def test_voids_what_was_previewed(self, event: RecordedUsage) -> None:
        client = sign_in("finance_lead")
        preview, answer = carry_out(client, page_url(event, "void_event"))
        changes = {change.name: (change.before, change.after) for change in preview.context["prospect"].changes}
        assert changes["The event"] == ("counts 30 tokens", "counts nothing")
        assert changes["Hour of 15 Mar 2026 12:00 UTC"] == ("30 tokens, 1 event", "0 tokens, 0 events")
        text = " ".join(re.sub(r"<[^>]+>", " ", answer.content.decode()).split())
        for expected in ("The event is voided.", "Voided", "Sent twice", "30 tokens taken back"):
            assert expected in text, expected
        correction = UsageCorrection.objects.get()
        assert (correction.event_id, correction.actor) == (event.row.id, "staff:finance_lead-person")

    def test_amends_what_was_previewed(self, event: RecordedUsage) -> None:
        client = sign_in("finance_lead")
        preview, answer = carry_out(client, page_url(event, "amend_event"), quantity="3", idempotency_key="again")
        changes = {change.name: (change.before, change.after) for change in preview.context["prospect"].changes}
        assert changes["The event"] == ("counts 30 tokens", "3 tokens count in its place")
        assert "3 tokens count in its place." in answer.content.decode()
        assert UsageEvent.objects.get(idempotency_key="again").value == 3

    def test_a_preview_writes_nothing(self, event: RecordedUsage) -> None:
        sign_in("finance_lead").post(page_url(event, "void_event"), {"_confirmed": "1", "reason": "Sent twice"})
        assert not UsageCorrection.objects.exists()
        assert UsageEvent.objects.count() == 1

    def test_is_refused_the_second_time(self, event: RecordedUsage) -> None:
        client = sign_in("finance_lead")
        carry_out(client, page_url(event, "void_event"))
        text = read(client, page_url(event))
        assert 'href="/admin/metering/usageevent' not in text
        answer = client.get(page_url(event, "amend_event"), follow=True)
        assert "It was corrected before." in answer.content.decode()

    @pytest.mark.parametrize("role", ["viewer", "support", "billing"])
    def test_is_for_those_who_decide(self, event: RecordedUsage, role: str) -> None:
        client = sign_in(role)
        for action in ("void_event", "amend_event"):
            assert client.get(page_url(event, action)).status_code == 403
        assert not UsageCorrection.objects.exists()
