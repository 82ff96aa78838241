"""Refused usage requests in the admin: listed, found, explained, never edited."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse

from accounts.models import Account
from billing_site.kernel import clock
from metering.models import RejectedUsageCount, RejectedUsageRequest
from tests.factories.metering import AT, make_account, make_meter
from tests.support.api import make_client

pytestmark = pytest.mark.django_db
LIST = "admin:metering_rejectedusagerequest_changelist"
PAGE = "admin:metering_rejectedusagerequest_change"


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
def account() -> Account:
    make_meter("api")
    return make_account("acme/alice", name="Acme")


def refuse(account: str, **values: Any) -> RejectedUsageRequest:
    body = json.dumps({"metric_type": "api", "quantity": "1", **values})
    client: Any = make_client()
    path = f"/api/v1/billing/tenants/{account}/usage"
    assert client.generic("POST", path, body, content_type="application/json").status_code >= 400
    return RejectedUsageRequest.objects.order_by("-id")[0]


def shown(response: Any) -> list[RejectedUsageRequest]:
    assert response.status_code == 200
    return list(response.context["cl"].result_list)


class TestList:
    def test_finds_by_account_request_id_and_reason(self, browser: Client, account: Account) -> None:
        first, second = refuse("acme/alice", quantity="-1"), refuse("nobody", metric_type="nope")
        address = reverse(LIST)
        assert shown(browser.get(address)) == [second, first]
        for term in ("ACME/alice", account.public_id, first.request_id, first.public_id):
            assert shown(browser.get(address, {"q": term})) == [first], term
        assert shown(browser.get(address, {"reason": "min_value"})) == [first]
        assert shown(browser.get(address, {"q": "something else"})) == []
        page = browser.get(address).content.decode()
        assert "nobody" in page
        assert "min_value" in page


class TestPage:
    def test_says_what_was_wrong_and_what_was_sent(self, browser: Client, account: Account) -> None:
        refusal = refuse("acme/alice", quantity="-1", resource_id="<b>vm</b>")
        RejectedUsageCount.objects.update(refused=13)
        page = browser.get(reverse(PAGE, args=[refusal.pk])).content.decode()
        for text in (
            "/quantity",
            "min_value",
            "A quantity cannot be negative.",
            "12 more of this caller",
            "&lt;b&gt;vm",
        ):
            assert text in page, text
        assert "<b>vm</b>" not in page

    def test_cannot_be_changed(self, browser: Client, account: Account) -> None:
        refusal = refuse("acme/alice", quantity="-1")
        assert browser.post(reverse(PAGE, args=[refusal.pk]), {"code": "x"}).status_code == 403
        for name in ("add", "delete"):
            arguments = [refusal.pk] if name == "delete" else []
            assert (
                browser.get(reverse(f"admin:metering_rejectedusagerequest_{name}", args=arguments)).status_code == 403
            )
