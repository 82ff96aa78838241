"""Invoice credit as people and callers see it: positive is credit to be used on invoices."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.db.models import Q, QuerySet, Sum
from django.db.models.functions import Coalesce

from accounts.models import Account, LedgerAccount, LedgerKind, Posting

BALANCE_TRANSACTION_TYPES: Final = (
    "adjustment",
    "credit_note",
    "invoice_payment",
    "deposit",
    "bank_transfer",
    "refund",
    "proration",
)
# Entries whose own type says something else than what they mean for the invoice credit.
_SHOWN_AS: Final = {"invoice": "proration", "payment": "invoice_payment", "reversal": "adjustment"}


@dataclass(frozen=True, slots=True)
class BalanceTransaction:
    """One movement of invoice credit, minor units: `amount` is signed, `ending_balance` the balance after it."""

    id: str
    account_id: str
    amount: int
    currency: str
    type: str
    description: str
    ending_balance: int
    invoice_id: str | None
    credit_note_id: str | None
    source_ref: str
    metadata: dict[str, Any]
    created_at: datetime


def get_invoice_credit(*, account_id: UUID, currency: str) -> int:
    """Return the invoice credit in minor units of one currency; zero when none was ever booked."""
    pot = LedgerAccount.objects.filter(account_id=account_id, kind=LedgerKind.INVOICE_CREDIT, currency=currency)
    return -(pot.values_list("balance", flat=True).first() or 0)


def list_credit_postings(
    *,
    accounts: QuerySet[Account],
    currency: str | None = None,
    type: str | None = None,
    invoice_id: str | None = None,
) -> QuerySet[Posting]:
    """Return what moved the invoice credit of `accounts`, to be paged; `type` is one that is shown."""
    rows = Posting.objects.filter(
        ledger_account__kind=LedgerKind.INVOICE_CREDIT, ledger_account__account__in=accounts.order_by().values("pk")
    )
    if currency is not None:
        rows = rows.filter(currency=currency)
    if type is not None:
        named = [own for own, shown in _SHOWN_AS.items() if shown == type]
        wanted = Q(entry__type__in=[type, *named])
        if type == "adjustment":  # what has no name of its own
            wanted |= ~Q(entry__type__in=[*BALANCE_TRANSACTION_TYPES, *_SHOWN_AS])
        rows = rows.filter(wanted)
    if invoice_id is not None:
        rows = rows.filter(entry__metadata__invoice_id=invoice_id)
    return rows.select_related("entry", "ledger_account__account")


def show_postings(postings: Sequence[Posting]) -> list[BalanceTransaction]:
    """Return postings of one page, newest first, as movements with the balance after each."""
    ending = _compute_ending_balances(postings)
    return [_show(posting, ending[posting.pk]) for posting in postings]


def _compute_ending_balances(postings: Iterable[Posting]) -> dict[UUID, int]:
    """Return the balance after each posting: two queries per pot, however long its history is."""
    of_pot: dict[UUID, list[UUID]] = defaultdict(list)
    for posting in postings:
        of_pot[posting.ledger_account_id].append(posting.pk)
    found: dict[UUID, int] = {}
    for pot, keys in of_pot.items():
        rows = Posting.objects.filter(ledger_account=pot).order_by("id")
        before = rows.filter(pk__lt=min(keys)).aggregate(total=Coalesce(Sum("amount"), 0))["total"]
        for pk, amount in rows.filter(pk__gte=min(keys), pk__lte=max(keys)).values_list("id", "amount"):
            before += amount
            found[pk] = -before
    return found


def _show(posting: Posting, ending_balance: int) -> BalanceTransaction:
    entry, account = posting.entry, posting.ledger_account.account
    kind = _SHOWN_AS.get(entry.type, entry.type)
    return BalanceTransaction(
        id=entry.public_id,
        account_id="" if account is None else account.public_id,
        amount=-posting.amount,
        currency=posting.currency,
        type=kind if kind in BALANCE_TRANSACTION_TYPES else "adjustment",
        description=entry.description,
        ending_balance=ending_balance,
        invoice_id=entry.metadata.get("invoice_id"),
        credit_note_id=entry.metadata.get("credit_note_id"),
        source_ref=entry.metadata.get("source_ref") or entry.key,
        metadata=entry.metadata,
        created_at=entry.created_at,
    )


def get_balance_transaction(*, entry_id: UUID) -> BalanceTransaction:
    """
    Return the movement of invoice credit that an entry made.

    :raises Posting.DoesNotExist: when it made none.
    """
    rows = Posting.objects.select_related("entry", "ledger_account__account")
    return show_postings([rows.get(entry=entry_id, ledger_account__kind=LedgerKind.INVOICE_CREDIT)])[0]
