"""What Stripe bills by itself, and charges with their refunds; only read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from invoicing.gateways.billed import BilledInvoiceState, ChargeState, SubscriptionState
from invoicing.gateways.stripe.client import Answer, StripeCaller
from invoicing.gateways.stripe.money import from_provider
from invoicing.gateways.stripe.reading import read_id, read_instant, read_metadata, read_object


class Billed(StripeCaller):
    """See `invoicing.gateways.billed`."""

    def fetch_subscription(self, *, subscription_ref: str) -> SubscriptionState:
        return read_subscription(self.read(self.api.subscriptions.retrieve, subscription_ref))

    def fetch_billed_invoice(self, *, invoice_ref: str) -> BilledInvoiceState:
        return read_billed_invoice(self.read(self.api.invoices.retrieve, invoice_ref))

    def fetch_charge(self, *, charge_ref: str) -> ChargeState:
        answer = self.read(self.api.charges.retrieve, charge_ref)
        refunds = [read_id(each) for each in self.each(self.api.refunds.list, params={"charge": charge_ref})]
        return read_charge(answer, refunds)


def read_subscription(answer: Mapping[str, Any]) -> SubscriptionState:
    """Return a Subscription in our words. Its period is that of its items, in old versions its own."""
    items: list[Answer] = (answer.get("items") or {}).get("data") or []
    dated = items[0] if items and items[0].get("current_period_start") is not None else answer
    prices = [read_object(item.get("price")) for item in items]
    return SubscriptionState(
        ref=str(answer["id"]),
        status=str(answer["status"]),
        customer_ref=read_id(answer.get("customer")),
        price_keys=tuple(str(price["lookup_key"]) for price in prices if price.get("lookup_key")),
        period_start=read_instant(dated.get("current_period_start")),
        period_end=read_instant(dated.get("current_period_end")),
        trial_end=read_instant(answer.get("trial_end")),
        metadata=read_metadata(answer),
    )


def read_billed_invoice(answer: Mapping[str, Any]) -> BilledInvoiceState:
    """Return an Invoice in our words. What it says of its subscription counts as its own metadata."""
    currency = str(answer["currency"])
    details = read_object(read_object(answer.get("parent")).get("subscription_details"))
    moments = read_object(answer.get("status_transitions"))
    return BilledInvoiceState(
        ref=str(answer["id"]),
        status=str(answer.get("status") or "draft"),
        total=from_provider(int(answer["total"]), currency),
        amount_due=from_provider(int(answer["amount_due"]), currency),
        amount_paid=from_provider(int(answer["amount_paid"]), currency),
        number=str(answer.get("number") or ""),
        customer_ref=read_id(answer.get("customer")),
        subscription_ref=read_id(details.get("subscription")) or read_id(answer.get("subscription")),
        attempt_count=int(answer.get("attempt_count") or 0),
        next_attempt_at=read_instant(answer.get("next_payment_attempt")),
        period_start=read_instant(answer.get("period_start")),
        period_end=read_instant(answer.get("period_end")),
        finalized_at=read_instant(moments.get("finalized_at")),
        paid_at=read_instant(moments.get("paid_at")),
        hosted_url=str(answer.get("hosted_invoice_url") or ""),
        metadata=read_metadata(details) | read_metadata(answer),
    )


def read_charge(answer: Mapping[str, Any], refunds: list[str]) -> ChargeState:
    """Return a Charge in our words; Stripe lists its refunds newest first."""
    return ChargeState(
        ref=str(answer["id"]),
        amount=from_provider(int(answer["amount"]), str(answer["currency"])),
        payment_ref=read_id(answer.get("payment_intent")),
        customer_ref=read_id(answer.get("customer")),
        refund_refs=tuple(reversed(refunds)),
        metadata=read_metadata(answer),
    )
