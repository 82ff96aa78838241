"""
What the product asks of a payment provider. Each adapter (`local`, …) answers in these words.

No method is called inside a transaction or under a row lock. Every call that changes something carries a key derived
from our own row, so that a repeat after a crash or a timeout has one effect. Source: contract chapter Payments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
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
