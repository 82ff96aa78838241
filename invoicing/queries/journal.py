"""
The journal of a month: every ledger entry as a balanced set of rows, for the books of finance.

Source: contract chapter Ledger; ADR 0044.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import islice
from typing import Final
from uuid import UUID

from django.db.models import Q, QuerySet

from accounts.models import LedgerEntry, Posting
from billing_site.kernel.csv_text import keep_as_text
from billing_site.kernel.money import format_decimal
from billing_site.kernel.periods import add_months
from invoicing.models import CreditNote, Invoice, Seller, SellerAssignment

JOURNAL_COLUMNS: Final = ("date", "document", "account", "ledger_account", "debit", "credit", "currency", "text")
_BATCH: Final = 2000


@dataclass(frozen=True, slots=True)
class JournalRow:
    """
    One leg of an entry. `amount` is minor units, debit positive.

    `document` is the number of a credit note or invoice where there is one, else the id of the entry; rows of one
    `entry` belong together. `ledger_account` is the code of the seller's chart of accounts, else the kind.
    """

    entry: UUID
    day: date
    document: str
    account: str
    ledger_account: str
    amount: int
    currency: str
    text: str

    def as_cells(self) -> list[str]:
        """Return the row of the file; amounts in major units."""
        written = format_decimal(abs(self.amount), self.currency)
        return [
            self.day.isoformat(),
            keep_as_text(self.document),
            keep_as_text(self.account),
            keep_as_text(self.ledger_account),
            written if self.amount > 0 else "",
            written if self.amount < 0 else "",
            self.currency.upper(),
            keep_as_text(self.text),
        ]


@dataclass(slots=True)
class JournalTotals:
    """What passed by: debits and credits by currency, and the entries whose rows do not sum to zero."""

    rows: int = 0
    debits: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    credits: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    unbalanced: list[str] = field(default_factory=list)
    _entry: UUID | None = None
    _document: str = ""
    _open: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def watch(self, rows: Iterable[JournalRow]) -> Iterator[JournalRow]:
        """Hand on the rows and count them; rows of one entry come one after the other."""
        for row in rows:
            if row.entry != self._entry:
                self._close()
                self._entry, self._document = row.entry, row.document
            self.rows += 1
            (self.debits if row.amount > 0 else self.credits)[row.currency] += abs(row.amount)
            self._open[row.currency] += row.amount
            yield row
        self._close()

    def _close(self) -> None:
        if any(self._open.values()):
            self.unbalanced.append(self._document)
        self._open.clear()

    @property
    def is_balanced(self) -> bool:
        return not self.unbalanced and dict(self.debits) == dict(self.credits)


def stream_journal(*, org_id: str, month: date, seller_id: UUID | None = None) -> Iterator[JournalRow]:
    """
    Yield the journal of one organization in the calendar month (UTC) of `month`, in order of booking.

    With `seller_id`, only what that seller booked: its documents, its revenue by day, and the other movements of the
    accounts that it bills now. Rows come from the database as they are read, documents with three queries for 2,000.
    """
    sellers = list(Seller.objects.filter(org_id=org_id).order_by("-is_default", "id"))
    rows = iter(_select_postings(org_id, month, sellers).iterator(chunk_size=_BATCH))
    while batch := list(islice(rows, _BATCH)):
        yield from _name_rows(batch, sellers, seller_id)


def _select_postings(org_id: str, month: date, sellers: Sequence[Seller]) -> QuerySet[Posting]:
    first = datetime(month.year, month.month, 1, tzinfo=UTC)
    after = add_months(first.date(), 1)
    end = datetime(after.year, after.month, 1, tzinfo=UTC)
    mine = Q(entry__account__org_id=org_id) | Q(
        entry__account__isnull=True, entry__metadata__seller_id__in=[seller.public_id for seller in sellers]
    )
    return (
        Posting.objects.filter(mine, entry__created_at__gte=first, entry__created_at__lt=end)
        .select_related("entry__account", "entry__reverses", "ledger_account__account")
        .order_by("entry__created_at", "entry_id", "id")
    )


def _name_rows(postings: Sequence[Posting], sellers: Sequence[Seller], only: UUID | None) -> Iterator[JournalRow]:
    charts: Mapping[UUID, dict[str, str]] = {seller.id: seller.ledger_codes for seller in sellers}
    by_public_id = {seller.public_id: seller.id for seller in sellers}
    default = sellers[0].id if sellers else None
    keys = {key for posting in postings if (key := _get_invoice_key(posting.entry)) is not None}
    noted = {key for posting in postings if (key := _get_note_key(posting.entry)) is not None}
    notes = dict(CreditNote.objects.filter(id__in=noted).values_list("id", "number_text"))
    invoices = {row.id: row for row in Invoice.objects.filter(id__in=keys).only("id", "number_text", "seller_id")}
    owners = {posting.entry.account_id for posting in postings if posting.entry.account_id is not None}
    assigned = SellerAssignment.objects.filter(account_id__in=owners).values_list("account_id", "seller_id")
    billed_by: dict[UUID | None, UUID] = dict(assigned)
    for posting in postings:
        entry, pot = posting.entry, posting.ledger_account
        key = _get_invoice_key(entry)
        note = _get_note_key(entry)
        invoice = None if key is None else invoices.get(key)
        seller_id: UUID | None = None if invoice is None else invoice.seller_id
        if seller_id is None:
            seller_id = by_public_id.get(entry.metadata.get("seller_id", "")) or billed_by.get(
                entry.account_id, default
            )
        if only is not None and seller_id != only:
            continue
        owner = pot.account or entry.account
        chart = {} if seller_id is None else charts.get(seller_id, {})
        yield JournalRow(
            entry=entry.pk,
            day=entry.created_at.astimezone(UTC).date(),
            document=(notes.get(note, "") if note else "")
            or (invoice.number_text if invoice is not None else "")
            or entry.public_id,
            account="" if owner is None else owner.external_id or owner.public_id,
            ledger_account=chart.get(pot.kind) or pot.kind,
            amount=posting.amount,
            currency=posting.currency,
            text=entry.description or entry.type,
        )


def _get_invoice_key(entry: LedgerEntry) -> UUID | None:
    """Return which invoice the entry, or the one that it reverses, is about."""
    return Invoice.parse_id(_find_name(entry, "invoice_id"))


def _get_note_key(entry: LedgerEntry) -> UUID | None:
    """Return which credit note the entry, or the one that it reverses, books."""
    return CreditNote.parse_id(_find_name(entry, "credit_note_id"))


def _find_name(entry: LedgerEntry, name: str) -> str:
    named = entry.metadata.get(name)
    if named is None and entry.reverses is not None:
        named = entry.reverses.metadata.get(name)
    return named if isinstance(named, str) else ""
