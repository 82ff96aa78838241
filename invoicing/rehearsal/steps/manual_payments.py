"""`manual_payment` and `reverse_manual_payment`: money that came outside, and a cheque that bounced."""

from __future__ import annotations

from dataclasses import dataclass

from billing_site.kernel.errors import NotFound
from billing_site.kernel.money import format_decimal
from billing_site.kernel.periods import local_date
from invoicing.models import ManualMethod, ManualPayment, ManualPaymentStatus
from invoicing.queries.owed import list_owed_invoices
from invoicing.rehearsal.fields import Fields
from invoicing.rehearsal.scope import Scope
from invoicing.rehearsal.world import World
from invoicing.services.manual_payments import NewManualPayment, reverse_payment, write_payment


@dataclass(frozen=True, slots=True)
class RecordPayment:
    """`amount` minor units of the account's currency pay what it owes, oldest first; the rest is invoice credit."""

    account: str
    amount: int
    currency: str
    method: str
    reference: str

    @classmethod
    def read(cls, fields: Fields, scope: Scope) -> RecordPayment:
        account = scope.read_account(fields)
        currency = scope.accounts[account].currency if account else "usd"
        found = cls(
            account=account,
            amount=fields.money("amount", currency, required=True),
            currency=currency,
            method=fields.choice("method", ManualMethod.values, default=ManualMethod.CHEQUE.value),
            reference=fields.text("reference"),
        )
        fields.finish()
        return found

    def describe(self) -> str:
        shown = f"{format_decimal(self.amount, self.currency)} {self.currency.upper()}"
        return f"{self.method} of {shown} from {self.account}"

    def play(self, world: World) -> list[str]:
        account = world.get_account(self.account)
        left, parts, said = self.amount, [], []
        for invoice in list_owed_invoices(account_id=account.pk, currency=self.currency):
            if amount := min(left, invoice.amount_remaining):
                parts.append((invoice.public_id, amount))
                said.append(f"{format_decimal(amount, self.currency)} paid of {invoice}")
                left -= amount
        new = NewManualPayment(
            method=self.method,
            amount=self.amount,
            currency=self.currency,
            received_on=local_date(world.now, account.zone),
            parts=parts,
            reference=self.reference,
        )
        write_payment(account=account, new=new, at=world.now, actor=world.actor, reason="Rehearsal")
        return said


@dataclass(frozen=True, slots=True)
class ReversePayment:
    """Take back the newest payment of an account that stands: it bounced."""

    account: str
    allow_negative: bool

    @classmethod
    def read(cls, fields: Fields, scope: Scope) -> ReversePayment:
        found = cls(account=scope.read_account(fields), allow_negative=fields.flag("allow_negative") or False)
        fields.finish()
        return found

    def describe(self) -> str:
        return f"the last payment of {self.account} bounces"

    def play(self, world: World) -> list[str]:
        rows = ManualPayment.objects.filter(
            account=world.get_account(self.account), status=ManualPaymentStatus.RECORDED
        )
        newest = rows.order_by("-id").first()
        if newest is None:
            raise NotFound("manual_payment")
        reverse_payment(
            payment_id=newest.pk,
            at=world.now,
            actor=world.actor,
            reason="Bounced",
            allow_negative=self.allow_negative,
        )
        return []
