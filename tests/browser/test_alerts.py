"""Cost alerts in the browser: the list, what one has fired and whom it told, and putting it to rest."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from django.urls import reverse

from accounts.models import Account
from accounts.services.cost_centers import create_cost_center
from billing_site.kernel import clock
from billing_site.platform.models import Notice
from billing_site.platform.services.notices import send_notice
from catalog.services.meters import create_meter
from invoicing.services.cost_alerts import evaluate_cost_alerts
from metering.models import CostAlert, QuotaAlert
from metering.services.ingest import NewUsageEvent, record_usage_events
from metering.services.quota_alerts import evaluate_quota_alerts
from tests.browser.conftest import THEMES
from tests.factories.cost_alerts import make_cost_alert, make_spend_alert
from tests.factories.quotas import make_quota
from tests.support import world

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.mark.parametrize("theme", THEMES)
def test_alerts_are_looked_at_and_dismissed(
    sample: None, open_window: Callable[..., Any], make_person: Callable[[str], Any], theme: str
) -> None:
    at = clock.now()
    accounts = list(Account.objects.filter(currency="usd").order_by("id")[:3])
    for account in accounts:
        create_cost_center(account=account, name="All", code="all", budget=10_000, at=at, actor=world.TESTER)
        make_spend_alert(account, 100, title="Monthly roof", at=at)
        make_cost_alert(account, threshold_amount=100, notify_email="ops@example.com", notify_slack=True, at=at)
        make_cost_alert(account, threshold_type="percentage_of_budget", threshold_percent=Decimal(80), at=at)
        make_cost_alert(account, threshold_type="anomaly", at=at)
    fired = evaluate_cost_alerts(account_ids=[account.pk for account in accounts], at=at)
    assert fired
    for notice in Notice.objects.all():
        send_notice(notice_id=notice.pk, at=at)
    tell_quotas(accounts, at)
    make_person("support")
    window = open_window(theme=theme)
    window.sign_in("support-person")
    window.go(reverse("admin:metering_costalert_changelist"))
    for words in ("Monthly roof", "Share of the budget", "Unusual day", "Armed", "Triggered"):
        assert words in window.text()
    window.take("cost-alerts")
    alert: CostAlert = next(each.alert for each in fired if each.alert.notify_slack)
    window.go(reverse("admin:metering_costalert_change", args=[alert.pk]))
    for words in ("ops@example.com", "No chat webhook is set", "cost_alert.triggered"):
        assert words in window.text()
    window.take("cost-alert", height=1300)
    window.go(reverse("admin:metering_costalert_dismiss", args=[alert.pk]))
    window.page.fill("[name=reason]", "The customer knows")
    window.page.click(".ch-buttons button[type=submit]")
    window.page.wait_for_selector("text=says nothing until its next period")
    alert.refresh_from_db()
    assert alert.status == "dismissed"
    window.go(reverse("admin:metering_quotaalert_changelist"))
    for words in ("Exceeded", "Warning", "mail to ops@example.com"):
        assert words in window.text()
    window.take("quota-alerts")
    window.go(reverse("admin:metering_quotaalert_change", args=[QuotaAlert.objects.latest("id").pk]))
    assert "the account's own" in window.text()


def tell_quotas(accounts: list[Account], at: datetime) -> None:
    """Have quotas of the accounts near their limit, or reach it."""
    for account, used in zip(accounts, (85, 93, 120), strict=True):
        name = f"exports_{used}"
        create_meter(
            org_id=account.org_id,
            name="Exports",
            event_name=name,
            unit="exports",
            at=at,
            actor=world.TESTER,
            reason="New",
        )
        make_quota(account, name, 100, window="day", alert_recipients=["ops@example.com"])
        event = NewUsageEvent(account, name, Decimal(used), timestamp=at)
        record_usage_events(events=[event], at=at, actor=world.TESTER)
    evaluate_quota_alerts(account_ids=[account.pk for account in accounts], at=at)
