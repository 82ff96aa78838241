"""Upkeep of the tables of usage in the background."""

from __future__ import annotations

from celery import shared_task

from billing_site.kernel import clock
from invoicing.queries.unbilled_usage import find_first_unbilled_use
from metering.services import usage_partitions, usage_proof, usage_retention


@shared_task(name="metering.keep_usage_partitions")
def keep_usage_partitions() -> int:
    """Make partitions of days ahead and move strays; answers how many days were added."""
    return len(usage_partitions.keep_partitions(at=clock.now()).added)


@shared_task(name="metering.keep_usage_keys")
def keep_usage_keys() -> str:
    """Rotate, drop and merge generations of keys where it is due; answers what was done."""
    return usage_partitions.keep_keys(at=clock.now())


@shared_task(name="metering.purge_usage_minutes")
def purge_usage_minutes() -> int:
    """Delete counters of minutes that are no news any more; answers how many rows there were."""
    return usage_partitions.purge_minutes(at=clock.now())


@shared_task(name="metering.prove_usage")
def prove_usage() -> int:
    """Prove the usage of the last days; answers how many differences there are."""
    return usage_proof.check_usage(at=clock.now()).count


@shared_task(name="metering.archive_usage_days")
def archive_usage_days() -> int:
    """Let old days that are invoiced leave for files; answers how many did."""
    return len(usage_retention.archive_days(at=clock.now(), unbilled_from=find_first_unbilled_use()).archived)
