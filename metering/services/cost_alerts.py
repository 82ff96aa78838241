"""
Making, changing, dismissing and removing cost alerts and spend alerts.

What makes them fire is in `invoicing.services.cost_alerts`, where costs are known. Source: contract chapter Alerts.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db import transaction

from accounts.models import Account
from accounts.queries.currencies import require_currency
from accounts.queries.snapshots import find_changes
from accounts.services.account_locks import lock_open_account
from billing_site.kernel import jobs
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import AmountNotPositive, DomainError, FieldError, NotFound, ValidationFailed
from billing_site.kernel.periods import Period
from billing_site.platform.services import events
from metering.models import AlertScope, AlertStatus, CostAlert, ThresholdType
from metering.models.cost_alert import BY_AMOUNT, BY_DAY
from metering.queries.cost_alerts import describe_alert, sum_root_budgets
from metering.queries.periods import get_calendar_month, get_default_period, list_running_subscriptions

ANOMALY_PERCENT: Final = Decimal(200)
MAX_ALERTS: Final = 100
EVALUATE: Final = "metering.evaluate_alerts"
_UTC: Final = ZoneInfo("UTC")
_CHANGEABLE: Final = frozenset({"title", "threshold"})


class BudgetMissing(DomainError):
    code, title, status = "budget_missing", "There is no budget to take a percentage of", 422


@transaction.atomic
def create_cost_alert(
    *,
    account: Account,
    threshold_type: str,
    at: datetime,
    actor: Actor,
    threshold_amount: int | None = None,
    threshold_percent: Decimal | None = None,
    currency: str | None = None,
    notify_email: str = "",
    notify_slack: bool = False,
    title: str = "",
    reason: str = "",
) -> CostAlert:
    """
    Ask to be told when a cost of the account passes a threshold, and return the alert, armed.

    `threshold_amount` is minor units of `currency` (default: the account's), for the absolute kind and the daily rate;
    `threshold_percent` is for a share of the budget and the anomaly (200 unless given).
    :raises ValidationFailed: when what the type needs is missing, or what it does not take is given.
    :raises AmountNotPositive: for an amount of zero or less. :raises InvalidState: for a closed account.
    :raises BudgetMissing: for a share of the budget when no active cost center at the top has one in this currency.
    :raises CurrencyUnsupported: for a currency that is not offered.
    """
    owner = lock_open_account(account.pk)
    if threshold_type == ThresholdType.ANOMALY and threshold_percent is None:
        threshold_percent = ANOMALY_PERCENT
    _check_threshold(threshold_type, threshold_amount, threshold_percent)
    chosen = require_currency(currency or owner.currency)
    if threshold_type == ThresholdType.PERCENTAGE_OF_BUDGET and not sum_root_budgets([owner.pk], currency=chosen):
        raise BudgetMissing(f"No active cost center at the top has a budget in {chosen.upper()}.")
    alert = CostAlert(
        account=owner,
        threshold_type=threshold_type,
        scope=AlertScope.DAY if threshold_type in BY_DAY else AlertScope.PERIOD,
        threshold_amount=threshold_amount,
        threshold_percent=threshold_percent,
        currency=chosen,
        notify_email=notify_email,
        notify_slack=notify_slack,
        title=title,
    )
    return _create(alert, at=at, actor=actor, reason=reason)


@transaction.atomic
def create_spend_alert(
    *, account: Account, threshold: int, currency: str, at: datetime, actor: Actor, title: str = "", reason: str = ""
) -> CostAlert:
    """
    Ask to be told when the spend of a UTC calendar month reaches `threshold` minor units, and return the alert, armed.

    :raises AmountNotPositive: for zero or less. :raises InvalidState: for a closed account.
    :raises CurrencyUnsupported: for a currency that is not offered.
    """
    _require_positive(threshold)
    alert = CostAlert(
        account=lock_open_account(account.pk),
        threshold_type=ThresholdType.ABSOLUTE,
        scope=AlertScope.MONTH,
        threshold_amount=threshold,
        currency=require_currency(currency),
        title=title,
    )
    return _create(alert, at=at, actor=actor, reason=reason)


@transaction.atomic
def update_spend_alert(
    *, alert_id: UUID, changes: Mapping[str, Any], at: datetime, actor: Actor, reason: str = ""
) -> CostAlert:
    """
    Change `title` or `threshold` and return the alert; another threshold arms it again, also in the same month.

    Without a difference nothing is written.
    :raises NotFound: when there is no such spend alert. :raises AmountNotPositive: for a threshold of zero or less.
    """
    if unknown := sorted(changes.keys() - _CHANGEABLE):
        raise TypeError(f"a spend alert has no {', '.join(unknown)}")
    alert = _lock_alert(alert_id, spend_only=True)
    before = describe_alert(alert)
    alert.title = changes.get("title", alert.title)
    threshold = changes.get("threshold", alert.threshold_amount)
    _require_positive(threshold)
    if threshold != alert.threshold_amount:
        alert.threshold_amount, alert.arming = threshold, alert.arming + 1
        arm(alert)
        alert.next_check_at = at
    previous = find_changes(before, describe_alert(alert))
    if not previous:
        return alert
    alert.save()
    _emit("updated", alert, at=at, actor=actor, reason=reason, previous=previous)
    jobs.enqueue(EVALUATE, account_ids=[str(alert.account_id)])
    return alert


@transaction.atomic
def dismiss_cost_alert(*, alert_id: UUID, at: datetime, actor: Actor, reason: str = "") -> CostAlert:
    """
    Put an alert to rest until its next period, whether it has fired in this one or not, and return it.

    Dismissing it again changes nothing.
    :raises NotFound: when there is no such alert.
    """
    alert = _lock_alert(alert_id)
    if not alert.is_silent(at):
        arm(alert)
    if not alert.can_become(AlertStatus.DISMISSED):
        return alert
    before = describe_alert(alert)
    alert.silent_until = alert.silent_until or choose_alert_period(alert, at=at).end
    alert.status, alert.next_check_at = AlertStatus.DISMISSED, alert.silent_until
    alert.save()
    _emit("dismissed", alert, at=at, actor=actor, reason=reason, previous=find_changes(before, describe_alert(alert)))
    return alert


@transaction.atomic
def delete_spend_alert(*, alert_id: UUID, at: datetime, actor: Actor, reason: str = "") -> None:
    """
    Remove a spend alert. Its row stays, with what it fired, for the history.

    :raises NotFound: when there is no such spend alert.
    """
    alert = _lock_alert(alert_id, spend_only=True)
    alert.deleted_at = at
    alert.save(update_fields=["deleted_at", "updated_at"])
    _emit("deleted", alert, at=at, actor=actor, reason=reason)


def choose_alert_period(alert: CostAlert, *, at: datetime) -> Period:
    """
    Return the period around `at` in which the alert fires at most once.

    The UTC day or calendar month; else the billing period of the account's oldest running subscription, or the month
    where the account lives.
    """
    match alert.scope:
        case AlertScope.MONTH:
            return get_calendar_month(at, _UTC)
        case AlertScope.DAY:
            return get_utc_day(at)
    running = list_running_subscriptions(alert.account)
    return get_default_period(alert.account, running[0] if running else None, at=at)


def get_utc_day(at: datetime) -> Period:
    """Return the UTC day around `at`."""
    start = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return Period(start, start + timedelta(days=1))


def arm(alert: CostAlert) -> None:
    """Make the alert ready to fire; the caller holds its row and saves it."""
    alert.status = AlertStatus.ARMED
    alert.triggered_at = alert.triggered_value = alert.silent_until = None


def _create(alert: CostAlert, *, at: datetime, actor: Actor, reason: str) -> CostAlert:
    if CostAlert.objects.filter(account_id=alert.account_id, deleted_at__isnull=True).count() >= MAX_ALERTS:
        raise ValidationFailed(f"An account has at most {MAX_ALERTS} alerts.")
    alert.title = " ".join(alert.title.split())
    alert.next_check_at = at
    alert.save(force_insert=True)
    _emit("created", alert, at=at, actor=actor, reason=reason)
    # What is above its threshold already is told now, not with the next usage.
    jobs.enqueue(EVALUATE, account_ids=[str(alert.account_id)])
    return alert


def _check_threshold(threshold_type: str, amount: int | None, percent: Decimal | None) -> None:
    findings = []
    if threshold_type in BY_AMOUNT:
        if amount is None:
            findings.append(FieldError("/threshold_amount", "required", f"An alert of type {threshold_type} needs it."))
        elif amount <= 0:
            raise AmountNotPositive
        if percent is not None:
            findings.append(FieldError("/threshold_percent", "not_taken", f"{threshold_type} takes an amount."))
    else:
        if percent is None:
            findings.append(
                FieldError("/threshold_percent", "required", f"An alert of type {threshold_type} needs it.")
            )
        elif percent <= 0:
            findings.append(FieldError("/threshold_percent", "min_value", "A percentage is above zero."))
        if amount is not None:
            findings.append(FieldError("/threshold_amount", "not_taken", f"{threshold_type} takes a percentage."))
    if findings:
        raise ValidationFailed(findings[0].detail, errors=findings)


def _require_positive(threshold: int | None) -> None:
    if threshold is None or threshold <= 0:
        raise AmountNotPositive("The threshold must be above zero.")


def _lock_alert(alert_id: UUID, *, spend_only: bool = False) -> CostAlert:
    rows = CostAlert.objects.select_for_update(of=("self",)).select_related("account__test_clock")
    alert = rows.filter(pk=alert_id, deleted_at__isnull=True).first()
    if alert is None or (spend_only and not alert.is_spend_alert):
        raise NotFound("spend_alert" if spend_only else "cost_alert")
    return alert


def _emit(
    what: str,
    alert: CostAlert,
    *,
    at: datetime,
    actor: Actor,
    reason: str,
    previous: Mapping[str, Any] | None = None,
) -> None:
    events.emit(
        f"{alert.kind}.{what}",
        subject=alert,
        account_id=alert.account_id,
        at=at,
        actor=actor,
        data=describe_alert(alert),
        previous=previous,
        reason=reason,
    )
