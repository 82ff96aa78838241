"""
Disputes: what the provider says of them, and what the books say to that.

A webhook, the answer to our own call, the sweep and the comparison all end in `record_dispute`, which creates a
dispute and moves it along; the same told again, or late, changes nothing. The disputed money is held in
`disputes_held` while nobody knows for whom it is; an inquiry holds nothing. Locks: account, payment, dispute, ledger.
Source: contract chapters Disputes and Ledger; ADR 0055.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from django.db import transaction

from accounts.models import LedgerKind
from accounts.services import ledger
from accounts.services.account_locks import lock_account
from accounts.services.ledger import PostingSpec
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import NotFound
from billing_site.kernel.money import format_decimal
from billing_site.platform.models import WorkItemSeverity
from billing_site.platform.services import events
from billing_site.platform.services.work_items import Subject, open_work_item, settle_work_item
from invoicing.gateways.orders import DisputeState
from invoicing.models import DECIDED_STATUSES, HOLDING_STATUSES, Dispute, DisputeStatus, PaymentIntent

OPENED_ITEM: Final = "invoicing.dispute_opened"
DEADLINE_ITEM: Final = "invoicing.dispute_deadline"
LOST_ITEM: Final = "invoicing.dispute_lost"
UNKNOWN_ITEM: Final = "invoicing.dispute_unknown"
CONTRADICTION_ITEM: Final = "invoicing.dispute_contradicted"
# What is told besides `dispute.updated` when a dispute comes to an end.
_ENDS: Final[Mapping[str, str]] = {"won": "won", "lost": "lost", "warning_closed": "closed"}


@transaction.atomic
def record_dispute(*, state: DisputeState, provider_type: str, at: datetime, actor: Actor) -> Dispute | None:
    """
    Take over what the provider says of a dispute and return it; None when the disputed payment is not known here.

    That, and what cannot be, such as another decision than the one before, is told to operators.
    """
    intent = _find_payment(state, provider_type)
    if intent is None:
        _tell_unknown(state, provider_type, at=at, actor=actor)
        return None
    lock_account(intent.account_id)
    PaymentIntent.objects.select_for_update(no_key=True).get(pk=intent.pk)
    rows = Dispute.objects.select_for_update(of=("self",), no_key=True).select_related("account", "payment_intent")
    dispute = rows.filter(provider_type=provider_type, provider_ref=state.ref).first()
    if dispute is None:
        return _open(state, intent, provider_type, at=at, actor=actor)
    return _update(dispute, state, at=at, actor=actor)


def _find_payment(state: DisputeState, provider_type: str) -> PaymentIntent | None:
    known = Dispute.objects.filter(provider_type=provider_type, provider_ref=state.ref)
    if (dispute := known.select_related("payment_intent").first()) is not None:
        return dispute.payment_intent
    if not state.payment_ref:
        return None
    rows = PaymentIntent.objects.filter(provider_type=provider_type, provider_ref=state.payment_ref)
    return rows.select_related("account").first()


def _open(state: DisputeState, intent: PaymentIntent, provider_type: str, *, at: datetime, actor: Actor) -> Dispute:
    status = DisputeStatus(state.status)
    dispute = Dispute(
        account=intent.account,
        payment_intent=intent,
        amount=state.amount.amount,
        currency=state.amount.currency,
        status=status,
        reason=state.reason[:100],
        fee=state.fee,
        evidence_due_by=state.evidence_due_by,
        evidence=dict(state.evidence),
        provider_type=provider_type,
        provider_ref=state.ref,
        opened_at=at,
        closed_at=at if status in DECIDED_STATUSES else None,
        held=state.amount.amount if status in HOLDING_STATUSES else 0,
        livemode=intent.livemode,
    )
    dispute.save(force_insert=True)
    if not dispute.is_inquiry:
        _post(dispute, "", [(LedgerKind.DISPUTES_HELD, dispute.amount), (LedgerKind.CASH, -dispute.amount)], at=at)
    _book_decision(dispute, "", at=at)
    tell("created", dispute, at=at, actor=actor)
    if status in _ENDS:
        _tell_end(dispute, at=at, actor=actor)
    else:
        _tell_opened(dispute, at=at, actor=actor)
    return dispute


def _update(dispute: Dispute, state: DisputeState, *, at: datetime, actor: Actor) -> Dispute:
    before = {
        "status": dispute.status,
        "amount": dispute.amount,
        "evidence_due_by": dispute.evidence_due_by,
        "reason": dispute.reason,
    }
    status = DisputeStatus(state.status)
    if status != dispute.status and not dispute.can_become(status):
        # What is older than what is known, such as "needs response" after the evidence, is no news.
        if dispute.status in ("won", "lost") and status in ("won", "lost"):
            _tell_contradiction(dispute, status, at=at, actor=actor)
        return dispute
    was, held = dispute.status, dispute.held
    dispute.fee = max(dispute.fee, state.fee)
    dispute.reason = state.reason[:100] or dispute.reason
    dispute.evidence_due_by = state.evidence_due_by or dispute.evidence_due_by
    if dispute.status not in (DisputeStatus.WON, DisputeStatus.LOST):
        dispute.amount = state.amount.amount
    dispute.status = status
    dispute.held = dispute.amount if status in HOLDING_STATUSES else 0
    if status in DECIDED_STATUSES:
        dispute.closed_at = dispute.closed_at or at
    else:
        dispute.closed_at = None
    dispute.save(
        update_fields=["fee", "reason", "evidence_due_by", "amount", "status", "held", "closed_at", "updated_at"]
    )
    if was not in (DisputeStatus.WON, DisputeStatus.LOST):
        _book_hold(dispute, held, at=at)
    if status != was:
        _book_decision(dispute, was, at=at)
    changed = {name: value for name, value in before.items() if value != getattr(dispute, name)}
    if changed:
        tell("updated", dispute, at=at, actor=actor, previous=changed)
    if status != was and status in _ENDS:
        _tell_end(dispute, at=at, actor=actor)
    elif was.startswith("warning") and status in HOLDING_STATUSES:
        _tell_opened(dispute, at=at, actor=actor)
    return dispute


# ---- the books ------------------------------------------------------------------------------------------------------
def _book_hold(dispute: Dispute, held: int, *, at: datetime) -> None:
    """Bring what is held to the disputed amount: all of it for what was an inquiry, the difference for what changed."""
    if dispute.is_inquiry:
        return
    change = dispute.amount - held
    if change:
        suffix = f":{dispute.amount}" if held else ""
        _post(dispute, suffix, [(LedgerKind.DISPUTES_HELD, change), (LedgerKind.CASH, -change)], at=at)


def _book_decision(dispute: Dispute, was: str, *, at: datetime) -> None:
    """What was held comes back, or is lost; a lost dispute costs its fee."""
    if dispute.status == was or dispute.status not in (DisputeStatus.WON, DisputeStatus.LOST):
        return
    into = LedgerKind.CASH if dispute.status == DisputeStatus.WON else LedgerKind.BAD_DEBT
    _post(
        dispute,
        f":{dispute.status}",
        [(into, dispute.amount), (LedgerKind.DISPUTES_HELD, -dispute.amount)],
        at=at,
    )
    if dispute.status == DisputeStatus.LOST and dispute.fee:
        _post(dispute, ":fee", [(LedgerKind.FEES, dispute.fee), (LedgerKind.CASH, -dispute.fee)], at=at)


def _post(dispute: Dispute, suffix: str, legs: Sequence[tuple[str, int]], *, at: datetime) -> None:
    ledger.post_entry(
        key=f"dispute:{dispute.public_id}{suffix}",
        type="dispute",
        account_id=dispute.account_id,
        postings=[PostingSpec(kind, None, dispute.currency, amount) for kind, amount in legs],
        at=at,
        livemode=dispute.livemode,
        description=f"Dispute {dispute.get_status_display()}",
        metadata={"dispute_id": dispute.public_id, "payment_intent_id": dispute.payment_intent.public_id},
    )


# ---- telling --------------------------------------------------------------------------------------------------------
def say_amount(dispute: Dispute) -> str:
    """Return the disputed amount as a sentence says it."""
    return f"{format_decimal(dispute.amount, dispute.currency)} {dispute.currency.upper()}"


def tell(
    what: str,
    dispute: Dispute,
    *,
    at: datetime,
    actor: Actor,
    previous: Mapping[str, Any] | None = None,
    reason: str = "",
) -> None:
    """Emit `dispute.<what>`."""
    events.emit(
        f"dispute.{what}",
        subject=dispute,
        account_id=dispute.account_id,
        at=at,
        actor=actor,
        data=snapshot_dispute(dispute),
        previous=previous,
        reason=reason,
    )


def snapshot_dispute(dispute: Dispute) -> dict[str, Any]:
    """Return what an event says of a dispute."""
    return {
        "id": dispute.public_id,
        "payment_intent_id": dispute.payment_intent.public_id,
        "status": dispute.status,
        "amount": dispute.amount,
        "currency": dispute.currency,
        "reason": dispute.reason or None,
        "fee": dispute.fee,
        "evidence_due_by": dispute.evidence_due_by,
    }


def _tell_opened(dispute: Dispute, *, at: datetime, actor: Actor) -> None:
    kind = "An inquiry about" if dispute.is_inquiry else "A dispute of"
    due = f"Answer until {dispute.evidence_due_by:%Y-%m-%d %H:%M} UTC." if dispute.evidence_due_by else ""
    open_work_item(
        kind=OPENED_ITEM,
        subject=dispute,
        title=f"{kind} {say_amount(dispute)} paid by {dispute.account}: {dispute.reason or 'no reason given'}",
        detail=due,
        at=at,
        actor=actor,
        data={"dispute": dispute.public_id},
        account_id=dispute.account_id,
    )


def _tell_end(dispute: Dispute, *, at: datetime, actor: Actor) -> None:
    tell(_ENDS[dispute.status], dispute, at=at, actor=actor)
    for kind in (OPENED_ITEM, DEADLINE_ITEM):
        settle_work_item(kind=kind, subject=dispute, at=at, actor=actor, comment=f"It is {dispute.status}.")
    if dispute.status == DisputeStatus.LOST:
        open_work_item(
            kind=LOST_ITEM,
            subject=dispute,
            title=f"A dispute of {say_amount(dispute)} paid by {dispute.account} is lost",
            detail="The invoice stays paid. Decide whether the account goes on.",
            at=at,
            actor=actor,
            data={"dispute": dispute.public_id},
            account_id=dispute.account_id,
        )


def _tell_unknown(state: DisputeState, provider_type: str, *, at: datetime, actor: Actor) -> None:
    open_work_item(
        kind=UNKNOWN_ITEM,
        subject=Subject("provider_dispute", f"{provider_type}:{state.ref}"[:100]),
        title=f"A dispute at the provider of a payment that is not known here: {state.ref}",
        detail=f"Payment {state.payment_ref or state.charge_ref or 'unknown'}, {state.status}.",
        at=at,
        actor=actor,
        data={"provider_type": provider_type, "ref": state.ref, "payment_ref": state.payment_ref},
        severity=WorkItemSeverity.CRITICAL,
    )


def _tell_contradiction(dispute: Dispute, status: str, *, at: datetime, actor: Actor) -> None:
    open_work_item(
        kind=CONTRADICTION_ITEM,
        subject=dispute,
        title=f"{say_amount(dispute)} of {dispute.account}: {dispute.status} here, but the provider says {status}",
        at=at,
        actor=actor,
        data={"dispute": dispute.public_id, "status": status},
        account_id=dispute.account_id,
        severity=WorkItemSeverity.CRITICAL,
    )


def get_dispute(dispute_id: uuid.UUID) -> Dispute:
    """
    Return a dispute with its account and payment.

    :raises NotFound: if there is none.
    """
    rows = Dispute.objects.select_related("account__test_clock", "payment_intent")
    found = rows.filter(pk=dispute_id).first()
    if found is None:
        raise NotFound("dispute")
    return found
