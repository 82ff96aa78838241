"""
Telling that a quota nears its limit or has reached it: once per quota, level and bucket.

Use that rises past several levels at once tells the highest of them alone, and a level below one that was told is not
told any more in that bucket. Source: contract chapters Quotas and Alerts; ADR 0031.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db import transaction

from accounts.models import Account
from billing_site.kernel.actors import SYSTEM, Actor
from billing_site.kernel.ids import encode_id
from billing_site.platform.models import NoticeChannel
from billing_site.platform.services import events
from billing_site.platform.services.notices import NewNotice, queue_notices
from catalog.models import QuotaRule, QuotaWindow
from catalog.pricing.breakdown import to_text
from metering.models import AccountQuota, QuotaAlert
from metering.models.quota_alert import ALERT_LEVELS
from metering.queries.quotas import QuotaUse, load_quota_uses
from metering.stores import list_active_accounts

CHUNK: Final = 500
# What the jobs after ingest have missed is found for this long.
ACTIVE_WITHIN: Final = timedelta(hours=1)
_SUBJECTS: Final = {"warning": "Quota warning", "critical": "Quota nearly used up", "exceeded": "Quota used up"}
_Place = tuple[UUID, UUID, str, datetime]


def evaluate_quota_alerts(*, account_ids: Iterable[UUID], at: datetime, actor: Actor = SYSTEM) -> list[QuotaAlert]:
    """
    Look at the quotas of accounts and return the alerts that are new; each is an event, and mail to its recipients.

    `at` is the wall clock; an account on a test clock counts by that. The number of queries does not depend on that of
    accounts, quotas and alerts.
    """
    found = load_quota_uses(account_ids=account_ids, at=at)
    reached = [use for uses in found.values() for use in uses if use.level != "ok"]
    return _fire(reached, at=at, actor=actor) if reached else []


def sweep_quota_alerts(*, at: datetime, actor: Actor = SYSTEM) -> int:
    """Look at the quotas of every account that used something in the last hour; return how many alerts were new."""
    fired, after = 0, None
    while keys := list_active_accounts(since=at - ACTIVE_WITHIN, after=after, limit=CHUNK):
        fired += len(evaluate_quota_alerts(account_ids=keys, at=at, actor=actor))
        after = keys[-1]
    return fired


@transaction.atomic
def _fire(reached: Sequence[QuotaUse], *, at: datetime, actor: Actor) -> list[QuotaAlert]:
    told = _find_told(reached)
    due = [use for use in reached if _rank(use.level) > told.get(_place(use), -1)]
    if not due:
        return []
    rows = Account.objects.select_related("test_clock").filter(pk__in={use.quota.account_id for use in due})
    accounts = {account.pk: account for account in rows}
    # In one order everywhere: two looks at the same moment wait for each other, and never in a circle.
    due.sort(key=_place)
    alerts = [_make_alert(use, at=accounts[use.quota.account_id].clock_time or at) for use in due]
    QuotaAlert.objects.bulk_create(alerts, ignore_conflicts=True)
    stored = set(QuotaAlert.objects.filter(pk__in=[alert.pk for alert in alerts]).values_list("pk", flat=True))
    fresh = [(alert, use) for alert, use in zip(alerts, due, strict=True) if alert.pk in stored]
    events.emit_many([_make_event(alert, use, actor) for alert, use in fresh])
    queue_notices(
        notice for alert, use in fresh for notice in _write_notices(alert, use, accounts[use.quota.account_id])
    )
    return [alert for alert, _ in fresh]


def _find_told(reached: Sequence[QuotaUse]) -> Mapping[_Place, int]:
    """Return the rank of the highest level that each bucket was told of. One query."""
    rows = QuotaAlert.objects.filter(
        account__in={use.quota.account_id for use in reached},
        quota_id__in={use.quota.id for use in reached},
        bucket_start__in={use.quota.bucket.start for use in reached},
    )
    told: dict[_Place, int] = {}
    for *place, level in rows.values_list("account_id", "quota_id", "window", "bucket_start", "level"):
        key: Any = tuple(place)
        told[key] = max(told.get(key, -1), _rank(level))
    return told


def _place(use: QuotaUse) -> _Place:
    quota = use.quota
    return quota.account_id, quota.id, quota.window, quota.bucket.start


def _rank(level: str) -> int:
    return ALERT_LEVELS.index(level)


def _make_alert(use: QuotaUse, *, at: datetime) -> QuotaAlert:
    quota = use.quota
    if quota.limit is None:
        raise TypeError(f"{quota.public_id} has no limit and reaches no level")
    return QuotaAlert(
        account_id=quota.account_id,
        source=quota.source,
        quota_id=quota.id,
        meter_id=quota.meter_id,
        feature=quota.feature,
        window=quota.window,
        bucket_start=quota.bucket.start,
        bucket_end=quota.bucket.end,
        level=use.level,
        used=use.used,
        limit=quota.limit,
        percent=use.percent,
        unit=quota.unit,
        is_hard=quota.is_hard,
        upgrade_plan_key=quota.upgrade_plan_id,
        recipients=list(quota.alert_recipients),
        fired_at=at,
    )


def _make_event(alert: QuotaAlert, use: QuotaUse, actor: Actor) -> events.NewEvent:
    data = {
        "quota_id": use.quota.public_id,
        "source": alert.source,
        "meter_event_name": use.quota.meter_event_name,
        "resource_type": use.quota.resource_type,
        "feature": alert.feature,
        "window": alert.window,
        "level": alert.level,
        "used": to_text(alert.used),
        "limit": to_text(alert.limit),
        "unit": alert.unit,
        "utilization_percent": alert.percent,
        "mode": "hard" if alert.is_hard else "soft",
        "bucket_start": alert.bucket_start,
        "resets_at": use.resets_at,
        "upgrade_plan_id": alert.upgrade_plan_key,
    }
    return events.NewEvent(
        type=f"quota.{alert.level}",
        subject=alert,
        account_id=alert.account_id,
        at=alert.fired_at,
        actor=actor,
        data=data,
    )


def _write_notices(alert: QuotaAlert, use: QuotaUse, account: Account) -> Iterable[NewNotice]:
    if not alert.recipients:
        return
    subject, body = write_texts(alert, use, account)
    for number, recipient in enumerate(alert.recipients, start=1):
        yield NewNotice(
            key=f"{alert.public_id}:{number}",
            channel=NoticeChannel.MAIL,
            subject=subject,
            body=body,
            recipient=recipient,
            account_id=alert.account_id,
            about=alert.public_id,
        )


def write_texts(alert: QuotaAlert, use: QuotaUse, account: Account) -> tuple[str, str]:
    """Return subject and body of the mail: what is used, of what, until when, and what happens next."""
    name = account.name or account.external_id or account.public_id
    what = use.quota.resource_name or use.quota.resource_type
    window = "" if use.quota.is_gauge or alert.window == QuotaWindow.TOTAL else f" per {alert.window.replace('_', ' ')}"
    limit = f"{to_text(alert.limit)} {alert.unit}{window}"
    subject = f"{_SUBJECTS[alert.level]}: {what} of {name} – {alert.percent} %"
    after = "More is refused until then" if alert.is_hard else "Nothing is refused"
    resets = "It does not start again by itself."
    if use.resets_at is not None:
        resets = f"It starts again on {use.resets_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC."
    lines = [
        f"{name} has used {to_text(alert.used)} of {limit} by {alert.fired_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC.",
        "",
        f"Account: {name} ({account.public_id})",
        f"Quota: {what} ({use.quota.public_id})",
        resets,
    ]
    if alert.level == "exceeded":
        lines.append(f"{after}." if use.resets_at is not None or not alert.is_hard else "More is refused.")
    if alert.upgrade_plan_key:
        lines.append(f"A plan that allows more: {alert.upgrade_plan_key}.")
    return subject, "\n".join(lines)


def name_quota(alert: QuotaAlert) -> str:
    """Return the public id of the quota an alert is about."""
    return encode_id(AccountQuota.id_prefix if alert.source == "account" else QuotaRule.id_prefix, alert.quota_id)
