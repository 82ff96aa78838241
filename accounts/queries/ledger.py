"""Balances and movements as people and callers see them: positive is money of the customer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import F, QuerySet, Sum, Value

from accounts.models import Account, Hold, HoldStatus, LedgerAccount, LedgerKind, Posting


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

    id: str
    type: str
    amount: int
    currency: str
    created_at: datetime
    tags: str = ""
    notes: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class MovementPage:
    movements: list[Movement]
    count: int


def get_balance(*, account_id: UUID, currency: str, at: datetime | None = None) -> Balance:
    """
    Return the prepaid balance in one currency, zero when the account never held it.

    With `at`, holds whose end has come by then do not count.
    """
    found = (
        LedgerAccount.objects.filter(account_id=account_id, kind=LedgerKind.PREPAID, currency=currency)
        .values_list("balance", flat=True)
        .first()
    )
    held = _sum_holds([account_id], at).get((account_id, currency), 0)
    return Balance(currency=currency, balance=-(found or 0), holds=held)


def list_balances(*, account_id: UUID, at: datetime | None = None) -> list[Balance]:
    """Return the prepaid balance in every currency the account ever held, by currency; `at` as in `get_balance`."""
    pots = LedgerAccount.objects.filter(account_id=account_id, kind=LedgerKind.PREPAID).order_by("currency")
    held = _sum_holds([account_id], at)
    return [
        Balance(currency=pot.currency, balance=-pot.balance, holds=held.get((account_id, pot.currency), 0))
        for pot in pots
    ]


def list_balances_of(account_ids: Iterable[UUID]) -> dict[UUID, list[Balance]]:
    """Return the prepaid balances of many accounts with two queries; those at zero are left out."""
    found: dict[UUID, list[Balance]] = {}
    owners = list(account_ids)
    held = _sum_holds(owners, None)
    pots = LedgerAccount.objects.filter(account_id__in=owners, kind=LedgerKind.PREPAID)
    for pot in pots.exclude(balance=0).order_by("currency"):
        if pot.account_id is not None:
            holds = held.get((pot.account_id, pot.currency), 0)
            found.setdefault(pot.account_id, []).append(Balance(pot.currency, -pot.balance, holds))
    return found


def _sum_holds(account_ids: list[UUID], at: datetime | None) -> dict[tuple[UUID, str], int]:
    """Return what pending holds set aside, by account and currency."""
    holds = Hold.objects.filter(account_id__in=account_ids, status=HoldStatus.PENDING)
    if at is not None:
        holds = holds.filter(expires_at__gt=at)
    rows = holds.order_by().values_list("account_id", "currency").annotate(total=Sum("amount"))
    return {(owner, currency): total for owner, currency, total in rows}


def list_movements(*, account: Account, currency: str | None = None, limit: int = 100, offset: int = 0) -> MovementPage:
    """
    Return prepaid movements, newest first, and how many there are in all.

    A hold is one movement, its end (captured, voided or expired) another; what is captured moves as a withdrawal too.
    """
    only = {} if currency is None else {"currency": currency}
    postings = Posting.objects.filter(ledger_account__account=account, ledger_account__kind=LedgerKind.PREPAID, **only)
    holds = Hold.objects.filter(account=account, **only)
    ended = holds.exclude(status=HoldStatus.PENDING)
    page = list(
        _mark(postings, "posting")
        .union(_mark(holds, "hold"), _mark(ended, "hold_removed", key="removal_id"), all=True)
        .order_by("-sort_key")[offset : offset + limit]
    )
    keys = {what: [key for _, kind, key in page if kind == what] for what in ("posting", "hold", "hold_removed")}
    found_postings = Posting.objects.select_related("entry").in_bulk(keys["posting"])
    found_holds = Hold.objects.in_bulk({*keys["hold"], *keys["hold_removed"]})
    return MovementPage(
        movements=[
            _show_posting(found_postings[key]) if what == "posting" else _show_hold(found_holds[key], what)
            for _, what, key in page
        ],
        count=postings.count() + holds.count() + ended.count(),
    )


def _mark(rows: QuerySet[Any], what: str, *, key: str = "id") -> QuerySet[Any, Any]:
    """Return (key to sort by, what it is, primary key) of rows. Keys are ordered by time."""
    marked = rows.order_by().annotate(sort_key=F(key), what=Value(what), row_id=F("id"))
    found: QuerySet[Any, Any] = marked.values_list("sort_key", "what", "row_id")
    return found


def _show_posting(posting: Posting) -> Movement:
    entry = posting.entry
    return Movement(
        id=entry.public_id,
        type=name_movement(entry.type, posting.amount),
        amount=abs(posting.amount),
        currency=posting.currency,
        created_at=entry.created_at,
        tags=entry.tags,
        notes=entry.description,
        metadata=entry.metadata,
        expires_at=entry.expires_at,
    )


def _show_hold(hold: Hold, what: str) -> Movement:
    is_end = what == "hold_removed"
    metadata = {**hold.metadata, "hold_id": hold.public_id, "status": hold.status}
    return Movement(
        id=hold.removal_public_id if is_end else hold.public_id,
        type=what,
        amount=hold.amount,
        currency=hold.currency,
        created_at=(hold.ended_at or hold.created_at) if is_end else hold.created_at,
        notes=hold.description,
        metadata=metadata if is_end else hold.metadata,
        expires_at=None if is_end else hold.expires_at,
    )


def name_movement(entry_type: str, amount: int) -> str:
    """Return how a posting to a prepaid account is called: `transfer`, else by its direction."""
    if entry_type == "transfer":
        return "transfer"
    return "deposit" if amount < 0 else "withdraw"
