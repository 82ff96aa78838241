"""Quotas, their alerts and reservations in the admin."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse

from accounts.models import Account
from billing_site.kernel import clock
from billing_site.platform.models import Event
from metering.models import AccountQuota, QuotaReservation
from metering.services.ingest import NewUsageEvent, record_usage_events
from metering.services.quota_alerts import evaluate_quota_alerts
from metering.services.reservations import commit_reservation, reserve_quota
from tests.factories.quotas import make_quota, publish_limits
from tests.support import world
from tests.support.forms import read_form

pytestmark = pytest.mark.django_db

NOW = world.NOVEMBER + timedelta(days=10, hours=5)


@pytest.fixture(autouse=True)
def _now() -> Iterator[None]:
    with clock.travel(NOW):
        yield


@pytest.fixture
def account() -> Account:
    publish_limits()
    return world.open_account("acme", name="Acme")


@pytest.fixture
def browser() -> Client:
    return sign_in("billing")


def sign_in(role: str) -> Client:
    user = User.objects.create_user(f"ada-{role}", is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    client = Client()
    client.force_login(user)
    return client


def url(page: str, *arguments: Any, model: str = "accountquota") -> str:
    return reverse(f"admin:metering_{model}_{page}", args=arguments)


def submit(browser: Client, quota: AccountQuota, **values: str) -> Any:
    """Post the page's form as a browser would, with some fields changed."""
    address = url("change", quota.pk)
    fields = read_form(browser.get(address).content.decode(), "accountquota_form")
    for name in ("is_active", "enforce_hard_limit"):
        if name in fields:
            fields[name] = "on"
    return browser.post(address, {**fields, **values})


def add(browser: Client, account: Account, **values: str) -> Any:
    form = {
        "account": str(account.pk),
        "resource_type": "tokens",
        "resource_name": "Tokens of the lab",
        "quota_limit": "250.5",
        "unit": "",
        "window": "day",
        "feature": "",
        "warning_threshold_percent": "80",
        "overage_price": "",
        "upgrade_plan_id": "",
        "alert_recipients": "ada@example.com\nbob@example.com",
        "enforce_hard_limit": "on",
        "is_active": "on",
    }
    return browser.post(url("add"), {**form, **values})


def use(account: Account, quantity: int) -> None:
    event = NewUsageEvent(account, "tokens", Decimal(quantity), timestamp=NOW)
    record_usage_events(events=[event], at=NOW, actor=world.TESTER)


class TestPages:
    @pytest.mark.parametrize("role", ["viewer", "support", "billing", "admin"])
    def test_open(self, account: Account, role: str) -> None:
        quota = make_quota(account, "tokens", 100)
        row = reserve_quota(account=account, resource="tokens", quantity=Decimal(5), at=NOW)
        use(account, 85)
        [alert] = evaluate_quota_alerts(account_ids=[account.pk], at=NOW)
        page = sign_in(role)
        for model, key in (("accountquota", quota.pk), ("quotaalert", alert.pk), ("quotareservation", row.pk)):
            for address in (url("changelist", model=model), url("change", key, model=model)):
                assert page.get(address).status_code == 200, address

    def test_shows_what_is_used_and_reserved(self, account: Account, browser: Client) -> None:
        quota = make_quota(account, "tokens", 1000)
        reserve_quota(account=account, resource="tokens", quantity=Decimal(100), at=NOW)
        use(account, 850)
        page = " ".join(browser.get(url("change", quota.pk)).content.decode().split())
        assert "850 of 1,000 tokens, 100 reserved" in page
        assert "85 %" in page

    def test_are_found_by_account_and_meter(self, account: Account, browser: Client) -> None:
        quota = make_quota(account, "tokens", 100)
        make_quota(world.open_account("globex", name="Globex"), "calls", 5)
        for term in ("ACME", "Acme", "tokens"):
            assert list(browser.get(url("changelist"), {"q": term}).context["cl"].result_list) == [quota]


