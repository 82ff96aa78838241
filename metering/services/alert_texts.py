"""What people read when an alert has fired."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC
from typing import Final

from billing_site.kernel.money import format_decimal
from billing_site.platform.models import NoticeChannel
from billing_site.platform.services.notices import NewNotice
from metering.models import AlertScope, CostAlert, CostAlertFiring, ThresholdType


def write_notices(firing: CostAlertFiring) -> Iterator[NewNotice]:
    """
    Yield the messages about a firing: mail and chat as the alert asks for them.

    A spend alert has no address of its own; it goes to the account's.
    """
    alert = firing.alert
    account = alert.account
    subject, body = write_texts(firing)
    recipient = account.email if alert.is_spend_alert else alert.notify_email
    channels = [(NoticeChannel.MAIL, recipient)] if recipient else []
    if alert.notify_slack:
        channels.append((NoticeChannel.CHAT, ""))
    for channel, address in channels:
        yield NewNotice(
            key=f"{firing.public_id}:{channel.value}",
            channel=channel,
            subject=subject,
            body=body,
            recipient=address,
            account_id=alert.account_id,
            about=alert.public_id,
        )


def write_texts(firing: CostAlertFiring) -> tuple[str, str]:
    """Return subject and body: what was reached, by whom, in which period, and the numbers."""
    alert = firing.alert
    account = alert.account
    name = account.name or account.external_id or account.public_id
    what = "Spend alert" if alert.is_spend_alert else "Cost alert"
    subject = f"{what}: {alert.title or name} – {_money(firing.value, firing)}"
    start, end = firing.period_start.astimezone(UTC), firing.period_end.astimezone(UTC)
    lines = [
        f"{_SENTENCES[alert.threshold_type, alert.scope]} of {name} came to {_money(firing.value, firing)}"
        f" on {firing.fired_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC.",
        "",
        f"Account: {name} ({account.public_id})",
        f"Told from: {_money(firing.threshold, firing)}{_explain(alert, firing)}",
        f"Period: {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC, end not included",
        "",
        f"It is not told again before {end:%Y-%m-%d %H:%M} UTC. Alert {alert.public_id}.",
    ]
    return subject, "\n".join(lines)


_SENTENCES: Final[Mapping[tuple[str, str], str]] = {
    (ThresholdType.ABSOLUTE, AlertScope.PERIOD): "The cost of the billing period",
    (ThresholdType.ABSOLUTE, AlertScope.MONTH): "The spend of the month",
    (ThresholdType.PERCENTAGE_OF_BUDGET, AlertScope.PERIOD): "The cost of the billing period",
    (ThresholdType.DAILY_RATE, AlertScope.DAY): "The usage of the day",
    (ThresholdType.ANOMALY, AlertScope.DAY): "The usage of the day",
}


def _explain(alert: CostAlert, firing: CostAlertFiring) -> str:
    percent = "" if alert.threshold_percent is None else f"{alert.threshold_percent.normalize():f} %"
    match alert.threshold_type:
        case ThresholdType.PERCENTAGE_OF_BUDGET:
            return f" ({percent} of a budget of {_money(firing.details['budget'], firing)})"
        case ThresholdType.ANOMALY:
            days = firing.details["days_of_data"]
            return f" (above {percent} of {_money(firing.details['mean'], firing)}, the mean of {days} days)"
    return ""


def _money(amount: int, firing: CostAlertFiring) -> str:
    return f"{format_decimal(amount, firing.currency)} {firing.currency.upper()}"
