"""Celery tasks of accounts; imported here so that the worker finds them."""

from accounts.tasks.deposits import expire_deposits

__all__ = ["expire_deposits"]
