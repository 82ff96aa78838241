"""What people do to subscriptions in the admin: shown first, then done exactly so, or not at all."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse

from accounts.models import Account, Subscription, SubscriptionDiscount
from accounts.queries.invoice_credit import get_invoice_credit
from accounts.services.deposits import deposit
from billing_site.kernel import clock
from billing_site.platform.models import Event
from catalog.services.coupons import create_coupon
from catalog.services.publishing import publish_document
from invoicing.models import CreditNote, Invoice, PendingCharge
from invoicing.services.changes import ChangeRequest, change_subscription
from tests.support import world

pytestmark = pytest.mark.django_db
# November has 30 days: on the 16th, 15 of them are left.
NOW = datetime(2023, 11, 16, 9, 30, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _now() -> Iterator[None]:
    with clock.travel(NOW):
        yield


@pytest.fixture
def account() -> Account:
    """An account on `small` for 10.00 a month since the first of November, paid in advance."""

    def plan(key: str, fee: int, **more: Any) -> dict[str, Any]:
        prices = [
            {"currency": "usd", "interval": "month", "unit_amount": fee},
            {"currency": "usd", "interval": "year", "unit_amount": fee * 10},
        ]
        return {"id": key, "product_id": "app", "name": key.title(), "prices": prices, **more}

    plans = [plan("small", 1000), plan("large", 4000), plan("trial", 500, trial_period_days=20)]
    document = {"version": 1, "products": [{"id": "app", "name": "App"}], "meters": [], "plans": plans}
    publish_document(org_id="default", document=document, at=world.OCTOBER, actor=world.TESTER)
    create_coupon(
        org_id="default",
        code="HALF",
        discount_type="percentage",
        discount_value=Decimal(50),
        duration_months=2,
        at=world.OCTOBER,
        actor=world.TESTER,
    )
    return world.open_account("acme")


@pytest.fixture
def subscription(account: Account) -> Subscription:
    return world.subscribe(account, "small")


def sign_in(role: str = "support", name: str = "") -> Client:
    user, _ = User.objects.get_or_create(username=name or f"{role}-person", is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    client = Client()
    client.force_login(user)
    return client


def address(action: str, obj: Account | Subscription) -> str:
    return reverse(f"admin:accounts_{obj._meta.model_name}_{action}", args=[obj.pk])


def text_of(response: Any) -> str:
    """Return what a person reads, in one line."""
    plain = re.sub(r"<[^>]+>", " ", response.content.decode())
    return " ".join(html.unescape(plain).split())


def preview(client: Client, action: str, obj: Account | Subscription, **values: Any) -> Any:
    values = {"reason": "The customer asked", **values}
    return client.post(address(action, obj), {"_confirmed": "1", **values})


def confirm(client: Client, action: str, obj: Account | Subscription, page: Any) -> Any:
    """Press the button of a preview: send the form that is on the page."""
    fields = dict(page.context["carried"])
    name, seal = page.context["seal"]
    return client.post(address(action, obj), {"_confirmed": "1", "_commit": "1", name: seal, **fields})


def messages(client: Client, answer: Any) -> str:
    return text_of(client.get(answer["Location"]))


def amounts(page: Any) -> list[list[str]]:
    return [[line.amount for line in paper.lines] for paper in page.context["prospect"].papers]


def sums(page: Any) -> dict[str, str]:
    return dict(page.context["prospect"].papers[0].sums)


def changes(page: Any) -> dict[str, tuple[str, str]]:
    return {change.name: (change.before, change.after) for change in page.context["prospect"].changes}


LARGE = {"plan": "large", "quantity": "1", "interval": "month", "effective": "", "proration_behavior": ""}


class TestChange:
    def test_an_upgrade_is_billed_as_it_was_shown(self, subscription: Subscription) -> None:
        client = sign_in()
        page = preview(client, "change_terms", subscription, **LARGE)
        # 15 of 30 days: 1000 x 15/30 = 500 back, 4000 x 15/30 = 2000 charged.
        assert amounts(page) == [["-5.00 USD", "20.00 USD"]]
        assert sums(page) == {"Total": "15.00 USD", "Left to pay": "15.00 USD"}
        assert [line.share for line in page.context["prospect"].papers[0].lines] == ["15/30 days", "15/30 days"]
        assert changes(page)["Plan"] == ("Small v1", "Large v1")
        assert [(entry.when, entry.amount) for entry in page.context["prospect"].coming] == [
            ("1 Dec 2023 00:00 UTC", "40.00 USD")
        ]
        assert Invoice.objects.count() == 1
        subscription.refresh_from_db()
        assert (subscription.plan_version.plan.key, subscription.revision) == ("small", 0)

        answer = confirm(client, "change_terms", subscription, page)
        invoice = Invoice.objects.latest("id")
        assert [line.amount for line in invoice.lines.all()] == [-500, 2000]
        assert f"Issued: {invoice.number_text} over 15.00 USD" in messages(client, answer)
        event = Event.objects.filter(type="subscription.updated").latest("id")
        assert (event.actor_id, event.reason) == ("support-person", "The customer asked")

    def test_a_downgrade_waits_and_is_taken_back(self, subscription: Subscription) -> None:
        client = sign_in()
        confirm(client, "change_terms", subscription, preview(client, "change_terms", subscription, **LARGE))
        small = {**LARGE, "plan": "small"}
        page = preview(client, "change_terms", subscription, **small)
        assert "Nothing is invoiced or credited now" in text_of(page)
        assert changes(page) == {"From the next period": ("", "Small v1")}
        confirm(client, "change_terms", subscription, page)
        subscription.refresh_from_db()
        assert subscription.pending_plan_version is not None
        page = preview(client, "drop_change", subscription)
        assert changes(page) == {"From the next period": ("Small v1", "")}
        confirm(client, "drop_change", subscription, page)
        subscription.refresh_from_db()
        assert not subscription.has_pending_change

    def test_charges_that_wait_are_shown_on_the_page(self, subscription: Subscription) -> None:
        client = sign_in()
        page = preview(client, "change_terms", subscription, **{**LARGE, "proration_behavior": "create_prorations"})
        assert page.context["prospect"].papers[0].title == "Waits for the next invoice"
        assert PendingCharge.objects.count() == 0
        confirm(client, "change_terms", subscription, page)
        assert PendingCharge.objects.count() == 2
        shown = text_of(client.get(reverse("admin:accounts_subscription_change", args=[subscription.pk])))
        for expected in ("Waits for the next invoice", "15/30 days", "-5.00 USD", "20.00 USD", "15.00 USD"):
            assert expected in shown

    def test_of_somebody_else_in_between_is_told_and_nothing_else_is_done(self, subscription: Subscription) -> None:
        client = sign_in()
        page = preview(client, "change_terms", subscription, **LARGE)
        change_subscription(
            subscription_id=subscription.pk, request=ChangeRequest(quantity=3), at=NOW, actor=world.TESTER
        )
        billed = Invoice.objects.count()
        answer = confirm(client, "change_terms", subscription, page)
        assert answer.status_code == 409
        assert "Someone else changed the subscription; look at it again." in text_of(answer)
        assert Invoice.objects.count() == billed

    def test_is_confirmed_as_of_the_moment_it_was_shown(self, subscription: Subscription) -> None:
        client = sign_in()
        with clock.travel(datetime(2023, 11, 16, 23, 55, tzinfo=UTC)):
            page = preview(client, "change_terms", subscription, **LARGE)
        with clock.travel(datetime(2023, 11, 17, 0, 5, tzinfo=UTC)):
            confirm(client, "change_terms", subscription, page)
        # 15 of 30 days, as shown; a day later it would be 14.
        assert Invoice.objects.latest("id").total == 1500

    def test_is_shown_again_when_it_was_looked_at_too_long_ago(self, subscription: Subscription) -> None:
        client = sign_in()
        page = preview(client, "change_terms", subscription, **LARGE)
        with clock.travel(NOW + timedelta(minutes=16)):
            answer = confirm(client, "change_terms", subscription, page)
        assert "The preview is out of date" in text_of(answer)
        assert Invoice.objects.count() == 1

    @pytest.mark.parametrize("forged", ["", "x", "seal of the same person for other terms"])
    def test_is_not_confirmed_unseen(self, subscription: Subscription, forged: str) -> None:
        client = sign_in()
        page = preview(client, "change_terms", subscription, **LARGE)
        name, seal = page.context["seal"]
        values = {**LARGE, "quantity": "2", "reason": "The customer asked"}
        sent = {"_confirmed": "1", "_commit": "1", name: seal if len(forged) > 1 else forged, **values}
        answer = client.post(address("change_terms", subscription), sent)
        assert "The preview is out of date" in text_of(answer)
        assert Invoice.objects.count() == 1

    def test_that_is_refused_is_told(self, subscription: Subscription) -> None:
        client = sign_in()
        page = preview(client, "change_terms", subscription, **{**LARGE, "interval": "week"})
        assert page.status_code == 409
        assert "week" in text_of(page)

    @pytest.mark.parametrize(("role", "status"), [("viewer", 403), ("support", 200), ("billing", 200)])
    def test_is_for_some_roles(self, subscription: Subscription, role: str, status: int) -> None:
        assert preview(sign_in(role), "change_terms", subscription, **LARGE).status_code == status


class TestStart:
    def test_bills_the_first_period_as_shown_with_its_coupon(self, account: Account) -> None:
        client = sign_in()
        assert "Large (large)" in text_of(client.get(address("start", account)))
        values = {"plan": "large", "quantity": "2", "interval": "month", "coupon": "HALF"}
        page = preview(client, "start", account, **values)
        assert amounts(page) == [["80.00 USD"]]
        assert sums(page) == {
            "Subtotal": "80.00 USD",
            "Discount HALF": "-40.00 USD",
            "Total": "40.00 USD",
            "Left to pay": "40.00 USD",
        }
        assert not Subscription.objects.exists()
        answer = confirm(client, "start", account, page)
        started = Subscription.objects.get()
        assert answer["Location"] == reverse("admin:accounts_subscription_change", args=[started.pk])
        assert (started.quantity, Invoice.objects.get().total) == (2, 4000)
        assert Event.objects.get(type="subscription.created").reason == "The customer asked"

    def test_on_the_calendar_begins_with_a_part(self, account: Account) -> None:
        client = sign_in()
        values = {"plan": "large", "quantity": "1", "interval": "month", "alignment": "calendar"}
        page = preview(client, "start", account, **values)
        assert amounts(page) == [["20.00 USD"]]  # 4000 x 15/30
        confirm(client, "start", account, page)
        assert Subscription.objects.get().current_period_end == world.DECEMBER

    def test_of_a_trial_bills_nothing_and_it_can_be_longer(self, account: Account) -> None:
        client = sign_in()
        page = preview(client, "start", account, plan="trial", quantity="1", interval="month")
        assert amounts(page) == []
        assert page.context["prospect"].coming[0].text == "The trial of Trial ends."
        confirm(client, "start", account, page)
        subscription = Subscription.objects.get()
        page = preview(client, "extend_trial", subscription, days="10")
        assert changes(page)["Trial until"] == ("6 Dec 2023 00:00 UTC", "16 Dec 2023 00:00 UTC")
        confirm(client, "extend_trial", subscription, page)
        subscription.refresh_from_db()
        assert subscription.trial_end == datetime(2023, 12, 16, tzinfo=UTC)


class TestPause:
    def test_gives_unused_days_back_when_it_ends(self, subscription: Subscription) -> None:
        client = sign_in()
        page = preview(client, "pause", subscription, resume_on="2023-11-26")
        assert changes(page)["Resumes"] == ("", "26 Nov 2023 00:00 UTC")
        confirm(client, "pause", subscription, page)
        with clock.travel(datetime(2023, 11, 22, 12, tzinfo=UTC)):
            page = preview(client, "resume", subscription)
            # Paused from the 16th: 15 of 30 days back; 9 days from the 22nd are charged: -500 + 300.
            assert amounts(page) == [["-5.00 USD", "3.00 USD"]]
            assert sums(page) == {"Total": "-2.00 USD", "Becomes invoice credit": "2.00 USD"}
            assert changes(page)["Invoice credit, USD"] == ("0.00 USD", "2.00 USD")
            confirm(client, "resume", subscription, page)
        assert Invoice.objects.latest("id").total == -200
        assert get_invoice_credit(account_id=subscription.account_id, currency="usd") == 200


class TestRenew:
    def test_now_bills_the_next_period_as_shown(self, subscription: Subscription) -> None:
        client = sign_in("billing")
        page = preview(client, "renew", subscription)
        assert amounts(page) == [["10.00 USD"]]
        assert changes(page)["Billed next"] == ("1 Dec 2023 00:00 UTC", "1 Jan 2024 00:00 UTC")
        confirm(client, "renew", subscription, page)
        assert Invoice.objects.latest("id").total == 1000
        again = preview(client, "renew", subscription)
        assert again.status_code == 409

    def test_is_not_for_support(self, subscription: Subscription) -> None:
        assert preview(sign_in(), "renew", subscription).status_code == 403


class TestCancel:
    def test_with_the_period_can_be_taken_back(self, subscription: Subscription) -> None:
        client = sign_in()
        page = preview(client, "cancel", subscription, when="period_end")
        assert changes(page) == {"Ends with the period": ("", "yes")}
        assert [entry.text for entry in page.context["prospect"].coming] == ["Small ends."]
        confirm(client, "cancel", subscription, page)
        page = preview(client, "reactivate", subscription)
        confirm(client, "reactivate", subscription, page)
        subscription.refresh_from_db()
        assert not subscription.cancel_at_period_end
        assert Event.objects.get(type="subscription.reactivated").reason == "The customer asked"

    @pytest.mark.parametrize(("unused", "expected"), [("forfeit", []), ("credit", [["-5.00 USD"]])])
    def test_now_shows_the_last_invoice(
        self, subscription: Subscription, unused: str, expected: list[list[str]]
    ) -> None:
        client = sign_in()
        page = preview(client, "cancel", subscription, when="now", unused=unused, category="too_expensive")
        assert amounts(page) == expected
        assert Subscription.objects.get().status == "active"
        confirm(client, "cancel", subscription, page)
        ended = Subscription.objects.get()
        assert (ended.status, ended.cancellation_reason) == ("canceled", "too_expensive")
        assert Invoice.objects.count() == 1 + len(expected)

    def test_now_shows_the_credit_note_of_what_was_paid(self, account: Account) -> None:
        deposit(account=account, amount=1000, currency="usd", at=world.NOVEMBER, actor=world.TESTER)
        subscription = world.subscribe(account, "small")
        client = sign_in()
        page = preview(client, "cancel", subscription, when="now", unused="credit")
        (paper,) = page.context["prospect"].papers
        assert (paper.title, paper.sums) == (
            "Credit note of INV-0001",
            [("Total", "5.00 USD"), ("Becomes invoice credit", "5.00 USD")],
        )
        assert [(line.text, line.share, line.amount) for line in paper.lines] == [
            ("Small · unused time", "15/30 days", "5.00 USD")
        ]
        assert changes(page)["Invoice credit, USD"] == ("0.00 USD", "5.00 USD")
        confirm(client, "cancel", subscription, page)
        assert CreditNote.objects.get().total == 500


class TestDiscounts:
    def test_are_given_and_removed_by_finance(self, subscription: Subscription) -> None:
        client = sign_in("finance_lead")
        page = preview(client, "give_discount", subscription, value="25 %", duration_months="3", name="Loyal")
        assert changes(page)["Discount"] == ("", "Loyal: 25 % off, 3 invoices left")
        assert page.context["prospect"].coming[0].amount == "7.50 USD"
        confirm(client, "give_discount", subscription, page)
        assert SubscriptionDiscount.objects.get().months_left == 3
        page = preview(client, "remove_discount", subscription)
        confirm(client, "remove_discount", subscription, page)
        assert SubscriptionDiscount.objects.get().end_reason == "removed"

    def test_of_an_amount_are_read_in_major_units(self, subscription: Subscription) -> None:
        client = sign_in("finance_lead")
        page = preview(client, "give_discount", subscription, value="2.50")
        assert page.context["prospect"].coming[0].amount == "7.50 USD"
        refused = preview(client, "give_discount", subscription, value="2,5x")
        assert refused.status_code == 409

    def test_are_not_given_by_support(self, subscription: Subscription) -> None:
        assert preview(sign_in(), "give_discount", subscription, value="25 %").status_code == 403

    def test_come_with_coupons(self, subscription: Subscription) -> None:
        client = sign_in()
        page = preview(client, "redeem_coupon", subscription, code="HALF")
        assert changes(page)["Discount"] == ("", "HALF: 50 % off, 2 invoices left")
        confirm(client, "redeem_coupon", subscription, page)
        again = preview(client, "redeem_coupon", subscription, code="HALF")
        assert (again.status_code, "This account used the code before." in text_of(again)) == (409, True)


class TestButtons:
    def test_are_those_that_are_possible(self, subscription: Subscription) -> None:
        page = sign_in().get(reverse("admin:accounts_subscription_change", args=[subscription.pk])).content.decode()
        offered = {
            name
            for name in ("change_terms", "drop_change", "pause", "resume", "cancel", "reactivate")
            if address(name, subscription) in page
        }
        assert offered == {"change_terms", "pause", "cancel"}

    def test_are_none_for_a_viewer(self, subscription: Subscription) -> None:
        page = sign_in("viewer").get(reverse("admin:accounts_subscription_change", args=[subscription.pk]))
        assert address("change_terms", subscription) not in page.content.decode()
