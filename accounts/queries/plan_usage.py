"""How many subscriptions run on which version of a plan."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from django.db.models import Count

from accounts.models.subscription import RUNNING_STATUSES, Subscription


def count_running_subscriptions(*, version_ids: Iterable[UUID]) -> dict[UUID, int]:
    """Return the number of running subscriptions of each plan version that has any. One query."""
    rows = Subscription.objects.filter(plan_version_id__in=list(version_ids), status__in=RUNNING_STATUSES)
    counted = rows.order_by().values("plan_version_id").annotate(count=Count("id"))
    return {row["plan_version_id"]: row["count"] for row in counted}
