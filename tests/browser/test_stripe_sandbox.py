"""The pages of the Stripe sandbox in a real browser: a customer saves a card, pays, proves to be there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import stripe
from playwright.sync_api import Browser, Page

from tests.stripe_server.calling import Payer, connect
from tests.stripe_server.receiving import Receiver, run_receiver
from tests.stripe_server.server import StripeServer, run_stripe_server

pytestmark = [pytest.mark.browser]


@pytest.fixture
def server() -> Iterator[StripeServer]:
    with run_stripe_server() as running:
        yield running


@pytest.fixture
def client(server: StripeServer) -> stripe.StripeClient:
    return connect(server)


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A window that complains about any error of a page."""
    shown = chromium.new_page()
    complaints: list[str] = []
    shown.on("pageerror", lambda error: complaints.append(str(error)))
    yield shown
    shown.close()
    assert complaints == []


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with run_receiver() as running:
        yield running


class TestCheckout:
    def test_declines_then_takes_a_card_and_goes_back(
        self, server: StripeServer, client: stripe.StripeClient, page: Page, receiver: Receiver
    ) -> None:
        server.add_endpoint(receiver.url, types=("checkout.session.completed",))
        line = {"price_data": {"currency": "usd", "unit_amount": 1250, "product_data": {"name": "Tea"}}, "quantity": 2}
        back = f"{server.url}/?session={{CHECKOUT_SESSION_ID}}"
        form: Any = {"mode": "payment", "line_items": [line], "success_url": back, "cancel_url": server.url}
        session = client.v1.checkout.sessions.create(form)
        page.goto(str(session.url))
        assert "$25.00 usd" in page.inner_text("body")
        page.fill("input[name=email]", "ada@example.com")
        page.select_option("select[name=card]", "chargeDeclined")
        page.click("text=Pay")
        page.wait_for_selector("text=Your card was declined.")
        page.select_option("select[name=card]", "visa")
        page.click("text=Pay")
        page.wait_for_url(f"{server.url}/?session={session.id}")
        server.deliver_all()
        assert receiver.events == ["checkout.session.completed"]
        done = client.v1.checkout.sessions.retrieve(session.id)
        assert (done.payment_status, done.customer_details and done.customer_details.email) == (
            "paid",
            "ada@example.com",
        )


class TestPortal:
    def test_adds_a_card_and_makes_it_the_default(
        self, server: StripeServer, client: stripe.StripeClient, page: Page
    ) -> None:
        payer = Payer(client)
        session = client.v1.billing_portal.sessions.create({"customer": payer.customer, "return_url": server.url})
        page.goto(session.url)
        page.select_option("select[name=add]", "mastercard")
        page.click("text=Add this card")
        page.wait_for_selector("text=mastercard •••• 4444")
        page.click("tr:has-text('mastercard') >> text=Make default")
        page.wait_for_selector("tr:has-text('mastercard') >> text=default")
        settings = client.v1.customers.retrieve(payer.customer).invoice_settings
        assert settings is not None
        assert settings.default_payment_method not in {None, payer.method}
        page.click("a:has-text('Back')")
        page.wait_for_selector("text=Stripe sandbox")


class TestFrontPage:
    def test_lets_a_payment_be_authenticated_and_disputed(
        self, server: StripeServer, client: stripe.StripeClient, page: Page
    ) -> None:
        intent = Payer(client, "pm_card_authenticationRequired").pay(off_session=False)
        page.goto(server.url)
        page.click("text=Authenticate")
        page.wait_for_selector(f"tr:has-text('{intent.id}') >> text=succeeded")
        page.click(f"tr:has-text('{intent.id}') >> text=Dispute")
        page.wait_for_selector("text=needs_response")
        page.click("tr:has-text('needs_response') >> text=won")
        page.wait_for_selector("tr:has-text('dp_1') >> text=won")
        assert [dispute.status for dispute in client.v1.disputes.list().data] == ["won"]
