"""`refund` and `dispute`: money that goes back, and payments that card holders contest, at the local provider."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from billing_site.kernel.errors import NotFound
from billing_site.kernel.money import CURRENCIES, format_decimal
from invoicing.calculation.credit_facts import WantedLine
from invoicing.gateways.local import LocalGateway
from invoicing.models import Dispute, InvoiceLine, PaymentIntent, RefundReason
from invoicing.queries.refunds import list_batch
from invoicing.rehearsal.fields import Fields
from invoicing.rehearsal.scope import Scope
from invoicing.rehearsal.world import World
from invoicing.services.dispute_answers import accept_dispute, hand_in_evidence
from invoicing.services.disputes import record_dispute
from invoicing.services.refund_sending import send_refunds
from invoicing.services.refunds import AskedRefund, create_refund

_OUTCOMES: Final = ("open", "inquiry", "answered", "won", "lost", "accepted")


@dataclass(frozen=True, slots=True)
class Refund:
    """Refund a paid invoice, named by its number, or the newest one: an amount with tax, single lines, or all of it."""

    invoice: str
    account: str
    amount: int
    lines: tuple[tuple[int, int | None], ...]
    reason: str

    @classmethod
    def read(cls, fields: Fields, scope: Scope) -> Refund:
        account = scope.read_account(fields, required=False)
        accounts = scope.accounts
        default = accounts[account or next(iter(accounts))].currency if accounts else "usd"
        currency = fields.choice("currency", CURRENCIES, default=default)
        found = cls(
            invoice=fields.text("invoice", default="last"),
            account=account,
            amount=fields.money("amount", currency),
            lines=tuple(_read_line(each, currency) for each in fields.blocks("lines", "line")),
            reason=fields.choice("reason", RefundReason.values),
        )
        fields.finish()
        return found

    def describe(self) -> str:
        return f"refund {self.invoice} {self.account}".rstrip()

    def play(self, world: World) -> list[str]:
        invoice = world.get_invoice(self.invoice, account=self.account)
        rows = {row.position: row.public_id for row in InvoiceLine.objects.filter(invoice=invoice)}
        for position, _ in self.lines:
            if position not in rows:
                raise NotFound("invoice_line", f"{invoice.number_text} has no line {position}.")
        asked = AskedRefund(
            amount=self.amount,
            lines=tuple(WantedLine(rows[position], amount) for position, amount in self.lines),
            reason=self.reason,
        )
        outcome = create_refund(invoice_id=invoice.pk, asked=asked, at=world.now, actor=world.actor, reason="Rehearsal")
        send_refunds(outcome.refunds, at=world.now, actor=world.actor)
        return [
            f"refund of {format_decimal(row.amount, row.currency)}"
            f" {'through the provider' if row.payment_intent_id else 'into invoice credit'}: {row.status}"
            for row in list_batch(outcome.refunds[0].batch)
        ]


def _read_line(fields: Fields, currency: str) -> tuple[int, int | None]:
    found = (
        fields.integer("line", least=1) or 1,
        fields.money("amount", currency) if fields.has("amount") else None,
    )
    fields.finish()
    return found


@dataclass(frozen=True, slots=True)
class DisputePayment:
    """
    Let the newest card payment of an account be disputed, or let its dispute go on, as `outcome` says.

    `open` and `inquiry` begin one; `answered` hands evidence in, `won` and `lost` are what the bank decides, `accepted`
    gives it up.
    """

    account: str
    outcome: str
    amount: int

    @classmethod
    def read(cls, fields: Fields, scope: Scope) -> DisputePayment:
        account = scope.read_account(fields)
        currency = scope.accounts[account].currency if account else "usd"
        found = cls(
            account=account,
            outcome=fields.choice("outcome", _OUTCOMES, default="open"),
            amount=fields.money("amount", currency),
        )
        if found.amount and found.outcome not in ("open", "inquiry"):
            fields.report("amount", "`amount` goes with the outcomes `open` and `inquiry`")
        fields.finish()
        return found

    def describe(self) -> str:
        return f"dispute {self.outcome} {self.account}"

    def play(self, world: World) -> list[str]:
        gateway, at, actor = LocalGateway(), world.now, world.actor
        if self.outcome in ("open", "inquiry"):
            rows = PaymentIntent.objects.filter(account_id=world.accounts[self.account], status="succeeded")
            intent = rows.order_by("-id").first()
            if intent is None:
                raise NotFound("payment_intent", f"{self.account} has not paid by card.")
            state = gateway.open_dispute(
                payment_ref=intent.provider_ref, amount=self.amount or None, is_inquiry=self.outcome == "inquiry"
            )
            dispute = record_dispute(state=state, provider_type=gateway.name, at=at, actor=actor)
            return [_describe(dispute)]
        found = Dispute.objects.filter(account_id=world.accounts[self.account]).order_by("-id").first()
        if found is None:
            raise NotFound("dispute", f"{self.account} disputes nothing.")
        if self.outcome == "answered":
            evidence = {"uncategorized_text": "Rehearsal"}
            return [_describe(hand_in_evidence(dispute_id=found.pk, evidence=evidence, at=at, actor=actor))]
        if self.outcome == "accepted":
            return [_describe(accept_dispute(dispute_id=found.pk, at=at, actor=actor, reason="Rehearsal"))]
        state = gateway.decide_dispute(dispute_ref=found.provider_ref, won=self.outcome == "won")
        return [_describe(record_dispute(state=state, provider_type=gateway.name, at=at, actor=actor))]


def _describe(dispute: Dispute | None) -> str:
    if dispute is None:
        return "dispute of an unknown payment"
    return f"dispute of {format_decimal(dispute.amount, dispute.currency)}: {dispute.get_status_display()}"
