"""Credit whose period or time is over."""

from __future__ import annotations

from celery import shared_task

from accounts.services import credit_burning, credit_grants
from billing_site.kernel import clock


@shared_task(name="accounts.renew_credit_grants")
def renew_credit_grants() -> int:
    """Set back recurring credit whose next period began; answers how many periods were opened."""
    return credit_burning.renew_grants(at=clock.now())


@shared_task(name="accounts.expire_credit_grants")
def expire_credit_grants() -> int:
    """Release what is left of credit that ended; answers how many grants there were."""
    return credit_grants.expire_grants(at=clock.now()).grants
