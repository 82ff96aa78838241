"""State tables of alerts and of the messages they write; see `tests.support.state_tables`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from django.test import override_settings

from billing_site.platform.models import Notice, NoticeChannel
from billing_site.platform.models.notices import NOTICE_TRANSITIONS
from billing_site.platform.services.notices import WAITS, NewNotice, queue_notices, send_notice
from invoicing.services.cost_alerts import evaluate_cost_alerts
from metering.models import CostAlert
from metering.models.cost_alert import ALERT_TRANSITIONS
from metering.services.cost_alerts import dismiss_cost_alert, update_spend_alert
from tests.factories.cost_alerts import make_spend_alert
from tests.factories.platform import AT
from tests.support import world
from tests.support.states import StateTable

_BY: Final[dict[str, Any]] = {"at": world.NOVEMBER + timedelta(days=14), "actor": world.TESTER}


# ---- messages out ---------------------------------------------------------------------------------------------------
def _arrange_notice(state: str, to: str) -> Notice:
    """One that is to fail, or has failed, is at its last attempt."""
    queue_notices([NewNotice("test", NoticeChannel.MAIL, "Alert", "Above the line.", recipient="ops@example.com")])
    notice = Notice.objects.get()
    if "failed" in (state, to):
        Notice.objects.update(attempts=len(WAITS))
    if state != "pending":
        NOTICES.moves[state](notice)
    return notice


def _send_in_vain(row: Notice) -> object:
    with override_settings(EMAIL_BACKEND=""):
        return send_notice(notice_id=row.pk, at=AT)


def _hold_notice(before: str, after: str) -> str:
    if before == after:
        return ""
    if after == "failed":
        return "notices_failed_has_error"
    return "notices_sent_has_time" if "sent" in (before, after) else ""


NOTICES: Final = StateTable(
    model=Notice,
    transitions=NOTICE_TRANSITIONS,
    arrange=_arrange_notice,
    moves={"sent": lambda row: send_notice(notice_id=row.pk, at=AT), "failed": _send_in_vain},
    quiet=frozenset((before, after) for before in ("sent", "failed") for after in ("sent", "failed")),
    held=_hold_notice,
    allows=Notice.can_become,
)


# ---- cost alerts ----------------------------------------------------------------------------------------------------
def _arrange_alert(state: str, _to: str) -> CostAlert:
    """The fee of November is above the threshold."""
    world.publish()
    account = world.open_account()
    world.subscribe(account, "pro")
    alert = make_spend_alert(account)
    if state != "armed":
        ALERTS.moves[state](alert)
    return alert


def _hold_alert(before: str, after: str) -> str:
    if (before == "armed") != (after == "armed"):
        return "cost_alerts_silent_unless_armed"
    return "cost_alerts_triggered_has_time" if after == "triggered" != before else ""


ALERTS: Final = StateTable(
    model=CostAlert,
    transitions=ALERT_TRANSITIONS,
    arrange=_arrange_alert,
    moves={
        "armed": lambda row: update_spend_alert(alert_id=row.pk, changes={"threshold": 700}, **_BY),
        "triggered": lambda row: evaluate_cost_alerts(account_ids=[row.account_id], **_BY),
        "dismissed": lambda row: dismiss_cost_alert(alert_id=row.pk, **_BY),
    },
    # What has had its say in this period says nothing more.
    quiet=frozenset(
        {("armed", "armed"), ("triggered", "triggered"), ("dismissed", "triggered"), ("dismissed", "dismissed")}
    ),
    held=_hold_alert,
    allows=CostAlert.can_become,
)
