"""
What becomes of payouts: the ONE function through which an answer, a webhook and the sweep settle them.

Source: contract chapter Payouts; ADR 0053.
"""

from __future__ import annotations

import uuid
from datetime import date, datetime
from typing import Final

from django.db import IntegrityError, transaction

from billing_site.kernel.actors import SYSTEM, Actor
from billing_site.kernel.errors import NotFound
from billing_site.kernel.ids import new_uuid
from billing_site.kernel.money import format_decimal
from billing_site.kernel.periods import local_date
from billing_site.platform.services.work_items import open_work_item, settle_work_item
from invoicing.gateways.orders import PayoutState
from invoicing.models import DestinationType, Payout, PayoutOrigin, PayoutStatus
from invoicing.services.payout_rows import (
    DIFFERS_KIND,
    FAILED_KIND,
    UNKNOWN_KIND,
    emit_payout,
    hold_money,
    lock_payout,
)
from invoicing.services.payouts import end_payout

# What the provider says, by what we know: the states to go through. What is not here is older news.
_WAYS: Final[dict[tuple[str, str], tuple[PayoutStatus, ...]]] = {
    ("pending", "in_transit"): (PayoutStatus.IN_TRANSIT,),
    ("pending", "paid"): (PayoutStatus.IN_TRANSIT, PayoutStatus.PAID),
    ("pending", "failed"): (PayoutStatus.FAILED,),
    ("pending", "canceled"): (PayoutStatus.CANCELED,),
    ("in_transit", "paid"): (PayoutStatus.PAID,),
    ("in_transit", "failed"): (PayoutStatus.FAILED,),
    ("in_transit", "canceled"): (PayoutStatus.FAILED,),  # it had left: it came back
    ("paid", "failed"): (PayoutStatus.FAILED,),
}

_RELEASED: Final = (PayoutStatus.FAILED, PayoutStatus.CANCELED)


@transaction.atomic
def record_payout(
    *,
    state: PayoutState,
    at: datetime,
    actor: Actor = SYSTEM,
    payout_id: uuid.UUID | None = None,
    provider_type: str = "",
    livemode: bool = False,
) -> Payout:
    """
    Bring a payout to where the provider says it stands, and return it; what is known already changes nothing.

    Without `payout_id` it is found by the provider's name of it or ours; one that is none of ours is the provider's own
    (it pays out by itself) and kept as such. Paid sets `arrival_date`; failed and canceled release the money.
    :raises NotFound: for a `payout_id` that is none.
    """
    key = payout_id or _find(state, provider_type)
    payout = lock_payout(key) if key is not None else _keep_own_of_provider(state, provider_type, livemode, at, actor)
    when = at if payout.account is None else payout.account.clock_time or at
    if _contradicts(payout, state):
        _tell_contradiction(payout, state, at=when, actor=actor)
        return payout
    if state.ref and not payout.provider_ref and payout.status not in _RELEASED:
        payout.provider_ref = state.ref
        payout.save(update_fields=["provider_ref", "updated_at"])
    for status in _WAYS.get((payout.status, state.status), ()):
        if status in _RELEASED:
            _fail(payout, status, state, at=when, actor=actor)
        else:
            _go_on(payout, status, state, at=when, actor=actor)
    if state.ref:
        settle_work_item(kind=UNKNOWN_KIND, subject=payout, at=when, actor=actor, comment="The provider told.")
        _compare(payout, state, at=when, actor=actor)
    return payout


def _find(state: PayoutState, provider_type: str) -> uuid.UUID | None:
    named = Payout.objects.filter(provider_ref=state.ref).exclude(provider_ref="")
    found = (named.filter(provider_type=provider_type) if provider_type else named).values_list("pk", flat=True).first()
    if found is not None:
        return found
    key = Payout.parse_id(state.reference) if state.reference else None
    return key if key is not None and Payout.objects.filter(pk=key).exists() else None


