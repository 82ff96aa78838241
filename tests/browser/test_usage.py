"""Usage is explored and one event is inspected and amended in a real browser."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.urls import reverse

from accounts.models import Account
from accounts.services.cost_centers import create_cost_center
from billing_site.kernel import clock
from billing_site.kernel.actors import SYSTEM
from catalog.models import Meter
from metering.models import UsageCorrection, UsageEvent
from metering.services.ingest import NewUsageEvent, record_usage_events
from tests.browser.conftest import THEMES
from tests.factories.metering import make_meter

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]
OpenWindow = Callable[..., Any]
MODELS = ("large", "large", "large", "medium", "medium", "small", "embed")


def find_afternoon() -> str:
    """Return a zone in which it is between three and four in the afternoon, so that today has hours with usage."""
    ahead = (15 - datetime.now(UTC).hour + 11) % 24 - 11
    return f"Etc/GMT{-ahead:+d}"


@pytest.fixture
def acme(sample: None) -> Account:
    """The sample's first customer, with three weeks of usage by model and region, and seats; where it is afternoon."""
    Account.objects.filter(external_id="acme").update(timezone=find_afternoon())
    account = Account.objects.get(external_id="acme")
    make_meter("vision", org_id="sample", display_name="Image tokens", unit="tokens", dimensions=["model", "region"])
    make_meter("seats", org_id="sample", display_name="Active seats", unit="people", aggregation="unique")
    for name in ("Research", "Support desk"):
        create_cost_center(
            account=account, name=name, code=name.split()[0].lower(), at=clock.now(account), actor=SYSTEM
        )
    noise, now, events = random.Random(11), clock.now(account), []
    for day in range(45):
        for number in range(noise.randrange(14, 26)):
            moment = now - timedelta(days=day, hours=noise.randrange(14), minutes=noise.randrange(60))
            events.append(
                NewUsageEvent(
                    account=account,
                    meter="vision",
                    quantity=Decimal(noise.randrange(4_000, 60_000)),
                    timestamp=moment,
                    idempotency_key=f"img-{day}-{number}",
                    dimensions={"model": noise.choice(MODELS), "region": noise.choice(["eu-west", "us-east"])},
                    cost_center=noise.choice(["research", "support", ""]),
                )
            )
            events.append(
                NewUsageEvent(
                    account=account,
                    meter="seats",
                    quantity=Decimal(1),
                    timestamp=moment,
                    actor_id=f"user-{noise.randrange(30)}",
                )
            )
    for start in range(0, len(events), 1000):
        record_usage_events(events=events[start : start + 1000], at=now, actor=SYSTEM)
    return account


@pytest.mark.parametrize("theme", THEMES)
def test_usage_is_explored(acme: Account, make_person: Any, open_window: OpenWindow, theme: str) -> None:
    make_person("support")
    window = open_window(theme=theme)
    window.sign_in("support-person")
    page = window.page
    window.go(reverse("admin:accounts_account_change", args=[acme.pk]))
    page.click(f"a[href*='explore/?account={acme.pk}']")
    page.wait_for_selector(".ch-time-chart")
    assert "Usage of Acme Robotics" in window.text()
    assert page.locator(".ch-over-time").count() >= 3

    # By keyboard: open the meters, choose one, divide it, show.
    page.focus(".ch-picker summary")
    page.keyboard.press("Enter")
    page.locator("input[name=meter][value=vision]").press("Space")
    page.select_option("select[name=by]", "dimension:model")
    page.click(".ch-filter button:has-text('Show'):not(:has-text('days'))")
    page.wait_for_selector("text=Image tokens")
    assert page.locator(".ch-over-time").count() == 1
    legend = page.locator(".ch-legend li").all_inner_texts()
    assert sorted(text.strip() for text in legend) == ["embed", "large", "medium", "small"]
    bar = page.locator(".ch-slot").nth(0).locator("title").text_content()
    assert bar
    window.take("usage-explorer", height=1240)

    page.click("nav[aria-label=Period] a:has-text('Today')")
    page.wait_for_selector("summary:has-text('Show each hour')")
    page.click("summary:has-text('Show each hour')")
    assert page.locator(".ch-time-table tbody tr").count() >= 1

    with page.expect_download() as waiting:
        page.click("a:has-text('CSV')")
    lines = waiting.value.path().read_text().splitlines()
    assert lines[0] == "start,start_utc,meter,unit,model,quantity,events"
    assert all(",vision,tokens," in line for line in lines[1:])

    # On a telephone nothing sticks out.
    page.set_viewport_size({"width": 390, "height": 844})
    window.go(f"{reverse('admin:metering_usageevent_explore')}?account={acme.pk}&range=last")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("theme", THEMES)
def test_an_event_is_inspected_and_amended(
    acme: Account, make_person: Any, open_window: OpenWindow, theme: str
) -> None:
    make_person("finance_lead")
    event = UsageEvent.objects.get(idempotency_key="img-3-1")
    window = open_window(theme=theme)
    window.sign_in("finance_lead-person")
    page = window.page
    window.go(f"{reverse('admin:metering_usageevent_changelist')}?q=img-3-1")
    page.click("#result_list tbody tr th a")
    page.wait_for_selector(".ch-verdict")
    text = window.text()
    for expected in ("It counts once, in every total below.", "Totals it is in", "As it was recorded"):
        assert expected in text
    page.click("a[href$='/amend-event/'], a:has-text('Amend')")
    page.wait_for_selector("input[name=quantity]")
    page.fill("input[name=quantity]", "1")
    page.fill("textarea[name=reason]", "Sent in the wrong unit")
    page.click("button:has-text('Preview')")
    page.wait_for_selector(".ch-decide")
    assert "1 tokens count in its place" in window.text()
    assert not UsageCorrection.objects.exists()
    page.click("button:has-text('Amend it')")
    page.wait_for_selector("text=Amended")
    assert "“Sent in the wrong unit”" in window.text()
    window.take("usage-event", height=1500)
    correction = UsageCorrection.objects.get()
    assert (correction.event_id, correction.replacement_value) == (event.pk, Decimal(1))

    page.click("a:has-text('what counts instead')")
    page.wait_for_selector(".ch-verdict")
    assert "It counts in place of an event that was amended." in window.text()
    assert Meter.objects.get(event_name="vision").display_name in window.text()
