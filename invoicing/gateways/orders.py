"""
What is asked of a payment provider and what it answers, in no provider's dialect.

Money is minor units of ISO 4217; an adapter maps it to what its provider means by it. `reference` is the public id of
our own row, kept by the provider with its object, so that each finds the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from billing_site.kernel.money import Money


class ProviderStatus(StrEnum):
    """Where a payment or a setup stands at the provider."""

    REQUIRES_PAYMENT_METHOD = "requires_payment_method"
    REQUIRES_CONFIRMATION = "requires_confirmation"
    REQUIRES_ACTION = "requires_action"
    PROCESSING = "processing"
    REQUIRES_CAPTURE = "requires_capture"
    SUCCEEDED = "succeeded"
    CANCELED = "canceled"


@dataclass(frozen=True, slots=True)
class PaymentOrder:
    """
    A payment to be made.

    It is taken from the stored `method_ref`, or once from `token`; with neither, the payer names one in the browser.
    `payment_ref` names a payment that the provider has already and is to try again. `off_session`: nobody is there who
    could authenticate. With `captures` the money is taken at once, else only set aside. `receipt_email` gets a receipt.
    """

    reference: str
    account_id: str
    amount: Money
    customer_ref: str = ""
    method_ref: str = ""
    token: str = ""
    payment_ref: str = ""
    captures: bool = True
    off_session: bool = True
    confirm: bool = True
    setup_future_usage: str = ""
    description: str = ""
    receipt_email: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PaymentState:
    """
    A payment as the provider has it now.

    `decline_reason` (`declines.DeclineReason`) says why the last try failed, with `REQUIRES_PAYMENT_METHOD`; a card
    holder who was not there to authenticate is such a failure (`authentication_required`), not `REQUIRES_ACTION`. `fee`
    is what the provider keeps, 0 while it is not told, in `fee_currency`. `account_id` and `reference` are what we
    told.
    """

    ref: str
    status: str
    amount: Money
    amount_capturable: int = 0
    amount_received: int = 0
    amount_refunded: int = 0
    fee: int = 0
    fee_currency: str = ""
    decline_reason: str = ""
    client_secret: str = ""
    customer_ref: str = ""
    method_ref: str = ""
    charge_ref: str = ""
    reference: str = ""
    account_id: str = ""
    created_at: datetime | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SetupOrder:
    """A method to be saved without a payment; `setup_ref` names a setup that the provider has already."""

    reference: str
    account_id: str
    customer_ref: str
    usage: str = "off_session"
    method_ref: str = ""
    setup_ref: str = ""
    confirm: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SetupState:
    """A setup as the provider has it now; `card` and `bank_account` are display data of the method."""

    ref: str
    status: str
    method_ref: str = ""
    method_type: str = "card"
    decline_reason: str = ""
    client_secret: str = ""
    customer_ref: str = ""
    reference: str = ""
    account_id: str = ""
    card: Mapping[str, Any] = field(default_factory=dict)
    bank_account: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RefundOrder:
    """Money to give back of a payment. `reason` is duplicate, fraudulent, requested_by_customer or empty."""

    reference: str
    account_id: str
    payment_ref: str
    amount: Money
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RefundState:
    """A refund as the provider has it now: `status` is pending, requires_action, succeeded, failed or canceled."""

    ref: str
    status: str
    amount: Money
    payment_ref: str = ""
    failure_reason: str = ""
    receipt_number: str = ""
    reference: str = ""
    account_id: str = ""
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class DisputeState:
    """A dispute as the provider has it now; `status` is one of the contract's. `fee` is what losing costs besides."""

    ref: str
    status: str
    amount: Money
    payment_ref: str = ""
    charge_ref: str = ""
    reason: str = ""
    fee: int = 0
    evidence_due_by: datetime | None = None
    evidence: Mapping[str, str] = field(default_factory=dict)
    is_charge_refundable: bool = False
    account_id: str = ""
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class PayoutOrder:
    """Money to send to a verified method of a payee, or with no `account_id` to our own bank account."""

    reference: str
    amount: Money
    destination_ref: str
    destination_type: str = "bank_account"
    account_id: str = ""
    description: str = ""


@dataclass(frozen=True, slots=True)
class PayoutState:
    """A payout as the provider has it now: `status` is pending, in_transit, paid, failed or canceled."""

    ref: str
    status: str
    amount: Money
    arrival_date: date | None = None
    failure_code: str = ""
    failure_message: str = ""
    reference: str = ""
    account_id: str = ""
    is_automatic: bool = False
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class CustomerState:
    """A customer as the provider has it now."""

    ref: str
    account_id: str = ""
    name: str = ""
    email: str = ""
    is_deleted: bool = False
    default_method_ref: str = ""
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class MethodState:
    """A stored method as the provider has it now; no `customer_ref`: it is attached to nobody."""

    ref: str
    type: str = "card"
    customer_ref: str = ""
    account_id: str = ""
    card: Mapping[str, Any] = field(default_factory=dict)
    bank_account: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CheckoutOrder:
    """
    A hosted page on which a payer sets up payment, and subscribes to what `metadata` names.

    `success_url` and `cancel_url` are where the page sends people back to.
    """

    reference: str
    account_id: str
    customer_ref: str
    success_url: str
    cancel_url: str
    currency: str
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HostedPage:
    """A page of the provider to open in a browser."""

    ref: str
    url: str
    expires_at: datetime | None = None
    status: str = "open"
    customer_ref: str = ""
    account_id: str = ""
    setup_ref: str = ""
    subscription_ref: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
