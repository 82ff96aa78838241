"""Celery tasks of accounts; imported here so that the worker finds them."""

from accounts.tasks.credit_grants import expire_credit_grants, renew_credit_grants
from accounts.tasks.deposits import expire_deposits
from accounts.tasks.holds import expire_holds
from accounts.tasks.ledger import prove_ledger
from accounts.tasks.starter_credit import grant_starter_credit, sweep_starter_credit

__all__ = [
    "expire_credit_grants",
    "expire_deposits",
    "expire_holds",
    "grant_starter_credit",
    "prove_ledger",
    "renew_credit_grants",
    "sweep_starter_credit",
]
