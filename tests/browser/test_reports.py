"""Reports are read and downloaded in a real browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.urls import reverse

from tests.browser.conftest import THEMES

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]
OpenWindow = Callable[..., Any]


@pytest.mark.parametrize("theme", THEMES)
def test_recurring_revenue_is_read_and_downloaded(
    sample: None, make_person: Any, open_window: OpenWindow, theme: str
) -> None:
    make_person("viewer")
    window = open_window(theme=theme)
    window.sign_in("viewer-person")
    page = window.page
    window.go(reverse("admin:index"))
    page.click("a:has-text('Reports')")
    page.wait_for_selector("h2:has-text('At a glance')")
    page.click("nav[aria-label=Report] a:has-text('Recurring revenue')")
    page.wait_for_selector(".ch-time-chart")
    assert "currencies are never added up" in window.text()
    assert page.locator(".ch-table tbody tr").count() >= 1
    window.take("reports", height=1240)

    with page.expect_download() as waiting:
        page.click("a:has-text('CSV')")
    lines = waiting.value.path().read_text().splitlines()
    assert lines[0].startswith("month,currency,active,new,reactivated,churned,recurring_revenue")
    assert len(lines) - 1 == page.locator(".ch-table tbody tr").count()

    page.click("nav[aria-label=Report] a:has-text('Open by age')")
    page.wait_for_selector("text=61-90")

    # On a telephone nothing sticks out.
    page.set_viewport_size({"width": 390, "height": 844})
    window.go(reverse("admin:invoicing_report", args=["mrr"]))
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
