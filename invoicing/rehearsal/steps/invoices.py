"""`void_invoice`: what is done to documents that exist."""

from __future__ import annotations

from dataclasses import dataclass

from invoicing.rehearsal.fields import Fields
from invoicing.rehearsal.scope import Scope
from invoicing.rehearsal.world import World
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
