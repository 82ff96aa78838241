"""The account at a glance: what stands on it, for whom, and that a long history costs nothing."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import Account, Subscription
from accounts.services.credit_grants import grant_credit
from accounts.services.deposits import deposit
from accounts.services.holds import create_hold
from billing_site.kernel import clock
from invoicing.models import Invoice
from invoicing.queries.glance import get_glance
from invoicing.services.changes import ChangeRequest, change_subscription
from invoicing.services.invoices import void_invoice
from tests.support import world

pytestmark = pytest.mark.django_db
NOW = datetime(2023, 11, 16, 9, 30, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _now() -> Iterator[None]:
    with clock.travel(NOW):
        yield


@pytest.fixture
def account() -> Account:
    """An account with something of everything."""
    world.publish(fee=1000)
    account = world.open_account("acme")
    subscription = world.subscribe(account, "pro", quantity=3)
    world.use(account, "input_tokens", [400_000, 600_000], at=NOW - timedelta(days=1))
    change_subscription(
        subscription_id=subscription.pk,
        request=ChangeRequest(quantity=2),
        at=NOW,
        actor=world.TESTER,
        reason="Two have left",
    )
    common: dict[str, Any] = {"account": account, "currency": "usd", "at": NOW, "actor": world.TESTER}
    deposit(**common, amount=5000)
    create_hold(**common, amount=700)
    grant_credit(**common, amount=300, name="Welcome", expires_at=NOW + timedelta(days=30))
    return account


def sign_in(role: str = "support") -> Client:
    user, _ = User.objects.get_or_create(username=f"{role}-person", is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    client = Client()
    client.force_login(user)
    return client


def open_page(account: Account, role: str = "support") -> str:
    response = sign_in(role).get(reverse("admin:accounts_account_change", args=[account.pk]))
    assert response.status_code == 200
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", response.content.decode())).split())


class TestPage:
    def test_shows_money_plans_usage_and_what_comes(self, account: Account) -> None:
        page = open_page(account)
        for expected in (
            "50.00 USD 43.00 USD available, 7.00 USD on hold",
            "Credit grants 3.00 USD usable now",
            "Open 30.00 USD 1 invoice",
            "Overdue 30.00 USD 1 invoice",  # due seven days after the first of November
            "Not billed yet 0.50 USD",
            "From the next period: quantity 2",
            "Cost so far 30.50 USD 1 Nov 2023 – 30 Nov 2023",  # the fee that was billed, and the usage
            "before: 0.00 USD 30.00 USD fixed, 0.50 USD for usage",
            "Wed 15 Nov 2023 0.50 USD 30.50 USD",
            "Input tokens 1 Nov 2023 – 30 Nov 2023 1,000,000 tokens 0.50 USD",  # 1 000 000 x 0.00005 cents
            "1 Dec 2023 00:00 UTC Pro, 3 becomes 2.",
            "1 Dec 2023 00:00 UTC Pro is invoiced. 20.50 USD",
            "16 Dec 2023 09:30 UTC What is left of Welcome expires. 3.00 USD",
            "“Two have left”",
            "Pending quantity – → 2",
        ):
            assert expected in page

    def test_offers_what_the_role_may_do(self, account: Account) -> None:
        subscription = account.subscriptions.get()
        change = reverse("admin:accounts_subscription_change_terms", args=[subscription.pk])
        address = reverse("admin:accounts_account_change", args=[account.pk])
        for role, offered in (("viewer", False), ("support", True)):
            assert (change in sign_in(role).get(address).content.decode()) is offered

    def test_compares_with_the_period_before(self, account: Account) -> None:
        world.run_cycle(as_of=world.DECEMBER)
        world.use(account, "input_tokens", [9_000_000], at=world.DECEMBER, key="december")
        with clock.travel(world.DECEMBER + timedelta(days=15)):
            page = open_page(account)
        # 20.00 and 4.50 against 30.00 and 0.50, which half of November had: a fifth less, cut off.
        assert "Cost so far 24.50 USD 1 Dec 2023 – 31 Dec 2023 \N{MINUS SIGN}19% before: 30.50 USD" in page

    def test_of_an_empty_account_says_so(self) -> None:
        page = open_page(world.open_account("new"))
        for expected in ("No subscription yet.", "Nothing is to be expected.", "No invoice yet."):
            assert expected in page

    def test_does_not_count_what_is_void(self, account: Account) -> None:
        void_invoice(invoice_id=Invoice.objects.get().pk, at=NOW, actor=world.TESTER, reason="by mistake")
        assert get_glance(account, at=NOW).owed == []

    def test_takes_as_many_queries_after_a_long_history(self, account: Account) -> None:
        client = sign_in("admin")
        address = reverse("admin:accounts_account_change", args=[account.pk])

        def count() -> int:
            client.get(address)
            with CaptureQueriesContext(connection) as queries:
                assert client.get(address).status_code == 200
            return len(queries)

        first = datetime(2023, 12, 1, tzinfo=UTC)
        world.run_cycle(as_of=first)
        world.use(account, "output_tokens", [5_000], at=first + timedelta(days=2), key="m12")
        with clock.travel(first + timedelta(days=15)):
            short = count()
        for month in range(1, 7):
            world.use(account, "output_tokens", [5_000], at=datetime(2024, month, 3, tzinfo=UTC), key=f"m{month}")
            deposit(account=account, currency="usd", amount=10, at=first, actor=world.TESTER)
            world.run_cycle(as_of=datetime(2024, month, 1, tzinfo=UTC))
        with clock.travel(datetime(2024, 6, 16, tzinfo=UTC)):
            assert count() == short
        assert Subscription.objects.count() == 1
        assert Invoice.objects.count() == 8
