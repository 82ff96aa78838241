"""The states of bank transfers and of the instructions that payers quote."""

from __future__ import annotations

from typing import Any, Final

from accounts.models import Account
from invoicing.models import BankTransfer, BankTransferInstruction
from invoicing.models.bank_transfer import BANK_TRANSFER_TRANSITIONS, INSTRUCTION_TRANSITIONS
from invoicing.services.bank_instructions import BankDetails, expire_instruction, issue_instruction
from invoicing.services.bank_transfer_matching import match_transfer
from invoicing.services.bank_transfer_reviews import dismiss_transfer, restore_transfer
from invoicing.services.bank_transfers import Arrival, Reconciled, receive_transfer
from tests.support import world
from tests.support.states import StateTable

_BY: Final[dict[str, Any]] = {"at": world.NOVEMBER, "actor": world.TESTER}


def issue_reference(account: Account, *, currency: str = "usd") -> BankTransferInstruction:
    """Issue bank details to an account."""
    return issue_instruction(account=account, currency=currency, details=BankDetails("wire", "Bank", "12345678"), **_BY)


def tell_transfer(reference: str, *, amount: int = 700, bank_id: str = "B-1", **further: Any) -> Reconciled:
    """Tell of a transfer."""
    applies = further.pop("apply_to_invoices", False)
    arrival = Arrival(reference, amount, further.pop("currency", "usd"), bank_transaction_id=bank_id, **further)
    return receive_transfer(arrival=arrival, apply_to_invoices=applies, **_BY)


def _arrange_instruction(state: str, _to: str) -> BankTransferInstruction:
    instruction = issue_reference(world.open_account())
    if state == "expired":
        _expire(instruction)
    return instruction


def _expire(row: BankTransferInstruction) -> object:
    return expire_instruction(instruction_id=row.pk, **_BY)


_HELD_INSTRUCTION: Final = {"active": "expired_has_time", "expired": "known_ways"}
INSTRUCTIONS: Final = StateTable(
    model=BankTransferInstruction,
    transitions=INSTRUCTION_TRANSITIONS,
    arrange=_arrange_instruction,
    moves={"expired": _expire},
    held=lambda before, after: "" if before == after else f"bank_transfer_instructions_{_HELD_INSTRUCTION[before]}",
    allows=BankTransferInstruction.can_become,
)


def _arrange_transfer(state: str, _to: str) -> BankTransfer:
    transfer = tell_transfer("deadbeef").transfer
    if state != "unmatched":
        TRANSFERS.moves[state](transfer)
    return transfer


def _match(row: BankTransfer) -> object:
    account = Account.objects.first() or world.open_account()
    return match_transfer(transfer_id=row.pk, account=account, reason="their invoice number", **_BY)


def _hold_transfer(before: str, after: str) -> str:
    if before == after:
        return ""
    if after not in BANK_TRANSFER_TRANSITIONS[before]:
        return "bank_transfers_known_ways"
    return "bank_transfers_matched_is_booked" if after == "matched" else "bank_transfers_dismissed_has_time"


TRANSFERS: Final = StateTable(
    model=BankTransfer,
    transitions=BANK_TRANSFER_TRANSITIONS,
    arrange=_arrange_transfer,
    moves={
        "matched": _match,
        "dismissed": lambda row: dismiss_transfer(transfer_id=row.pk, reason="not ours", **_BY),
        "unmatched": lambda row: restore_transfer(transfer_id=row.pk, **_BY),
    },
    held=_hold_transfer,
    allows=BankTransfer.can_become,
)
