"""The rows of bank transfers: locked, told of in events, and put before operators. Source: ADR 0053."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any, Final

from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import NotFound
from billing_site.kernel.money import format_decimal
from billing_site.platform.services import events
from billing_site.platform.services.work_items import WorkItemKind, open_work_item, register_kind
from invoicing.models import BankTransfer, Mismatch

UNMATCHED_KIND: Final = "invoicing.bank_transfer_unmatched"
DIFFERS_KIND: Final = "invoicing.bank_transfer_differs"


def register_bank_transfer_work() -> None:
    """Tell the platform what operators see of transfers. Called when the app starts."""
    register_kind(WorkItemKind(UNMATCHED_KIND, "A bank transfer matches nobody"))
    register_kind(WorkItemKind(DIFFERS_KIND, "A bank transfer is told of with two amounts"))


def lock_transfer(transfer_id: uuid.UUID) -> BankTransfer:
    """
    Return a transfer locked for the transaction; lock the account it is for before.

    :raises NotFound: if there is none.
    """
    found = BankTransfer.objects.select_for_update(no_key=True, of=("self",)).filter(pk=transfer_id).first()
    if found is None:
        raise NotFound("bank_transfer")
    return found


def emit_transfer(
    what: str,
    transfer: BankTransfer,
    *,
    at: datetime,
    actor: Actor,
    reason: str = "",
    previous: str = "",
    **further: Any,
) -> None:
    """Write an event of a transfer; `previous` is the status before."""
    account = transfer.account
    events.emit(
        f"bank_transfer.{what}",
        subject=transfer,
        account_id=transfer.account_id,
        at=at,
        actor=actor,
        data={
            "id": transfer.public_id,
            "status": transfer.status,
            "account_id": None if account is None else account.public_id,
            "amount": transfer.amount,
            "currency": transfer.currency,
            "reference": transfer.reference,
            "bank_transaction_id": transfer.bank_transaction_id,
            "received_at": transfer.received_at,
            "mismatch": transfer.mismatch or None,
            **further,
        },
        previous={"status": previous} if previous else None,
        reason=reason,
    )


def ask_operators(transfer: BankTransfer, *, at: datetime, actor: Actor) -> None:
    """Put a transfer that waits into the operators' inbox."""
    shown = f"{format_decimal(transfer.amount, transfer.currency)} {transfer.currency.upper()}"
    quoted = f"“{transfer.reference}”" if transfer.reference else "no reference"
    open_work_item(
        kind=UNMATCHED_KIND,
        subject=transfer,
        title=f"{shown} arrived with {quoted}",
        detail=f"{Mismatch(transfer.mismatch or Mismatch.NO_REFERENCE).label}: match it by hand, or dismiss it.",
        data={"bank_transaction_id": transfer.bank_transaction_id, "payer_name": transfer.payer_name},
        at=at,
        actor=actor,
    )


def tell_difference(
    transfer: BankTransfer, *, amount: int, currency: str, reference: str, at: datetime, actor: Actor
) -> None:
    """Tell operators that the same bank transaction was told of with other money. What is kept stays as it is."""
    kept, told = (
        f"{format_decimal(number, code)} {code.upper()}"
        for number, code in ((transfer.amount, transfer.currency), (amount, currency))
    )
    open_work_item(
        kind=DIFFERS_KIND,
        subject=transfer,
        title=f"Bank transaction {transfer.bank_transaction_id} was {kept} first, then {told}",
        detail="The first stays. Compare it with the bank's statement.",
        data={"amount": amount, "currency": currency, "reference": reference},
        account_id=transfer.account_id,
        at=at,
        actor=actor,
    )
