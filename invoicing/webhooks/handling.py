"""
What a handler of one type of event is made of.

`fetch` reads the object anew from the provider, outside any transaction. `apply` gets what it returned and calls one
service, in the transaction that also marks the event as handled: both happen, once, or neither. So `apply` talks to no
network, and what it raises takes everything back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

from accounts.models import Account
from accounts.queries.access import find_account
from billing_site.kernel import clock
from billing_site.kernel.actors import Actor
from invoicing.gateways.billed import BillingProvider
from invoicing.gateways.port import PaymentGateway
from invoicing.models import InboundEvent
from invoicing.queries.provider_customers import find_account_of_customer
from invoicing.services.inbound_events import report_refused, report_unmatched
from invoicing.services.provider_customers import ProviderCustomerMismatch, link_provider_customer

ACCOUNT: Final = "billing_account_id"


class Provider(PaymentGateway, BillingProvider, Protocol):
    """What a handler may ask: everything that is only read."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What became of an event, as a sentence; `account` is whose it was. Without `is_applied` it is kept, no more.
    """

    text: str
    account: Account | None = None
    is_applied: bool = True


@dataclass(frozen=True, slots=True)
class Call:
    """What a handler is told besides the object: the event, the wall clock's `at`, and in whose name it acts."""

    event: InboundEvent
    at: datetime
    actor: Actor

    @property
    def provider(self) -> str:
        return self.event.provider

    @property
    def mark(self) -> str:
        """The event's name for what remembers events: another one each time somebody has it handled again."""
        return self.event.event_id + (f"#{self.event.replays}" if self.event.replays else "")

    def now(self, account: Account) -> datetime:
        """Return the time as an account has it."""
        return clock.now(account)

    def occurred_at(self, account: Account) -> datetime:
        """Return when the event happened, never later than the account's own time: it may live on a test clock."""
        return min(self.event.occurred_at, self.now(account))

    def find_account(
        self, *, metadata_ref: str = "", client_reference: str = "", customer_ref: str = ""
    ) -> Account | None:
        """
        Return whose an object is: by its metadata, else its client reference, else the customer linked to an account.

        A name that is given and unknown is nobody's: money must not go to whom the next rule would find.
        Source: contract chapter Webhooks in.
        """
        mode = Account.objects.select_related("test_clock").filter(livemode=self.event.livemode)
        if reference := metadata_ref or client_reference:
            return find_account(mode, reference)
        if not customer_ref:
            return None
        linked = find_account_of_customer(provider_type=self.provider, ref=customer_ref)
        return None if linked is None else mode.filter(pk=linked.pk).first()

    def link_customer(self, account: Account, ref: str) -> str:
        """
        Tie a provider's customer to an account and return a sentence.

        Where either is tied to another one, nothing is changed and operators are told.
        """
        try:
            link_provider_customer(
                account_id=account.pk, provider_type=self.provider, ref=ref, at=self.now(account), actor=self.actor
            )
        except ProviderCustomerMismatch as mismatch:
            report_refused(self.event, account=account, reason=mismatch.detail.rstrip("."), at=self.at)
            return mismatch.detail
        return "The customer is linked to the account."

    def unmatched(self, what: str, *, is_ours: bool, has_money: bool = False) -> Outcome:
        """Return the outcome for an object without an account; one of ours, or with money, is told to operators."""
        text = f"Not applied: {what} belongs to no account here."
        if is_ours or has_money:
            why = "It carries our metadata." if is_ours else "Money came or went with it."
            report_unmatched(self.event, detail=f"{text} {why}", at=self.at)
        return Outcome(text, is_applied=False)


@dataclass(frozen=True, slots=True)
class Handler:
    """How one type of event is handled; see the module."""

    fetch: Callable[[Provider, str], Any]
    apply: Callable[[Call, Any], Outcome]


Handlers = Mapping[str, Handler]


def read_account(metadata: Mapping[str, str]) -> str:
    """Return the account that metadata names, or empty."""
    return metadata.get(ACCOUNT, "").strip()
