"""The usage feed and the exports in the browser: what could not be counted is counted, what failed is tried again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse

from billing_site.kernel import clock
from metering.models import UsageEvent, UsageExport, UsageExportSurplus, UsageFeedEvent
from metering.rating.export_rules import DEFAULT_RULES
from metering.services.usage_exports import Claim, NewUsageExport, request_export, settle_exported, settle_failed
from metering.services.usage_feed import NewFeedEvent, record_feed_event
from tests.browser.conftest import THEMES
from tests.factories.metering import make_account, make_meter
from tests.support.world import TESTER

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]
CONFIRM = ".ch-buttons button[type=submit]"
UNKNOWN = "0b6f2c0e-6f0e-4b7e-9f55-0d6f0a6c1f10"


def fill() -> None:
    """Some of everything: events counted, not billed and not countable; exports in each state; an hour too much."""
    at = clock.now()
    meter = make_meter("llm_tokens", display_name="LLM tokens", unit="tokens")
    accounts = [make_account(handle, name=name) for handle, name in (("acme", "Acme Inc"), ("lumen", "Lumen GmbH"))]
    for number, event_type in enumerate(("request_started", "usage_recorded", "client_aborted", "usage_recorded")):
        data = {"total_tokens": 1200 * number, "model": "model-a"} if "usage" in event_type else {}
        new = NewFeedEvent(
            event_type=event_type,
            org_id="default",
            account=accounts[number % 2],
            event_id=f"req-{4700 + number}",
            occurred_at=at - timedelta(minutes=90 - number),
            data=data,
            numbers=data,
        )
        record_feed_event(new=new, rules=DEFAULT_RULES, at=at, actor=TESTER)
    lost = {"total_tokens": 900}
    new = NewFeedEvent("usage_recorded", "", None, UNKNOWN, "req-4710", at - timedelta(hours=1), lost, lost)
    record_feed_event(new=new, rules=DEFAULT_RULES, at=at, actor=TESTER)
    for number, (code, detail, is_certain) in enumerate(
        (
            ("", "", True),
            ("customer_unknown", "The provider knows no customer by this name.", True),
            ("provider_unavailable", "The payment provider did not answer in time; try again.", False),
        )
    ):
        asked = NewUsageExport(event_id=f"job-{number}", meter="llm_tokens", quantity=123_456 * (number + 1))
        row = request_export(account=accounts[number % 2], new=asked, at=at, actor=TESTER).export
        assert row is not None
        if code:
            claim = Claim(row, was_uncertain=False)
            settle_failed(claim=claim, code=code, detail=detail, at=at, is_certain=is_certain, is_final=is_certain)
        else:
            settle_exported(export_id=row.pk, provider_event_id="mev_1f0a", at=at)
    UsageExportSurplus.objects.create(
        account=accounts[0], meter=meter, hour=at - timedelta(hours=7), quantity=4200, noticed_at=at
    )


@pytest.mark.parametrize("theme", THEMES)
def test_what_is_left_over_is_counted_and_sent(
    open_window: Callable[..., Any], make_person: Callable[[str], Any], theme: str
) -> None:
    fill()
    make_person("billing")
    window = open_window(theme=theme)
    window.sign_in("billing-person")
    window.go(reverse("admin:metering_usagefeedevent_changelist"))
    for words in ("req-4701", "Counted", "Could not be counted", "The account is not known here", "Not billed"):
        assert words in window.text(), words
    window.take("usage-feed")
    event = UsageFeedEvent.objects.get(event_id="req-4710")
    make_account(UNKNOWN, name="Nimbus Ltd")
    window.go(reverse("admin:metering_usagefeedevent_change", args=[event.pk]))
    assert '"total_tokens": 900' in window.text()
    window.take("usage-feed-event")
    window.page.click("text=Count now")
    window.page.fill("[name=reason]", "Nimbus was opened today")
    window.page.click(CONFIRM)
    window.page.wait_for_selector("text=was counted")
    assert int(UsageEvent.objects.get(idempotency_key="req-4710").value) == 900

    window.go(reverse("admin:metering_usageexport_changelist"))
    for words in ("Exported", "Failed", "knows no customer by this name", "246,912"):  # 2 x 123,456
        assert words in window.text(), words
    window.take("usage-exports")
    failed = UsageExport.objects.get(reason_code="provider_unavailable")
    window.go(reverse("admin:metering_usageexport_change", args=[failed.pk]))
    window.take("usage-export")
    window.page.click("text=Try again")
    assert "counts twice there" in window.text()
    window.page.fill("[name=reason]", "Not there: looked it up")
    window.page.click(CONFIRM)
    window.page.wait_for_selector("text=tried again within a minute")
    failed.refresh_from_db()
    assert failed.status == "pending"
    assert "Not there: looked it up" in window.text()
    window.go(reverse("admin:metering_usageexportsurplus_changelist"))
    assert "4,200" in window.text()
