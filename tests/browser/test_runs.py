"""A billing run in the browser, in both themes: started, watched without reloading; what it held is released."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.urls import reverse

from invoicing.models import BillingRun, Invoice, InvoiceReview
from invoicing.services.run_work import _work_chunk, work_run
from tests.support import world

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def customers() -> None:
    """Twelve customers with three quiet months behind them; in the fourth, one used nine times as much."""
    world.publish()
    months = [datetime(2026, month, 1, tzinfo=UTC) for month in (7, 8, 9, 10, 11)]
    for number in range(12):
        account = world.open_account(f"customer-{number}", name=f"Customer {number}", at=months[0])
        world.subscribe(account, "payg", at=months[0])
        for place, month in enumerate(months[:4]):
            tokens = 20_000_000 * (9 if place == 3 and number == 4 else 1)
            world.use(account, "input_tokens", [tokens], at=month + timedelta(days=3), key=str(place))
    for month in months[1:4]:
        world.run_cycle(as_of=month)


def start_run(visitor: Any) -> BillingRun:
    visitor.go(reverse("admin:invoicing_billingrun_start_run"))
    visitor.page.select_option("select[name=org_id]", "default")
    visitor.page.fill("textarea[name=reason]", "The month is over")
    visitor.page.click("button:has-text('Start')")
    visitor.page.wait_for_selector("[data-progress-url]")
    return BillingRun.objects.latest("id")


class TestARun:
    def test_is_started_watched_and_its_held_invoice_released(
        self, customers: None, open_window: Callable[..., Any], make_person: Callable[[str], Any], settings: Any
    ) -> None:
        settings.BILLING_RUN_CHUNK_SIZE = 4
        person = make_person("finance_lead").username
        light, dark = open_window(theme="light"), open_window(theme="dark")
        for visitor in (light, dark):
            visitor.sign_in(person)
        run = start_run(light)
        assert "0 of 12" in light.text()
        light.page.evaluate("window.stayed = true")
        _bill_one_chunk(run)
        light.page.wait_for_selector("text=4 of 12")
        assert light.page.evaluate("window.stayed") is True  # the block came anew, the page did not
        for visitor in (light, dark):
            visitor.go(reverse("admin:invoicing_billingrun_change", args=[run.pk]))
            assert "At the present pace" in visitor.text()
            visitor.take("run-under-way", height=1000)
        work_run(run_id=run.pk, actor=world.TESTER)
        light.page.wait_for_selector("text=12 of 12")
        light.page.wait_for_selector("text=Completed")

        review = InvoiceReview.objects.get()
        for visitor in (light, dark):
            visitor.go(reverse("admin:index"))
            assert "Waiting for review" in visitor.text()
            visitor.go(reverse("admin:invoicing_invoicereview_changelist"))
            assert "Customer 4" in visitor.text()
            visitor.take("review-queue")
            visitor.go(reverse("admin:invoicing_invoicereview_change", args=[review.pk]))
            assert "90.00 USD is more than 5 × 10.00 USD, the median of the last 3." in visitor.text()
            visitor.take("review", height=1500)
        light.page.click("text=Release")
        light.page.fill("textarea[name=reason]", "Checked with the customer")
        light.page.click("button:has-text('Release')")
        light.page.wait_for_selector("text=is issued: 90.00 USD")
        assert Invoice.objects.get(pk=review.invoice_id).status == "open"


def _bill_one_chunk(run: BillingRun) -> None:
    assert _work_chunk(run, world.TESTER, 4)
