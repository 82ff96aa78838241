"""`credit_note` and `void_credit_note`: an invoice corrected downwards, and that taken back."""

from __future__ import annotations

from dataclasses import dataclass

from billing_site.kernel.errors import NotFound
from billing_site.kernel.money import CURRENCIES, format_decimal
from invoicing.calculation.credit_facts import WantedLine, Wish
from invoicing.models import CreditNote, CreditReason, Disposition, Invoice, InvoiceLine
from invoicing.rehearsal.fields import Fields
from invoicing.rehearsal.scope import Scope
from invoicing.rehearsal.world import World
from invoicing.services.credit_notes import issue_credit_note, void_credit_note
from invoicing.services.credit_requests import CreditRequest


@dataclass(frozen=True, slots=True)
class _Line:
    """An amount of one line of the invoice, by its position; 0 is of all lines, no amount is what is left."""

    position: int
    amount: int | None
    description: str


@dataclass(frozen=True, slots=True)
class IssueCreditNote:
    """Credit lines, an amount with its tax, or everything left of an invoice: by its number, or the newest (`last`)."""

    invoice: str
    account: str
    lines: tuple[_Line, ...]
    amount: int
    everything: bool
    disposition: str
    out_of_band_amount: int
    cause: str
    memo: str

    @classmethod
    def read(cls, fields: Fields, scope: Scope) -> IssueCreditNote:
        account = scope.read_account(fields, required=False)
        accounts = scope.accounts
        default = accounts[account or next(iter(accounts))].currency if accounts else "usd"
        currency = fields.choice("currency", CURRENCIES, default=default)
        lines = tuple(_read_line(each, currency) for each in fields.blocks("lines", "line"))
        found = cls(
            invoice=fields.text("invoice", default="last"),
            account=account,
            lines=lines,
            amount=fields.money("amount", currency),
            everything=fields.flag("everything") is True,
            disposition=fields.choice("disposition", Disposition.values, default=Disposition.CUSTOMER_BALANCE),
            out_of_band_amount=fields.money("out_of_band_amount", currency),
            cause=fields.choice("reason", CreditReason.values),
            memo=fields.text("memo"),
        )
        if found.everything and (found.lines or found.amount):
            fields.report("everything", "`everything` goes without `lines` and `amount`")
        fields.finish()
        return found

    def describe(self) -> str:
        return f"credit_note of {self.invoice} {self.account}".rstrip()

    def play(self, world: World) -> list[str]:
        invoice = world.get_invoice(self.invoice, account=self.account)
        lines = tuple(
            WantedLine(_find_line(invoice, line.position), line.amount, line.description) for line in self.lines
        )
        request = CreditRequest(
            wish=Wish(lines, self.amount, self.everything),
            disposition=self.disposition,
            out_of_band_amount=self.out_of_band_amount,
            cause=self.cause,
            memo=self.memo,
        )
        note = issue_credit_note(
            invoice_id=invoice.id, request=request, at=world.now, actor=world.actor, reason="Rehearsal"
        )
        tax = f", {format_decimal(note.tax, note.currency)} of it tax" if note.tax else ""
        return [f"{note}: {format_decimal(note.total, note.currency)}{tax} of {invoice.number_text}"]


@dataclass(frozen=True, slots=True)
class VoidCreditNote:
    """Void a credit note, named by its number, or the newest one: `last`."""

    credit_note: str
    account: str
    reason: str

    @classmethod
    def read(cls, fields: Fields, scope: Scope) -> VoidCreditNote:
        found = cls(
            credit_note=fields.text("credit_note", default="last"),
            account=scope.read_account(fields, required=False),
            reason=fields.text("reason", default="Rehearsal"),
        )
        fields.finish()
        return found

    def describe(self) -> str:
        return f"void_credit_note {self.credit_note} {self.account}".rstrip()

    def play(self, world: World) -> list[str]:
        notes = CreditNote.objects.filter(org_id=world.org_id).order_by("-id")
        if self.account:
            notes = notes.filter(account_id=world.accounts[self.account])
        if self.credit_note != "last":
            notes = notes.filter(number_text__iexact=self.credit_note)
        note = notes.first()
        if note is None:
            raise NotFound("credit_note", f"The story has no credit note {self.credit_note}.")
        void_credit_note(credit_note_id=note.id, at=world.now, actor=world.actor, reason=self.reason)
        return [f"{note} is void"]


def _read_line(fields: Fields, currency: str) -> _Line:
    found = _Line(
        position=fields.integer("line", least=1) or 0,
        amount=fields.money("amount", currency) if fields.has("amount") else None,
        description=fields.text("description"),
    )
    fields.finish()
    return found


def _find_line(invoice: Invoice, position: int) -> str:
    if not position:
        return ""
    line = InvoiceLine.objects.filter(invoice=invoice, position=position).first()
    if line is None:
        raise NotFound("invoice_line", f"{invoice.number_text} has no line {position}.")
    return line.public_id
