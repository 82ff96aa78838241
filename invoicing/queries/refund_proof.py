"""What the proof of the ledger checks of refunds and disputes: the pots hold what the rows say is under way."""

from __future__ import annotations

from typing import Final

from accounts.models import LedgerAccount
from accounts.queries.proof import LedgerCheck
from invoicing.models import PaymentIntent

# A refund has its money in the pot once a credit note or stored money gave it; one that the provider made by itself
# lacks it until its credit note is written.
_UNDER_WAY: Final = """
    SELECT account_id, currency, sum(
        CASE WHEN is_uncovered AND status = 'succeeded' THEN -amount
            WHEN status = 'pending' AND destination = 'provider' AND source <> 'outside'
                AND (credit_note_id IS NOT NULL OR held_entry_id IS NOT NULL) THEN amount
            ELSE 0 END
    ) AS amount FROM refunds GROUP BY account_id, currency
"""
REFUND_CHECKS: Final = (
    LedgerCheck(
        LedgerAccount,
        f"""
        SELECT pot.id, pot.currency, coalesce(under_way.amount, 0)::bigint, (-pot.balance)::bigint
        FROM ledger_accounts AS pot LEFT JOIN ({_UNDER_WAY}) AS under_way
            ON under_way.account_id = pot.account_id AND under_way.currency = pot.currency
        WHERE pot.kind = 'refunds_pending' AND -pot.balance <> coalesce(under_way.amount, 0)
        """,  # noqa: S608 - joined with a constant
        lambda currency, expected, found: f"holds {found} {currency}, refunds under way come to {expected} {currency}",
    ),
    LedgerCheck(
        LedgerAccount,
        """
        SELECT pot.id, pot.currency, coalesce(open.amount, 0)::bigint, pot.balance::bigint
        FROM ledger_accounts AS pot LEFT JOIN (
            SELECT currency, sum(held) AS amount FROM disputes GROUP BY currency
        ) AS open ON open.currency = pot.currency
        WHERE pot.kind = 'disputes_held' AND pot.balance <> coalesce(open.amount, 0)
        """,
        lambda currency, expected, found: f"holds {found} {currency}, open disputes come to {expected} {currency}",
    ),
    LedgerCheck(
        PaymentIntent,
        """
        SELECT payment.id, payment.currency, coalesce(back.amount, 0)::bigint, payment.amount_refunded::bigint
        FROM payment_intents AS payment LEFT JOIN (
            SELECT payment_intent_id, sum(amount) AS amount FROM refunds
            WHERE destination = 'provider' AND status = 'succeeded' GROUP BY payment_intent_id
        ) AS back ON back.payment_intent_id = payment.id
        WHERE payment.amount_refunded <> coalesce(back.amount, 0)
        """,
        lambda currency, expected, found: (
            f"says {found} {currency} went back, its refunds come to {expected} {currency}"
        ),
    ),
)
