"""The rows of payouts: locked, told of in events, and where their money is booked. Source: ADR 0053."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any, Final

from accounts.models import Account, LedgerEntry, LedgerKind
from accounts.services import ledger
from accounts.services.account_locks import lock_account
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import NotFound
from billing_site.platform.services import events
from billing_site.platform.services.work_items import WorkItemKind, register_kind
from invoicing.models import Payout

FAILED_KIND: Final = "invoicing.payout_failed"
UNKNOWN_KIND: Final = "invoicing.payout_unknown"
DIFFERS_KIND: Final = "invoicing.payout_differs"


def register_payout_work() -> None:
    """Tell the platform what operators see of payouts. Called when the app starts."""
    register_kind(WorkItemKind(FAILED_KIND, "A payout failed"))
    register_kind(WorkItemKind(UNKNOWN_KIND, "Nobody knows whether a payout was sent"))
    register_kind(WorkItemKind(DIFFERS_KIND, "The provider paid out another amount"))


def lock_payout(payout_id: uuid.UUID) -> Payout:
    """
    Return a payout locked for the transaction, its account before it.

    :raises NotFound: if there is none.
    """
    owners = list(Payout.objects.filter(pk=payout_id).values_list("account_id", flat=True))
    if not owners:
        raise NotFound("payout")
    if owners[0] is not None:
        lock_account(owners[0])
    rows = Payout.objects.select_for_update(of=("self",), no_key=True)
    found = rows.select_related("account__test_clock", "destination", "approval", "entry").filter(pk=payout_id)
    return next(iter(found))


def hold_money(
    payout_id: uuid.UUID, account: Account | None, *, amount: int, currency: str, at: datetime, livemode: bool
) -> LedgerEntry:
    """
    Book that money is on its way out: settlement +, cash -. Our own moves from cash to `bank`, which is ours as well.
    """
    owner = None if account is None else account.pk
    kind = LedgerKind.BANK if owner is None else LedgerKind.SETTLEMENT
    public_id = Payout(id=payout_id).public_id
    return ledger.post_entry(
        key=f"payout:{public_id}",
        type="payout",
        account_id=owner,
        postings=[
            ledger.PostingSpec(kind, owner, currency, amount),
            ledger.PostingSpec(LedgerKind.CASH, None, currency, -amount),
        ],
        at=at,
        livemode=livemode,
        description="Payout",
        metadata={"payout_id": public_id},
    )


def release_money(payout: Payout, *, at: datetime) -> LedgerEntry:
    """Give back what a payout held, once."""
    return ledger.reverse_entry(
        entry=payout.entry, at=at, key=f"payout_released:{payout.public_id}", description="Payout not made"
    )


def emit_payout(
    what: str,
    payout: Payout,
    *,
    at: datetime,
    actor: Actor,
    reason: str = "",
    previous: dict[str, Any] | None = None,
) -> None:
    """Write an event of a payout."""
    account, destination = payout.account, payout.destination
    events.emit(
        f"payout.{what}",
        subject=payout,
        account_id=payout.account_id,
        at=at,
        actor=actor,
        data={
            "id": payout.public_id,
            "status": payout.status,
            "origin": payout.origin,
            "account_id": None if account is None else account.public_id,
            "amount": payout.amount,
            "currency": payout.currency,
            "destination_type": payout.destination_type,
            "destination_id": None if destination is None else destination.public_id,
            "arrival_date": payout.arrival_date,
            "failure_code": payout.failure_code or None,
            "failure_message": payout.failure_message or None,
        },
        previous=previous,
        reason=reason,
    )
