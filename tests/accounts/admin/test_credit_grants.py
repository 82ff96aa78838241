"""The admin pages of credit: they open, give with a reason, ask above the limit, and void."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from accounts.models import Account, CreditGrant
from accounts.services.credit_burning import burn_credits, renew_grants
from accounts.services.credit_grants import Recurring, grant_credit, void_grant
from accounts.terms.burning import Charge
from billing_site.kernel import clock
from billing_site.kernel.periods import Interval
from billing_site.platform.models import Approval, Event
from tests.accounts.admin.test_pages import sign_in, url
from tests.factories.accounts import ACTOR, AT, make_account, publish_catalog

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def _noon() -> Iterator[None]:
    with clock.travel(AT):
        yield


def give(account: Account, amount: int = 1000, **values: Any) -> CreditGrant:
    return grant_credit(**{"account": account, "amount": amount, "currency": "usd", "at": AT, "actor": ACTOR, **values})


@pytest.fixture
def account() -> Account:
    """An account with credit of every kind and state, and three grants that paid."""
    publish_catalog()
    account = make_account("acme/shop", name="Acme")
    for number in range(3):
        give(account, 100, name=f"Welcome {number}", eligibility=["tokens"], expires_at=AT + DAY)
    charges = [Charge("usage", 250, "usd", meter="tokens")]
    burn_credits(account=account, charges=charges, key="in_1", at=AT, actor=ACTOR)
    void_grant(grant_id=give(account, name="Mistake").pk, at=AT, actor=ACTOR, reason="typed twice")
    give(account, name="Later", effective_at=AT + DAY)
    give(account, name="Monthly", effective_at=AT - 40 * DAY, recurring=Recurring(Interval.parse("month")))
    renew_grants(at=AT)
    return account


class TestPages:
    @pytest.mark.parametrize("role", ["", "viewer", "billing"])
    def test_open(self, account: Account, role: str) -> None:
        browser = sign_in(role)
        page = browser.get(url(CreditGrant, "changelist")).content.decode()
        for word in ("Void", "Spent", "Usable", "To come", "Ended"):
            assert word in page
        for grant in CreditGrant.objects.all():
            assert browser.get(url(CreditGrant, "change", grant.pk)).status_code == 200

    def test_show_what_a_grant_paid(self, account: Account) -> None:
        last = CreditGrant.objects.get(name="Welcome 2")
        page = sign_in().get(url(CreditGrant, "change", last.pk)).content.decode()
        assert "tokens" in page
        assert "credit_grant.burned" in page

    def test_show_why_a_grant_is_void(self, account: Account) -> None:
        page = sign_in().get(url(CreditGrant, "change", CreditGrant.objects.get(name="Mistake").pk)).content.decode()
        assert "typed twice" in page

    def test_stand_on_the_page_of_the_account(self, account: Account) -> None:
        page = sign_in("viewer").get(url(Account, "change", account.pk)).content.decode()
        for name in ("Welcome 1", "Mistake", "Later"):
            assert name in page

    def test_find_grants(self, account: Account) -> None:
        wanted = CreditGrant.objects.get(name="Later")
        for term in ("Later", wanted.public_id):
            response = sign_in_again().get(url(CreditGrant, "changelist"), {"q": term})
            assert list(response.context["cl"].result_list) == [wanted]

    def test_never_write(self, account: Account) -> None:
        browser = sign_in()
        grant = CreditGrant.objects.earliest("id")
        assert browser.get(url(CreditGrant, "add")).status_code == 403
        assert browser.post(url(CreditGrant, "change", grant.pk), {"remaining": "9"}).status_code == 403
        assert browser.post(url(CreditGrant, "delete", grant.pk), {"post": "yes"}).status_code == 403


def sign_in_again() -> Client:
    user, _ = User.objects.get_or_create(username="ada-", is_staff=True, is_superuser=True)
    client = Client()
    client.force_login(user)
    return client


class TestGrant:
    def address(self, account: Account) -> str:
        return reverse("admin:accounts_account_grant_credit", args=[account.pk])

    def form(self, **values: Any) -> dict[str, Any]:
        return {"_confirmed": "1", "amount": "12.50", "priority": "0", "reason": "goodwill, ticket 7", **values}

    def test_gives_credit_with_a_reason(self, account: Account) -> None:
        browser = sign_in("finance_lead")
        assert "Grant credit" in browser.get(self.address(account)).content.decode()
        form = self.form(name="Sorry", meters="tokens", expires_in="30", tags="goodwill")
        assert browser.post(self.address(account), form).status_code == 302
        grant = CreditGrant.objects.get(name="Sorry")
        assert (grant.amount, grant.currency, grant.tags) == (1250, "usd", "goodwill")
        assert grant.expires_at == AT + 30 * DAY
        assert grant.limits.get().meter.event_name == "tokens"
        event = Event.objects.filter(type="credit_grant.created").latest("id")
        assert (event.actor_id, event.reason) == ("ada-finance_lead", "goodwill, ticket 7")

    @pytest.mark.parametrize(
        "values", [{"amount": "12.505"}, {"amount": "-1"}, {"meters": "nope"}, {"currency": "xyz"}, {"reason": ""}]
    )
    def test_shows_refusals_and_gives_nothing(self, account: Account, values: dict[str, str]) -> None:
        before = CreditGrant.objects.count()
        assert sign_in().post(self.address(account), self.form(**values)).status_code in (200, 409)
        assert CreditGrant.objects.count() == before

    def test_asks_another_person_above_the_limit(self, account: Account, settings: Any) -> None:
        settings.BILLING_APPROVAL_LIMIT = 1000
        before = CreditGrant.objects.count()
        browser = sign_in("finance_lead")
        response = browser.post(self.address(account), self.form(meters="tokens"), follow=True)
        assert "waits for the approval" in response.content.decode()
        assert CreditGrant.objects.count() == before
        approval = Approval.objects.get()
        page = browser.get(url(Approval, "change", approval.pk)).content.decode()
        assert "usage of tokens" in page
        assert "12.50" in page

    def test_is_closed_to_those_who_only_bill(self, account: Account) -> None:
        assert sign_in("billing").post(self.address(account), self.form()).status_code == 403


class TestVoid:
    def test_takes_back_with_a_reason(self, account: Account) -> None:
        grant = CreditGrant.objects.get(name="Later")
        address = reverse("admin:accounts_creditgrant_void", args=[grant.pk])
        browser = sign_in("finance_lead")
        assert "10.00 USD will be taken from Acme" in browser.get(address).content.decode()
        assert browser.post(address, {"_confirmed": "1", "reason": "not deserved"}).status_code == 302
        grant.refresh_from_db()
        assert (grant.is_voided, grant.void_reason) == (True, "not deserved")

    def test_is_closed_to_those_who_only_bill(self, account: Account) -> None:
        grant = CreditGrant.objects.get(name="Later")
        address = reverse("admin:accounts_creditgrant_void", args=[grant.pk])
        assert sign_in("billing").post(address, {"_confirmed": "1", "reason": "not deserved"}).status_code == 403
