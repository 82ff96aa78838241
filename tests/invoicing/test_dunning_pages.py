"""Dunning in the admin: the calendar, what people may do, campaigns, and how their mails read."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse

from billing_site.kernel import clock
from billing_site.platform.models import Event
from invoicing.models import DunningCampaign, DunningCase, Invoice
from invoicing.services.collecting import collect_due
from tests.support import world
from tests.support.dunning_states import DAY, attach_card
from tests.support.forms import read_form
from tests.support.world import NOVEMBER

pytestmark = pytest.mark.django_db
WHY = {"reason": "agreed by phone", "_confirmed": "1"}
CAMPAIGNS = "admin:invoicing_dunningcampaign"


@pytest.fixture(autouse=True)
def _later() -> Iterator[None]:
    with clock.travel(NOVEMBER + timedelta(hours=1)):
        yield


def sign_in(role: str) -> Client:
    user = User.objects.create_user(f"ada-{role}", is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    browser = Client()
    browser.force_login(user)
    return browser


def read(answer: Any) -> str:
    assert answer.status_code == 200
    return str(answer.content.decode())


@pytest.fixture
def case() -> DunningCase:
    """A case of acme whose card failed on 1 November."""
    world.publish()
    account = world.open_account(email="pay@acme.example")
    attach_card(account, "insufficientlater")
    world.subscribe(account, "pro")
    collect_due(at=NOVEMBER)
    return DunningCase.objects.get()


def act(browser: Client, case: DunningCase, what: str, **values: str) -> str:
    url = reverse(f"admin:invoicing_dunningcase_{what}", args=[case.pk])
    return read(browser.post(url, {**WHY, **values}, follow=True))


class TestTheCalendar:
    def test_shows_what_was_tried_and_what_is_planned(self, case: DunningCase) -> None:
        page = read(sign_in("viewer").get(reverse("admin:invoicing_dunning_calendar")))
        assert "INV-0001" in page
        assert "attempt 1 of 4" in page
        assert "attempt 2 of 4" in page
        assert page.count("Visa ending in 9995") == 2
        assert "1 planned" in page and "1 failed" in page

    def test_begins_where_it_is_asked_to(self, case: DunningCase) -> None:
        url = reverse("admin:invoicing_dunning_calendar")
        page = read(sign_in("viewer").get(url, {"from": "2024-02-01"}))
        assert "Nothing was tried, and nothing is planned" in page
        assert "INV-0001" in read(sign_in("support").get(url, {"from": "nonsense"}))

    def test_is_for_those_who_may_look(self, case: DunningCase) -> None:
        browser = Client()
        browser.force_login(User.objects.create_user("nobody", is_staff=True))
        assert browser.get(reverse("admin:invoicing_dunning_calendar")).status_code == 403


class TestACase:
    def test_says_where_it_stands(self, case: DunningCase) -> None:
        page = read(sign_in("viewer").get(reverse("admin:invoicing_dunningcase_change", args=[case.pk])))
        for words in (
            "It is tried again at the next step.",
            "1 of 4",
            "The card has insufficient funds.",
            "24, 72, 168",
        ):
            assert words in page

    def test_is_found_from_invoice_and_account(self, case: DunningCase) -> None:
        browser = sign_in("viewer")
        url = reverse("admin:invoicing_dunningcase_change", args=[case.pk])
        assert url in read(browser.get(reverse("admin:invoicing_invoice_change", args=[case.invoice_id])))
        page = read(browser.get(reverse("admin:accounts_account_change", args=[case.account_id])))
        assert f"{reverse('admin:invoicing_dunningcase_changelist')}?q={case.account_id}" in page
        assert "INV-0001" in read(browser.get(reverse("admin:invoicing_dunningcase_changelist")))

    def test_is_held_until_a_day(self, case: DunningCase) -> None:
        browser = sign_in("finance_lead")
        assert "is held until 10 Nov 2023." in act(browser, case, "hold", until="2023-11-10")
        case.refresh_from_db()
        assert (case.status, case.held_until) == ("held", NOVEMBER + 9 * DAY)
        act(browser, case, "resume")
        case.refresh_from_db()
        assert case.status == "running"
        reasons = Event.objects.filter(type__in=("dunning.held", "dunning.resumed")).values_list("reason", "actor_id")
        assert set(reasons) == {("agreed by phone", "ada-finance_lead")}

    def test_is_tried_now(self, case: DunningCase) -> None:
        page = act(sign_in("finance_lead"), case, "retry")
        assert "The card has insufficient funds." in page
        assert Invoice.objects.get().attempt_count == 2
        case.refresh_from_db()
        assert case.step == 1

    def test_is_ended(self, case: DunningCase) -> None:
        assert "is not in dunning any more." in act(sign_in("finance_lead"), case, "cancel")
        case.refresh_from_db()
        assert case.status == "canceled"

    @pytest.mark.parametrize("what", ["retry", "hold", "cancel"])
    def test_is_not_touched_by_who_only_looks(self, case: DunningCase, what: str) -> None:
        url = reverse(f"admin:invoicing_dunningcase_{what}", args=[case.pk])
        assert sign_in("viewer").post(url, WHY).status_code == 403
        case.refresh_from_db()
        assert case.status == "running"


class TestCampaigns:
    def save(self, browser: Client, url: str, **values: Any) -> str:
        posted = read_form(read(browser.get(url)), "dunningcampaign_form") | values
        if not posted.get("plans"):
            posted.pop("plans", None)  # a browser posts nothing of a list in which nothing is chosen
        return read(browser.post(url, posted, follow=True))

    def test_are_made_and_changed(self, case: DunningCase) -> None:
        browser = sign_in("finance_lead")
        page = self.save(
            browser,
            reverse(f"{CAMPAIGNS}_add"),
            org_id="default",
            name="Patient",
            delays_hours="72, 48, 48",
            end_state="cancel",
            accounts="acme",
            is_active="on",
        )
        assert "Patient" in page
        campaign = DunningCampaign.objects.get()
        assert (campaign.delays_hours, campaign.end_state, campaign.is_active) == ([72, 48, 48], "cancel", True)
        assert campaign.accounts.get().account == case.account
        url = reverse(f"{CAMPAIGNS}_change", args=[campaign.pk])
        self.save(browser, url, delays_hours="24")
        campaign.refresh_from_db()
        assert campaign.delays_hours == [24]
        assert campaign.accounts.get().account == case.account
        assert Event.objects.filter(type__startswith="dunning_campaign").count() == 2

    @pytest.mark.parametrize(
        ("values", "words"),
        [
            ({"delays_hours": "soon"}, "Whole hours with commas"),
            ({"delays_hours": "5000"}, "A delay is 1 to 1440 hours."),
            ({"messages": "failed"}, "There are 2 attempts"),
            ({"accounts": "nobody"}, "There is no account"),
        ],
    )
    def test_that_cannot_be_are_refused(self, values: dict[str, str], words: str) -> None:
        given = {"org_id": "default", "name": "X", "delays_hours": "24", **values}
        assert words in self.save(sign_in("finance_lead"), reverse(f"{CAMPAIGNS}_add"), **given)
        assert not DunningCampaign.objects.exists()

    def test_show_how_their_mails_read(self, case: DunningCase) -> None:
        campaign = DunningCampaign.objects.create(org_id="default", name="Patient", delays_hours=[24, 24])
        url = reverse(f"{CAMPAIGNS}_mails", args=[campaign.pk])
        browser = sign_in("viewer")
        page = read(browser.get(url))
        # The quotes of the mail do not end the attribute that holds it.
        assert 'sandbox="" srcdoc="&lt;!DOCTYPE html&gt;' in page
        assert "We could not collect $10.00 USD for invoice INV-0001." in page
        page = read(browser.get(url, {"message": "last_notice", "language": "de", "invoice": "INV-0001"}))
        assert "Dies ist unsere letzte Mahnung." in page
        assert "Andernfalls wird Ihr Abonnement dann abgeschaltet." in page
