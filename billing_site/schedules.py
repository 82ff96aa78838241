"""
Every beat schedule of the product, on one page.

A schedule only rings a bell: the task picks rows that are due, so a late, doubled or missed run is harmless.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from celery.schedules import crontab

BEAT_SCHEDULE: dict[str, dict[str, Any]] = {
    "run-billing-cycle": {"task": "invoicing.run_billing_cycle", "schedule": timedelta(minutes=5)},
    "collect-due-invoices": {"task": "invoicing.collect_due_invoices", "schedule": timedelta(minutes=1)},
    "sweep-dunning": {"task": "invoicing.sweep_dunning", "schedule": timedelta(minutes=5)},
    "settle-payments": {"task": "invoicing.settle_payments", "schedule": timedelta(minutes=10)},
    "resume-due-subscriptions": {"task": "invoicing.resume_due_subscriptions", "schedule": timedelta(minutes=5)},
    "cancel-unpaid-starts": {"task": "invoicing.cancel_unpaid_starts", "schedule": timedelta(minutes=5)},
    "sweep-grace-periods": {"task": "invoicing.sweep_grace_periods", "schedule": timedelta(minutes=5)},
    "sweep-interim-invoices": {"task": "invoicing.sweep_interim_invoices", "schedule": timedelta(minutes=5)},
    "advance-schedules": {"task": "invoicing.advance_schedules", "schedule": timedelta(minutes=2)},
    "sweep-billing-runs": {"task": "invoicing.sweep_billing_runs", "schedule": timedelta(minutes=1)},
    "sweep-billing-jobs": {"task": "invoicing.sweep_billing_jobs", "schedule": timedelta(minutes=1)},
    "purge-billing-job-files": {"task": "invoicing.purge_billing_job_files", "schedule": crontab(hour=4, minute=0)},
    "sweep-plan-moves": {"task": "invoicing.sweep_plan_moves", "schedule": timedelta(minutes=1)},
    "sweep-invoice-documents": {"task": "invoicing.sweep_invoice_documents", "schedule": timedelta(minutes=1)},
    "expire-deposits": {"task": "accounts.expire_deposits", "schedule": timedelta(hours=1)},
    "renew-credit-grants": {"task": "accounts.renew_credit_grants", "schedule": timedelta(minutes=5)},
    "expire-credit-grants": {"task": "accounts.expire_credit_grants", "schedule": timedelta(hours=1)},
    "sweep-starter-credit": {"task": "accounts.sweep_starter_credit", "schedule": timedelta(minutes=10)},
    "sweep-inbound-events": {"task": "invoicing.sweep_inbound_events", "schedule": timedelta(minutes=1)},
    "purge-inbound-bodies": {"task": "invoicing.purge_inbound_bodies", "schedule": crontab(hour=4, minute=20)},
    "sweep-payment-methods": {"task": "invoicing.sweep_payment_methods", "schedule": timedelta(minutes=10)},
    "warn-of-expiring-cards": {"task": "invoicing.warn_of_expiring_cards", "schedule": timedelta(hours=1)},
    "start-reconciliation": {"task": "invoicing.start_reconciliation", "schedule": crontab(hour=1, minute=40)},
    "sweep-reconciliations": {"task": "invoicing.sweep_reconciliations", "schedule": timedelta(minutes=10)},
    "sweep-setup-intents": {"task": "invoicing.sweep_setup_intents", "schedule": timedelta(minutes=5)},
    "sweep-disputes": {"task": "invoicing.sweep_disputes", "schedule": timedelta(minutes=5)},
    "sweep-refunds": {"task": "invoicing.sweep_refunds", "schedule": timedelta(minutes=5)},
    "sweep-payouts": {"task": "invoicing.sweep_payouts", "schedule": timedelta(minutes=10)},
    "expire-holds": {"task": "accounts.expire_holds", "schedule": timedelta(minutes=5)},
    # Before the proof, so that it looks at the books of the day that ended.
    "release-revenue": {"task": "invoicing.release_revenue", "schedule": crontab(hour=0, minute=30)},
    "prove-ledger": {"task": "accounts.prove_ledger", "schedule": crontab(hour=3, minute=20)},
    "sweep-quota-alerts": {"task": "metering.sweep_quota_alerts", "schedule": timedelta(minutes=5)},
    "sweep-alerts": {"task": "metering.sweep_alerts", "schedule": timedelta(minutes=5)},
    "purge-charge-clients": {"task": "metering.purge_charge_clients", "schedule": crontab(hour=3, minute=40)},
    "sweep-usage-imports": {"task": "metering.sweep_usage_imports", "schedule": timedelta(minutes=1)},
    "purge-rejected-usage": {"task": "metering.purge_rejected_usage", "schedule": crontab(hour=3, minute=45)},
    "plan-usage-exports": {"task": "metering.plan_usage_exports", "schedule": timedelta(minutes=5)},
    "send-usage-exports": {"task": "metering.send_usage_exports", "schedule": timedelta(minutes=1)},
    "purge-usage-feed": {"task": "metering.purge_usage_feed", "schedule": crontab(hour=3, minute=50)},
    "expire-quota-reservations": {"task": "metering.expire_quota_reservations", "schedule": timedelta(minutes=1)},
    "keep-usage-partitions": {"task": "metering.keep_usage_partitions", "schedule": timedelta(hours=1)},
    "keep-usage-keys": {"task": "metering.keep_usage_keys", "schedule": timedelta(minutes=1)},
    "purge-usage-minutes": {"task": "metering.purge_usage_minutes", "schedule": timedelta(minutes=10)},
    "prove-usage": {"task": "metering.prove_usage", "schedule": crontab(hour=2, minute=20)},
    "archive-usage-days": {"task": "metering.archive_usage_days", "schedule": crontab(hour=4, minute=10)},
    "expire-approvals": {"task": "platform.expire_approvals", "schedule": timedelta(minutes=5)},
    "purge-notices": {"task": "platform.purge_notices", "schedule": crontab(hour=3, minute=50)},
    "sweep-notices": {"task": "platform.sweep_notices", "schedule": timedelta(minutes=1)},
    "expire-idempotency-keys": {"task": "platform.expire_idempotency_keys", "schedule": timedelta(hours=1)},
}
