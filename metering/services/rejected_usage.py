"""Keeping refused usage requests for a while, a bounded number of each caller's. Source: ADR 0036."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F

from accounts.models import Account
from billing_site.platform.services.call_counts import count_call
from metering.models import RejectedUsageCount, RejectedUsageRequest

DAY: Final = timedelta(days=1)
KEPT_A_DAY: Final = 2_000
_LOCK_WAIT: Final = "500ms"

_COUNT: Final = """
    INSERT INTO rejected_usage_counts AS known (caller, minute, refused, kept) VALUES (%s, %s, 1, 0)
    ON CONFLICT (caller, minute) DO UPDATE SET refused = known.refused + 1
    RETURNING kept
"""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refused request as its door knows it. `findings` and `excerpt` are bounded already."""

    door: str
    caller: str
    request_id: str
    http_status: int
    code: str
    codes: tuple[str, ...]
    detail: str
    account: Account | None = None
    account_reference: str = ""
    org_id: str = ""
    event_count: int | None = None
    finding_count: int = 0
    findings: tuple[dict[str, Any], ...] = ()
    excerpt: tuple[dict[str, Any], ...] = ()


@transaction.atomic
def keep_refusal(refusal: Refusal, *, at: datetime) -> RejectedUsageRequest | None:
    """
    Keep a refused request, and return it; None when its caller has too many kept in this minute or day already.

    Every refusal is counted. The counter's row is waited for half a second at most.
    """
    minute = at.replace(second=0, microsecond=0)
    caller = refusal.caller[:300]
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [_LOCK_WAIT])
        cursor.execute(_COUNT, [caller, minute])
        (kept,) = cursor.fetchone()
    if kept >= settings.BILLING_REJECTED_USAGE_PER_MINUTE:
        return None
    if count_call(operation="usage_refusals_kept", caller=caller, window=DAY, at=at).calls > KEPT_A_DAY:
        return None
    RejectedUsageCount.objects.filter(caller=caller, minute=minute).update(kept=F("kept") + 1)
    return RejectedUsageRequest.objects.create(
        rejected_at=at,
        door=refusal.door,
        account=refusal.account,
        account_reference=refusal.account_reference[:255],
        org_id=refusal.org_id,
        caller=caller,
        request_id=refusal.request_id[:100],
        http_status=refusal.http_status,
        code=refusal.code[:50],
        codes=sorted({code[:50] for code in (refusal.code, *refusal.codes)}),
        detail=refusal.detail[:500],
        event_count=refusal.event_count,
        finding_count=refusal.finding_count,
        findings=list(refusal.findings),
        excerpt=list(refusal.excerpt),
    )


def purge_refusals(*, at: datetime) -> int:
    """Delete refused requests older than the setting says (30 days), and return how many there were."""
    before = at - timedelta(days=settings.BILLING_REJECTED_USAGE_DAYS)
    RejectedUsageCount.objects.filter(minute__lt=before).delete()
    deleted, _ = RejectedUsageRequest.objects.filter(rejected_at__lt=before).delete()
    return deleted
