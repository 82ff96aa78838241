"""Deadlines of disputes: operators and finance are told in time. Source: contract chapter Disputes; ADR 0055."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from billing_site.kernel.actors import SYSTEM
from billing_site.platform.models import NoticeChannel, WorkItemSeverity
from billing_site.platform.services.notices import NewNotice, queue_notices
from billing_site.platform.services.work_items import WorkItemKind, open_work_item, register_kind
from invoicing.models import ANSWERABLE_STATUSES, Dispute
from invoicing.services.disputes import (
    CONTRADICTION_ITEM,
    DEADLINE_ITEM,
    LOST_ITEM,
    OPENED_ITEM,
    UNKNOWN_ITEM,
    say_amount,
)

ALARM_DAYS: Final = (3, 1)
"""Days before the deadline at which an alarm goes out, the earliest first."""


def register_dispute_items() -> None:
    """Tell the platform of the work items of disputes. Called when the app starts."""
    for name, title in (
        (OPENED_ITEM, "Payment disputed"),
        (DEADLINE_ITEM, "Evidence is due"),
        (LOST_ITEM, "Dispute lost"),
        (UNKNOWN_ITEM, "Dispute of an unknown payment"),
        (CONTRADICTION_ITEM, "Dispute contradicted by the provider"),
    ):
        register_kind(WorkItemKind(name, title))


def warn_of_deadlines(*, at: datetime, limit: int = 500) -> int:
    """
    Tell of disputes that wait for evidence and are due within three days or one, each once per stage; return how many.

    Each account goes by its own clock; `at` is the time of those without one.
    """
    rows = Dispute.objects.filter(status__in=ANSWERABLE_STATUSES, evidence_due_by__isnull=False)
    rows = rows.filter(Q(alarm_days__isnull=True) | Q(alarm_days__gt=min(ALARM_DAYS)))
    rows = rows.filter(
        Q(evidence_due_by__lte=at + timedelta(days=max(ALARM_DAYS))) | Q(account__test_clock__isnull=False)
    )
    return sum(_warn(key, at) for key in list(rows.order_by("evidence_due_by").values_list("pk", flat=True)[:limit]))


@transaction.atomic
def _warn(dispute_id: UUID, at: datetime) -> bool:
    rows = Dispute.objects.select_for_update(of=("self",), no_key=True, skip_locked=True)
    dispute = rows.select_related("account__test_clock").filter(pk=dispute_id, status__in=ANSWERABLE_STATUSES).first()
    if dispute is None or dispute.evidence_due_by is None:
        return False
    at, due = dispute.account.clock_time or at, dispute.evidence_due_by
    stages = [days for days in ALARM_DAYS if at >= due - timedelta(days=days)]
    if not stages or at >= due or (dispute.alarm_days is not None and dispute.alarm_days <= min(stages)):
        return False
    dispute.alarm_days = min(stages)
    dispute.save(update_fields=["alarm_days", "updated_at"])
    days = f"{dispute.alarm_days} day{'' if dispute.alarm_days == 1 else 's'}"
    title = f"Evidence for a dispute of {say_amount(dispute)} is due within {days}"
    detail = f"{dispute.account}, {dispute.reason or 'no reason given'}: until {due:%Y-%m-%d %H:%M} UTC."
    queue_notices(
        [
            NewNotice(
                key=f"dispute.deadline:{dispute.public_id}:{dispute.alarm_days}",
                channel=NoticeChannel.MAIL,
                subject=title,
                body=f"{title}.\n\n{detail}\nWithout an answer the money is lost.\n",
                recipient=settings.BILLING_FINANCE_EMAIL or settings.BILLING_COMPANY["email"],
                account_id=dispute.account_id,
                about=dispute.public_id,
            )
        ]
    )
    open_work_item(
        kind=DEADLINE_ITEM,
        subject=dispute,
        title=title,
        detail=detail,
        at=at,
        actor=SYSTEM,
        data={"dispute": dispute.public_id},
        account_id=dispute.account_id,
        severity=WorkItemSeverity.CRITICAL if dispute.alarm_days == min(ALARM_DAYS) else WorkItemSeverity.WARNING,
    )
    return True
