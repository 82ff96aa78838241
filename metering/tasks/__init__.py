"""Celery tasks of metering; imported here so that the worker finds them."""

from metering.tasks.charging import purge_charge_clients
from metering.tasks.rejected_usage import purge_rejected_usage

__all__ = ["purge_charge_clients", "purge_rejected_usage"]
