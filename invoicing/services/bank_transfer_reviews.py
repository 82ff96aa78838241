"""Transfers that wait for a person and are nobody's: taken off the review list, and put back. Source: ADR 0053."""

from __future__ import annotations

import uuid
from datetime import datetime

from django.db import transaction

from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import InvalidState, ValidationFailed
from billing_site.platform.services.work_items import settle_work_item
from invoicing.models import BankTransfer, BankTransferStatus
from invoicing.services.bank_transfer_rows import UNMATCHED_KIND, ask_operators, emit_transfer, lock_transfer


@transaction.atomic
def dismiss_transfer(*, transfer_id: uuid.UUID, at: datetime, actor: Actor, reason: str) -> BankTransfer:
    """
    Take a transfer off the review list: it is no payment of anybody. It stays, with who said so and why.

    :raises NotFound: if there is none. :raises InvalidState: unless it waits. :raises ValidationFailed: without reason.
    """
    if not reason.strip():
        raise ValidationFailed.of("/reason", "blank", "Say why the money is nobody's.")
    transfer = lock_transfer(transfer_id)
    _require_way(transfer, BankTransferStatus.DISMISSED)
    transfer.status, transfer.dismissed_at = BankTransferStatus.DISMISSED, at
    transfer.dismiss_reason = reason.strip()
    transfer.save(update_fields=["status", "dismissed_at", "dismiss_reason", "updated_at"])
    emit_transfer("dismissed", transfer, at=at, actor=actor, reason=reason, previous=BankTransferStatus.UNMATCHED)
    settle_work_item(kind=UNMATCHED_KIND, subject=transfer, at=at, actor=actor, comment=f"Dismissed: {reason.strip()}")
    return transfer


@transaction.atomic
def restore_transfer(*, transfer_id: uuid.UUID, at: datetime, actor: Actor, reason: str = "") -> BankTransfer:
    """
    Put a dismissed transfer back on the review list.

    :raises NotFound: if there is none. :raises InvalidState: unless it is dismissed.
    """
    transfer = lock_transfer(transfer_id)
    _require_way(transfer, BankTransferStatus.UNMATCHED)
    transfer.status, transfer.dismissed_at, transfer.dismiss_reason = BankTransferStatus.UNMATCHED, None, ""
    transfer.save(update_fields=["status", "dismissed_at", "dismiss_reason", "updated_at"])
    emit_transfer("unmatched", transfer, at=at, actor=actor, reason=reason, previous=BankTransferStatus.DISMISSED)
    ask_operators(transfer, at=at, actor=actor)
    return transfer


def _require_way(transfer: BankTransfer, status: BankTransferStatus) -> None:
    if not transfer.can_become(status):
        raise InvalidState(f"The transfer is {transfer.status}.", current_status=transfer.status)
