"""Prepaid money paid out to its owner. Source: contract chapter Ledger."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from accounts.models import Account, LedgerEntry, LedgerKind
from accounts.queries.currencies import require_currency
from accounts.services.account_locks import lock_account, lock_open_account
from accounts.services.ledger import NewEntry
from accounts.services.prepaid import InsufficientBalance, PrepaidChange, lock_balance, require_amount
from accounts.services.spending import make_legs
from billing_site.kernel.actors import Actor
from billing_site.kernel.ids import encode_id, new_uuid


@transaction.atomic
def withdraw(
    *,
    account: Account,
    amount: int,
    currency: str,
    at: datetime,
    actor: Actor,
    notes: str = "",
    tags: str = "",
    metadata: dict[str, Any] | None = None,
    key: str | None = None,
    reason: str = "",
) -> LedgerEntry:
    """
    Move `amount` minor units of paid money out of the prepaid balance and return the entry.

    Money that was given away is never paid out, nor is what pending holds need. A `key` seen before answers the first
    entry and moves nothing.
    :raises AmountNotPositive: for zero or less; :raises CurrencyUnsupported: for a currency not offered.
    :raises InsufficientBalance: when less can be withdrawn. :raises InvalidState: when the account is closed.
    """
    require_amount(amount)
    currency = require_currency(currency)
    account = lock_open_account(account.pk)
    key = key or f"withdraw:{encode_id(LedgerEntry.id_prefix, new_uuid())}"
    if first := LedgerEntry.objects.filter(key=key).first():
        return first
    change, balance = PrepaidChange(), lock_balance(account, currency=currency, at=at)
    change.expire(balance)
    if balance.withdrawable < amount:
        raise InsufficientBalance(available=balance.withdrawable, required=amount)
    entry = NewEntry(
        key=key,
        type="withdraw",
        account_id=account.pk,
        postings=make_legs(account.pk, amount, currency, into=LedgerKind.CASH),
        at=at,
        livemode=account.livemode,
        description=notes,
        tags=tags,
        metadata=metadata or {},
    )
    data = {"amount": amount, "currency": currency, "notes": notes, "tags": tags}
    change.add(entry, balance.take(amount, paid_only=True), event="balance.withdrawn", data=data, reason=reason)
    return change.write(actor=actor)[key]


@transaction.atomic
def set_aside_prepaid(
    *,
    account_id: UUID,
    amount: int,
    currency: str,
    key: str,
    at: datetime,
    actor: Actor,
    metadata: dict[str, Any] | None = None,
) -> LedgerEntry:
    """
    Move `amount` minor units of paid money into what is to be refunded and return the entry; also of closed accounts.

    Money that was given away and what pending holds need stay. A `key` seen before answers the first entry.
    `corrections.give_back_prepaid` undoes it.
    :raises InsufficientBalance: when less can be withdrawn.
    """
    require_amount(amount)
    account = lock_account(account_id)
    if first := LedgerEntry.objects.filter(key=key).first():
        return first
    change, balance = PrepaidChange(), lock_balance(account, currency=currency, at=at)
    change.expire(balance)
    if balance.withdrawable < amount:
        raise InsufficientBalance(available=balance.withdrawable, required=amount)
    entry = NewEntry(
        key=key,
        type="refund",
        account_id=account.pk,
        postings=make_legs(account.pk, amount, currency, into=LedgerKind.REFUNDS_PENDING),
        at=at,
        livemode=account.livemode,
        description="Set aside for a refund",
        metadata=metadata or {},
    )
    data = {"amount": amount, "currency": currency, "notes": entry.description, "tags": ""}
    change.add(entry, balance.take(amount, paid_only=True), event="balance.withdrawn", data=data)
    return change.write(actor=actor)[key]
