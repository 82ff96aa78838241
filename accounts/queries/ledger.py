"""Balances and movements as people and callers see them: positive is money of the customer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from accounts.models import Account, LedgerAccount, LedgerEntry, LedgerKind, Posting


@dataclass(frozen=True, slots=True)
class Balance:
    """Prepaid money in one currency, minor units. `available` is never below zero."""

    currency: str
    balance: int
    holds: int = 0

    @property
    def available(self) -> int:
        return max(0, self.balance - self.holds)


@dataclass(frozen=True, slots=True)
class Movement:
    """One line of a prepaid account. `amount` is above zero; `type` tells the direction."""

    entry: LedgerEntry
    type: str
    amount: int
    currency: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class MovementPage:
    movements: list[Movement]
    count: int


def get_balance(*, account_id: UUID, currency: str) -> Balance:
    """Return the prepaid balance in one currency, zero when the account never held it."""
    found = (
        LedgerAccount.objects.filter(account_id=account_id, kind=LedgerKind.PREPAID, currency=currency)
        .values_list("balance", flat=True)
        .first()
    )
    return Balance(currency=currency, balance=-(found or 0))


def list_balances(*, account_id: UUID) -> list[Balance]:
    """Return the prepaid balance in every currency the account ever held, by currency."""
    pots = LedgerAccount.objects.filter(account_id=account_id, kind=LedgerKind.PREPAID).order_by("currency")
    return [Balance(currency=pot.currency, balance=-pot.balance) for pot in pots]


def list_balances_of(account_ids: Iterable[UUID]) -> dict[UUID, list[Balance]]:
    """Return the prepaid balances of many accounts with one query; those at zero are left out."""
    found: dict[UUID, list[Balance]] = {}
    pots = LedgerAccount.objects.filter(account_id__in=list(account_ids), kind=LedgerKind.PREPAID)
    for pot in pots.exclude(balance=0).order_by("currency"):
        if pot.account_id is not None:
            found.setdefault(pot.account_id, []).append(Balance(currency=pot.currency, balance=-pot.balance))
    return found


def list_movements(*, account: Account, currency: str | None = None, limit: int = 100, offset: int = 0) -> MovementPage:
    """Return prepaid movements, newest first, and how many there are in all."""
    filters: dict[str, Any] = {"ledger_account__account": account, "ledger_account__kind": LedgerKind.PREPAID}
    if currency is not None:
        filters["currency"] = currency
    postings = Posting.objects.filter(**filters)
    page = postings.select_related("entry").order_by("-id")[offset : offset + limit]
    return MovementPage(
        movements=[
            Movement(
                entry=posting.entry,
                type=name_movement(posting.entry.type, posting.amount),
                amount=abs(posting.amount),
                currency=posting.currency,
                created_at=posting.entry.created_at,
            )
            for posting in page
        ],
        count=postings.count(),
    )


def name_movement(entry_type: str, amount: int) -> str:
    """Return how a posting to a prepaid account is called: `transfer`, else by its direction."""
    if entry_type == "transfer":
        return "transfer"
    return "deposit" if amount < 0 else "withdraw"
