"""Celery tasks of metering; imported here so that the worker finds them."""

from metering.tasks.alerts import evaluate_alerts, sweep_alerts, sweep_quota_alerts_task
from metering.tasks.charging import purge_charge_clients
from metering.tasks.quotas import expire_quota_reservations
from metering.tasks.rejected_usage import purge_rejected_usage
from metering.tasks.usage_feed import plan_usage_exports, purge_usage_feed, send_usage_exports
from metering.tasks.usage_imports import sweep_usage_imports, work_usage_import
from metering.tasks.usage_storage import (
    archive_usage_days,
    keep_usage_keys,
    keep_usage_partitions,
    prove_usage,
    purge_usage_minutes,
)

__all__ = [
    "archive_usage_days",
    "evaluate_alerts",
    "expire_quota_reservations",
    "keep_usage_keys",
    "keep_usage_partitions",
    "plan_usage_exports",
    "prove_usage",
    "purge_charge_clients",
    "purge_rejected_usage",
    "purge_usage_feed",
    "purge_usage_minutes",
    "send_usage_exports",
    "sweep_alerts",
    "sweep_quota_alerts_task",
    "sweep_usage_imports",
    "work_usage_import",
]
