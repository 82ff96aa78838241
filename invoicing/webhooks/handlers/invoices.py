"""Invoices that a provider issued: a copy is kept, and the subscription they pay follows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from invoicing.gateways.billed import BilledInvoiceState, SubscriptionState
from invoicing.services.provider_mirror import mirror_invoice
from invoicing.webhooks.handlers.subscriptions import follow_subscription
from invoicing.webhooks.handling import Call, Handler, Handlers, Outcome, Provider, read_account


@dataclass(frozen=True, slots=True)
class BilledInvoice:
    """An invoice with the subscription it is for, as both are now."""

    invoice: BilledInvoiceState
    subscription: SubscriptionState | None = None


def fetch_invoice(provider: Provider, ref: str) -> BilledInvoice:
    """Return an invoice alone: nothing of its subscription has changed."""
    return BilledInvoice(provider.fetch_billed_invoice(invoice_ref=ref))


def fetch_with_subscription(provider: Provider, ref: str) -> BilledInvoice:
    """Return an invoice and its subscription, whose state a payment, or the lack of one, has changed."""
    invoice = provider.fetch_billed_invoice(invoice_ref=ref)
    if not invoice.subscription_ref:
        return BilledInvoice(invoice)
    return BilledInvoice(invoice, provider.fetch_subscription(subscription_ref=invoice.subscription_ref))


def apply_invoice(call: Call, found: BilledInvoice) -> Outcome:
    """Keep the copy; a subscription that came along goes to its state: active again, or past due."""
    invoice, subscription = found.invoice, found.subscription
    ours = read_account(invoice.metadata) or (read_account(subscription.metadata) if subscription else "")
    account = call.find_account(metadata_ref=ours, customer_ref=invoice.customer_ref)
    if account is None:
        paid = invoice.amount_paid.amount > 0
        return call.unmatched(f"invoice {invoice.ref}", is_ours=bool(ours), has_money=paid)
    copy = mirror_invoice(account=account, provider=call.provider, state=invoice, read_at=call.at)
    text = f"Invoice {copy} of the provider is {copy.state}."
    if subscription is None:
        return Outcome(text, account)
    followed = follow_subscription(call, account, subscription)
    return Outcome(f"{text} {followed.text}", account)


_MIRROR: Final = Handler(fetch_invoice, apply_invoice)
_FOLLOW: Final = Handler(fetch_with_subscription, apply_invoice)
HANDLERS: Final[Handlers] = {
    "invoice.paid": _FOLLOW,
    "invoice.payment_succeeded": _FOLLOW,
    "invoice.payment_failed": _FOLLOW,
    "invoice.finalized": _MIRROR,
    "invoice.created": _MIRROR,
}
