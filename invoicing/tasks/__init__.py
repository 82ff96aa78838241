"""Celery tasks of invoicing; imported here so that the worker finds them."""

from invoicing.tasks.documents import store_invoice_documents, sweep_invoice_documents
from invoicing.tasks.plan_moves import sweep_plan_moves, work_plan_move
from invoicing.tasks.runs import run_billing_cycle, sweep_billing_runs, work_billing_run

__all__ = [
    "run_billing_cycle",
    "store_invoice_documents",
    "sweep_billing_runs",
    "sweep_invoice_documents",
    "sweep_plan_moves",
    "work_billing_run",
    "work_plan_move",
]
