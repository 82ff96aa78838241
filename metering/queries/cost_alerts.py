"""
Cost and spend alerts: as lists, by id, and which of them are due.

Source: contract chapter Alerts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import F, Q, QuerySet, Sum

from accounts.models import Account, CostCenter
from accounts.queries.access import WRITING_ROLES, require_role, visible_accounts
from billing_site.kernel.actors import Principal
from billing_site.kernel.errors import NotFound
from catalog.pricing.breakdown import to_text
from metering.models import AlertScope, AlertStatus, CostAlert


def list_cost_alerts(*, account: Account, at: datetime, status: str | None = None) -> QuerySet[CostAlert]:
    """Return the cost alerts of an account that are in `status` at `at`; spend alerts are not among them."""
    rows = _select_present().filter(account=account).exclude(scope=AlertScope.MONTH)
    if status is None:
        return rows
    silent = Q(silent_until__gt=at)
    return rows.exclude(silent) if status == AlertStatus.ARMED else rows.filter(silent, status=status)


def list_spend_alerts(*, account: Account) -> QuerySet[CostAlert]:
    """Return the spend alerts of an account."""
    return _select_present().filter(account=account, scope=AlertScope.MONTH)


def get_cost_alert(principal: Principal, reference: str, *, write: bool = False, spend_only: bool = False) -> CostAlert:
    """
    Return an alert of either kind by its id, or with `spend_only` a spend alert.

    :raises NotFound: when there is none, or the caller does not see its account.
    :raises AccountForbidden: with `write`, when a public caller only reads on that account.
    """
    key = CostAlert.parse_id(reference)
    rows = _select_present().filter(account__in=visible_accounts(principal).order_by())
    alert = None if key is None else rows.filter(pk=key).first()
    if alert is None or (spend_only and not alert.is_spend_alert):
        raise NotFound("spend_alert" if spend_only else "cost_alert")
    if write:
        require_role(principal, alert.account, WRITING_ROLES)
    return alert


def list_awake_alerts(account_ids: Iterable[UUID], *, at: datetime) -> list[CostAlert]:
    """
    Return the alerts of these accounts that may fire, in the order of accounts, with their accounts. One query.

    `at` is the wall clock; an account on a test clock counts by that.
    """
    awake = (
        Q(silent_until__isnull=True)
        | Q(account__test_clock__isnull=True, silent_until__lte=at)
        | Q(silent_until__lte=F("account__test_clock__now_at"))
    )
    return list(_select_present().filter(awake, account_id__in=list(account_ids)).order_by("account_id", "id"))


def list_due_accounts(*, at: datetime, limit: int) -> list[UUID]:
    """Return accounts with an alert whose time to be looked at has come, longest overdue first. One query."""
    due = Q(account__test_clock__isnull=True, next_check_at__lte=at) | Q(
        next_check_at__lte=F("account__test_clock__now_at")
    )
    rows = CostAlert.objects.filter(due, deleted_at__isnull=True).order_by("next_check_at")
    # Several alerts of an account stand together often enough: what is cut off is due again at once.
    return list(dict.fromkeys(rows.values_list("account_id", flat=True)[:limit]))


def sum_root_budgets(account_ids: Sequence[UUID], *, currency: str | None = None) -> dict[tuple[UUID, str], int]:
    """Return what the active cost centers at the top may spend a month, by account and currency; none without any."""
    centers = CostCenter.objects.filter(
        account_id__in=account_ids, parent__isnull=True, is_active=True, budget__isnull=False
    )
    if currency is not None:
        centers = centers.filter(currency=currency)
    rows = centers.order_by().values_list("account_id", "currency").annotate(total=Sum("budget"))
    return {(owner, code): int(total) for owner, code, total in rows}


def describe_alert(alert: CostAlert) -> dict[str, Any]:
    """Return what an event stores: the alert after the change."""
    shown: dict[str, Any] = {
        "title": alert.title,
        "threshold_type": alert.threshold_type,
        "scope": alert.scope,
        "threshold_amount": alert.threshold_amount,
        "threshold_percent": None if alert.threshold_percent is None else to_text(alert.threshold_percent),
        "currency": alert.currency,
        "notify_email": alert.notify_email,
        "notify_slack": alert.notify_slack,
        "status": alert.status,
    }
    return {name: value for name, value in shown.items() if value is not None}


def _select_present() -> QuerySet[CostAlert]:
    return CostAlert.objects.filter(deleted_at__isnull=True).select_related("account__test_clock")
