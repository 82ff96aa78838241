"""
Invoices of the cycle that stay drafts for a while, so that usage of their period can still come.

The draft claims its period like an invoice. When its time has come its usage is measured again and it is issued; what
somebody edited meanwhile is kept, because edits are facts of the draft. Source: contract chapters Invoices, Renewal and
cycle; ADR 0040.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from django.db import InterfaceError, OperationalError, transaction

from accounts.models import SubscriptionItem
from accounts.services.stored_money import lock_stored_money
from billing_site.kernel.actors import SYSTEM, Actor
from invoicing.calculation.facts import ChargeFacts, InvoiceFacts, QuantitySource
from invoicing.models import Invoice, InvoiceStatus
from invoicing.queries.facts import measure_used
from invoicing.queries.grace import list_after_grace
from invoicing.queries.members import lock_subscriptions_of
from invoicing.services.draft_editing import rewrite_draft
from invoicing.services.issuing import issue_invoices
from metering.queries.measuring import MeasureRequest

logger = logging.getLogger(__name__)
CHUNK: Final = 200
SWEEP_CHUNKS: Final = 100
_REFRESHED: Final = "Usage of the period came in."


def sweep_grace_periods(*, at: datetime, actor: Actor = SYSTEM, org_id: str | None = None) -> list[Invoice]:
    """
    Issue the drafts whose time has come, with all usage of their periods, and return the invoices.

    A draft that cannot be issued is logged and passed over; it is tried again next time.
    """
    issued: list[Invoice] = []
    failed: list[uuid.UUID] = []
    for _ in range(SWEEP_CHUNKS):
        ids = list_after_grace(at=at, limit=CHUNK, org_id=org_id, besides=failed)
        if not ids:
            break
        try:
            issued += issue_after_grace(invoice_ids=ids, at=at, actor=actor)
        except (OperationalError, InterfaceError):
            raise
        except Exception:
            logger.warning("grace periods: a batch failed, its drafts are issued one by one", exc_info=True)
            for invoice_id in ids:
                issued += _issue_alone(invoice_id, failed, at=at, actor=actor)
    return issued


def _issue_alone(invoice_id: uuid.UUID, failed: list[uuid.UUID], *, at: datetime, actor: Actor) -> list[Invoice]:
    try:
        return issue_after_grace(invoice_ids=[invoice_id], at=at, actor=actor)
    except (OperationalError, InterfaceError):
        raise
    except Exception:
        logger.exception("draft %s cannot be issued", invoice_id)
        failed.append(invoice_id)
        return []


@transaction.atomic
def issue_after_grace(*, invoice_ids: Sequence[uuid.UUID], at: datetime, actor: Actor) -> list[Invoice]:
    """
    Measure the usage of these drafts again and issue them, at the time of their accounts; others are passed over.

    The number of queries does not depend on how many there are, but for those whose usage changed.
    """
    chosen = Invoice.objects.filter(id__in=invoice_ids)
    money = lock_stored_money(account_ids=chosen.values("account_id"), at=at, actor=actor)
    lock_subscriptions_of(list(invoice_ids))
    invoices = list(
        chosen.filter(status=InvoiceStatus.DRAFT, finalize_at__isnull=False, in_review=False)
        .select_for_update(of=("self",))
        .select_related("account__test_clock", "seller")
        .order_by("id")
    )
    refresh_drafts(invoices, at=at, actor=actor)
    issued: list[Invoice] = []
    times = {invoice.id: invoice.account.clock_time or at for invoice in invoices}
    for now in sorted(set(times.values())):
        due = [invoice for invoice in invoices if times[invoice.id] == now]
        issued += issue_invoices(due, at=now, actor=actor, money=money)
    return issued


def refresh_drafts(invoices: Sequence[Invoice], *, at: datetime, actor: Actor) -> list[Invoice]:
    """
    Compute drafts again with the usage that their periods have now, and return those that changed.

    The caller has locked them, with their accounts loaded. Charges that were added or removed by hand stay so. Five
    queries at most, and some for each draft that changed.
    """
    facts = {invoice.id: InvoiceFacts.from_dict(invoice.trace) for invoice in invoices}
    measured = [
        (invoice, position, charge)
        for invoice in invoices
        for position, charge in enumerate(facts[invoice.id].charges)
        if charge.type == "usage" and charge.given is None
    ]
    items = _load_items([charge for *_, charge in measured])
    asked = [
        (invoice, position, charge, item.meter_id)
        for invoice, position, charge in measured
        if (item := items.get(charge.item_id)) is not None and item.meter_id is not None
    ]
    used = measure_used(
        [
            (invoice.account, MeasureRequest(invoice.account_id, meter_id, charge.period, charge.price))
            for invoice, _, charge, meter_id in asked
        ]
    )
    newer: dict[uuid.UUID, dict[int, ChargeFacts]] = {}
    for (invoice, position, charge, _), (now, centers) in zip(asked, used, strict=True):
        if now.usage != charge.usage:
            source = QuantitySource("usage", now.event_count, now.last_recorded_at or charge.source.last_recorded_at)
            found = replace(charge, usage=now.usage, source=source, centers=centers)
            newer.setdefault(invoice.id, {})[position] = found
    changed = [invoice for invoice in invoices if invoice.id in newer]
    for invoice in changed:
        before, found_by_place = facts[invoice.id], newer[invoice.id]
        charges = tuple(found_by_place.get(place, charge) for place, charge in enumerate(before.charges))
        now_at = invoice.account.clock_time or at
        rewrite_draft(invoice, replace(before, charges=charges), at=now_at, actor=actor, reason=_REFRESHED, items=items)
    return changed


def _load_items(charges: Sequence[ChargeFacts]) -> dict[str, SubscriptionItem]:
    """Return the stored items of the charges by public id. One query."""
    ids = {key for charge in charges if (key := SubscriptionItem.parse_id(charge.item_id)) is not None}
    rows = SubscriptionItem.objects.filter(id__in=ids).select_related("meter") if ids else ()
    return {item.public_id: item for item in rows}
