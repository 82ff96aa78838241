"""dj-stripe's copy in the admin: to look at, by those who see payments, where there is a key; nothing else."""

from __future__ import annotations

import html
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
import stripe
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from djstripe import models

from invoicing.admin.provider_copy import PAGES
from invoicing.models import PaymentIntent

pytestmark = pytest.mark.django_db

MADE = datetime(2026, 3, 1, tzinfo=UTC)
SECRET = "whsec_" + "9" * 32
CLIENT_SECRET = "pi_1_secret_" + "8" * 24
OURS = PaymentIntent(id=UUID("01890000-0000-7000-8000-000000000001")).public_id


@pytest.fixture(autouse=True)
def _key(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key, and nobody who answers to it: whatever asked Stripe would fail."""
    settings.STRIPE_TEST_SECRET_KEY = "sk_" + "test_" + "0" * 24
    monkeypatch.setattr(stripe, "api_base", "http://127.0.0.1:9")
    monkeypatch.setattr(stripe, "max_network_retries", 0)


def fill(mark: str = "1") -> dict[str, Any]:
    """Make one copy of each kind, as `djstripe_sync_models` leaves them."""
    common = {"livemode": False, "created": MADE}
    user = User.objects.create_user(f"subscriber-{mark}")
    customer = models.Customer.objects.create(
        id=f"cus_{mark}",
        email=f"ada{mark}@example.com",
        subscriber=user,
        stripe_data={"name": "Ada & Sons", "metadata": {}},
        **common,
    )
    paid = {
        "amount": 1250,
        "currency": "usd",
        "customer": customer.id,
        "client_secret": CLIENT_SECRET,
        "metadata": {"billing_payment_intent_id": OURS},
        "status": "succeeded",
    }
    intent = models.PaymentIntent.objects.create(id=f"pi_{mark}", customer=customer, stripe_data=paid, **common)
    taken = {
        "amount": 1250,
        "currency": "usd",
        "customer": {"id": customer.id, "object": "customer"},
        "payment_intent": intent.id,
        "status": "failed",
        "failure_code": "card_declined",
    }
    charge = models.Charge.objects.create(
        id=f"ch_{mark}",
        amount="12.50",
        currency="usd",
        status="failed",
        customer=customer,
        payment_intent=intent,
        stripe_data=taken,
        **common,
    )
    back = {"amount": 500, "currency": "jpy", "charge": charge.id, "payment_intent": intent.id, "status": "pending"}
    refund = models.Refund.objects.create(
        id=f"re_{mark}", amount=500, currency="jpy", charge=charge, stripe_data=back, **common
    )
    claim = {"amount": 700, "currency": "usd", "charge": charge.id, "reason": "product_not_received", "status": "lost"}
    dispute = models.Dispute.objects.create(id=f"dp_{mark}", charge=charge, stripe_data=claim, **common)
    sent = {"amount": 9900, "currency": "eur", "status": "in_transit", "destination": "ba_1"}
    payout = models.Payout.objects.create(id=f"po_{mark}", currency="eur", stripe_data=sent, **common)
    endpoint = models.WebhookEndpoint.objects.create(
        id=f"we_{mark}",
        secret=SECRET,
        url="https://billing.example.com/hooks",
        status="enabled",
        api_version="2026-04-22.dahlia",
        enabled_events=["payment_intent.succeeded"],
        stripe_data={"secret": SECRET, "status": "enabled"},
        **common,
    )
    made = (customer, intent, charge, refund, dispute, payout, endpoint)
    return {type(row).__name__: row for row in made}


def sign_in(role: str = "viewer") -> Client:
    user = User.objects.create_user(f"ada-{role}", is_staff=True)
    if role != "nobody":
        user.groups.add(Group.objects.get(name=role))
    browser = Client()
    browser.force_login(user)
    return browser


def address(name: str, page: str, *arguments: object) -> str:
    return reverse(f"admin:djstripe_{name.lower()}_{page}", args=arguments)


def read(browser: Client, url: str) -> str:
    answer = browser.get(url)
    assert answer.status_code == 200, url
    return html.unescape(answer.content.decode())


class TestPages:
    def test_show_each_kind_and_no_secret(self) -> None:
        rows, browser = fill(), sign_in()
        assert set(rows) == set(PAGES)
        for name, row in rows.items():
            pages = [read(browser, address(name, "changelist")), read(browser, address(name, "change", row.pk))]
            for page in pages:
                assert row.id in page
                assert SECRET not in page
                assert CLIENT_SECRET not in page

    @pytest.mark.parametrize(
        ("name", "texts"),
        [
            ("Customer", ("Ada & Sons", "ada1@example.com")),
            ("PaymentIntent", ("12.50", "Succeeded", "cus_1", OURS)),
            ("Charge", ("12.50", "Failed", "card declined", "cus_1", "pi_1")),
            ("Refund", (">500<", "Pending", "ch_1", "pi_1")),
            ("Dispute", ("7.00", "Lost", "product not received", "ch_1")),
            ("Payout", ("99.00", "In transit")),
            ("WebhookEndpoint", ("https://billing.example.com/hooks", "Enabled", "2026-04-22.dahlia")),
        ],
    )
    def test_list_what_matters(self, name: str, texts: tuple[str, ...]) -> None:
        fill()
        listed = read(sign_in(), address(name, "changelist"))
        assert [text for text in texts if text not in listed] == []

    def test_lead_to_what_is_ours(self) -> None:
        fill()
        link = reverse("admin:invoicing_paymentintent_change", args=["01890000-0000-7000-8000-000000000001"])
        assert f'href="{link}"' in read(sign_in(), address("PaymentIntent", "changelist"))

    def test_are_found_by_stripes_id(self) -> None:
        fill()
        fill("2")
        listed = read(sign_in(), address("Charge", "changelist") + "?q=ch_2")
        assert "ch_2" in listed
        assert "ch_1" not in listed

    def test_open_for_rows_that_say_little(self) -> None:
        row = models.Payout.objects.create(id="po_bare", currency="", stripe_data={})
        bare = models.PaymentIntent.objects.create(id="pi_bare", stripe_data={"amount": "x", "metadata": None})
        browser = sign_in()
        for name, found in (("Payout", row), ("PaymentIntent", bare)):
            read(browser, address(name, "changelist"))
            read(browser, address(name, "change", found.pk))

    def test_cost_no_query_a_row(self) -> None:
        browser = sign_in()
        fill()
        counts: dict[str, list[int]] = {name: [] for name in PAGES}
        for mark in "234":
            for name, found in counts.items():
                with CaptureQueriesContext(connection) as queries:
                    read(browser, address(name, "changelist"))
                found.append(len(queries))
            fill(mark)
        assert {name: len(set(found)) for name, found in counts.items()} == dict.fromkeys(PAGES, 1)


class TestNothingElse:
    @pytest.mark.parametrize("role", ["viewer", "admin"])
    def test_can_be_done(self, role: str) -> None:
        rows, browser = fill(), sign_in(role)
        for name, row in rows.items():
            before = type(row).objects.values().get(pk=row.pk)
            posted = {"id": "changed", "_save": "Save"}
            assert browser.post(address(name, "change", row.pk), posted).status_code == 403
            assert browser.post(address(name, "add"), posted).status_code == 403
            assert browser.get(address(name, "add")).status_code == 403
            assert browser.post(address(name, "delete", row.pk), {"post": "yes"}).status_code == 403
            chosen = {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"}
            browser.post(address(name, "changelist"), chosen)
            assert type(row).objects.values().get(pk=row.pk) == before
            page = read(browser, address(name, "change", row.pk))
            assert 'name="_save"' not in page
            assert "<select" not in page
            assert 'name="action"' not in read(browser, address(name, "changelist"))

    def test_is_for_those_who_see_no_payments(self) -> None:
        rows, browser = fill(), sign_in("nobody")
        for name, row in rows.items():
            assert browser.get(address(name, "changelist")).status_code == 403
            assert browser.get(address(name, "change", row.pk)).status_code == 403

    def test_is_shown_without_a_key(self, settings: Any) -> None:
        browser = sign_in("admin")
        listed = address("Charge", "changelist")
        assert listed in read(browser, reverse("admin:index"))
        settings.STRIPE_TEST_SECRET_KEY = ""
        assert browser.get(listed).status_code == 403
        assert listed not in read(browser, reverse("admin:index"))
