"""
What the product asks of a payment provider. Each adapter (`local`, …) answers in these words.

No method is called inside a transaction or under a row lock. Every call that changes something carries a key derived
from our own row, so that a repeat after a crash or a timeout has one effect. Source: contract chapter Payments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

from billing_site.kernel.errors import DomainError
from billing_site.kernel.money import Money


class ProviderUnavailable(DomainError):
    """The outcome of the call may be unknown: the same call, with the same key, tells."""

    code, title, status, retryable = "provider_unavailable", "The payment provider failed or timed out", 503, True


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
    """For whom a method is kept."""

    account_id: str
    name: str = ""
    email: str = ""


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
