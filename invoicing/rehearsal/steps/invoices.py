"""`pay` and `void_invoice`: what is done to documents that exist."""

from __future__ import annotations

from dataclasses import dataclass

from accounts.services.payment_methods import NewPaymentMethod
from billing_site.kernel.money import format_decimal
from invoicing.gateways.local import TEST_CARDS, LocalGateway
from invoicing.models import Invoice
from invoicing.rehearsal.fields import Fields, suggest
from invoicing.rehearsal.scope import Scope
from invoicing.rehearsal.world import World
from invoicing.services.balance_payments import pay_from_balance
from invoicing.services.collecting import collect_invoice
from invoicing.services.invoices import void_invoice
from invoicing.services.payment_methods import attach_payment_method


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
    """
    Pay an invoice, named by its number, or the newest one (`last`), from what its account has stored.

    With a test `card` of the local provider it is collected: stored money pays first, the card what is left.
    """

    invoice: str
    account: str
    card: str

    @classmethod
    def read(cls, fields: Fields, scope: Scope) -> Pay:
        found = cls(
            invoice=fields.text("invoice", default="last"),
            account=scope.read_account(fields, required=False),
            card=fields.text("card").replace("_", "").replace("-", "").lower(),
        )
        if found.card and found.card not in TEST_CARDS:
            fields.report("card", f"there is no test card `{found.card}`{suggest(found.card, TEST_CARDS)}")
        fields.finish()
        return found

    def describe(self) -> str:
        return f"pay {self.invoice} {self.account}".rstrip()

    def play(self, world: World) -> list[str]:
        invoice = world.get_invoice(self.invoice, account=self.account)
        if self.card:
            return self._collect(world, invoice)
        paid = pay_from_balance(invoice_id=invoice.id, at=world.now, actor=world.actor, reason="Rehearsal")
        if not paid.amount_remaining:
            return [f"{paid.number_text} is paid"]
        return [f"{paid.number_text}: {format_decimal(paid.amount_remaining, paid.currency)} stays open"]

    def _collect(self, world: World, invoice: Invoice) -> list[str]:
        # A rehearsal never asks a real provider, whichever the site is configured with.
        gateway = LocalGateway()
        method = attach_payment_method(
            account=invoice.account,
            new=NewPaymentMethod(provider_ref=f"tok_{self.card}"),
            at=world.now,
            actor=world.actor,
            gateway=gateway,
            reason="Rehearsal",
        ).method
        collect_invoice(
            invoice_id=invoice.pk, method=method, at=world.now, actor=world.actor, gateway=gateway, reason="Rehearsal"
        )
        invoice.refresh_from_db()
        rest = f"{format_decimal(invoice.amount_remaining, invoice.currency)} stays open"
        return [f"{invoice.number_text} {'is paid' if not invoice.amount_remaining else rest} by {method}"]
