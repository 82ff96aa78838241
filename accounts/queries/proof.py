"""The proof of the ledger: everything that is stored twice agrees. Run nightly and on request."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.db import connection

from accounts.models import CreditGrant, LedgerAccount, LedgerEntry, Posting
from billing_site.kernel.ids import encode_id
from billing_site.kernel.money import format_decimal


@dataclass(frozen=True, slots=True)
class LedgerFault:
    """The first row that is wrong, by public id, and what is wrong with it."""

    row: str
    what: str

    def __str__(self) -> str:
        return f"{self.row}: {self.what}"


@dataclass(frozen=True, slots=True)
class LedgerProof:
    """How much was looked at, and the first fault, if any."""

    accounts: int
    entries: int
    postings: int
    fault: LedgerFault | None

    @property
    def holds(self) -> bool:
        return self.fault is None


# Each answers (id, currency, expected, found) of the first row that is wrong.
_UNBALANCED = """
    SELECT entry_id, currency, 0, sum(amount)::bigint FROM ledger_postings
    GROUP BY entry_id, currency HAVING sum(amount) <> 0 ORDER BY entry_id LIMIT 1
"""
_WITHOUT_POSTINGS = """
    SELECT entry.id, '', 2, 0 FROM ledger_entries AS entry
    WHERE NOT EXISTS (SELECT FROM ledger_postings WHERE entry_id = entry.id) ORDER BY entry.id LIMIT 1
"""
_WRONG_CURRENCY = """
    SELECT posting.id, posting.currency, 0, 0 FROM ledger_postings AS posting
    JOIN ledger_accounts AS pot ON pot.id = posting.ledger_account_id
    WHERE pot.currency <> posting.currency ORDER BY posting.id LIMIT 1
"""
_WRONG_BALANCE = """
    SELECT pot.id, pot.currency, coalesce(total.amount, 0)::bigint, pot.balance FROM ledger_accounts AS pot
    LEFT JOIN (
        SELECT ledger_account_id, sum(amount) AS amount FROM ledger_postings GROUP BY ledger_account_id
    ) AS total ON total.ledger_account_id = pot.id
    WHERE pot.balance <> coalesce(total.amount, 0) ORDER BY pot.id LIMIT 1
"""
_WRONG_GRANT = """
    SELECT credit.id, credit.currency, credit.amount, credit.found::bigint FROM (
        SELECT id, currency, amount, remaining + released + (
            SELECT coalesce(sum(amount), 0) FROM credit_burns WHERE grant_id = credit_grants.id
        ) AS found FROM credit_grants
    ) AS credit WHERE credit.amount <> credit.found ORDER BY credit.id LIMIT 1
"""
_WRONG_CREDIT = """
    SELECT pot.id, pot.currency, coalesce(credit.remaining, 0)::bigint, -pot.balance FROM ledger_accounts AS pot
    LEFT JOIN (
        SELECT account_id, currency, sum(remaining) AS remaining FROM credit_grants GROUP BY account_id, currency
    ) AS credit ON credit.account_id = pot.account_id AND credit.currency = pot.currency
    WHERE pot.kind = 'credit_grants' AND pot.balance <> -coalesce(credit.remaining, 0) ORDER BY pot.id LIMIT 1
"""


def prove_ledger() -> LedgerProof:
    """
    Recompute every entry's sum and every balance from the postings.

    Each comparison is one statement, so it sees one moment even while money moves.
    """
    return LedgerProof(
        accounts=LedgerAccount.objects.count(),
        entries=LedgerEntry.objects.count(),
        postings=Posting.objects.count(),
        fault=_find_fault(),
    )


def _find_fault() -> LedgerFault | None:
    if row := _first(_UNBALANCED):
        return LedgerFault(
            encode_id(LedgerEntry.id_prefix, row[0]), f"postings sum to {_money(row[3], row[1])}, not zero"
        )
    if row := _first(_WITHOUT_POSTINGS):
        return LedgerFault(encode_id(LedgerEntry.id_prefix, row[0]), "has no postings")
    if row := _first(_WRONG_CURRENCY):
        return LedgerFault(
            encode_id(Posting.id_prefix, row[0]), f"is in {row[1].upper()}, its ledger account in another currency"
        )
    if row := _first(_WRONG_BALANCE):
        return LedgerFault(
            encode_id(LedgerAccount.id_prefix, row[0]),
            f"balance is {_money(row[3], row[1])}, its postings sum to {_money(row[2], row[1])}",
        )
    if row := _first(_WRONG_GRANT):
        return LedgerFault(
            encode_id(CreditGrant.id_prefix, row[0]),
            f"was {_money(row[2], row[1])}; paid, released and left are {_money(row[3], row[1])}",
        )
    if row := _first(_WRONG_CREDIT):
        return LedgerFault(
            encode_id(LedgerAccount.id_prefix, row[0]),
            f"balance is {_money(row[3], row[1])}, the grants have {_money(row[2], row[1])} left",
        )
    return None


def _first(query: str) -> tuple[UUID, str, int, int] | None:
    with connection.cursor() as cursor:
        cursor.execute(query)
        row: tuple[UUID, str, int, int] | None = cursor.fetchone()
        return row


def _money(amount: int, currency: str) -> str:
    return f"{format_decimal(amount, currency)} {currency.upper()}"
