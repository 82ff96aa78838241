"""Prepaid money spent on charges. Source: contract chapter Ledger."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from accounts.models import Account, LedgerEntry, LedgerKind
from accounts.models.ledger import ACCOUNT_KINDS
from accounts.queries.currencies import require_currency
from accounts.services.account_locks import lock_account
from accounts.services.ledger import NewEntry, PostingSpec
from accounts.services.prepaid import InsufficientBalance, PrepaidChange, lock_balance, require_amount
from billing_site.kernel.actors import Actor


@transaction.atomic
def spend_prepaid(
    *,
    account: Account,
    amount: int,
    currency: str,
    key: str,
    at: datetime,
    actor: Actor,
    type: str = "charge",
    into: str = LedgerKind.REVENUE,
    allow_negative: bool = False,
    description: str = "",
    tags: str = "",
    metadata: dict[str, Any] | None = None,
    event: str = "balance.charged",
    reason: str = "",
) -> LedgerEntry:
    """
    Take `amount` minor units from the prepaid balance into another pot and return the entry.

    Lots give by earliest end date, then undated money; money under holds is left alone. `into` is a platform pot, or
    one of the account's own (`receivable`). `allow_negative` is for charges of usage, which may take the balance below
    zero. A `key` seen before answers the first entry and spends nothing. Locks the platform's pot: call it once in a
    transaction, as late as possible.
    :raises AmountNotPositive: for zero or less; :raises CurrencyUnsupported: for a currency not offered.
    :raises InsufficientBalance: when less is available, unless `allow_negative`.
    """
    require_amount(amount)
    currency = require_currency(currency)
    account = lock_account(account.pk)
    if first := LedgerEntry.objects.filter(key=key).first():
        return first
    change, balance = PrepaidChange(), lock_balance(account, currency=currency, at=at)
    change.expire(balance)
    if balance.available < amount and not allow_negative:
        raise InsufficientBalance(available=balance.available, required=amount)
    entry = NewEntry(
        key=key,
        type=type,
        account_id=account.pk,
        postings=make_legs(account.pk, amount, currency, into=into),
        at=at,
        livemode=account.livemode,
        description=description,
        tags=tags,
        metadata=metadata or {},
    )
    data = {"amount": amount, "currency": currency, "notes": description, "tags": tags}
    change.add(entry, balance.take(amount), event=event, data=data, reason=reason)
    return change.write(actor=actor)[key]


def make_legs(account_id: UUID, amount: int, currency: str, *, into: str) -> list[PostingSpec]:
    """Return the two legs of money that leaves the prepaid balance."""
    return [
        PostingSpec(LedgerKind.PREPAID, account_id, currency, amount),
        PostingSpec(into, account_id if into in ACCOUNT_KINDS else None, currency, -amount),
    ]
