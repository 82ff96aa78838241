"""Refunds and disputes of a story, as expectations read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from billing_site.kernel.money import format_decimal
from invoicing.models import Dispute, Refund
from invoicing.rehearsal.world import World


def list_refunds(world: World) -> list[Mapping[str, Any]]:
    """Return the story's refunds in the order they were asked for."""
    rows = Refund.objects.filter(account_id__in=world.account_ids).select_related("invoice", "credit_note")
    return [
        {
            "account": world.name_account(row.account_id),
            "invoice": row.invoice.number_text if row.invoice else None,
            "credit_note": row.credit_note.number_text if row.credit_note else None,
            "amount": format_decimal(row.amount, row.currency),
            "currency": row.currency,
            "destination": row.destination,
            "status": row.status,
        }
        for row in rows.order_by("id")
    ]


def list_disputes(world: World) -> list[Mapping[str, Any]]:
    """Return the story's disputes in the order they began; `held` is what nobody knows for whom it is."""
    rows = Dispute.objects.filter(account_id__in=world.account_ids).order_by("id")
    return [
        {
            "account": world.name_account(row.account_id),
            "amount": format_decimal(row.amount, row.currency),
            "held": format_decimal(row.held, row.currency),
            "currency": row.currency,
            "status": row.status,
        }
        for row in rows
    ]
