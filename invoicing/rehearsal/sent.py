"""What went out to customers and where dunning stands, written as `expect` writes it."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from accounts.models import Account
from billing_site.platform.models import Notice
from invoicing.models import CreditNote, DunningAttempt, DunningCase, Invoice
from invoicing.rehearsal.documents import Document, show_day
from invoicing.rehearsal.world import World

_KINDS: Final = {
    "invoicing.invoice_mail": "invoice",
    "invoicing.payment_mail": "payment",
    "invoicing.credit_note_mail": "credit_note",
}


def list_mails(world: World) -> list[Document]:
    """
    Return the mails to the story's accounts in the order they were written.

    The kind is `invoice`, `payment`, `credit_note`, or what a mail of dunning says of the invoice that weighs most;
    `invoices` are the numbers it names.
    """
    rows = list(Notice.objects.filter(account_id__in=world.account_ids, channel="mail").order_by("id"))
    attempts: dict[UUID, list[DunningAttempt]] = defaultdict(list)
    found = DunningAttempt.objects.filter(notice_id__in=[row.pk for row in rows]).select_related("case__invoice")
    for attempt in found.order_by("id"):
        if attempt.notice_id is not None:
            attempts[attempt.notice_id].append(attempt)
    zones = dict(Account.objects.filter(pk__in=world.account_ids).values_list("pk", "timezone"))
    return [
        _describe_mail(world, row, attempts[row.pk], ZoneInfo(zones[row.account_id]))
        for row in rows
        if row.account_id is not None
    ]


def _describe_mail(world: World, row: Notice, attempts: list[DunningAttempt], zone: ZoneInfo) -> Document:
    at: datetime | None
    if attempts:
        at, kind = attempts[0].made_at, ", ".join(dict.fromkeys(each.message for each in attempts))
        numbers = ", ".join(dict.fromkeys(each.case.invoice.number_text for each in attempts))
    else:
        kind = _KINDS.get(row.composer, "notice")
        at, numbers = _find_document(row, kind)
    account = world.name_account(row.account_id) if row.account_id is not None else ""
    return {
        "account": account,
        "kind": kind,
        "date": show_day(at, zone),
        "invoices": numbers or None,
        "subject": row.subject,
    }


def _find_document(row: Notice, kind: str) -> tuple[datetime | None, str]:
    """Return when the document of a mail was issued, or paid, and the number of its invoice."""
    if kind == "credit_note" and (key := CreditNote.parse_id(row.about)) is not None:
        note = CreditNote.objects.select_related("invoice").get(pk=key)
        return note.issued_at, note.invoice.number_text
    if (key := Invoice.parse_id(row.about)) is None:
        return None, ""
    invoice = Invoice.objects.get(pk=key)
    return invoice.paid_at if kind == "payment" else invoice.finalized_at, invoice.number_text


def list_dunning(world: World) -> list[Document]:
    """Return the dunning of the story's invoices, in the order in which it began."""
    rows = DunningCase.objects.filter(account_id__in=world.account_ids).select_related("invoice", "account")
    return [
        {
            "account": world.name_account(row.account_id),
            "invoice": row.invoice.number_text,
            "status": row.status,
            "step": str(row.step),
            "next": show_day(row.next_step_at, row.account.zone),
            "stopped": row.stop_reason or None,
            "ended": show_day(row.ended_at, row.account.zone),
        }
        for row in rows.order_by("id")
    ]
