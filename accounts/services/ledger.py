"""
Double entry: every movement of money is an entry whose postings sum to zero per currency.

Amounts are signed minor units, debit positive. Entries are never changed, only reversed. The database refuses what
breaks these rules; here they are met with a constant number of statements for any number of entries.
Source: contract chapter Ledger.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Q

from accounts.models import LedgerAccount, LedgerEntry, Posting
from accounts.models.ledger import ACCOUNT_KINDS, LEDGER_TYPES
from billing_site.kernel.errors import InvalidState
from billing_site.platform.models.bulk import RowMaker, copy_rows, insert_rows
from billing_site.platform.models.copy_format import write_array

PotKey = tuple[str, UUID | None, str]
_ENTRY_COLUMNS: Final = (
    "key",
    "type",
    "account_id",
    "description",
    "tags",
    "metadata",
    "expires_at",
    "reverses_id",
    "livemode",
    "created_at",
)


class EntryUnbalanced(ValueError):
    """The postings do not sum to zero, are too few, or name a pot that cannot exist: a bug of the caller."""


@dataclass(frozen=True, slots=True)
class PostingSpec:
    """One leg: minor units of `currency`, debit positive. `account_id` is None for the platform's pots."""

    kind: str
    account_id: UUID | None
    currency: str
    amount: int

    @property
    def pot(self) -> PotKey:
        return (str(self.kind), self.account_id, self.currency)


@dataclass(frozen=True, slots=True)
class NewEntry:
    """A movement to be posted. `key` makes it happen once."""

    key: str
    type: str
    account_id: UUID | None
    postings: Sequence[PostingSpec]
    at: datetime
    livemode: bool
    description: str = ""
    tags: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    expires_at: datetime | None = None
    reverses_id: UUID | None = None

    def check(self) -> None:
        """:raises EntryUnbalanced: unless the database would take it."""
        totals: dict[str, int] = defaultdict(int)
        for posting in self.postings:
            if type(posting.amount) is not int or posting.amount == 0:
                raise EntryUnbalanced(f"{self.key}: {posting.amount!r} is not a whole amount other than zero")
            if (posting.kind in ACCOUNT_KINDS) != (posting.account_id is not None):
                raise EntryUnbalanced(f"{self.key}: {posting.kind} with the wrong kind of owner")
            totals[posting.currency] += posting.amount
        if len(self.postings) < 2 or any(totals.values()):
            raise EntryUnbalanced(f"{self.key}: postings do not balance: {dict(totals)}")


def post_entry(
    *,
    key: str,
    type: str,
    account_id: UUID | None,
    postings: Sequence[PostingSpec],
    at: datetime,
    livemode: bool,
    description: str = "",
    tags: str = "",
    metadata: dict[str, Any] | None = None,
    expires_at: datetime | None = None,
    reverses: LedgerEntry | None = None,
) -> LedgerEntry:
    """
    Post one entry and return it; a `key` seen before answers the first entry and posts nothing.

    :raises EntryUnbalanced: if the postings do not sum to zero per currency.
    """
    entry = NewEntry(
        key=key,
        type=type,
        account_id=account_id,
        postings=postings,
        at=at,
        livemode=livemode,
        description=description,
        tags=tags,
        metadata=metadata or {},
        expires_at=expires_at,
        reverses_id=None if reverses is None else reverses.pk,
    )
    return post_entries([entry])[0]


@transaction.atomic
def post_entries(entries: Iterable[NewEntry]) -> list[LedgerEntry]:
    """
    Post many entries and return them in the order given; keys seen before answer their first entry.

    The number of statements does not depend on the number of entries. Pots of accounts are locked first and in a fixed
    order, those of the platform last: call this once in a transaction, as late as possible.
    :raises EntryUnbalanced: if any entry does not balance; then nothing is posted.
    """
    asked = list(entries)
    for entry in asked:
        entry.check()
    # In the order given: what comes first stands first in lists of movements, too.
    first_of_key: dict[str, NewEntry] = {}
    for entry in asked:
        first_of_key.setdefault(entry.key, entry)
    if not first_of_key:
        return []
    pots = _ensure_pots({posting.pot for entry in first_of_key.values() for posting in entry.postings})
    _lock(pot_id for (_, owner, _), pot_id in pots.items() if owner is not None)
    written, new = _insert_entries(first_of_key)
    changes = _insert_postings(new, written, pots)
    _lock(pot_id for (_, owner, _), pot_id in pots.items() if owner is None and pot_id in changes)
    _add_to_balances(changes)
    return [written[entry.key] for entry in asked]


@transaction.atomic
def reverse_entry(*, entry: LedgerEntry, at: datetime, key: str = "", description: str = "") -> LedgerEntry:
    """
    Post the opposite of `entry` and return it; reversing the same entry again answers the first reversal.

    :raises InvalidState: if the entry is a reversal itself, or moved deposits: those are corrected or withdrawn, so
        that what is left of each stays true.
    """
    return reverse_entries(entries=[entry], at=at, keys={entry.pk: key} if key else {}, description=description)[0]


