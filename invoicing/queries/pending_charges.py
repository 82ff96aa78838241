"""Charges that changes of subscriptions, or people, left for the next invoice."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import cast

from django.db.models import Q, QuerySet

from accounts.models import Subscription, SubscriptionItem
from billing_site.kernel.money import RoundingMode
from invoicing.calculation.draft import Draft, draft_invoice
from invoicing.calculation.facts import ChargeFacts, InvoiceFacts
from invoicing.models import InvoiceStatus, PendingCharge, Seller
from invoicing.queries.taxes import with_tax


def select_waiting() -> QuerySet[PendingCharge]:
    """Return the charges that no invoice has, or only one that was voided, oldest first; without what was dropped."""
    free = Q(invoice__isnull=True) | Q(invoice__status=InvoiceStatus.VOID)
    return (
        PendingCharge.objects.filter(free, dropped_at__isnull=True)
        .select_related("item__price", "item__meter")
        .order_by("id")
    )


@dataclass(slots=True)
class Waiting:
    """
    The charges that wait for the next invoices of many subscriptions.

    Those of an account go to the first of its subscriptions, in their currency, that asks; `_holders` remembers which.
    """

    of_subscription: dict[uuid.UUID, list[PendingCharge]] = field(default_factory=dict)
    of_account: dict[tuple[uuid.UUID, str], list[PendingCharge]] = field(default_factory=dict)
    _holders: dict[tuple[uuid.UUID, str], uuid.UUID] = field(default_factory=dict)

    def list_for(self, subscription: Subscription) -> list[PendingCharge]:
        """Return what the next invoice of a subscription takes up, its own first."""
        own = self.of_subscription.get(subscription.id, [])
        key = (subscription.account_id, subscription.currency)
        shared = self.of_account.get(key)
        if not shared or self._holders.setdefault(key, subscription.id) != subscription.id:
            return own
        return [*own, *shared]

    def take(self, subscription: Subscription) -> None:
        """Forget what the invoice of a subscription took up."""
        self.of_subscription.pop(subscription.id, None)
        key = (subscription.account_id, subscription.currency)
        if self._holders.get(key) == subscription.id:
            self.of_account.pop(key, None)
            del self._holders[key]


def load_waiting(subscriptions: Iterable[Subscription]) -> Waiting:
    """Return what waits for the next invoices of many subscriptions, oldest first. One query."""
    found = {each.id: each for each in subscriptions}
    accounts = {each.account_id for each in found.values()}
    wanted = Q(subscription_id__in=list(found)) | Q(subscription__isnull=True, account_id__in=list(accounts))
    return _group(select_waiting().filter(wanted) if found else ())


def lock_waiting(waiting: Waiting) -> Waiting:
    """
    Lock what waits for accounts, and return what still waits; no query where nothing does.

    An account's charges may be wanted by its subscriptions in two transactions: the second one waits here.
    """
    shared = [charge.pk for charges in waiting.of_account.values() for charge in charges]
    if not shared:
        return waiting
    locked = PendingCharge.objects.select_for_update(no_key=True).filter(pk__in=shared).order_by("id")
    list(locked.values_list("pk", flat=True))
    return Waiting(waiting.of_subscription, _group(select_waiting().filter(pk__in=shared)).of_account)


def list_waiting_of(account_id: uuid.UUID) -> QuerySet[PendingCharge]:
    """Return what was entered for an account and waits, whether for one of its subscriptions or for any."""
    return select_waiting().filter(account_id=account_id, item__isnull=True)


def _group(charges: Iterable[PendingCharge]) -> Waiting:
    own: dict[uuid.UUID, list[PendingCharge]] = defaultdict(list)
    shared: dict[tuple[uuid.UUID, str], list[PendingCharge]] = defaultdict(list)
    for charge in charges:
        if charge.subscription_id is not None:
            own[charge.subscription_id].append(charge)
        else:
            shared[charge.account_id, charge.facts["price"]["currency"]].append(charge)
    return Waiting(own, shared)


def map_items(charges: Iterable[PendingCharge]) -> Mapping[str, SubscriptionItem]:
    """Return the items that charges belong to, by public id; what was entered has none."""
    return {charge.item.public_id: charge.item for charge in charges if charge.item is not None}


def read_charge(charge: PendingCharge) -> ChargeFacts:
    """Return the facts of a waiting charge."""
    return ChargeFacts.from_dict(charge.facts)


def draft_charges(subscription: Subscription, charges: Iterable[ChargeFacts], seller: Seller, *, at: datetime) -> Draft:
    """Return the draft of these charges alone, on an invoice of `at` that had nothing else. One query."""
    facts = InvoiceFacts(
        currency=subscription.currency,
        timezone=subscription.timezone,
        boundary=None,
        rounding=cast(RoundingMode, seller.rounding),
        charges=tuple(charges),
    )
    return draft_invoice(with_tax(facts, account=subscription.account, seller=seller, at=at))
