"""Checkout and portal: opened at the doors, completed once on the local page or by a provider's word."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import Account, PaymentMethod, Subscription
from invoicing.gateways.local import LocalGateway
from invoicing.gateways.orders import HostedPage
from invoicing.models import HostedSession, LocalProviderObject, ProviderCustomer
from invoicing.services.hosted_sessions import complete_checkout
from tests.factories.accounts import ACTOR, AT, make_account, make_member, make_subscription, publish_catalog
from tests.factories.payment_methods import make_payment_method
from tests.support.api import make_client
from tests.support.problems import problem

pytestmark = pytest.mark.django_db

CHECKOUT = "/api/v1/billing/checkout-session"
PORTAL = "/api/v1/billing/portal-session"
NAMED_CHECKOUT = "/api/v1/billing/stripe/checkout"
NAMED_PORTAL = "/api/v1/billing/stripe/portal"


@pytest.fixture(autouse=True)
def account() -> Account:
    publish_catalog()
    return make_account("acme", owner_user_id="alice")


def ask(door: str = CHECKOUT, body: dict[str, Any] | None = None, **headers: str) -> Any:
    return make_client("public", "alice").post(door, body or {}, headers=headers)


def open_page(**body: Any) -> str:
    answer = ask(CHECKOUT, body)
    assert answer.status_code == 200, answer.content
    return str(urlsplit(answer.json()["url"]).path)


class TestCheckoutDoors:
    def test_an_empty_body_sets_up_payment(self, account: Account) -> None:
        shown = ask().json()
        assert shown.keys() == {"url", "session_url", "provider", "expires_at"}
        assert shown["url"] == shown["session_url"]
        assert shown["provider"] == "local"
        session = HostedSession.objects.get()
        assert (session.account, session.plan_key, session.completed_at) == (account, "", None)
        assert LocalProviderObject.objects.get(kind="checkout").data["account_id"] == account.public_id

    def test_the_customer_is_made_once_and_a_key_opens_one_page(self) -> None:
        urls = {ask(CHECKOUT, {"plan_id": "pro"}, **{"Idempotency-Key": "k"}).json()["url"] for _ in range(2)}
        assert len(urls) == 1
        ask()
        assert ProviderCustomer.objects.count() == 1
        assert HostedSession.objects.count() == 2

    def test_says_which_plan_so_that_an_event_can_be_mapped_back(self) -> None:
        ask(CHECKOUT, {"plan_id": "pro", "interval": "year"})
        metadata = LocalProviderObject.objects.get(kind="checkout").data["metadata"]
        assert (metadata["billing_plan_id"], metadata["billing_interval"]) == ("pro", "year")

    @pytest.mark.parametrize(
        ("body", "code", "status"),
        [
            ({"plan_id": "nothing"}, "plan_not_found", 404),
            ({"feature": "nothing"}, "plan_not_found", 404),
            ({"return_url": "https://evil.example.com/x"}, "return_url_not_allowed", 400),
            ({"return_url": "https://app.example.com@evil.example.com/"}, "return_url_not_allowed", 400),
            ({"return_url": "javascript:alert(1)"}, "return_url_not_allowed", 400),
            ({"return_url": "//app.example.com/x"}, "return_url_not_allowed", 400),
            ({"return_url": "https://app.example.com.evil.com/"}, "return_url_not_allowed", 400),
            ({"return_url": "https://[app"}, "return_url_not_allowed", 400),
            ({"plan": "pro"}, "validation_failed", 400),
        ],
    )
    def test_refuses(self, settings: Any, body: dict[str, Any], code: str, status: int) -> None:
        settings.BILLING_RETURN_URL_ORIGINS = ["https://app.example.com"]
        problem(ask(CHECKOUT, body), code, status)
        assert not HostedSession.objects.exists()

    def test_sends_people_back_to_an_allowed_origin(self, settings: Any) -> None:
        settings.BILLING_RETURN_URL_ORIGINS = ["https://app.example.com/"]
        ask(CHECKOUT, {"return_url": "https://app.example.com/billing?tab=1"})
        assert HostedSession.objects.get().return_url == "https://app.example.com/billing?tab=1"

    def test_is_for_who_may_write(self, account: Account) -> None:
        make_member(account, "bob", "member")
        problem(make_client("public", "bob").post(CHECKOUT, {}), "account_forbidden", 403)

    def test_of_a_named_account_by_query_or_body(self, account: Account) -> None:
        by_query = make_client().post(f"{NAMED_CHECKOUT}?tenant_id=acme&plan_id=pro", {})
        by_body = make_client().post(NAMED_CHECKOUT, {"account": "acme", "plan_id": "pro"})
        assert (by_query.status_code, by_body.status_code) == (200, 200), by_query.content
        assert set(HostedSession.objects.values_list("account", "plan_key")) == {(account.pk, "pro")}
        problem(make_client().post(NAMED_CHECKOUT, {"plan_id": "pro"}), "account_required", 400)
        body = {"account": "acme", "plan_id": "pro", "customer_id": "cus_of_another"}
        problem(make_client().post(NAMED_CHECKOUT, body), "provider_customer_mismatch", 409)


class TestTheLocalCheckoutPage:
    def test_saves_the_card_and_begins_the_plan_once(self, account: Account) -> None:
        path, browser = open_page(plan_id="pro"), Client()
        assert "pro" in browser.get(path).content.decode()
        for _ in range(2):
            done = browser.post(path, {"card": "tok_visa"})
            assert done.status_code == 200
            assert "Thank you" in done.content.decode()
        subscription = Subscription.objects.get()
        assert (subscription.account, subscription.plan_version.plan.key, subscription.status) == (
            account, "pro", "active",
        )  # fmt: skip
        method = PaymentMethod.objects.get()
        assert (method.card["last4"], method.is_default, method.verified_at is not None) == ("4242", True, True)
        session = HostedSession.objects.get()
        assert (session.payment_method, session.subscription) == (method, subscription)

    def test_takes_the_place_of_a_free_plan(self, account: Account) -> None:
        free = make_subscription(account, "free")
        Client().post(open_page(plan_id="pro"), {"card": "tok_visa"})
        free.refresh_from_db()
        assert free.status == "canceled"
        assert Subscription.objects.exclude(pk=free.pk).get().status == "active"

    def test_without_a_plan_only_saves(self) -> None:
        Client().post(open_page(), {"card": "tok_mastercard"})
        assert PaymentMethod.objects.get().card["last4"] == "4444"
        assert not Subscription.objects.exists()

    def test_a_declined_card_may_be_followed_by_another(self) -> None:
        path, browser = open_page(plan_id="pro"), Client()
        refused = browser.post(path, {"card": "tok_lost"})
        assert (refused.status_code, "contact your bank" in refused.content.decode()) == (400, True)
        assert not PaymentMethod.objects.exists()
        browser.post(path, {"card": "tok_visa"})
        assert Subscription.objects.get().status == "active"

    def test_what_cannot_begin_keeps_the_card_and_says_why(self) -> None:
        path = open_page(plan_id="pro")
        HostedSession.objects.update(plan_key="gone")
        page = Client().post(path, {"card": "tok_visa"})
        assert page.status_code == 200
        assert PaymentMethod.objects.count() == 1
        assert HostedSession.objects.get().outcome.startswith("The method is kept; nothing began")

    def test_is_closed_to_forged_expired_and_live(self, settings: Any) -> None:
        path, browser = open_page(), Client()
        assert browser.get(f"{path}x").status_code == 404
        assert browser.get(path.replace("checkout", "portal")).status_code == 404
        HostedSession.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        assert browser.get(path).status_code == 410
        assert browser.post(path, {"card": "tok_visa"}).status_code == 410
        assert not PaymentMethod.objects.exists()
        settings.BILLING_LIVEMODE = True
        assert browser.get(path).status_code == 404

    def test_takes_no_card_that_is_not_offered_and_no_forged_form(self) -> None:
        path = open_page()
        assert Client().post(path, {"card": "tok_anything"}).status_code == 400
        assert Client(enforce_csrf_checks=True).post(path, {"card": "tok_visa"}).status_code == 403
        assert not PaymentMethod.objects.exists()


class TestAProvidersWord:
    def test_of_a_page_not_opened_here_is_nothing(self) -> None:
        page = HostedPage(ref="cs_1", url="", status="complete")
        assert complete_checkout(page=page, setup=None, provider_type="stripe", at=AT, actor=ACTOR) is None

    def test_of_an_open_page_changes_nothing(self) -> None:
        open_page(plan_id="pro")
        page = LocalGateway().fetch_checkout(checkout_ref=HostedSession.objects.get().provider_ref)
        session = complete_checkout(page=page, setup=None, provider_type="local", at=AT, actor=ACTOR)
        assert session is not None
        assert session.completed_at is None


class TestPortal:
    def test_needs_a_customer(self) -> None:
        shown = problem(ask(PORTAL), "provider_customer_missing", 409)
        assert shown["next_action"] == "setup_billing"

    def test_never_shows_the_customer(self) -> None:
        ask()
        answer = ask(PORTAL)
        assert answer.json().keys() == {"url", "portal_url", "provider", "expires_at"}
        page = Client().get(urlsplit(answer.json()["url"]).path)
        ref = ProviderCustomer.objects.get().ref
        assert ref not in answer.content.decode() + page.content.decode()

    def test_of_a_named_account_or_customer(self, account: Account) -> None:
        ask()
        ref = ProviderCustomer.objects.get().ref
        for body in ({"account": "acme"}, {"customer_id": ref}, {"account": "acme", "customer_id": ref}):
            assert make_client().post(NAMED_PORTAL, body).status_code == 200
        problem(make_client().post(NAMED_PORTAL, {}), "account_required", 400)
        make_account("other", owner_user_id="eve")
        problem(make_client().post(NAMED_PORTAL, {"account": "other", "customer_id": ref}), "account_forbidden", 403)
        for body in ({"customer_id": ref}, {"customer_id": "cus_unknown"}):
            problem(make_client("public", "eve").post(NAMED_PORTAL, body), "account_forbidden", 403)

    def test_the_local_page_manages_methods(self, account: Account) -> None:
        ask()
        path, browser = urlsplit(ask(PORTAL).json()["url"]).path, Client()
        for card in ("tok_visa", "tok_mastercard"):
            assert browser.post(path, {"act": "add", "card": card}).status_code == 200
        first, second = PaymentMethod.objects.order_by("id")
        assert "ending in 4444" in browser.get(path).content.decode()
        browser.post(path, {"act": "default", "method": second.public_id})
        browser.post(path, {"act": "detach", "method": first.public_id})
        first.refresh_from_db()
        second.refresh_from_db()
        assert (first.status, second.status, second.is_default) == ("detached", "attached", True)
        refused = browser.post(path, {"act": "add", "card": "tok_expired"})
        assert (refused.status_code, "expired" in refused.content.decode()) == (400, True)

    def test_and_none_of_another_account(self) -> None:
        ask()
        path = urlsplit(ask(PORTAL).json()["url"]).path
        stranger = make_payment_method(make_account("other"))
        assert Client().post(path, {"act": "detach", "method": stranger.public_id}).status_code == 404
        stranger.refresh_from_db()
        assert stranger.status == "attached"
