"""What the proof of the ledger checks of deferred revenue. Source: ADR 0044."""

from __future__ import annotations

from typing import Final

from accounts.models import LedgerAccount, LedgerEntry
from accounts.queries.proof import LedgerCheck
from invoicing.models import Invoice, RevenueRelease, RevenueSchedule


def sum_until(day: str) -> str:
    """Return the SQL of what a row `schedule` earns before `day`, the formula of `calculation.recognition`."""
    passed, days = f"({day} - schedule.first_day)", "(schedule.end_day - schedule.first_day)"
    return (
        f"sign(schedule.amount)::bigint * ({passed} * (abs(schedule.amount) / {days})"
        f" + least({passed}, abs(schedule.amount) % {days}))"
    )


# What each entry moved on the platform's pot of deferred revenue: debit above zero.
_DEFERRED_LEGS: Final = """
    SELECT leg.entry_id, leg.currency, sum(leg.amount) AS amount FROM ledger_postings AS leg
    JOIN ledger_accounts AS pot ON pot.id = leg.ledger_account_id AND pot.kind = 'deferred_revenue'
    GROUP BY leg.entry_id, leg.currency
"""
REVENUE_CHECKS: Final = (
    LedgerCheck(
        RevenueSchedule,
        f"""
        SELECT schedule.id, schedule.currency, {sum_until("schedule.recognized_until")}, schedule.recognized
        FROM revenue_schedules AS schedule
        WHERE schedule.recognized <> {sum_until("schedule.recognized_until")}
        """,  # noqa: S608 - constants only
        lambda currency, expected, found: f"says {found} {currency} are earned, its days make {expected} {currency}",
    ),
    # What is deferred is what issued lines that are not void have not earned yet.
    LedgerCheck(
        LedgerAccount,
        """
        SELECT pot.id, pot.currency, -coalesce(owed.amount, 0)::bigint, pot.balance FROM ledger_accounts AS pot
        LEFT JOIN (
            SELECT schedule.currency, sum(schedule.amount - schedule.recognized) AS amount
            FROM revenue_schedules AS schedule JOIN invoices AS invoice ON invoice.id = schedule.invoice_id
            WHERE invoice.status <> 'void' AND schedule.taken_back_at IS NULL GROUP BY schedule.currency
        ) AS owed ON owed.currency = pot.currency
        WHERE pot.kind = 'deferred_revenue' AND pot.balance <> -coalesce(owed.amount, 0)
        """,
        lambda currency, expected, found: f"balance is {found} {currency}, lines still defer {expected} {currency}",
    ),
    LedgerCheck(
        LedgerEntry,
        f"""
        SELECT entry.id, planned.currency, -planned.amount::bigint, coalesce(leg.amount, 0)::bigint FROM (
            SELECT schedule.source, schedule.currency,
                sum(schedule.amount - {sum_until("schedule.deferred_from")}) AS amount
            FROM revenue_schedules AS schedule GROUP BY schedule.source, schedule.currency
        ) AS planned JOIN ledger_entries AS entry ON entry.key = planned.source
        LEFT JOIN ({_DEFERRED_LEGS}) AS leg ON leg.entry_id = entry.id AND leg.currency = planned.currency
        WHERE coalesce(leg.amount, 0) <> -planned.amount
        """,  # noqa: S608 - constants only
        lambda currency, expected, found: f"deferred {found} {currency}, its lines defer {expected} {currency}",
    ),
    LedgerCheck(
        RevenueRelease,
        f"""
        SELECT release.id, release.currency, release.amount, coalesce(leg.amount, 0)::bigint
        FROM revenue_releases AS release LEFT JOIN ({_DEFERRED_LEGS}) AS leg
            ON leg.entry_id = release.entry_id AND leg.currency = release.currency
        WHERE release.amount <> coalesce(leg.amount, 0)
        """,  # noqa: S608 - joined with a constant
        lambda currency, expected, found: f"released {expected} {currency}, its entry moved {found} {currency}",
    ),
    # Void documents count, too: what their days brought is taken back by an entry of its own.
    LedgerCheck(
        RevenueRelease,
        f"""
        SELECT released.id, released.currency, coalesce(earned.amount, 0)::bigint, released.amount::bigint FROM (
            SELECT min(id::text)::uuid AS id, seller_id, currency, livemode, sum(amount) AS amount
            FROM revenue_releases GROUP BY seller_id, currency, livemode
        ) AS released LEFT JOIN (
            SELECT schedule.seller_id, schedule.currency, schedule.livemode,
                sum(schedule.recognized - {sum_until("schedule.deferred_from")}) AS amount
            FROM revenue_schedules AS schedule GROUP BY 1, 2, 3
        ) AS earned USING (seller_id, currency, livemode)
        WHERE released.amount <> coalesce(earned.amount, 0)
        """,  # noqa: S608 - constants only
        lambda currency, expected, found: (
            f"and its like released {found} {currency}, the days of their lines make {expected} {currency}"
        ),
    ),
    LedgerCheck(
        Invoice,
        """
        SELECT invoice.id, '', 0, 0 FROM invoices AS invoice JOIN revenue_schedules AS schedule
            ON schedule.invoice_id = invoice.id AND schedule.source LIKE 'invoice:%'
        WHERE (invoice.status = 'void') <> (schedule.taken_back_at IS NOT NULL)
        """,
        lambda *_: "is void and still earns revenue, or earns none and is not void",
    ),
)
