"""Refused usage requests that are still kept."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from django.db.models import Q, QuerySet

from accounts.models import Account
from metering.models import RejectedUsageCount, RejectedUsageRequest


def list_refusals(
    *,
    org_id: str | None,
    account: Account | None = None,
    code: str | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
) -> QuerySet[RejectedUsageRequest]:
    """
    Return the kept refusals of an organization (None: of all) with `start <= rejected_at < end`, newest first.

    `code` is the code of the request or of one of its findings.
    """
    found = RejectedUsageRequest.objects.select_related("account")
    if org_id is not None:
        found = found.filter(org_id=org_id)
    if account is not None:
        found = found.filter(account_id=account.pk)
    if code:
        found = found.filter(codes__contains=[code])
    if start is not None:
        found = found.filter(rejected_at__gte=start)
    if end is not None:
        found = found.filter(rejected_at__lt=end)
    return found.order_by("-id")


def count_unkept(refusals: Iterable[RejectedUsageRequest]) -> dict[UUID, int]:
    """
    Return how many further requests of the same caller were refused in the same minute and not kept, by refusal.

    One query.
    """
    places = {each.pk: (each.caller, each.rejected_at.replace(second=0, microsecond=0)) for each in refusals}
    if not places:
        return {}
    wanted = Q()
    for caller, minute in set(places.values()):
        wanted |= Q(caller=caller, minute=minute)
    counts = {(row.caller, row.minute): row.refused - row.kept for row in RejectedUsageCount.objects.filter(wanted)}
    return {key: counts.get(place, 0) for key, place in places.items()}
