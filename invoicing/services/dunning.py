"""What follows when an invoice is not paid, and ends when it is. Source: contract chapter Dunning."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from billing_site.kernel.actors import Actor
from invoicing.models import Invoice


def record_failed_attempt(invoice: Invoice, *, decline_reason: str, at: datetime, actor: Actor) -> None:
    """
    Decide what comes after a failed attempt to collect a locked, open invoice.

    `decline_reason` is a word of `declines.DeclineReason`, or empty when no means of payment was asked.
    """


def record_paid(invoices: Sequence[Invoice], *, at: datetime, actor: Actor) -> None:
    """End what was under way for locked invoices that are owed no more."""