def _keep_own_of_provider(state: PayoutState, provider_type: str, livemode: bool, at: datetime, actor: Actor) -> Payout:
    """Write a payout that the provider made by itself, to our bank account; told of twice at once, it is one."""
    if not state.ref:
        raise NotFound("payout")
    key = new_uuid()
    try:
        with transaction.atomic():
            entry = hold_money(
                key, None, amount=state.amount.amount, currency=state.amount.currency, at=at, livemode=livemode
            )
            payout = Payout.objects.create(
                id=key,
                origin=PayoutOrigin.PROVIDER,
                amount=state.amount.amount,
                currency=state.amount.currency,
                destination_type=DestinationType.BANK_ACCOUNT,
                description="Paid out by the provider itself",
                provider_type=provider_type,
                provider_ref=state.ref,
                entry=entry,
                requested_by=str(actor),
                livemode=livemode,
            )
    except IntegrityError as error:
        if "payouts_ref_once" not in str(error):
            raise
        found = Payout.objects.get(provider_type=provider_type, provider_ref=state.ref)
        return lock_payout(found.pk)
    emit_payout("created", payout, at=at, actor=actor)
    return payout


def _go_on(payout: Payout, status: PayoutStatus, state: PayoutState, *, at: datetime, actor: Actor) -> None:
    before = payout.status
    payout.status = status
    if state.arrival_date is not None:
        payout.arrival_date = state.arrival_date
    if status == PayoutStatus.PAID:
        payout.ended_at = at
        payout.arrival_date = payout.arrival_date or _today(payout, at)
    payout.save(update_fields=["status", "ended_at", "arrival_date", "updated_at"])
    emit_payout(status, payout, at=at, actor=actor, previous={"status": before})


def _fail(payout: Payout, status: PayoutStatus, state: PayoutState, *, at: datetime, actor: Actor) -> None:
    if status == PayoutStatus.FAILED:
        payout.failure_code = (state.failure_code or state.status)[:80]
        payout.failure_message = (state.failure_message or "The provider did not pay it out.")[:500]
    end_payout(payout, status, at=at, actor=actor)
    if status == PayoutStatus.FAILED:
        shown = f"{format_decimal(payout.amount, payout.currency)} {payout.currency.upper()}"
        open_work_item(
            kind=FAILED_KIND,
            subject=payout,
            title=f"A payout of {shown} to {payout.account or 'ourselves'} failed",
            detail=f"{payout.failure_message} The money is back; look at the destination before it is sent again.",
            data={"failure_code": payout.failure_code},
            account_id=payout.account_id,
            at=at,
            actor=actor,
        )


def _contradicts(payout: Payout, state: PayoutState) -> bool:
    """Tell whether the provider sends money that was given back here."""
    return payout.status in _RELEASED and state.status in (PayoutStatus.IN_TRANSIT, PayoutStatus.PAID)


def _tell_contradiction(payout: Payout, state: PayoutState, *, at: datetime, actor: Actor) -> None:
    open_work_item(
        kind=DIFFERS_KIND,
        subject=payout,
        title=f"{payout} is {payout.status} here and {state.status} at the provider",
        detail="Its money was released here. Nothing was booked again: find out which is true.",
        data={"provider_ref": state.ref, "status": state.status},
        account_id=payout.account_id,
        severity="critical",
        at=at,
        actor=actor,
    )


def _compare(payout: Payout, state: PayoutState, *, at: datetime, actor: Actor) -> None:
    """Tell operators when the provider paid out something else than was asked for."""
    if (state.amount.amount, state.amount.currency) == (payout.amount, payout.currency):
        return
    told = f"{format_decimal(state.amount.amount, state.amount.currency)} {state.amount.currency.upper()}"
    open_work_item(
        kind=DIFFERS_KIND,
        subject=payout,
        title=f"The provider paid out {told} for {payout}",
        detail=f"{format_decimal(payout.amount, payout.currency)} {payout.currency.upper()} were booked.",
        account_id=payout.account_id,
        at=at,
        actor=actor,
    )


def _today(payout: Payout, at: datetime) -> date:
    return at.date() if payout.account is None else local_date(at, payout.account.zone)
