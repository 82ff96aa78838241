"""The proof of the ledger: everything that is stored twice agrees. Run nightly and on request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from django.db import connection

from accounts.models import CreditGrant, CreditLot, Hold, LedgerAccount, LedgerEntry, Posting
from billing_site.kernel.ids import encode_id
from billing_site.kernel.money import format_decimal
from billing_site.platform.models import Identified
from catalog.models import Coupon


@dataclass(frozen=True, slots=True)
class LedgerFault:
    """The first row that is wrong, and what is wrong with it."""

    model: type[Identified]
    pk: UUID
    what: str

    @property
    def row(self) -> str:
        """The public id of the row."""
        return encode_id(self.model.id_prefix, self.pk)

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


@dataclass(frozen=True, slots=True)
class LedgerCheck:
    """
    One comparison. `query` answers (id of a `model`, currency, expected, found) of every row that is wrong.

    `describe` gets (currency in capitals, expected, found) with amounts in major units.
    """

    model: type[Identified]
    query: str
    describe: Callable[[str, str, str], str]


# What an entry moved on the prepaid pot of an account: credit below zero.
_PREPAID_LEGS: Final = """
    SELECT leg.entry_id, pot.account_id, leg.currency, sum(leg.amount) AS amount FROM ledger_postings AS leg
    JOIN ledger_accounts AS pot ON pot.id = leg.ledger_account_id AND pot.kind = 'prepaid'
    GROUP BY leg.entry_id, pot.account_id, leg.currency
