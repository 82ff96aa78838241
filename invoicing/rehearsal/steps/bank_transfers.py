"""`bank_transfer`: money arrives at the bank."""

from __future__ import annotations

from dataclasses import dataclass

from billing_site.kernel.money import CURRENCIES, format_decimal
from invoicing.models import BankTransferInstruction, InstructionStatus, TransferType
from invoicing.rehearsal.fields import Fields
from invoicing.rehearsal.scope import Scope
from invoicing.rehearsal.world import World
from invoicing.services.bank_instructions import BankDetails, issue_instruction
from invoicing.services.bank_transfers import Arrival, receive_transfer


@dataclass(frozen=True, slots=True)
class ReceiveBankTransfer:
    """
    A transfer of `amount` minor units from `account`, which quotes its reference, or another `reference`.

    An account that has no active instruction yet gets one. With `apply` open invoices are settled, oldest first.
    """

    account: str
    amount: int
    currency: str
    type: str
    reference: str
    bank_id: str
    apply: bool

    @classmethod
    def read(cls, fields: Fields, scope: Scope) -> ReceiveBankTransfer:
        account = scope.read_account(fields)
        default = scope.accounts[account].currency if account else "usd"
        currency = fields.choice("currency", CURRENCIES, default=default)
        found = cls(
            account=account,
            amount=fields.money("amount", currency, required=True),
            currency=currency,
            type=fields.choice("type", TransferType.values, default=TransferType.WIRE.value),
            reference=fields.text("reference"),
            bank_id=fields.text("bank_id"),
            apply=fields.flag("apply") or False,
        )
        fields.finish()
        return found

    def describe(self) -> str:
        quoted = f" quoting {self.reference}" if self.reference else ""
        shown = f"{format_decimal(self.amount, self.currency)} {self.currency.upper()}"
        return f"bank transfer of {shown} from {self.account}{quoted}"

    def play(self, world: World) -> list[str]:
        outcome = receive_transfer(
            arrival=Arrival(
                reference=self.reference or self._find_reference(world),
                amount=self.amount,
                currency=self.currency,
                bank_transaction_id=self.bank_id,
            ),
            at=world.now,
            actor=world.actor,
            apply_to_invoices=self.apply,
            org_id=world.org_id,
        )
        outcome.require_match()
        if outcome.is_duplicate:
            return ["booked before: nothing changed"]
        return [
            f"{format_decimal(use.amount, self.currency)} settled of {use.invoice}"
            for use in outcome.transfer.uses.select_related("invoice")
        ]

    def _find_reference(self, world: World) -> str:
        account = world.get_account(self.account)
        rows = BankTransferInstruction.objects.filter(
            account=account, currency=self.currency, status=InstructionStatus.ACTIVE
        )
        instruction = rows.order_by("-id").first() or issue_instruction(
            account=account,
            currency=self.currency,
            details=BankDetails(type=self.type, bank_name="Rehearsal Bank", account_number="00012345678"),
            at=world.now,
            actor=world.actor,
        )
        return instruction.reference
