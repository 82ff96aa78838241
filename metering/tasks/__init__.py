"""Celery tasks of metering; imported here so that the worker finds them."""

from metering.tasks.charging import purge_charge_clients

__all__ = ["purge_charge_clients"]