"""
_CHECKS: Final = (
    LedgerCheck(
        LedgerEntry,
        """
        SELECT entry_id, currency, 0, sum(amount)::bigint FROM ledger_postings
        GROUP BY entry_id, currency HAVING sum(amount) <> 0
        """,
        lambda currency, _, found: f"postings sum to {found} {currency}, not zero",
    ),
    LedgerCheck(
        LedgerEntry,
        """
        SELECT entry.id, '', 2, 0 FROM ledger_entries AS entry
        WHERE NOT EXISTS (SELECT FROM ledger_postings WHERE entry_id = entry.id)
        """,
        lambda *_: "has no postings",
    ),
    LedgerCheck(
        Posting,
        """
        SELECT leg.id, leg.currency, 0, 0 FROM ledger_postings AS leg
        LEFT JOIN ledger_entries AS entry ON entry.id = leg.entry_id
        LEFT JOIN ledger_accounts AS pot ON pot.id = leg.ledger_account_id
        WHERE entry.id IS NULL OR pot.id IS NULL
        """,
        lambda *_: "its entry or its ledger account is gone",
    ),
    LedgerCheck(
        Posting,
        """
        SELECT leg.id, leg.currency, 0, 0 FROM ledger_postings AS leg
        JOIN ledger_accounts AS pot ON pot.id = leg.ledger_account_id
        WHERE pot.currency <> leg.currency
        """,
        lambda currency, *_: f"is in {currency}, its ledger account in another currency",
    ),
    LedgerCheck(
        LedgerAccount,
        """
        SELECT pot.id, pot.currency, coalesce(total.amount, 0)::bigint, pot.balance FROM ledger_accounts AS pot
        LEFT JOIN (
            SELECT ledger_account_id, sum(amount) AS amount FROM ledger_postings GROUP BY ledger_account_id
        ) AS total ON total.ledger_account_id = pot.id
        WHERE pot.balance <> coalesce(total.amount, 0)
        """,
        lambda currency, expected, found: f"balance is {found} {currency}, its postings sum to {expected} {currency}",
    ),
    # A correction may put a part of its money back into older lots, so its own lot may be smaller than the entry.
    LedgerCheck(
        CreditLot,
        f"""
        SELECT lot.id, lot.currency, -coalesce(leg.amount, 0)::bigint, lot.amount FROM credit_lots AS lot
        JOIN ledger_entries AS entry ON entry.id = lot.entry_id
        LEFT JOIN ({_PREPAID_LEGS}) AS leg
            ON leg.entry_id = lot.entry_id AND leg.account_id = lot.account_id AND leg.currency = lot.currency
        WHERE lot.amount > -coalesce(leg.amount, 0) OR (entry.type = 'deposit' AND lot.amount <> -leg.amount)
        """,  # noqa: S608 - joined with a constant
        lambda currency, expected, found: f"is of {found} {currency}, its entry brought {expected} {currency}",
    ),
    LedgerCheck(
        CreditLot,
        """
        SELECT lot.id, lot.currency, (lot.amount - coalesce(taken.amount, 0))::bigint, lot.remaining
        FROM credit_lots AS lot LEFT JOIN (
            SELECT lot_id, sum(amount) AS amount FROM credit_lot_takings GROUP BY lot_id
        ) AS taken ON taken.lot_id = lot.id
        WHERE lot.remaining <> lot.amount - coalesce(taken.amount, 0)
        """,
        lambda currency, expected, found: f"has {found} {currency} left; what was taken leaves {expected} {currency}",
    ),
    LedgerCheck(
        LedgerEntry,
        f"""
        SELECT taken.entry_id, taken.currency, abs(coalesce(leg.amount, 0))::bigint, abs(taken.amount)::bigint FROM (
            SELECT taking.entry_id, lot.account_id, lot.currency, sum(taking.amount) AS amount
            FROM credit_lot_takings AS taking JOIN credit_lots AS lot ON lot.id = taking.lot_id
            GROUP BY taking.entry_id, lot.account_id, lot.currency
        ) AS taken LEFT JOIN ({_PREPAID_LEGS}) AS leg
            ON leg.entry_id = taken.entry_id AND leg.account_id = taken.account_id AND leg.currency = taken.currency
        WHERE abs(taken.amount) > abs(coalesce(leg.amount, 0))
        """,  # noqa: S608 - joined with a constant
        lambda currency, expected, found: f"moved {expected} {currency}, but {found} {currency} in deposits",
    ),
    LedgerCheck(
        LedgerAccount,
        """
        SELECT pot.id, pot.currency, greatest(0, -pot.balance), lots.remaining::bigint FROM ledger_accounts AS pot
        JOIN (
            SELECT account_id, currency, sum(remaining) AS remaining FROM credit_lots GROUP BY account_id, currency
        ) AS lots ON lots.account_id = pot.account_id AND lots.currency = pot.currency
        WHERE pot.kind = 'prepaid' AND lots.remaining > greatest(0, -pot.balance)
        """,
        lambda currency, expected, found: f"holds {expected} {currency}, its deposits have {found} {currency} left",
    ),
    LedgerCheck(
        Hold,
        f"""
        SELECT held.id, held.currency, held.captured_amount, coalesce(leg.amount, 0)::bigint FROM holds AS held
        LEFT JOIN ({_PREPAID_LEGS}) AS leg
            ON leg.entry_id = held.entry_id AND leg.account_id = held.account_id AND leg.currency = held.currency
        WHERE held.captured_amount <> coalesce(leg.amount, 0)
        """,  # noqa: S608 - joined with a constant
        lambda currency, expected, found: f"captured {expected} {currency}, its entry took {found} {currency}",
    ),
    LedgerCheck(
        LedgerEntry,
        """
        SELECT entry.id, '', 0, 0 FROM ledger_entries AS entry
        WHERE entry.type = 'capture' AND NOT EXISTS (SELECT FROM holds WHERE entry_id = entry.id)
        """,
        lambda *_: "captures no hold",
    ),
    LedgerCheck(
        CreditGrant,
        """
        SELECT credit.id, credit.currency, credit.amount, credit.found::bigint FROM (
            SELECT id, currency, amount, remaining + released + (
                SELECT coalesce(sum(amount), 0) FROM credit_burns WHERE grant_id = credit_grants.id
            ) AS found FROM credit_grants
        ) AS credit WHERE credit.amount <> credit.found
        """,
        lambda currency, expected, found: f"was {expected} {currency}; paid, released and left are {found} {currency}",
    ),
    LedgerCheck(
        LedgerAccount,
        """
        SELECT pot.id, pot.currency, coalesce(credit.remaining, 0)::bigint, -pot.balance FROM ledger_accounts AS pot
        LEFT JOIN (
            SELECT account_id, currency, sum(remaining) AS remaining FROM credit_grants GROUP BY account_id, currency
        ) AS credit ON credit.account_id = pot.account_id AND credit.currency = pot.currency
        WHERE pot.kind = 'credit_grants' AND pot.balance <> -coalesce(credit.remaining, 0)
        """,
        lambda currency, expected, found: f"balance is {found} {currency}, the grants have {expected} {currency} left",
    ),
    LedgerCheck(
        Coupon,
        """
        SELECT coupon.id, '', count(used.id), coupon.redemption_count FROM coupons AS coupon
        LEFT JOIN coupon_redemptions AS used ON used.coupon_id = coupon.id
        GROUP BY coupon.id HAVING coupon.redemption_count <> count(used.id)
        """,
        lambda _, expected, found: f"counts {found} redemptions, there are {expected}",
    ),
)

_FURTHER: list[LedgerCheck] = []


def register_check(check: LedgerCheck) -> None:
    """Add a comparison with what an app above books; registering it again changes nothing."""
    if check not in _FURTHER:
        _FURTHER.append(check)


def prove_ledger() -> LedgerProof:
    """
    Recompute entries, balances, deposits, holds, credit, what it paid and uses of coupons from what they were made of.

    Each comparison is one statement, so it sees one moment even while money moves.
    """
    return LedgerProof(
        accounts=LedgerAccount.objects.count(),
        entries=LedgerEntry.objects.count(),
        postings=Posting.objects.count(),
        fault=next((fault for check in (*_CHECKS, *_FURTHER) if (fault := _run(check))), None),
    )


def _run(check: LedgerCheck) -> LedgerFault | None:
    with connection.cursor() as cursor:
        # Planned for all rows, of which the first is shown: asked for one alone, the server expects to meet it soon and
        # walks by id, which takes the square of the rows when nothing is wrong.
        cursor.execute(
            f"SELECT * FROM ({check.query} OFFSET 0) AS wrong (id, currency, expected, found)"  # noqa: S608 - our own
            " ORDER BY id LIMIT 1"
        )
        row: tuple[UUID, str, int, int] | None = cursor.fetchone()
    if row is None:
        return None
    pk, currency, expected, found = row
    amounts = [format_decimal(amount, currency) if currency else str(amount) for amount in (expected, found)]
    return LedgerFault(check.model, pk, check.describe(currency.upper(), *amounts))
