"""
Which subscriptions of an account share an invoice, and the draft of what they share.

Source: ADR 0047; contract chapter Renewal and cycle.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from accounts.models import Account, InvoiceGrouping, Subscription, SubscriptionItem
from billing_site.kernel.money import RoundingMode
from billing_site.kernel.periods import local_date
from invoicing.calculation.draft import Draft, draft_invoice
from invoicing.calculation.facts import ChargeFacts, InvoiceFacts, MemberFacts
from invoicing.models import PendingCharge, Seller
from invoicing.queries.billables import Billables, DueBoundary
from invoicing.queries.facts import BoundaryFacts
from invoicing.queries.grace import find_finalize_at
from invoicing.queries.pending_charges import read_charge
from invoicing.queries.sellers import Sellers, get_sellers


@dataclass(frozen=True, slots=True)
class DraftedDocument:
    """A draft and the boundaries it settles: one, or those of several subscriptions that share it."""

    draft: Draft
    parts: tuple[BoundaryFacts, ...]

    @property
    def account(self) -> Account:
        return self.parts[0].boundary.subscription.account

    @property
    def items(self) -> dict[str, SubscriptionItem]:
        """The items that its charges belong to, by public id."""
        return {key: item for part in self.parts for key, item in part.items.items()}

    @property
    def waiting(self) -> tuple[PendingCharge, ...]:
        """The charges among its own that were left for this invoice."""
        return tuple(charge for part in self.parts for charge in part.waiting)

    def list_subscriptions(self) -> list[Subscription]:
        """Return whom it bills, in the order of its lines."""
        return [part.boundary.subscription for part in self.parts]

    @property
    def is_grouped(self) -> bool:
        return len(self.parts) > 1


def wants_one_invoice(account: Account, seller: Seller) -> bool:
    """Tell whether subscriptions of an account that fall due together share an invoice: its choice, or its seller's."""
    return (account.invoice_grouping or seller.invoice_grouping) == InvoiceGrouping.ACCOUNT


def find_wanting(account_ids: Collection[UUID]) -> set[UUID]:
    """Return those of the accounts that want one invoice for what falls due together. Two queries."""
    accounts = list(Account.objects.filter(pk__in=account_ids))
    sellers = get_sellers(accounts)
    return {account.pk for account in accounts if wants_one_invoice(account, sellers.of(account))}


def pick_first_due(boundaries: Sequence[DueBoundary], sellers: Sellers) -> list[DueBoundary]:
    """
    Return what is billed in this step: of accounts that want one invoice only what is due at the earliest instant.

    So missed periods are caught up on the invoices on which they would have been.
    """
    earliest: dict[UUID, datetime] = {}
    for each in boundaries:
        account = each.subscription.account
        if wants_one_invoice(account, sellers.of(account)):
            known = earliest.get(account.pk)
            earliest[account.pk] = each.moment if known is None else min(known, each.moment)
    return [each for each in boundaries if each.moment == earliest.get(each.subscription.account_id, each.moment)]


def draft_documents(
    gathered: Iterable[BoundaryFacts], *, billables: Billables, may_wait: bool, apart: frozenset[UUID] = frozenset()
) -> list[DraftedDocument]:
    """
    Return the drafts of the boundaries, in order; what bills nothing makes none and is on no shared one. No query.

    Boundaries share a draft when their accounts want it and account, currency, zone, mode, collection method, instant
    and the time until which the draft waits for usage are the same. `may_wait` tells whether drafts wait at all; the
    subscriptions in `apart` are billed alone.
    """
    groups: dict[tuple[Any, ...], list[tuple[BoundaryFacts, Draft]]] = defaultdict(list)
    for each in gathered:
        draft = draft_invoice(each.facts)
        if draft.lines:
            groups[_get_key(each.boundary, billables.sellers, may_wait, apart)].append((each, draft))
    found = []
    for members in groups.values():
        parts = tuple(each for each, _ in members)
        draft = members[0][1] if len(parts) == 1 else draft_invoice(merge_facts(parts, billables))
        found.append(DraftedDocument(draft, parts))
    return found


def _get_key(boundary: DueBoundary, sellers: Sellers, may_wait: bool, apart: frozenset[UUID]) -> tuple[Any, ...]:
    subscription = boundary.subscription
    account = subscription.account
    seller = sellers.of(account)
    if subscription.id in apart or not wants_one_invoice(account, seller):
        return (subscription.id,)
    return (
        account.pk,
        subscription.currency,
        subscription.timezone,
        subscription.livemode,
        subscription.collection_method,
        boundary.moment,
        find_finalize_at(boundary, seller) if may_wait else None,
    )


def merge_facts(parts: Sequence[BoundaryFacts], billables: Billables) -> InvoiceFacts:
    """
    Return the facts of one invoice for several subscriptions: their charges one after the other, each naming its own.

    Discounts stay with their subscription; tax is that of all charges together. Charges that wait for the account name
    no subscription.
    """
    first = parts[0].boundary
    account = first.subscription.account
    seller = billables.sellers.of(account)
    charges = tuple(charge for part in parts for charge in _name_charges(part))
    return InvoiceFacts(
        currency=first.subscription.currency,
        timezone=first.subscription.timezone,
        boundary=None,
        rounding=cast(RoundingMode, seller.rounding),
        charges=charges,
        discounts=tuple(
            replace(discount, subscription=part.boundary.subscription.public_id)
            for part in parts
            for discount in part.facts.discounts
        ),
        tax=billables.taxes.make_facts(
            account,
            seller,
            on=local_date(first.moment, account.zone),
            periods=[charge.period for charge in charges],
        ),
        members=tuple(_name_member(part) for part in parts),
    )


def _name_charges(part: BoundaryFacts) -> Iterable[ChargeFacts]:
    name = part.boundary.subscription.public_id
    shared = {given.id for each in part.waiting if each.subscription_id is None if (given := read_charge(each).given)}
    for charge in part.facts.charges:
        is_shared = charge.given is not None and charge.given.id in shared
        yield charge if is_shared else replace(charge, subscription=name)


def _name_member(part: BoundaryFacts) -> MemberFacts:
    subscription = part.boundary.subscription
    named = next((charge.plan_name for charge in part.facts.charges if charge.given is None and charge.plan_name), "")
    return MemberFacts(subscription.public_id, named or subscription.plan_version.name, part.boundary.number)
