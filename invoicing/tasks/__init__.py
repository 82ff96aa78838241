"""Celery tasks of invoicing; imported here so that the worker finds them."""

from invoicing.tasks.billing_jobs import purge_billing_job_files, sweep_billing_jobs, work_billing_job
from invoicing.tasks.collecting import collect_due_invoices, collect_invoices, settle_payments
from invoicing.tasks.disputes import sweep_disputes
from invoicing.tasks.documents import store_invoice_documents, sweep_invoice_documents
from invoicing.tasks.dunning import collect_after_new_method, settle_dunning, sweep_dunning
from invoicing.tasks.grace import sweep_due_grace_periods
from invoicing.tasks.incomplete import cancel_unpaid_starts
from invoicing.tasks.interim import check_thresholds_of, sweep_due_interim_invoices
from invoicing.tasks.pauses import resume_due_subscriptions
from invoicing.tasks.payment_methods import release_payment_method, sweep_payment_methods, warn_of_expiring_cards
from invoicing.tasks.payouts import send_payout, sweep_payouts
from invoicing.tasks.plan_moves import sweep_plan_moves, work_plan_move
from invoicing.tasks.reconciliation import start_reconciliation, sweep_reconciliations, work_reconciliation
from invoicing.tasks.refunds import send_refund, sweep_refunds
from invoicing.tasks.revenue import release_revenue
from invoicing.tasks.runs import run_billing_cycle, sweep_billing_runs, work_billing_run
from invoicing.tasks.schedules import advance_schedules
from invoicing.tasks.setup_intents import sweep_setup_intents
from invoicing.tasks.webhooks import handle_inbound_event, purge_inbound_bodies, sweep_inbound_events

__all__ = [
    "advance_schedules",
    "cancel_unpaid_starts",
    "check_thresholds_of",
    "collect_after_new_method",
    "collect_due_invoices",
    "collect_invoices",
    "handle_inbound_event",
    "purge_billing_job_files",
    "purge_inbound_bodies",
    "release_payment_method",
    "release_revenue",
    "resume_due_subscriptions",
    "run_billing_cycle",
    "send_payout",
    "send_refund",
    "settle_dunning",
    "settle_payments",
    "start_reconciliation",
    "store_invoice_documents",
    "sweep_billing_jobs",
    "sweep_billing_runs",
    "sweep_disputes",
    "sweep_due_grace_periods",
    "sweep_due_interim_invoices",
    "sweep_dunning",
    "sweep_inbound_events",
    "sweep_invoice_documents",
    "sweep_payment_methods",
    "sweep_payouts",
    "sweep_plan_moves",
    "sweep_reconciliations",
    "sweep_refunds",
    "sweep_setup_intents",
    "warn_of_expiring_cards",
    "work_billing_job",
    "work_billing_run",
    "work_plan_move",
    "work_reconciliation",
]
