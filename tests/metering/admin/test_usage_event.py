"""Usage in the admin: opens, filters, finds, never edits."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse

from accounts.models import Account
from billing_site.kernel import clock
from metering.models import UsageEvent
from metering.services.ingest import RecordedUsage
from tests.factories.cost_centers import make_cost_center
from tests.factories.metering import AT, make_account, make_meter, make_subscription, record

pytestmark = pytest.mark.django_db
LIST = "admin:metering_usageevent_changelist"


@pytest.fixture(autouse=True)
def _noon() -> Iterator[None]:
    with clock.travel(AT):
        yield


@pytest.fixture
def browser() -> Client:
    user = User.objects.create_user("ada", is_staff=True)
    user.groups.add(Group.objects.get(name="viewer"))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def events() -> list[RecordedUsage]:
    """Three events of one account on two meters, and one of another."""
    account, other = make_account("acme", name="Acme"), make_account("other", name="Other")
    meters = [make_meter("requests"), make_meter("tokens", unit="tokens")]
    make_subscription(account, {meters[0]: "1.5"})
    return [
        record(account, "requests", "1234.5", at=AT - timedelta(days=2), idempotency_key="first-key"),
        record(account, "requests", "1", at=AT, metadata={"a": "b"}),
        record(account, "tokens", "7", at=AT - timedelta(days=1)),
        record(other, "requests", "99", idempotency_key="other-key"),
    ]


def shown(response: Any) -> list[str]:
    """Return the keys of the rows of a list page, in order."""
    assert response.status_code == 200
    return [event.idempotency_key for event in response.context["cl"].result_list]


def keys(events: list[RecordedUsage], *positions: int) -> list[str]:
    return [events[position].row.idempotency_key for position in positions]


class TestList:
    def test_opens_newest_first(self, browser: Client, events: list[RecordedUsage]) -> None:
        response = browser.get(reverse(LIST))
        assert set(shown(response)[:2]) == set(keys(events, 1, 3))  # at the same time
        assert shown(response)[2:] == keys(events, 2, 0)
        assert "1,234.5" in response.content.decode()
        assert "Cost so far" not in response.content.decode()

    def test_opens_without_any(self, browser: Client) -> None:
        assert "No usage yet" in browser.get(reverse(LIST)).content.decode()

    def test_one_account_comes_newest_event_first_with_its_summary(
        self, browser: Client, events: list[RecordedUsage]
    ) -> None:
        response = browser.get(reverse(LIST), {"account__id__exact": str(events[0].account.pk)})
        assert shown(response) == keys(events, 1, 2, 0)
        text = response.content.decode()
        assert "Cost so far" in text
        assert "18.53 USD" in text  # 1235.5 x 1.5 = 1853.25 cents

    def test_filters_by_cost_center_newest_event_first(self, browser: Client, events: list[RecordedUsage]) -> None:
        account = events[0].account
        center = make_cost_center(account, "ops", name="Operations")
        later = record(account, "tokens", cost_center="ops", at=AT - timedelta(hours=1))
        earlier = record(account, "requests", cost_center="ops", at=AT - timedelta(hours=2))
        response = browser.get(reverse(LIST), {"cost_center__id__exact": str(center.pk)})
        assert shown(response) == [later.row.idempotency_key, earlier.row.idempotency_key]
        assert "Operations" in response.content.decode()

    def test_filters_by_meter_and_date(self, browser: Client, events: list[RecordedUsage]) -> None:
        by_meter = browser.get(reverse(LIST), {"meter__id__exact": str(events[2].meter.pk)})
        assert shown(by_meter) == keys(events, 2)
        by_date = browser.get(
            reverse(LIST),
            {
                "timestamp_from_0": "2026-03-13",
                "timestamp_from_1": "00:00:00",
                "timestamp_to_0": "2026-03-15",
            },
        )
        assert shown(by_date) == keys(events, 2, 0)

    @pytest.mark.parametrize("find", ["key", "event id", "account id", "external id", "nothing"])
    def test_searches_by_key_id_and_account(self, browser: Client, events: list[RecordedUsage], find: str) -> None:
        account: Account = events[3].account
        term = {
            "key": "other-key",
            "event id": UsageEvent(id=events[3].row.id).public_id,
            "account id": account.public_id,
            "external id": "OTHER",
            "nothing": "no-such-key",
        }[find]
        assert shown(browser.get(reverse(LIST), {"q": term})) == ([] if find == "nothing" else ["other-key"])

    def test_a_nonsense_filter_is_no_error_page(self, browser: Client, events: list[RecordedUsage]) -> None:
        response = browser.get(reverse(LIST), {"account__id__exact": "nonsense"})
        assert response.status_code in (200, 302)


def test_an_event_opens_read_only(browser: Client, events: list[RecordedUsage]) -> None:
    url = reverse("admin:metering_usageevent_change", args=[events[1].row.id])
    text = browser.get(url).content.decode()
    assert "&quot;a&quot;: &quot;b&quot;" in text
    assert 'name="_save"' not in text
    assert browser.post(url, {"value": "2"}).status_code == 403
    assert browser.post(reverse("admin:metering_usageevent_delete", args=[events[1].row.id])).status_code == 403
    assert browser.get(reverse("admin:metering_usageevent_add")).status_code == 403
