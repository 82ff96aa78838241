"""The admin pages of items that wait for the next invoice."""

from __future__ import annotations

import html
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import Account, Subscription
from billing_site.kernel import clock
from billing_site.platform.models import Event
from invoicing.models import Invoice, PendingCharge
from invoicing.services.given_lines import NewLine
from invoicing.services.invoice_items import add_invoice_item
from tests.support import world

pytestmark = pytest.mark.django_db

LIST = "/admin/invoicing/pendingcharge/"
ADD = f"{LIST}add-item/"


@pytest.fixture(autouse=True)
def _mid_november() -> Iterator[None]:
    with clock.travel(world.NOVEMBER + timedelta(days=9)):
        yield


@pytest.fixture
def subscription() -> Subscription:
    world.publish()
    return world.subscribe(world.open_account("shop", name="Shop"), "pro")


def sign_in(role: str = "billing") -> Client:
    user = User.objects.create_user(f"ada-{role}", is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    client = Client()
    client.force_login(user)
    return client


def add(client: Client, **values: Any) -> Any:
    given = {"account": "shop", "subscription": "", "description": "Router", "amount": "25.00", "currency": ""}
    return client.post(ADD, {"_confirmed": "1", "reason": "agreed by mail", **given, **values})


def text_of(response: Any) -> str:
    return " ".join(html.unescape(response.content.decode()).split())


def page_of(obj: Any) -> str:
    return reverse(f"admin:{obj._meta.app_label}_{obj._meta.model_name}_change", args=[obj.pk])


class TestAdding:
    def test_is_offered_on_the_pages_of_account_and_subscription(self, subscription: Subscription) -> None:
        client = sign_in()
        for obj in (subscription.account, subscription):
            assert f"{ADD}?account=shop" in text_of(client.get(page_of(obj)))
        form = client.get(f"{ADD}?account=shop&subscription={subscription.public_id}").context["form"]
        assert (form.initial["account"], form.initial["subscription"]) == ("shop", subscription.public_id)
        viewer = sign_in("viewer")
        assert ADD not in text_of(viewer.get(page_of(subscription)))
        assert viewer.get(ADD).status_code == 403

    def test_leaves_an_item_that_the_next_invoice_has(self, subscription: Subscription) -> None:
        client = sign_in()
        response = add(client, subscription=subscription.public_id)
        item = PendingCharge.objects.get()
        assert response["Location"] == page_of(item)
        shown = text_of(client.get(page_of(item)))
        assert "Router" in shown and ">25.00<" in shown and "Waiting" in shown and f"{item.pk}/drop/" in shown
        assert "1 waiting" in text_of(client.get(page_of(subscription)))
        event = Event.objects.get(type="invoice_item.created")
        assert (event.actor_id, event.reason) == ("ada-billing", "agreed by mail")
        world.run_cycle(as_of=world.DECEMBER)
        assert Invoice.objects.latest("id").total == 1000 + 2500
        assert f"{item.pk}/drop/" not in text_of(client.get(page_of(item)))

    @pytest.mark.parametrize(
        ("values", "said"),
        [
            ({"account": "nobody"}, "There is no account with this id"),
            ({"subscription": "sub_nothing"}, "There is no such subscription."),
            ({"amount": "much"}, "That is no amount of USD."),
            ({"currency": "xxx"}, "currency"),
            ({"reason": ""}, "required"),
        ],
    )
    def test_refuses(self, subscription: Subscription, values: dict[str, str], said: str) -> None:
        assert said in text_of(add(sign_in(), **values))
        assert not PendingCharge.objects.exists()

    def test_refuses_a_subscription_of_another_account(self, subscription: Subscription) -> None:
        world.open_account("other")
        assert "No such subscription" in text_of(add(sign_in(), account="other", subscription=subscription.public_id))

    def test_a_large_credit_takes_a_second_person(self, subscription: Subscription, settings: Any) -> None:
        settings.BILLING_APPROVAL_LIMIT = 1000
        client = sign_in()
        assert "takes a second person" in text_of(add(client, amount="-10.01"))
        assert not PendingCharge.objects.exists()
        add(client, amount="-10.00")
        assert PendingCharge.objects.count() == 1


class TestDropping:
    def test_asks_first_and_leaves_a_trace(self, subscription: Subscription) -> None:
        client = sign_in()
        add(client)
        item = PendingCharge.objects.get()
        address = f"{LIST}{item.pk}/drop/"
        assert "is not invoiced" in text_of(client.get(address))
        client.post(address, {"_confirmed": "1", "reason": "entered twice"})
        item.refresh_from_db()
        assert item.dropped_at is not None
        assert Event.objects.get(type="invoice_item.dropped").reason == "entered twice"
        assert "waiting" not in text_of(client.get(page_of(subscription.account))).split("Add an item")[1][:400]
        assert sign_in("viewer").post(address, {"_confirmed": "1", "reason": "entered twice"}).status_code == 403


class TestList:
    def test_narrows_to_an_account_and_to_what_waits(self, subscription: Subscription) -> None:
        client = sign_in()
        add(client)
        add(client, description="Cable")
        client.post(f"{LIST}{PendingCharge.objects.earliest('id').pk}/drop/", {"_confirmed": "1", "reason": "mistake"})
        found = client.get(LIST, {"status": "waiting", "account__id__exact": str(subscription.account_id)})
        assert [str(row) for row in found.context["cl"].result_list] == ["Cable"]
        other = world.open_account("other")
        found = client.get(LIST, {"account__id__exact": str(other.pk)})
        assert list(found.context["cl"].result_list) == []

    def test_leaves_out_what_changes_of_subscriptions_left(self, subscription: Subscription) -> None:
        at = world.NOVEMBER
        item = subscription.items.earliest("id")
        facts = add_invoice_item(
            account=subscription.account, line=NewLine("x", 1), subscription=subscription, at=at, actor=world.TESTER
        ).facts
        PendingCharge.objects.create(
            account=subscription.account,
            subscription=subscription,
            item=item,
            facts=facts,
            period_start=at,
            period_end=at,
            reason="change",
        )
        assert len(sign_in().get(LIST).context["cl"].result_list) == 1

    def test_asks_as_often_for_many_as_for_few(self, subscription: Subscription) -> None:
        client, counts = sign_in("viewer"), []
        account: Account = subscription.account
        for number in (1, 5):
            for _ in range(number):
                add_invoice_item(account=account, line=NewLine("x", 1), at=world.NOVEMBER, actor=world.TESTER)
            client.get(LIST)
            with CaptureQueriesContext(connection) as queries:
                client.get(LIST)
            counts.append(len(queries))
        assert counts[0] == counts[1]
