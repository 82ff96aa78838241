"""The usage feed and the payment provider that bills usage, in the background."""

from __future__ import annotations

from celery import shared_task

from billing_site.kernel import clock
from invoicing.services.usage_exports import send_due_exports
from metering.services import export_planning, usage_feed

_ACCOUNTS = 5_000
_EXPORTS = 2_000


@shared_task(name="metering.plan_usage_exports")
def plan_usage_exports() -> int:
    """Compare accounts' hours with what their provider was told; answers how many accounts."""
    now = clock.now()
    export_planning.open_cursors(at=now)
    return export_planning.plan_due_accounts(at=now, limit=_ACCOUNTS)


@shared_task(name="metering.send_usage_exports")
def send_usage_exports() -> int:
    """Tell providers what is due; answers how many quantities they took."""
    return send_due_exports(at=clock.now(), limit=_EXPORTS)


@shared_task(name="metering.purge_usage_feed")
def purge_usage_feed() -> int:
    """Forget the collected events that nobody repeats any more; answers how many."""
    return usage_feed.purge_collected(at=clock.now())
