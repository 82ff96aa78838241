"""
What the proof of the ledger checks of invoices; what it checks of deferred revenue is in `revenue_proof`.

What stored money paid is booked, void invoices owe nothing, discounts had the months that invoices used, and charges
that waited are on the invoice that took them up.
"""

from __future__ import annotations

from typing import Final

from accounts.models import SubscriptionDiscount
from accounts.queries.proof import LedgerCheck, register_check
from invoicing.models import Invoice, InvoiceCredit, PendingCharge
from invoicing.queries.refund_proof import REFUND_CHECKS
from invoicing.queries.revenue_proof import REVENUE_CHECKS

# What each entry moved on the receivable of an account: debit above zero.
_RECEIVABLE_LEGS: Final = """
    SELECT leg.entry_id, leg.currency, sum(leg.amount) AS amount FROM ledger_postings AS leg
    JOIN ledger_accounts AS pot ON pot.id = leg.ledger_account_id AND pot.kind = 'receivable'
    GROUP BY leg.entry_id, leg.currency
"""
_CHECKS: Final = (
    LedgerCheck(
        Invoice,
        """
        SELECT invoice.id, invoice.currency, coalesce(paid.amount, 0)::bigint, invoice.credit_applied
        FROM invoices AS invoice LEFT JOIN (
            SELECT invoice_id, sum(amount) AS amount FROM invoice_credits WHERE payment = 0 GROUP BY invoice_id
        ) AS paid ON paid.invoice_id = invoice.id
        WHERE invoice.credit_applied <> coalesce(paid.amount, 0)
        """,
        lambda currency, expected, found: (
            f"says {found} {currency} were applied, its credits sum to {expected} {currency}"
        ),
    ),
    LedgerCheck(
        Invoice,
        """
        SELECT invoice.id, invoice.currency, paid.amount::bigint, invoice.amount_paid
        FROM invoices AS invoice JOIN (
            SELECT invoice_id, sum(amount) AS amount FROM invoice_credits WHERE payment > 0 GROUP BY invoice_id
        ) AS paid ON paid.invoice_id = invoice.id
        WHERE invoice.status <> 'void' AND invoice.amount_paid < paid.amount
        """,
        lambda currency, expected, found: (
            f"says {found} {currency} were paid, stored money alone paid {expected} {currency} after issue"
        ),
    ),
    LedgerCheck(
        InvoiceCredit,
        f"""
        SELECT paid.id, paid.currency, paid.amount::bigint, -coalesce(leg.amount, 0)::bigint FROM (
            SELECT min(credit.id::text)::uuid AS id, credit.entry_id, invoice.currency, sum(credit.amount) AS amount
            FROM invoice_credits AS credit JOIN invoices AS invoice ON invoice.id = credit.invoice_id
            GROUP BY credit.entry_id, invoice.currency
        ) AS paid LEFT JOIN ({_RECEIVABLE_LEGS}) AS leg
            ON leg.entry_id = paid.entry_id AND leg.currency = paid.currency
        WHERE paid.amount <> -coalesce(leg.amount, 0)
        """,  # noqa: S608 - joined with a constant
        lambda currency, expected, found: f"paid {expected} {currency}, its entry settled {found} {currency}",
    ),
    LedgerCheck(
        Invoice,
        f"""
        SELECT voided.id, voided.currency, 0, voided.amount::bigint FROM (
            SELECT invoice.id, invoice.currency, sum(leg.amount) AS amount FROM invoices AS invoice
            JOIN invoice_credits AS credit ON credit.invoice_id = invoice.id AND invoice.status = 'void'
            JOIN ledger_entries AS entry ON entry.id = credit.entry_id OR entry.reverses_id = credit.entry_id
            JOIN ({_RECEIVABLE_LEGS}) AS leg ON leg.entry_id = entry.id AND leg.currency = invoice.currency
            GROUP BY invoice.id, invoice.currency
        ) AS voided WHERE voided.amount <> 0
        """,  # noqa: S608 - joined with a constant
        lambda currency, _, found: f"is void, but {found} {currency} of what paid it did not come back",
    ),
    LedgerCheck(
        SubscriptionDiscount,
        """
        SELECT given.id, '', given.duration_months - used.invoices, given.months_left
        FROM subscription_discounts AS given CROSS JOIN LATERAL (
            SELECT (SELECT count(*) FROM invoices WHERE subscription_discount_id = given.id AND status <> 'void')
                + (SELECT count(*) FROM invoice_members WHERE discount_id = given.id AND NOT is_reversed) AS invoices
        ) AS used
        WHERE given.months_left <> given.duration_months - used.invoices
        """,
        lambda _, expected, found: f"has {found} months left, its invoices leave {expected}",
    ),
    LedgerCheck(
        PendingCharge,
        """
        SELECT charge.id, '', 0, 0 FROM pending_charges AS charge
        JOIN invoices AS invoice ON invoice.id = charge.invoice_id AND invoice.status <> 'void'
        WHERE charge.subscription_id <> coalesce(invoice.subscription_id, (
                SELECT member.subscription_id FROM invoice_members AS member
                WHERE member.invoice_id = invoice.id AND member.subscription_id = charge.subscription_id
            ), invoice.id)
            OR NOT coalesce(invoice.trace -> 'charges' @> jsonb_build_array(charge.facts), false)
        """,
        lambda *_: "is not on the invoice that is said to have it",
    ),
)


def register_checks() -> None:
    """Let the proof of the ledger look at invoices too."""
    for check in (*_CHECKS, *REVENUE_CHECKS, *REFUND_CHECKS):
        register_check(check)
