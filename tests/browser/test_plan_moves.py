"""A price change in the browser, in both themes: negotiated with one account, previewed for all, moved, followed."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.urls import reverse

from accounts.models import Account, PriceOverride, Subscription
from accounts.services.price_overrides import set_price_override
from billing_site.kernel import clock
from catalog.models import Plan
from catalog.services.publishing import publish_document
from invoicing.models import PlanMove
from metering.services.ingest import NewUsageEvent, record_usage_events
from tests.browser.conftest import THEMES
from tests.support import world
from tests.support.jobs import SentJobs

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]

NAMES = (
    *("Northwind Traders", "Contoso", "Fabrikam", "Tailspin Toys", "Wide World Importers", "Litware", "Proseware"),
    *("Adventure Works", "Coho Winery", "Lucerne Publishing", "Trey Research", "Alpine Ski House", "Fourth Coffee"),
)
PRO_FEE = {"usd": (9900, 10900, 11900), "eur": (9200, 9900, 10900)}


def publish_pro(edition: int) -> None:
    """Publish the sample catalog with dearer editions of Pro; the third asks more for requests, nothing for storage."""
    path = Path(apps.get_app_config("catalog").path) / "data" / "sample.json"
    document = json.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    (pro,) = [plan for plan in document["plans"] if plan["id"] == "pro"]
    for price in pro["prices"]:
        if price["unit_amount"] == PRO_FEE[price["currency"]][0]:
            price["unit_amount"] = PRO_FEE[price["currency"]][edition]
        elif price.get("meter") == "api" and edition == 2:
            price["unit_amount"] = "0.006"
    if edition == 2:
        pro["prices"] = [price for price in pro["prices"] if price.get("meter") != "storage"]
    publish_document(org_id="sample", document=document, at=clock.now(), actor=world.TESTER, reason="New prices")


@pytest.fixture
def customers(sample: None) -> list[Subscription]:
    """Thirteen more customers of Pro, on two of its three versions, with usage and what some of them negotiated."""
    now = clock.now()
    dice = random.Random("customers")
    made = []
    for number, name in enumerate(NAMES):
        if number == 8:
            publish_pro(1)
        handle, currency = f"sample/{name.split()[0].lower()}", "eur" if number % 4 == 3 else "usd"
        account = world.open_account(handle, at=now - timedelta(days=2), name=name, currency=currency)
        quantity = dice.choice((1, 1, 1, 2, 3, 5))
        made.append(world.subscribe(account, "pro", at=now - timedelta(hours=30), quantity=quantity))
        events = [
            NewUsageEvent(
                account, "api", Decimal(dice.randrange(200_000, 2_000_000)), timestamp=now, idempotency_key=f"u{index}"
            )
            for index in range(3)
        ]
        record_usage_events(events=events, at=now, actor=world.TESTER)
    publish_pro(2)
    Subscription.objects.filter(pk__in=[made[2].pk, made[9].pk]).update(cancel_at_period_end=True)
    for subscription, key, amount in ((made[0], "pro:usd:month", 7900), (made[1], "pro:usd:month:storage", "0.05")):
        set_price_override(
            account=subscription.account,
            lookup_key=key,
            price={"unit_amount": amount},
            effective_from=now - timedelta(days=40),
            at=now,
            actor=world.TESTER,
            reason="Three-year contract",
        )
    return made


def negotiate(visitor: Any, account: Account, price: str) -> None:
    visitor.go(reverse("admin:accounts_account_change", args=[account.pk]))
    visitor.page.click("li:has-text('more_horiz') > a")
    visitor.page.click("text=Negotiate a price")
    visitor.page.wait_for_selector("select[name=lookup_key]")
    visitor.page.select_option("select[name=lookup_key]", "pro:usd:month:api")
    visitor.page.fill("input[name=unit_amount]", "-1")
    visitor.page.fill("textarea[name=reason]", "Volume agreed on by sales")
    visitor.page.click("button[name=_save]")
    visitor.page.wait_for_selector(".errornote, .errorlist, [id$=_error]")
    assert not PriceOverride.objects.filter(account=account, lookup_key="pro:usd:month:api").exists()
    visitor.page.fill("input[name=unit_amount]", price)
    visitor.page.click("button[name=_save]")
    visitor.page.wait_for_selector("text=is agreed on with")
    assert "pro:usd:month:api" in visitor.text()


def preview(visitor: Any, plan: Plan) -> None:
    visitor.go(reverse("admin:catalog_plan_change", args=[plan.pk]))
    visitor.page.click("text=Move subscriptions")
    visitor.page.wait_for_selector("textarea[name=reason]")
    visitor.page.fill("textarea[name=reason]", "Prices of the new year, announced in September")
    visitor.page.click("button:has-text('Preview')")
    visitor.page.wait_for_selector(".ch-move-decide")


class TestPriceChange:
    def test_is_looked_at_before_it_is_made(
        self, customers: list[Subscription], open_window: Callable[..., Any], make_person: Callable[[str], Any]
    ) -> None:
        username = make_person("finance_lead").username
        plan = Plan.objects.get(key="pro", org_id="sample")
        for theme in THEMES:
            visitor = open_window(theme=theme)
            visitor.sign_in(username)
            preview(visitor, plan)
            text = visitor.text()
            # 13 and the two of the sample, less those that end
            assert "13 of 15 running subscriptions would go to Pro v3" in text
            for expected in (
                "2 cannot be moved",
                "1 subscription keeps negotiated prices",
                "1 subscription would lose",
            ):
                assert expected in text
            for name in ("Acme Robotics", "Umbrella Labs", "Contoso"):
                assert name in text
            visitor.take("plan-move-preview", height=1420)
            visitor.page.click("button:has-text('Change')")
            visitor.page.wait_for_selector("textarea[name=reason]")
            assert visitor.page.input_value("textarea[name=reason]").startswith("Prices of the new year")
        assert not PlanMove.objects.exists()

    def test_is_confirmed_and_followed(
        self,
        customers: list[Subscription],
        open_window: Callable[..., Any],
        make_person: Callable[[str], Any],
        sent_jobs: SentJobs,
    ) -> None:
        username = make_person("finance_lead").username
        visitor = open_window()
        visitor.sign_in(username)
        negotiate(visitor, customers[4].account, "0.0045")
        preview(visitor, Plan.objects.get(key="pro", org_id="sample"))
        assert "2 subscriptions keep negotiated prices" in visitor.text()
        visitor.page.click("button:has-text('Move 13 subscriptions')")
        visitor.page.wait_for_selector("text=plan_move.started")
        move = PlanMove.objects.get()
        assert (move.status, move.requested_by) == ("running", f"staff:{username}")
        sent_jobs.run()
        address = reverse("admin:invoicing_planmove_change", args=[move.pk])
        for theme in THEMES:
            follower = open_window(theme=theme)
            follower.sign_in(username)
            follower.go(reverse("admin:invoicing_planmove_changelist"))
            assert "13 of 15 applied" in follower.text()
            follower.go(address)
            text = follower.text()
            for expected in ("13 of 15 applied", "Completed", "The subscription ends with this period", "Contoso"):
                assert expected in text
            follower.take("plan-move", height=1420)
        assert Subscription.objects.filter(pending_plan_version__version=3).count() == 13