class TestForms:
    def test_add_through_the_service(self, account: Account, browser: Client) -> None:
        response = add(browser, account)
        assert response.status_code == 302, response.context["adminform"].form.errors
        quota = AccountQuota.objects.get()
        assert (quota.limit, quota.unit, quota.window, quota.is_hard) == (Decimal("250.5"), "tokens", "day", True)
        assert quota.alert_recipients == ["ada@example.com", "bob@example.com"]
        event = Event.objects.get(type="quota.created")
        assert (event.actor_type, event.actor_id) == ("staff", "ada-billing")

    def test_without_a_limit_adds_an_unlimited_one(self, account: Account, browser: Client) -> None:
        assert add(browser, account, quota_limit="").status_code == 302
        assert AccountQuota.objects.get().limit is None

    def test_change_nothing_when_nothing_was_typed(self, account: Account, browser: Client) -> None:
        more: dict[str, Any] = {
            "overage_price": Decimal("0.25"),
            "alert_recipients": ["ada@example.com"],
            "feature": "llm:proxy",
        }
        quota = make_quota(account, "tokens", "1234.5", warning_percent=Decimal("62.5"), **more)
        response = submit(browser, quota)
        assert response.status_code == 302, response.context["adminform"].form.errors
        assert not Event.objects.filter(type="quota.updated").exists()

    def test_change_what_was_typed(self, account: Account, browser: Client) -> None:
        quota = make_quota(account, "tokens", 100)
        response = submit(browser, quota, quota_limit="7", window="week", alert_recipients="eve@example.com")
        assert response.status_code == 302, response.context["adminform"].form.errors
        quota.refresh_from_db()
        assert (quota.limit, quota.window, quota.alert_recipients) == (Decimal(7), "week", ["eve@example.com"])
        event = Event.objects.get(type="quota.updated")
        assert event.previous_data == {"quota_limit": "100", "window": "month", "alert_recipients": []}

    @pytest.mark.parametrize(
        ("values", "field"),
        [
            ({"resource_type": "nonsense"}, "resource_type"),
            ({"quota_limit": "-5"}, "quota_limit"),
            ({"quota_limit": "many"}, "quota_limit"),
            ({"unit": "GB"}, "unit"),
            ({"warning_threshold_percent": "101"}, "warning_threshold_percent"),
            ({"upgrade_plan_id": "nobody"}, "upgrade_plan_id"),
            ({"alert_recipients": "nobody"}, "alert_recipients"),
        ],
    )
    def test_show_a_refusal(self, account: Account, browser: Client, values: dict[str, str], field: str) -> None:
        response = add(browser, account, **values)
        assert response.status_code == 200
        assert field in response.context["adminform"].form.errors
        assert not AccountQuota.objects.exists()

    def test_say_when_there_is_one_already(self, account: Account, browser: Client) -> None:
        make_quota(account, "tokens", 5, "day")
        response = add(browser, account)
        assert response.status_code == 200
        assert "already" in str(response.context["adminform"].form.errors["__all__"])

    @pytest.mark.parametrize("role", ["viewer", "support"])
    def test_are_closed_to_who_only_looks(self, account: Account, role: str) -> None:
        quota = make_quota(account, "tokens", 5)
        page = sign_in(role)
        assert add(page, account).status_code == 403
        assert page.post(url("change", quota.pk), {"quota_limit": "9"}).status_code == 403
        quota.refresh_from_db()
        assert quota.limit == 5


class TestActions:
    def test_remove_a_quota_with_a_reason(self, account: Account, browser: Client) -> None:
        quota = make_quota(account, "tokens", 5)
        page = reverse("admin:metering_accountquota_remove", args=[quota.pk])
        assert "of the account&#x27;s plan applies again" in browser.get(page).content.decode()
        response = browser.post(page, {"_confirmed": "1", "reason": "no longer needed"})
        assert response.status_code == 302
        assert not AccountQuota.objects.exists()
        event = Event.objects.get(type="quota.deleted")
        assert (event.reason, event.actor_id) == ("no longer needed", "ada-billing")

    def test_release_a_reservation_with_a_reason(self, account: Account, browser: Client) -> None:
        row = reserve_quota(account=account, resource="tokens", quantity=Decimal(5), at=NOW)
        page = reverse("admin:metering_quotareservation_release", args=[row.pk])
        browser.post(page, {"_confirmed": "1", "reason": "its holder is gone"})
        row.refresh_from_db()
        assert row.status == "released"
        event = Event.objects.get(type="quota_reservation.released")
        assert (event.reason, event.actor_id) == ("its holder is gone", "ada-billing")

    def test_leave_what_is_committed(self, account: Account, browser: Client) -> None:
        row = reserve_quota(account=account, resource="tokens", quantity=Decimal(5), at=NOW)
        commit_reservation(reservation_id=row.pk, at=NOW, actor=world.TESTER)
        page = reverse("admin:metering_quotareservation_release", args=[row.pk])
        browser.post(page, {"_confirmed": "1", "reason": "its holder is gone"})
        assert QuotaReservation.objects.get().status == "committed"
