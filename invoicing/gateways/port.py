"""
What the product asks of a payment provider. Each adapter (`local`, …) answers in these words.

No method is called inside a transaction or under a row lock. Every call that changes something carries a key derived
from our own row, so that a repeat after a crash or a timeout has one effect. Source: contract chapter Payments.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

from billing_site.kernel.errors import DomainError
from billing_site.kernel.money import Money
from invoicing.gateways.orders import (
    CheckoutOrder,
    CustomerState,
    DisputeState,
    HostedPage,
    MethodState,
    PaymentOrder,
    PaymentState,
    PayoutOrder,
    PayoutState,
    RefundOrder,
    RefundState,
    SetupOrder,
    SetupState,
)


class ProviderUnavailable(DomainError):
    """The outcome of the call may be unknown: the same call, with the same key, tells."""

    code, title, status, retryable = "provider_unavailable", "The payment provider failed or timed out", 503, True


class ProviderKeyRefused(ProviderUnavailable):
    """Nothing was done: the provider does not take our key. The same call works when an operator has mended that."""

    retryable = False


class CallSpent(ProviderUnavailable):
    """
    The call was begun and failed, and its key tells the same from now on: what there is of it must be looked up.
    """


class NoProcessorAvailable(DomainError):
    code, title, status = "no_processor_available", "No payment provider can do this here", 422


class Declined(Exception):
    """The provider, or the bank behind it, said no. `reason` is a `declines.DeclineReason`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class UsageRejected(Exception):
    """
    The provider does not count what it was told, now or with `is_final` ever. The text is for people, `code` for us.
    """

    def __init__(self, code: str, detail: str, *, is_final: bool = False) -> None:
        super().__init__(detail)
        self.code, self.is_final = code, is_final


class TokenRejected(Exception):
    """The provider does not know the token, or it names something else than was said. The text is for people."""


@dataclass(frozen=True, slots=True)
class Payer:
    """For whom a method is kept; `customer_ref` is the provider's name of the account, where it has one."""

    account_id: str
    name: str = ""
    email: str = ""
    customer_ref: str = ""


@dataclass(frozen=True, slots=True)
class StoredMethod:
    """A method as the provider keeps it: its lasting name there, and what may be shown of it (empty: not told)."""

    ref: str
    card: Mapping[str, Any] = field(default_factory=dict)
    bank_account: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UsageReport:
    """
    A quantity for the provider to bill.

    `event_name` is what the provider's meter listens to, `customer_ref` the provider's name of the customer (empty:
    never told), `value` exact and above zero, `timestamp` at most 35 days old and 5 minutes ahead. `value_key` and
    `customer_key` are the provider's names of the two in its payload, where its meter has its own.
    """

    event_name: str
    customer_ref: str
    value: Decimal
    timestamp: datetime
    customer_key: str = ""
    value_key: str = ""


class ObjectUnknown(Exception):
    """The provider has no such object, or not any more."""