@transaction.atomic
def reverse_entries(
    *, entries: Sequence[LedgerEntry], at: datetime, keys: dict[UUID, str] | None = None, description: str = ""
) -> list[LedgerEntry]:
    """Reverse many entries with a constant number of statements; see `reverse_entry`."""
    legs: dict[UUID, list[PostingSpec]] = defaultdict(list)
    postings = Posting.objects.filter(entry__in=entries).select_related("ledger_account").order_by("id")
    for posting in postings:
        pot = posting.ledger_account
        legs[posting.entry_id].append(PostingSpec(pot.kind, pot.account_id, pot.currency, -posting.amount))
    for entry in entries:
        if entry.reverses_id is not None:
            raise InvalidState(f"{entry.public_id} is a reversal itself.", current_status="reversal")
    moved = LedgerEntry.objects.filter(Q(lot__isnull=False) | Q(takings__isnull=False), pk__in=list(legs)).first()
    if moved is not None:
        raise InvalidState(
            f"{moved.public_id} moved deposits; it cannot be reversed as it is.", current_status="posted"
        )
    return post_entries(
        NewEntry(
            key=(keys or {}).get(entry.pk) or f"reversal:{entry.public_id}",
            type="reversal",
            account_id=entry.account_id,
            postings=legs[entry.pk],
            at=at,
            livemode=entry.livemode,
            description=description or f"Reversal of {entry.key}",
            reverses_id=entry.pk,
        )
        for entry in entries
    )


def _ensure_pots(wanted: set[PotKey]) -> dict[PotKey, UUID]:
    """Return the ids of the ledger accounts, created where missing."""
    pots = _find_pots(wanted)
    missing = wanted - pots.keys()
    if missing:
        LedgerAccount.objects.bulk_create(
            [
                LedgerAccount(kind=kind, type=LEDGER_TYPES[kind], account_id=account_id, currency=currency)
                for kind, account_id, currency in sorted(missing, key=str)
            ],
            ignore_conflicts=True,
        )
        pots |= _find_pots(missing)
    return pots


def _find_pots(wanted: set[PotKey]) -> dict[PotKey, UUID]:
    owners = {owner for _, owner, _ in wanted if owner is not None}
    condition = Q(account__isnull=True) if any(owner is None for _, owner, _ in wanted) else Q()
    if owners:
        condition |= Q(account_id__in=owners)
    found = LedgerAccount.objects.filter(
        condition, kind__in={kind for kind, _, _ in wanted}, currency__in={currency for _, _, currency in wanted}
    ).values_list("kind", "account_id", "currency", "id")
    return {(kind, owner, currency): pk for kind, owner, currency, pk in found if (kind, owner, currency) in wanted}


def _lock(ids: Iterable[UUID]) -> None:
    """Lock ledger accounts by id. Foreign keys to them stay possible, so only balances wait for each other."""
    wanted = list(ids)
    if wanted:
        rows = LedgerAccount.objects.select_for_update(no_key=True).filter(pk__in=wanted).order_by("id")
        list(rows.values_list("id", flat=True))


def lock_pots(*, account_id: UUID, currency: str) -> None:
    """
    Lock the ledger accounts of an account, then the product's own, in a currency, as far as there are any.

    For use cases that post more than once in a transaction: from the first entry on they hold what the later ones need.
    """
    rows = LedgerAccount.objects.filter(currency=currency)
    _lock(rows.filter(account_id=account_id).values_list("id", flat=True))
    _lock(rows.filter(account__isnull=True).values_list("id", flat=True))


def _insert_entries(wanted: dict[str, NewEntry]) -> tuple[dict[str, LedgerEntry], list[NewEntry]]:
    """Insert what is new. Return all rows by key, and which of them were written now."""
    make = RowMaker(LedgerEntry, *_ENTRY_COLUMNS).make
    rows = {
        entry.key: make(
            entry.key,
            entry.type,
            entry.account_id,
            entry.description,
            entry.tags,
            entry.metadata,
            entry.expires_at,
            entry.reverses_id,
            entry.livemode,
            entry.at,
        )
        for entry in wanted.values()
    }
    new = insert_rows(list(rows.values()))
    known = [key for key, row in rows.items() if row.pk not in new]
    if known:
        rows |= {entry.key: entry for entry in LedgerEntry.objects.filter(key__in=known)}
    return rows, [entry for key, entry in wanted.items() if rows[key].pk in new]


def _insert_postings(
    new: Sequence[NewEntry], written: dict[str, LedgerEntry], pots: dict[PotKey, UUID]
) -> dict[UUID, int]:
    """Insert the postings of the new entries. Return by how much each ledger account changes."""
    changes: dict[UUID, int] = defaultdict(int)
    rows: list[Posting] = []
    make = RowMaker(Posting, "entry_id", "ledger_account_id", "amount", "currency").make
    for entry in new:
        for posting in entry.postings:
            pot_id = pots[posting.pot]
            changes[pot_id] += posting.amount
            rows.append(make(written[entry.key].pk, pot_id, posting.amount, posting.currency))
    copy_rows(rows)
    return changes


def _add_to_balances(changes: dict[UUID, int]) -> None:
    if not changes:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE ledger_accounts AS pot SET balance = pot.balance + change.amount
            FROM unnest(%s::uuid[], %s::bigint[]) AS change (id, amount)
            WHERE pot.id = change.id
            """,
            [write_array("uuid", list(changes.keys())), write_array("bigint", list(changes.values()))],
        )
