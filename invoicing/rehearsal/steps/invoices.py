"""`pay` and `void_invoice`: what is done to documents that exist."""

from __future__ import annotations

from dataclasses import dataclass

from billing_site.kernel.money import format_decimal
from invoicing.rehearsal.fields import Fields
from invoicing.rehearsal.scope import Scope
from invoicing.rehearsal.world import World
from invoicing.services.balance_payments import pay_from_balance
from invoicing.services.invoices import void_invoice


@dataclass(frozen=True, slots=True)
class VoidInvoice:
    """Void an invoice, named by its number, or the newest one: `last`."""

    invoice: str
    account: str
    reason: str

    @classmethod
    def read(cls, fields: Fields, scope: Scope) -> VoidInvoice:
        found = cls(
            invoice=fields.text("invoice", default="last"),
            account=scope.read_account(fields, required=False),
            reason=fields.text("reason", default="Rehearsal"),
        )
        fields.finish()
        return found

    def describe(self) -> str:
        return f"void_invoice {self.invoice} {self.account}".rstrip()

    def play(self, world: World) -> list[str]:
        invoice = world.get_invoice(self.invoice, account=self.account)
        void_invoice(invoice_id=invoice.id, at=world.now, actor=world.actor, reason=self.reason)
        return [f"{invoice.number_text} is void"]


@dataclass(frozen=True, slots=True)
class Pay:
    """Pay an invoice, named by its number, or the newest one (`last`), from what its account has stored."""

    invoice: str
    account: str

    @classmethod
    def read(cls, fields: Fields, scope: Scope) -> Pay:
        found = cls(invoice=fields.text("invoice", default="last"), account=scope.read_account(fields, required=False))
        fields.finish()
        return found

    def describe(self) -> str:
        return f"pay {self.invoice} {self.account}".rstrip()

    def play(self, world: World) -> list[str]:
        invoice = world.get_invoice(self.invoice, account=self.account)
        paid = pay_from_balance(invoice_id=invoice.id, at=world.now, actor=world.actor, reason="Rehearsal")
        if not paid.amount_remaining:
            return [f"{paid.number_text} is paid"]
        return [f"{paid.number_text}: {format_decimal(paid.amount_remaining, paid.currency)} stays open"]
