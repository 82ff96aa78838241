"""Holds and what was taken from deposits, in the admin."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse

from accounts.models import CreditLot, Hold, HoldStatus
from accounts.services.deposits import deposit
from accounts.services.holds import capture_hold, create_hold
from billing_site.kernel import clock
from billing_site.platform.models import Event
from tests.factories.accounts import ACTOR, AT, make_account

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _noon() -> Iterator[None]:
    with clock.travel(AT):
        yield


@pytest.fixture
def holds() -> list[Hold]:
    """A captured and two pending holds, of different accounts."""
    made = []
    for number in range(3):
        account = make_account()
        deposit(account=account, amount=1000, currency="usd", at=AT, actor=ACTOR)
        made.append(create_hold(account=account, amount=300 + number, currency="usd", at=AT, actor=ACTOR))
    capture_hold(hold_id=made[0].pk, amount=120, at=AT, actor=ACTOR)
    return made


def sign_in(role: str) -> Client:
    user = User.objects.create_user(f"ada-{role}", is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    browser = Client()
    browser.force_login(user)
    return browser


class TestPages:
    def test_list_and_show_holds(self, holds: list[Hold]) -> None:
        browser = sign_in("viewer")
        listed = browser.get(reverse("admin:accounts_hold_changelist")).content.decode()
        assert "3.00" in listed
        shown = browser.get(reverse("admin:accounts_hold_change", args=[holds[0].pk])).content.decode()
        assert "1.20" in shown
        assert browser.get(reverse("admin:accounts_hold_add")).status_code == 403

    def test_show_what_was_taken_from_a_deposit(self, holds: list[Hold]) -> None:
        lot = CreditLot.objects.earliest("id")
        page = sign_in("viewer").get(reverse("admin:accounts_creditlot_change", args=[lot.pk])).content.decode()
        assert "1.20" in page


class TestLetGo:
    def test_frees_the_money_with_a_reason(self, holds: list[Hold]) -> None:
        address = reverse("admin:accounts_hold_let_go", args=[holds[1].pk])
        body = {"_confirmed": "1", "reason": "order canceled"}
        assert sign_in("finance_lead").post(address, body).status_code == 302
        assert Hold.objects.get(pk=holds[1].pk).status == HoldStatus.VOIDED
        event = Event.objects.get(type="hold.voided")
        assert (event.actor_id, event.reason) == ("ada-finance_lead", "order canceled")

    def test_is_not_for_everybody_nor_for_what_ended(self, holds: list[Hold]) -> None:
        body = {"_confirmed": "1", "reason": "order canceled"}
        address = reverse("admin:accounts_hold_let_go", args=[holds[1].pk])
        assert sign_in("billing").post(address, body).status_code == 403
        sign_in("finance_lead").post(reverse("admin:accounts_hold_let_go", args=[holds[0].pk]), body)
        assert not Event.objects.filter(type="hold.voided").exists()
