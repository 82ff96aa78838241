"""The cost so far on an account's page, in both themes: amounts, bars, and the table behind them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.urls import reverse

from billing_site.backoffice.display import format_amount
from billing_site.kernel import clock
from billing_site.kernel.periods import Period
from invoicing.queries.realtime import get_realtime_cost
from tests.browser.conftest import THEMES
from tests.support import costs, world

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.mark.parametrize("theme", THEMES)
def test_shows_how_the_cost_grows(
    theme: str, open_window: Callable[..., Any], make_person: Callable[[str], User]
) -> None:
    now = clock.now()
    begin = now - timedelta(days=45)
    costs.publish_plans(at=begin - timedelta(days=1))
    account = world.open_account("acme", at=begin)
    for plan, currency in (("per_unit", "usd"), ("by_model", "usd"), ("included", "eur")):
        world.subscribe(account, plan, at=begin, currency=currency)
    costs.use_randomly(account, Period(begin, now), events=400, seed=7)
    world.run_cycle(as_of=now)
    viewer = open_window(theme=theme)
    viewer.sign_in(make_person("viewer").username)
    viewer.go(reverse("admin:accounts_account_change", args=[account.pk]))
    text = viewer.text()
    for currency in ("usd", "eur"):
        found = get_realtime_cost(account=account, at=now, currency=currency)
        assert format_amount(found.running.total, currency) in text
        assert format_amount(found.previous_total, currency) in text
    panels = viewer.page.locator(".ch-panel.ch-time")
    assert panels.count() == 2
    assert panels.first.locator(".ch-t1").count() > 5  # days that added something
    panels.first.scroll_into_view_if_needed()
    panels.first.locator("summary").click()
    assert panels.first.locator("tbody tr").count() > 5
    panels.first.locator("summary").click()
    viewer.take("account-cost", height=1300)
