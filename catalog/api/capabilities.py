"""
What this installation offers, read from its configuration, its routes, its price models and its catalog.

Source: contract chapter Pricing (billing models).
"""

from __future__ import annotations

from typing import Any, Final

from django.conf import settings

from billing_site.api.operations import list_operations
from catalog.pricing.engine import FEE_MODELS, MODELS
from catalog.queries.currencies import list_offered_currencies
from catalog.queries.tax_rates import list_tax_rates

# A feature is offered when the operation that makes use of it has a route.
_FEATURES: Final = {
    "accounts": "account_create",
    "bank_transfers": "bank_transfer_create",
    "checkout": "checkout_session_create",
    "cost_alerts": "cost_alert_create",
    "cost_centers": "cost_center_create",
    "coupons": "coupon_redeem",
    "credit_grants": "credit_grant_create",
    "credit_notes": "credit_note_create",
    "customer_portal": "portal_session_create",
    "disputes": "dispute_list",
    "dns": "dns_usage_record",
    "entitlements": "entitlement_check",
    "exports": "account_export",
    "inbound_webhooks": "provider_webhook",
    "invoices": "invoice_list",
    "invoice_previews": "invoice_preview",
    "payments": "payment_intent_create",
    "payouts": "payout_create",
    "plan_changes": "subscription_change_plan",
    "prepaid_balance": "deposit_create",
    "pricing_rules": "pricing_rule_create",
    "quotas": "quota_create",
    "realtime_cost": "realtime_current",
    "refunds": "refund_create",
    "reports": "report_get",
    "spend_alerts": "spend_alert_create",
    "stripe": "stripe_checkout_create",
    "subscription_schedules": "schedule_create",
    "subscriptions": "subscription_create",
    "tax_rates": "tax_rate_create",
    "top_ups": "topup_create",
    "usage_metering": "meter_event_record",
    "webhooks": "webhook_endpoint_create",
}
# Moving money needs a provider that can be asked, whichever; hosted pages are always those of the configured one.
_OF_ANY_PROVIDER: Final = frozenset({"disputes", "payments", "payouts", "refunds", "top_ups"})
_OF_CONFIGURED_PROVIDER: Final = frozenset({"checkout", "customer_portal"})
# What a payment provider can take from a customer.
_PROVIDER_METHODS: Final = {"local": ("card", "bank_account"), "stripe": ("card", "bank_account")}


def describe_capabilities(*, org_id: str) -> dict[str, Any]:
    """Return what the organization's callers can use here."""
    operations = list_operations()
    return {
        "payment_methods": _list_payment_methods(operations),
        "currencies": _list_currencies(org_id),
        "features": _list_features(operations),
        "billing_models": _list_billing_models(),
        "tax_calculation": list_tax_rates(org_id=org_id).exists(),
        "bank_transfer_reconciliation": "bank_transfer_reconcile" in operations,
    }


def _list_features(operations: frozenset[str]) -> list[str]:
    """Return what has a route and what it needs: a route alone moves no money."""
    offered = {feature for feature, operation in _FEATURES.items() if operation in operations}
    providers = _list_providers()
    if not providers:
        offered -= _OF_ANY_PROVIDER
    if settings.BILLING_PAYMENT_PROVIDER not in providers:
        offered -= _OF_CONFIGURED_PROVIDER
    if "stripe" not in providers:
        offered.discard("stripe")
    # A door without a secret answers 404.
    if not (settings.BILLING_STRIPE_WEBHOOK_SECRETS or settings.BILLING_LOCAL_WEBHOOK_SECRETS):
        offered.discard("inbound_webhooks")
    return sorted(offered)


def _list_payment_methods(operations: frozenset[str]) -> list[str]:
    methods: set[str] = set()
    if "payment_method_create" in operations:
        methods.update(method for provider in _list_providers() for method in _PROVIDER_METHODS[provider])
    if "deposit_create" in operations:
        methods.add("balance")
    if "bank_transfer_create" in operations:
        methods.add("bank_transfer")
    return sorted(methods)


def _list_providers() -> list[str]:
    """Return the payment providers in use: the local one exists in test mode only, Stripe needs its key."""
    has_key = settings.STRIPE_LIVE_SECRET_KEY if settings.BILLING_LIVEMODE else settings.STRIPE_TEST_SECRET_KEY
    return [*([] if settings.BILLING_LIVEMODE else ["local"]), *(["stripe"] if has_key else [])]


def _list_currencies(org_id: str) -> list[str]:
    configured = sorted({code.strip().lower() for code in settings.BILLING_CURRENCIES})
    return configured or list_offered_currencies(org_id=org_id)


def _list_billing_models() -> list[str]:
    """Name what the pricing engine can do in the words of billing; models without such a word keep their own name."""
    offered = {
        "flat_rate": "flat" in FEE_MODELS,
        "per_seat": "per_unit" in FEE_MODELS,
        "metered": "per_unit" in MODELS,
        "tiered": "graduated" in MODELS,
        "volume": "volume" in MODELS,
        # Something must look at running totals between two bills.
        "threshold": any("threshold" in job["task"] for job in settings.CELERY_BEAT_SCHEDULE.values()),
        "hybrid": "flat" in FEE_MODELS and "per_unit" in MODELS,
    }
    named = {"flat", "per_unit", "graduated", "volume"}
    return [model for model, is_offered in offered.items() if is_offered] + sorted(MODELS.keys() - named)
