"""Which jobs stand still."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Final

from django.db.models import Q

from invoicing.models import BillingJob, JobStatus

WAITING: Final = timedelta(minutes=1)
# Longer than any batch takes: a worker that was not heard of for so long is gone.
SILENCE: Final = timedelta(minutes=10)


def list_waiting_jobs(*, at: datetime) -> list[uuid.UUID]:
    """Return the jobs that no worker is at: not begun within a minute, or their worker was silent for too long."""
    rows = BillingJob.objects.filter(
        Q(status=JobStatus.PENDING, requested_at__lte=at - WAITING)
        | Q(status=JobStatus.RUNNING, heartbeat_at__lte=at - SILENCE)
    )
    return list(rows.order_by("id").values_list("id", flat=True))
