"""Alerts and messages out, in the admin."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse

from accounts.models import Account
from billing_site.kernel import clock
from billing_site.platform.models import Event, Notice
from billing_site.platform.services.notices import send_notice
from invoicing.services.cost_alerts import evaluate_cost_alerts
from metering.models import CostAlert
from metering.services.cost_alerts import delete_spend_alert
from tests.factories.cost_alerts import make_cost_alert, make_spend_alert
from tests.factories.cost_centers import make_cost_center
from tests.support import world

pytestmark = pytest.mark.django_db
AT = world.NOVEMBER + timedelta(days=14)
LIST = "admin:metering_costalert_changelist"


@pytest.fixture(autouse=True)
def _middle() -> Iterator[None]:
    with clock.travel(AT):
        yield


@pytest.fixture
def account() -> Account:
    world.publish()
    opened = world.open_account(email="billing@acme.example")
    world.subscribe(opened, "pro")  # the fee: 10.00
    return opened


def sign_in(role: str) -> Client:
    user = User.objects.create_user(f"ada-{role}", is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    browser = Client()
    browser.force_login(user)
    return browser


def read(browser: Client, alert: CostAlert) -> str:
    return browser.get(reverse("admin:metering_costalert_change", args=[alert.pk])).content.decode()


class TestList:
    def test_shows_state_and_what_it_tells_from(self, account: Account) -> None:
        make_cost_center(account, "top", budget=5_000)
        make_spend_alert(account, 900, title="The roof")
        make_cost_alert(account, threshold_type="percentage_of_budget", threshold_percent=Decimal("80.5"))
        make_cost_alert(account, threshold_type="anomaly")
        gone = make_spend_alert(account, 700)
        evaluate_cost_alerts(account_ids=[account.pk], at=AT)
        delete_spend_alert(alert_id=gone.pk, at=AT, actor=world.TESTER)
        page = sign_in("viewer").get(reverse(LIST)).content.decode()
        for text in (
            "The roof",
            "9.00 USD",
            "80.5 % of the budget",
            "200 % of the week before",
            "Triggered",
            "Armed",
            "Removed",
        ):
            assert text in page
        with clock.travel(world.DECEMBER):
            assert "Triggered</span>" not in sign_in("billing").get(reverse(LIST)).content.decode()

    @pytest.mark.parametrize(("kind", "shown", "hidden"), [("spend", "Roof", "Floor"), ("absolute", "Floor", "Roof")])
    def test_is_narrowed_by_kind(self, account: Account, kind: str, shown: str, hidden: str) -> None:
        make_spend_alert(account, title="Roof")
        make_cost_alert(account, title="Floor")
        page = sign_in("viewer").get(reverse(LIST), {"kind": kind}).content.decode()
        assert shown in page
        assert hidden not in page


class TestPage:
    def test_shows_what_was_fired_and_who_was_told(self, account: Account) -> None:
        alert = make_spend_alert(account, 900)
        evaluate_cost_alerts(account_ids=[account.pk], at=AT)
        notice = Notice.objects.get()
        send_notice(notice_id=notice.pk, at=AT)
        browser = sign_in("viewer")
        page = read(browser, alert)
        for text in ("10.00", "1 Nov 2023 – 30 Nov 2023", "billing@acme.example", "Sent", "spend_alert.triggered"):
            assert text in page
        message = browser.get(reverse("admin:platform_notice_change", args=[notice.pk])).content.decode()
        assert "The spend of the month of Acme came to 10.00 USD" in message
        assert reverse("admin:metering_costalert_change", args=[alert.pk]) in message

    def test_says_why_a_message_did_not_go_out(self, account: Account, settings: object) -> None:
        alert = make_cost_alert(account, notify_slack=True)
        evaluate_cost_alerts(account_ids=[account.pk], at=AT)
        send_notice(notice_id=Notice.objects.get().pk, at=AT)
        assert "No chat webhook is set" in read(sign_in("viewer"), alert)


class TestDismiss:
    def test_puts_to_rest_with_a_reason(self, account: Account) -> None:
        alert = make_cost_alert(account)
        evaluate_cost_alerts(account_ids=[account.pk], at=AT)
        address = reverse("admin:metering_costalert_dismiss", args=[alert.pk])
        body = {"_confirmed": "1", "reason": "agreed by phone"}
        assert sign_in("viewer").post(address, body).status_code == 403
        assert sign_in("support").post(address, body).status_code == 302
        alert.refresh_from_db()
        assert (alert.status, alert.silent_until) == ("dismissed", world.DECEMBER)
        event = Event.objects.get(type="cost_alert.dismissed")
        assert (event.actor_id, event.reason) == ("ada-support", "agreed by phone")
        assert address not in read(sign_in("billing"), alert)
