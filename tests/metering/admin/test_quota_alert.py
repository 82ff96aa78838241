"""What was told about quotas, in the admin."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse

from billing_site.platform.models import Notice
from billing_site.platform.services.notices import send_notice
from metering.models import QuotaAlert
from metering.services.ingest import NewUsageEvent, record_usage_events
from metering.services.quota_alerts import evaluate_quota_alerts
from tests.factories.quotas import make_quota, publish_limits
from tests.support import world

pytestmark = pytest.mark.django_db
AT = world.NOVEMBER + timedelta(days=10)


@pytest.fixture
def alert() -> QuotaAlert:
    publish_limits()
    account = world.open_account("alice", name="Alice & Co", timezone="America/New_York")
    make_quota(account, "tokens", 100, alert_recipients=["ops@example.com"])
    event = NewUsageEvent(account, "tokens", Decimal(93), timestamp=AT)
    record_usage_events(events=[event], at=AT, actor=world.TESTER)
    [fired] = evaluate_quota_alerts(account_ids=[account.pk], at=AT)
    return fired


@pytest.fixture
def browser() -> Client:
    user = User.objects.create_user("ada", is_staff=True)
    user.groups.add(Group.objects.get(name="viewer"))
    client = Client()
    client.force_login(user)
    return client


def test_the_list_says_which_level_of_which_quota(alert: QuotaAlert, browser: Client) -> None:
    page = browser.get(reverse("admin:metering_quotaalert_changelist")).content.decode()
    for text in ("Critical</span>", "Alice &amp; Co", "93 of 100 tokens (93 %)", "month", "mail to ops@example.com"):
        assert text in page
    assert (
        "Critical</span>"
        not in browser.get(
            reverse("admin:metering_quotaalert_changelist"), {"level__exact": "exceeded"}
        ).content.decode()
    )


def test_the_page_says_what_it_means_and_who_was_told(alert: QuotaAlert, browser: Client) -> None:
    send_notice(notice_id=Notice.objects.get().pk, at=AT)
    page = browser.get(reverse("admin:metering_quotaalert_change", args=[alert.pk])).content.decode()
    # The bucket is a UTC month, wherever the account lives.
    for text in ("1 Nov 2023 – 30 Nov 2023", "the account&#x27;s own", "refused", "ops@example.com", "Sent</span>"):
        assert text in page
