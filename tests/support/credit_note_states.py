"""The states of credit notes, and the way of an invoice back from paid to open."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from invoicing.calculation.credit_facts import Wish
from invoicing.models import CreditNote, Invoice
from invoicing.models.credit_note import CREDIT_NOTE_TRANSITIONS
from invoicing.services.credit_notes import issue_credit_note, void_credit_note
from invoicing.services.credit_requests import CreditRequest
from tests.support import world
from tests.support.states import StateTable

_BY: Final[dict[str, Any]] = {"at": world.NOVEMBER + timedelta(days=14), "actor": world.TESTER}


def settle_by_note(invoice: Invoice) -> CreditNote:
    """Credit everything left of an open invoice: it is paid then."""
    return issue_credit_note(invoice_id=invoice.pk, request=CreditRequest(Wish(everything=True)), **_BY)


def void_note_of(invoice: Invoice) -> object:
    """Void the note that settled an invoice: it is open again."""
    return void_credit_note(credit_note_id=CreditNote.objects.get(invoice=invoice).pk, **_BY)


def _arrange_note(state: str, _to: str) -> CreditNote:
    world.publish()
    world.subscribe(world.open_account(), "pro")
    note = settle_by_note(world.list_invoices()[0])
    if state == "void":
        _void(note)
    return note


def _void(row: CreditNote) -> object:
    return void_credit_note(credit_note_id=row.pk, **_BY)


def _hold_note(before: str, after: str) -> str:
    if before == after:
        return ""
    return "credit_notes_void_has_time" if after == "void" else "credit_notes_issued_immutable"


CREDIT_NOTES: Final = StateTable(
    model=CreditNote,
    transitions=CREDIT_NOTE_TRANSITIONS,
    arrange=_arrange_note,
    moves={"void": _void},
    held=_hold_note,
    allows=CreditNote.can_become,
)
