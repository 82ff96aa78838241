"""
What a payment provider bills by itself: subscriptions and their invoices, and the charges behind refunds, as they are.

Only read: our own subscriptions are billed here. Money is minor units of ISO 4217; instants are aware UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from billing_site.kernel.money import Money


@dataclass(frozen=True, slots=True)
class SubscriptionState:
    """
    A subscription as the provider has it now; `status` is its word.

    `price_keys` are the lookup keys of what it sells, the period is half-open and may not be told.
    """

    ref: str
    status: str
    customer_ref: str = ""
    price_keys: tuple[str, ...] = ()
    period_start: datetime | None = None
    period_end: datetime | None = None
    trial_end: datetime | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BilledInvoiceState:
    """An invoice that the provider issued, as it is now; `status` is its word."""

    ref: str
    status: str
    total: Money
    amount_due: Money
    amount_paid: Money
    number: str = ""
    customer_ref: str = ""
    subscription_ref: str = ""
    attempt_count: int = 0
    next_attempt_at: datetime | None = None
    period_start: datetime | None = None
    period_end: datetime | None = None
    finalized_at: datetime | None = None
    paid_at: datetime | None = None
    hosted_url: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ChargeState:
    """Money that was taken: the payment it belongs to, and what was given back of it, oldest first."""

    ref: str
    amount: Money
    payment_ref: str = ""
    customer_ref: str = ""
    refund_refs: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)


class BillingProvider(Protocol):
    """A provider that bills by itself. Each method raises `ObjectUnknown` and `ProviderUnavailable` as the port's."""

    def fetch_subscription(self, *, subscription_ref: str) -> SubscriptionState:
        """Return a subscription, be it running or ended."""
        ...

    def fetch_billed_invoice(self, *, invoice_ref: str) -> BilledInvoiceState:
        """Return an invoice of the provider's own."""
        ...

    def fetch_charge(self, *, charge_ref: str) -> ChargeState:
        """Return a charge with all its refunds."""
        ...
