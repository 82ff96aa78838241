"""The nightly proof tells when something is wrong."""

from __future__ import annotations

import pytest
from celery.schedules import crontab

from accounts.models import LedgerAccount
from accounts.services.proof import check_ledger
from accounts.tasks.ledger import prove_ledger
from billing_site.platform.models import Event
from billing_site.schedules import BEAT_SCHEDULE
from tests.accounts.queries.test_proof import tamper
from tests.factories.accounts import AT, make_account, make_entry

pytestmark = pytest.mark.django_db


class TestCheckLedger:
    def test_is_silent_while_the_ledger_holds(self) -> None:
        make_entry(make_account(), 500)
        assert check_ledger(at=AT).holds
        assert not Event.objects.filter(type="ledger.fault_found").exists()
        assert prove_ledger() == ""

    def test_logs_and_writes_the_first_wrong_row(self, caplog: pytest.LogCaptureFixture) -> None:
        make_entry(make_account(), 500)
        tamper("UPDATE ledger_accounts SET balance = balance - 7 WHERE kind = 'prepaid'")
        fault = f"{LedgerAccount.objects.get(kind='prepaid').public_id}: balance is -5.07 USD"
        assert prove_ledger().startswith(fault)
        event = Event.objects.get(type="ledger.fault_found")
        assert (event.object_type, event.account_id) == ("ledger_account", None)
        assert f"{event.data['row']}: {event.data['what']}".startswith(fault)
        assert fault in caplog.text

    def test_is_rung_every_night(self) -> None:
        job = BEAT_SCHEDULE["prove-ledger"]
        assert job["task"] == prove_ledger.name
        assert job["schedule"] == crontab(hour=3, minute=20)
