"""Invoices by hand: made, edited, finalized, given up, issued again; and lines that wait for the next one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from billing_site.kernel.errors import NotFound
from billing_site.kernel.money import CURRENCIES, format_decimal
from catalog.pricing.terms import to_text
from invoicing.models import Invoice
from invoicing.rehearsal.fields import Fields
from invoicing.rehearsal.scope import Scope
from invoicing.rehearsal.world import World
from invoicing.services.draft_editing import (
    InvoiceDetails,
    add_lines,
    apply_coupon,
    apply_discount,
    create_invoice,
    remove_line,
)
from invoicing.services.given_lines import NewLine
from invoicing.services.invoice_items import add_invoice_item
from invoicing.services.invoices import finalize_invoice
from invoicing.services.reissuing import reissue_invoice
from invoicing.services.uncollectible import mark_uncollectible

_ACTS: Final[Mapping[str, Callable[..., Invoice]]] = {
    "finalize_invoice": finalize_invoice,
    "mark_uncollectible": mark_uncollectible,
    "reissue_invoice": reissue_invoice,
}


def _tell(invoice: Invoice) -> str:
    return f"{invoice}: {invoice.status}, {format_decimal(invoice.total, invoice.currency)} {invoice.currency.upper()}"


def _read_line(fields: Fields, scope: Scope, account: str, currency: str) -> NewLine:
    """Read what a line says; whatever the block has beside it stays unread."""
    return NewLine(
        description=fields.text("description", required=True),
        amount=fields.money("amount", currency) if fields.has("amount") else None,
        quantity=fields.decimal("quantity"),
        unit_amount=fields.decimal("unit_amount"),
        meter=fields.text("meter"),
        plan=fields.text("plan"),
        period_start=scope.read_moment(fields, "from", account) if fields.has("from") else None,
        period_end=scope.read_moment(fields, "until", account) if fields.has("until") else None,
    )


@dataclass(frozen=True, slots=True)
class CreateInvoice:
    """Make a draft of given lines, and finalize it unless it is to stay one."""

    account: str
    currency: str
    lines: tuple[NewLine, ...]
    due_days: int | None
    finalize: bool

    @classmethod
    def read(cls, fields: Fields, scope: Scope) -> CreateInvoice:
        account = scope.read_account(fields)
        currency = fields.choice("currency", CURRENCIES, default=scope.accounts[account].currency if account else "usd")
        lines = []
        for block in fields.blocks("lines", "line"):
            lines.append(_read_line(block, scope, account, currency))
            block.finish()
        found = cls(
            account=account,
            currency=currency,
            lines=tuple(lines),
            due_days=fields.integer("due_days", least=0, most=365),
            finalize=fields.flag("finalize") is True,
        )
        fields.finish()
        return found

    def describe(self) -> str:
        return f"create_invoice for {self.account}, {len(self.lines)} lines"

    def play(self, world: World) -> list[str]:
        by: dict[str, Any] = {"at": world.now, "actor": world.actor, "reason": "Rehearsal"}
        invoice = create_invoice(
            account=world.get_account(self.account),
            lines=self.lines,
            currency=self.currency,
            details=InvoiceDetails(due_days=self.due_days),
            **by,
        )
        return [_tell(finalize_invoice(invoice_id=invoice.pk, **by) if self.finalize else invoice)]


@dataclass(frozen=True, slots=True)
class AddLine:
    """Add a line to a draft, or leave it for the next invoice of a subscription or an account."""

    account: str
    subscription: str
    invoice: str
    line: NewLine

    @classmethod
    def read(cls, fields: Fields, scope: Scope) -> AddLine:
        subscription = scope.read_subscription(fields) if fields.has("subscription") else ""
        account = scope.read_account(fields, required=not subscription) or scope.subscriptions.get(subscription, "")
        currency = scope.accounts[account].currency if account else "usd"
        found = cls(account, subscription, fields.text("invoice"), _read_line(fields, scope, account, currency))
        if found.invoice and subscription:
            fields.report("invoice", "`add_line` has `invoice` (a draft), or `subscription` (what waits), not both")
        fields.finish()
        return found

    def describe(self) -> str:
        return f"add_line {self.line.description!r} to {self.invoice or self.subscription or self.account}"

    def play(self, world: World) -> list[str]:
        by: dict[str, Any] = {"at": world.now, "actor": world.actor, "reason": "Rehearsal"}
        if self.invoice:
            draft = world.get_invoice(self.invoice, account=self.account)
            return [_tell(add_lines(invoice_id=draft.pk, lines=[self.line], **by))]
        subscription = world.get_subscription(self.subscription) if self.subscription else None
        add_invoice_item(account=world.get_account(self.account), line=self.line, subscription=subscription, **by)
        return [f"{self.line.description} waits for the next invoice"]


@dataclass(frozen=True, slots=True)
class RemoveLine:
    """Take the line at a position off a draft."""

    account: str
    invoice: str
    position: int

    @classmethod
    def read(cls, fields: Fields, scope: Scope) -> RemoveLine:
        found = cls(
            account=scope.read_account(fields, required=False),
            invoice=fields.text("invoice", default="last"),
            position=fields.integer("line", least=1, required=True) or 0,
        )
        fields.finish()
        return found

    def describe(self) -> str:
        return f"remove_line {self.position} of {self.invoice} {self.account}".rstrip()

    def play(self, world: World) -> list[str]:
        invoice = world.get_invoice(self.invoice, account=self.account)
        line = invoice.lines.filter(position=self.position).first()
        if line is None:
            raise NotFound("line_item")
        by: dict[str, Any] = {"at": world.now, "actor": world.actor, "reason": "Rehearsal"}
        return [_tell(remove_line(invoice_id=invoice.pk, line_id=line.pk, **by))]


@dataclass(frozen=True, slots=True)
class DiscountInvoice:
    """Put a discount or a coupon on a draft, in place of what it has."""

    account: str
    invoice: str
    percent_off: Decimal | None
    amount_off: int | None
    coupon: str
    name: str

    @classmethod
    def read(cls, fields: Fields, scope: Scope) -> DiscountInvoice:
        account = scope.read_account(fields, required=False)
        currency = scope.accounts[account].currency if account else next(iter(scope.accounts.values())).currency
        found = cls(
            account=account,
            invoice=fields.text("invoice", default="last"),
            percent_off=fields.decimal("percent_off"),
            amount_off=fields.money("amount_off", currency) if fields.has("amount_off") else None,
            coupon=fields.text("coupon"),
            name=fields.text("name"),
        )
        if sum(bool(each) for each in (found.percent_off, found.amount_off, found.coupon)) != 1:
            fields.report("percent_off", "`discount_invoice` has one of `percent_off`, `amount_off` and `coupon`")
        fields.finish()
        return found

    def describe(self) -> str:
        if self.coupon:
            return f"discount_invoice {self.invoice} by {self.coupon}"
        value = f"{to_text(self.percent_off)} %" if self.percent_off is not None else str(self.amount_off)
        return f"discount_invoice {self.invoice} by {value}"

    def play(self, world: World) -> list[str]:
        invoice = world.get_invoice(self.invoice, account=self.account)
        by: dict[str, Any] = {"at": world.now, "actor": world.actor, "name": self.name, "reason": "Rehearsal"}
        if self.coupon:
            return [_tell(apply_coupon(invoice_id=invoice.pk, code=self.coupon, **by))]
        terms: dict[str, Any] = {"percent_off": self.percent_off, "amount_off": self.amount_off}
        return [_tell(apply_discount(invoice_id=invoice.pk, **terms, **by))]


@dataclass(frozen=True, slots=True)
class ActOnInvoice:
    """Finalize a draft, give an open invoice up, or void one and issue it again as a draft."""

    verb: str
    invoice: str
    account: str

    @classmethod
    def reader(cls, verb: str) -> Callable[[Fields, Scope], ActOnInvoice]:
        """Return what reads the block of `verb`."""

        def read(fields: Fields, scope: Scope) -> ActOnInvoice:
            account = scope.read_account(fields, required=False)
            found = cls(verb, fields.text("invoice", default="last"), account)
            fields.finish()
            return found

        return read

    def describe(self) -> str:
        return f"{self.verb} {self.invoice} {self.account}".rstrip()

    def play(self, world: World) -> list[str]:
        invoice = world.get_invoice(self.invoice, account=self.account)
        return [_tell(_ACTS[self.verb](invoice_id=invoice.pk, at=world.now, actor=world.actor, reason="Rehearsal"))]
