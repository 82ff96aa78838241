"""What providers' event types are called here. Source: contract chapter Webhooks in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

NEUTRAL_TYPES: Final[Mapping[str, str]] = {
    "checkout.session.completed": "checkout.completed",
    "customer.subscription.created": "subscription.created",
    "customer.subscription.updated": "subscription.updated",
    "customer.subscription.deleted": "subscription.canceled",
    "customer.subscription.trial_will_end": "subscription.trial_will_end",
    "invoice.paid": "invoice.paid",
    "invoice.payment_succeeded": "invoice.paid",
    "invoice.payment_failed": "invoice.payment_failed",
    "invoice.finalized": "invoice.updated",
    "invoice.created": "invoice.updated",
    "payment_intent.succeeded": "payment.completed",
    "payment_intent.payment_failed": "payment.failed",
    "charge.refunded": "refund.succeeded",
    "charge.refund.updated": "refund.updated",
    "charge.dispute.created": "dispute.created",
    "charge.dispute.closed": "dispute.resolved",
    "payment_method.attached": "payment_method.attached",
    "payment_method.detached": "payment_method.detached",
    "payment_method.updated": "payment_method.updated",
    "payment_method.automatically_updated": "payment_method.updated",
    "customer.created": "customer.created",
    "customer.updated": "customer.updated",
    "customer.deleted": "customer.deleted",
    "payout.paid": "payout.paid",
    "payout.failed": "payout.failed",
}


def name_neutrally(type: str) -> str:
    """Return our name of a provider's event type; one that is not in the table keeps its own."""
    return NEUTRAL_TYPES.get(type, type)