class OrderRejected(Exception):
    """
    The provider surely did not do what was asked, for a reason that is no decline. The text is for people, `code` for
    us.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class PaymentGateway(Protocol):
    """One payment provider. `name` is what rows keep as `provider_type`."""

    name: str

    def store_method(self, *, token: str, type: str, payer: Payer, key: str) -> StoredMethod:
        """
        Keep the method that `token` names for later payments of `payer`, and return it.

        :raises TokenRejected: when the token is unknown or names no `type`. :raises Declined: when the bank refuses.
        :raises ProviderUnavailable: when the provider fails or times out.
        """
        ...

    def authorise(self, *, method_ref: str, amount: Money, key: str) -> str:
        """
        Set `amount` aside on a stored method and return the provider's name of that hold.

        :raises Declined: when the bank refuses. :raises ProviderUnavailable: when the provider fails or times out.
        """
        ...

    def cancel(self, *, authorisation_ref: str, key: str) -> None:
        """
        Let a hold go. One that has ended already is fine.

        :raises ProviderUnavailable: when the provider fails or times out; the hold lapses by itself.
        """
        ...

    def detach_method(self, *, method_ref: str, key: str) -> None:
        """
        Forget a stored method. One that is gone already is fine.

        :raises ProviderUnavailable: when the provider fails or times out.
        """
        ...

    def report_usage(self, *, report: UsageReport, key: str) -> str:
        """
        Tell a quantity to bill and return the provider's name of it.

        `key` is the identifier of the quantity, at most 100 characters, one over all customers. The provider counts it
        once, however often it is told within a day; after that a repeat may count again.
        :raises UsageRejected: when it was surely not counted. :raises ProviderUnavailable: when that is not known.
        """
        ...

    # ---- customers and methods
    def ensure_customer(self, *, payer: Payer, key: str) -> str:
        """
        Make a customer of an account and return the provider's name of it; the same key makes one.

        :raises ProviderUnavailable: when the provider fails or times out.
        """
        ...

    def fetch_customer(self, *, customer_ref: str) -> CustomerState:
        """:raises ObjectUnknown: for none. :raises ProviderUnavailable: when nothing is known."""
        ...

    def fetch_method(self, *, method_ref: str) -> MethodState:
        """:raises ObjectUnknown: for none. :raises ProviderUnavailable: when nothing is known."""
        ...

    # ---- payments
    def pay(self, *, order: PaymentOrder, key: str) -> PaymentState:
        """
        Make, or try again, a payment and return where it stands: a decline is a state, not an error.

        :raises OrderRejected: when it was surely not made, nor can be. :raises ProviderUnavailable: when that is not
        known: the same call with the same key tells, for a day.
        """
        ...

    def capture(self, *, payment_ref: str, amount: Money, key: str) -> PaymentState:
        """Take at most what was set aside; the rest is let go. Raises as `pay`."""
        ...

    def cancel_payment(self, *, payment_ref: str, key: str) -> PaymentState:
        """
        Give a payment up; what was set aside is let go. Answers where it stands, be it that it succeeded meanwhile.

        :raises ObjectUnknown: for none. :raises ProviderUnavailable: when nothing is known.
        """
        ...

    def fetch_payment(self, *, payment_ref: str) -> PaymentState:
        """:raises ObjectUnknown: for none. :raises ProviderUnavailable: when nothing is known."""
        ...

    def find_payment(self, *, reference: str, customer_ref: str, since: datetime) -> PaymentState | None:
        """
        Return the payment made for our row since then, or None. For rows whose call was never answered.

        :raises ProviderUnavailable: when nothing is known.
        """
        ...

    # ---- setups and hosted pages
    def set_up(self, *, order: SetupOrder, key: str) -> SetupState:
        """Begin, or confirm, the saving of a method. Raises as `pay`."""
        ...

    def fetch_setup(self, *, setup_ref: str) -> SetupState:
        """:raises ObjectUnknown: for none. :raises ProviderUnavailable: when nothing is known."""
        ...

    def cancel_setup(self, *, setup_ref: str, key: str) -> SetupState:
        """Give a setup up. :raises ObjectUnknown: for none. :raises ProviderUnavailable: when nothing is known."""
        ...

    def open_checkout(self, *, order: CheckoutOrder, key: str) -> HostedPage:
        """Return a page on which the payer sets up payment. Raises as `pay`."""
        ...

    def fetch_checkout(self, *, checkout_ref: str) -> HostedPage:
        """:raises ObjectUnknown: for none. :raises ProviderUnavailable: when nothing is known."""
        ...

    def open_portal(self, *, customer_ref: str, return_url: str, key: str) -> HostedPage:
        """Return a page on which the payer manages what the provider keeps. Raises as `pay`."""
        ...

    # ---- money back and out
    def refund(self, *, order: RefundOrder, key: str) -> RefundState:
        """
        Give money of a payment back and return where that stands; a refusal by the bank is a state.

        :raises OrderRejected: when it was surely not given back. :raises ProviderUnavailable: when that is not known.
        """
        ...

    def fetch_refund(self, *, refund_ref: str) -> RefundState:
        """:raises ObjectUnknown: for none. :raises ProviderUnavailable: when nothing is known."""
        ...

    def find_refund(self, *, reference: str, payment_ref: str) -> RefundState | None:
        """Return the refund made for our row, or None. :raises ProviderUnavailable: when nothing is known."""
        ...

    def fetch_dispute(self, *, dispute_ref: str) -> DisputeState:
        """:raises ObjectUnknown: for none. :raises ProviderUnavailable: when nothing is known."""
        ...

    def submit_evidence(self, *, dispute_ref: str, evidence: Mapping[str, str], submit: bool, key: str) -> DisputeState:
        """Hand in evidence, or with `submit` False only keep it there. Raises as `refund`."""
        ...

    def close_dispute(self, *, dispute_ref: str, key: str) -> DisputeState:
        """Accept a dispute. Raises as `refund`."""
        ...

    def pay_out(self, *, order: PayoutOrder, key: str) -> PayoutState:
        """Send money out. Raises as `refund`."""
        ...

    def fetch_payout(self, *, payout_ref: str) -> PayoutState:
        """:raises ObjectUnknown: for none. :raises ProviderUnavailable: when nothing is known."""
        ...

    def cancel_payout(self, *, payout_ref: str, key: str) -> PayoutState:
        """Stop a payout that has not left; answers where it stands. Raises as `fetch_payout`."""
        ...

    # ---- what the provider has, for comparing; newest first, page by page
    def list_payments(self, *, since: datetime, until: datetime) -> Iterator[PaymentState]:
        """Yield payments made in [since, until). :raises ProviderUnavailable: when the provider fails or times out."""
        ...

    def list_refunds(self, *, since: datetime, until: datetime) -> Iterator[RefundState]:
        """Yield refunds made in [since, until). Raises as `list_payments`."""
        ...

    def list_disputes(self, *, since: datetime, until: datetime) -> Iterator[DisputeState]:
        """Yield disputes begun in [since, until). Raises as `list_payments`."""
        ...

    def list_customers(self, *, since: datetime, until: datetime) -> Iterator[CustomerState]:
        """Yield customers made in [since, until). Raises as `list_payments`."""
        ...
