"""Triggers that keep refunds and disputes as they were, and refunds within what was received."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pgtrigger

from accounts.models.ledger_triggers import kept_triggers
from billing_site.platform.models.triggers import IndexScanTrigger, StrictTrigger

_REFUND_MOVES: Final[Mapping[str, tuple[str, ...]]] = {
    "pending": ("canceled", "failed", "succeeded"),
    "succeeded": ("failed",),
}


def _refuse(table: str, rule: str, message: str) -> str:
    return (
        f"RAISE EXCEPTION USING ERRCODE = 'restrict_violation', MESSAGE = {message}, "
        f"TABLE = '{table}', CONSTRAINT = '{table}_{rule}';"
    )


def ends_once(table: str, moves: Mapping[str, tuple[str, ...]]) -> StrictTrigger:
    """Return the trigger that refuses every change of status but those in `moves`."""
    allowed = " OR ".join(
        f"(OLD.status = '{before}' AND NEW.status IN ({', '.join(repr(after) for after in sorted(others))}))"
        for before, others in moves.items()
        if others
    )
    message = f"format('{table} %s cannot go from %s to %s', OLD.id, OLD.status, NEW.status)"
    return StrictTrigger(
        name="ends_once",
        when=pgtrigger.Before,
        operation=pgtrigger.UpdateOf("status"),
        level=pgtrigger.Row,
        func=f"""
            IF NEW.status <> OLD.status AND NOT ({allowed}) THEN
                {_refuse(table, "ends_once", message)}
            END IF;
            RETURN NEW;
        """,
    )


# The payment is locked by a statement of its own, so that the sums are read after whoever was first has committed.
_COUNT_REFUNDS: Final = f"""
    IF NEW.payment_intent_id IS NOT NULL THEN
        PERFORM FROM payment_intents WHERE id = NEW.payment_intent_id FOR NO KEY UPDATE;
        UPDATE payment_intents SET
            amount_refunded = counted.done, amount_refund_pending = counted.pending
        FROM (
            SELECT COALESCE(sum(amount) FILTER (WHERE status = 'succeeded'), 0) AS done,
                COALESCE(sum(amount) FILTER (WHERE status = 'pending'), 0) AS pending
            FROM refunds WHERE payment_intent_id = NEW.payment_intent_id AND destination = 'provider'
        ) AS counted WHERE payment_intents.id = NEW.payment_intent_id;
        IF TG_OP = 'INSERT' AND NEW.source <> 'outside' AND EXISTS (
            SELECT FROM payment_intents AS payment WHERE payment.id = NEW.payment_intent_id
                AND payment.amount_received
                    < payment.amount_refunded + payment.amount_refund_pending + payment.amount_disputed
        ) THEN
            {_refuse("refunds", "within_payment", "'the refunds of a payment cannot pass what was received'")}
        END IF;
    END IF;
    RETURN NULL;
"""  # noqa: S608 - NEW only

_WITHIN_INVOICE: Final = f"""
    IF NEW.invoice_id IS NOT NULL AND NEW.source <> 'outside' THEN
        SELECT * INTO parent FROM invoices WHERE id = NEW.invoice_id FOR NO KEY UPDATE;
        IF parent.total < NEW.amount + (
            SELECT COALESCE(sum(amount), 0) FROM refunds
            WHERE invoice_id = NEW.invoice_id AND status IN ('pending', 'succeeded') AND source <> 'outside'
        ) THEN
            {_refuse("refunds", "within_invoice", "'the refunds of an invoice cannot pass it'")}
        END IF;
    END IF;
    RETURN NEW;
"""  # noqa: S608 - NEW only

REFUND_TRIGGERS = [
    *kept_triggers(
        "refunds",
        *("id", "account_id", "payment_intent_id", "invoice_id", "batch", "amount", "currency", "destination"),
        *("source", "provider_type", "retry_of_id", "livemode"),
    ),
    ends_once("refunds", _REFUND_MOVES),
    IndexScanTrigger(
        name="within_invoice",
        when=pgtrigger.Before,
        operation=pgtrigger.Insert,
        level=pgtrigger.Row,
        func=_WITHIN_INVOICE,
        declare=[("parent", "invoices")],
    ),
    IndexScanTrigger(
        name="counted",
        when=pgtrigger.After,
        operation=pgtrigger.Insert | pgtrigger.UpdateOf("status"),
        level=pgtrigger.Row,
        func=_COUNT_REFUNDS,
    ),
]

# What a dispute holds, and what a lost one took, cannot be given back a second time.
_COUNT_DISPUTES: Final = """
    PERFORM FROM payment_intents WHERE id = NEW.payment_intent_id FOR NO KEY UPDATE;
    UPDATE payment_intents SET amount_disputed = (
        SELECT COALESCE(sum(amount), 0) FROM disputes
        WHERE payment_intent_id = NEW.payment_intent_id AND status IN ('needs_response', 'under_review', 'lost')
    ) WHERE id = NEW.payment_intent_id;
    RETURN NULL;
"""


def dispute_triggers(moves: Mapping[str, tuple[str, ...]]) -> list[pgtrigger.Trigger]:
    """Disputes: of the same payment for ever, along their states, counted on the payment."""
    return [
        *kept_triggers("disputes", "id", "account_id", "payment_intent_id", "currency", "provider_type", "livemode"),
        ends_once("disputes", moves),
        IndexScanTrigger(
            name="counted",
            when=pgtrigger.After,
            operation=pgtrigger.Insert | pgtrigger.UpdateOf("status", "amount"),
            level=pgtrigger.Row,
            func=_COUNT_DISPUTES,
        ),
    ]
