"""Alerts that many look at in the same moment."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
from django.core import mail

from accounts.models import Account
from billing_site.platform.models import Event, Notice
from billing_site.platform.services.notices import send_notice
from invoicing.services.cost_alerts import evaluate_cost_alerts, sweep_cost_alerts
from metering.models import CostAlert, CostAlertFiring
from metering.services.cost_alerts import dismiss_cost_alert, update_spend_alert
from tests.factories.cost_alerts import make_cost_alert, make_spend_alert
from tests.support import world
from tests.support.parallel import race

pytestmark = pytest.mark.django_db(transaction=True)
AT = world.NOVEMBER + timedelta(days=10)


@pytest.fixture
def account_id() -> UUID:
    world.publish()
    account = world.open_account(email="billing@acme.example")
    world.subscribe(account, "pro")  # the fee: 10.00
    return account.pk


def look(account_id: UUID) -> int:
    return len(evaluate_cost_alerts(account_ids=[account_id], at=AT))


class TestLookingAtOnce:
    def test_fires_each_alert_once(self, account_id: UUID) -> None:
        account = Account.objects.get(pk=account_id)
        for _ in range(3):
            make_cost_alert(account, notify_email="ops@example.com")
        make_spend_alert(account)
        fired = race(*[lambda: look(account_id)] * 7, lambda: len(sweep_cost_alerts(at=AT)[0]))
        assert sum(fired) == 4
        assert CostAlertFiring.objects.count() == 4
        assert Event.objects.filter(type__endswith="_alert.triggered").count() == 4
        assert Notice.objects.count() == 4

    def test_while_the_threshold_changes_fires_once_per_threshold(self, account_id: UUID) -> None:
        alert = make_spend_alert(Account.objects.get(pk=account_id))
        change = {"threshold": 600}
        race(
            *[lambda: look(account_id)] * 4,
            lambda: update_spend_alert(alert_id=alert.pk, changes=change, at=AT, actor=world.TESTER),
        )
        look(account_id)
        armings = list(CostAlertFiring.objects.order_by("arming").values_list("arming", "threshold"))
        assert armings in ([(2, 600)], [(1, 500), (2, 600)])

    def test_while_it_is_dismissed_ends_dismissed(self, account_id: UUID) -> None:
        alert = make_spend_alert(Account.objects.get(pk=account_id))
        race(
            *[lambda: look(account_id)] * 4,
            lambda: dismiss_cost_alert(alert_id=alert.pk, at=AT, actor=world.TESTER),
        )
        look(account_id)
        assert CostAlert.objects.get().status == "dismissed"
        assert CostAlertFiring.objects.count() <= 1


class TestSendingAtOnce:
    def test_sends_a_message_once(self, account_id: UUID) -> None:
        make_spend_alert(Account.objects.get(pk=account_id))
        look(account_id)
        notice = Notice.objects.get()
        assert sorted(race(*[lambda: send_notice(notice_id=notice.pk, at=AT)] * 6)) == [False] * 5 + [True]
        assert len(mail.outbox) == 1
