"""Schedules in the admin."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse

from accounts.models import Subscription, SubscriptionSchedule
from billing_site.kernel import clock
from billing_site.platform.models import Event
from catalog.models import Plan
from invoicing.services.schedule_steps import sweep_due_schedules
from tests.support import world
from tests.support.schedules import FEBRUARY, JANUARY, make_ramp, publish_ramp

pytestmark = pytest.mark.django_db
LIST = "admin:accounts_subscriptionschedule_changelist"
PAGE = "admin:accounts_subscriptionschedule_change"


@pytest.fixture(autouse=True)
def _january() -> Iterator[None]:
    with clock.travel(JANUARY):
        yield


@pytest.fixture
def schedule() -> SubscriptionSchedule:
    publish_ramp()
    return make_ramp(world.open_account())


def sign_in(role: str) -> Client:
    user = User.objects.create_user(f"ada-{role}", is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    browser = Client()
    browser.force_login(user)
    return browser


def press(role: str, action: str, schedule: SubscriptionSchedule, **more: str) -> int:
    address = reverse(f"admin:accounts_subscriptionschedule_{action}", args=[schedule.pk])
    return sign_in(role).post(address, {"_confirmed": "1", "reason": "agreed by phone", **more}).status_code


class TestPages:
    def test_list_and_show_phases(self, schedule: SubscriptionSchedule) -> None:
        browser = sign_in("viewer")
        listed = browser.get(reverse(LIST)).content.decode()
        assert "ten → twenty → thirty" in listed
        assert "1 of 3" in listed
        page = browser.get(reverse(PAGE, args=[schedule.pk])).content.decode()
        assert page.count("To come") == 2
        assert "Running" in page
        assert "Refused" not in page

    def test_show_what_was_refused(self, schedule: SubscriptionSchedule) -> None:
        Plan.objects.filter(key="twenty").update(is_active=False)
        sweep_due_schedules(at=FEBRUARY)
        browser = sign_in("viewer")
        assert "Plan not found" in browser.get(reverse(LIST)).content.decode()
        assert "Refused" in browser.get(reverse(PAGE, args=[schedule.pk])).content.decode()

    def test_show_the_schedule_on_the_page_of_its_subscription(self, schedule: SubscriptionSchedule) -> None:
        address = reverse("admin:accounts_subscription_change", args=[schedule.subscription_id])
        assert schedule.public_id in sign_in("viewer").get(address).content.decode()

    def test_find_by_id(self, schedule: SubscriptionSchedule) -> None:
        browser = sign_in("viewer")
        assert schedule.public_id in browser.get(reverse(LIST), {"q": schedule.public_id}).content.decode()
        assert "1 of 3" not in browser.get(reverse(LIST), {"q": "nobody"}).content.decode()


class TestActions:
    def test_release_with_a_reason(self, schedule: SubscriptionSchedule) -> None:
        assert press("finance_lead", "release", schedule) == 302
        schedule.refresh_from_db()
        assert schedule.status == "released"
        event = Event.objects.get(type="subscription_schedule.released")
        assert (event.actor_id, event.reason) == ("ada-finance_lead", "agreed by phone")

    @pytest.mark.parametrize(("more", "status"), [({"cancel_subscription": "on"}, "canceled"), ({}, "active")])
    def test_cancel_with_the_subscription_or_without(
        self, schedule: SubscriptionSchedule, more: dict[str, str], status: str
    ) -> None:
        assert press("finance_lead", "cancel", schedule, **more) == 302
        schedule.refresh_from_db()
        assert schedule.status == "canceled"
        assert Subscription.objects.get(schedules=schedule).status == status

    def test_are_not_for_everybody(self, schedule: SubscriptionSchedule) -> None:
        assert press("billing", "release", schedule) == 403
        assert press("viewer", "cancel", schedule) == 403
        schedule.refresh_from_db()
        assert schedule.status == "active"
