"""
Handing payouts to the provider, asking what became of them, and calling them back.

The row is written and committed before the provider is asked; its key is `payout:{id}`, so that a repeat has one
effect. Nothing here runs in a transaction of its caller. Source: contract chapter Payouts; ADR 0053.
"""

from __future__ import annotations

import logging
import uuid
from datetime import datetime, timedelta
from typing import Final

from django.db import transaction
from django.db.models import F, Q

from billing_site.kernel.actors import SYSTEM, Actor
from billing_site.kernel.errors import DomainError, InvalidState, NotFound
from billing_site.kernel.money import Money, format_decimal
from billing_site.platform.models import ApprovalStatus
from billing_site.platform.services import approvals
from billing_site.platform.services.keyed_requests import RequestMark, find_repeated, remember
from billing_site.platform.services.work_items import open_work_item
from invoicing.gateways.orders import PayoutOrder, PayoutState
from invoicing.gateways.port import (
    NoProcessorAvailable,
    ObjectUnknown,
    OrderRejected,
    PaymentGateway,
    ProviderUnavailable,
)
from invoicing.gateways.registry import get_gateway
from invoicing.models import Payout, PayoutStatus
from invoicing.services.payout_rows import UNKNOWN_KIND, lock_payout
from invoicing.services.payout_settling import record_payout
from invoicing.services.payouts import cancel_unsent, is_allowed

__all__ = ["NoProcessorAvailable", "ProviderUnavailable", "cancel_payout", "send_payout", "sweep_payouts"]

ASKED_AGAIN_AFTER: Final = timedelta(minutes=10)
KEYS_KEPT: Final = timedelta(hours=23)
"""For how long a provider knows the key of a call: after that a repeat could pay twice."""
logger = logging.getLogger(__name__)


def send_payout(
    *, payout_id: uuid.UUID, at: datetime, actor: Actor = SYSTEM, gateway: PaymentGateway | None = None
) -> bool:
    """
    Hand a payout to the provider, or ask again, and tell whether an answer was recorded. Call it outside a transaction.

    `at` is the wall clock's time. What may not be sent is left alone. An unknown outcome leaves it pending; the same
    key is used again for 23 hours, then operators are told and nobody asks by itself any more.
    """
    payout = _begin(payout_id, at=at, actor=actor)
    if payout is None:
        return False
    try:
        asked = gateway or get_gateway(payout.provider_type, livemode=payout.livemode)
        state = asked.pay_out(order=_make_order(payout), key=payout.call_key)
    except OrderRejected as refusal:
        state = _refused(payout, refusal.code, str(refusal))
    except (ProviderUnavailable, NoProcessorAvailable) as refusal:
        logger.warning("payout %s is not handed over yet: %s", payout.public_id, refusal.code)
        return False
    record_payout(state=state, payout_id=payout.pk, at=at, actor=actor)
    return True


def cancel_payout(
    *,
    payout_id: uuid.UUID,
    at: datetime,
    actor: Actor,
    reason: str = "",
    mark: RequestMark | None = None,
    gateway: PaymentGateway | None = None,
) -> Payout:
    """
    Stop a payout that has not left and return it, canceled; its money is released. Call it outside a transaction.

    One that the provider has already is called back there. A request that waits for another person is taken back.
    :raises NotFound: if there is none. :raises InvalidState: when it is not pending, or has left meanwhile.
    :raises ProviderUnavailable: when it was handed over and nothing is known: try again.
    """
    mark = mark or RequestMark()
    payout = _cancel_here(payout_id, at=at, actor=actor, reason=reason, mark=mark)
    if payout.status == PayoutStatus.CANCELED:
        return payout
    if not payout.provider_ref:
        raise ProviderUnavailable("The payment provider has not answered yet whether it sends the payout; try again.")
    asked = gateway or get_gateway(payout.provider_type, livemode=payout.livemode)
    state = asked.cancel_payout(payout_ref=payout.provider_ref, key=f"payout:{payout.public_id}:cancel")
    payout = record_payout(state=state, payout_id=payout.pk, at=at, actor=actor)
    if payout.status != PayoutStatus.CANCELED:
        raise InvalidState("The payout has left.", current_status=payout.status)
    return payout


def sweep_payouts(*, at: datetime, actor: Actor = SYSTEM, limit: int = 200) -> int:
    """Send what was left behind and ask about what has not ended, each by itself; return how many were answered."""
    known = 0
    for payout_id, is_known in _list_waiting(at=at, limit=limit):
        try:
            settle = _look_up if is_known else send_payout
            known += settle(payout_id=payout_id, at=at, actor=actor)
        except DomainError:
            logger.exception("payout %s could not be settled", payout_id)
    return known


def _list_waiting(*, at: datetime, limit: int) -> list[tuple[uuid.UUID, bool]]:
    """Return payouts to ask about, longest waiting first, and whether the provider is known to have them."""
    before = at - ASKED_AGAIN_AFTER
    waiting = Payout.objects.filter(
        Q(approval__isnull=True) | Q(approval__status=ApprovalStatus.APPROVED),
        Q(asked_at__lt=before) | Q(asked_at__isnull=True, updated_at__lt=before),
        status__in=(PayoutStatus.PENDING, PayoutStatus.IN_TRANSIT),
    )
    rows = waiting.order_by(F("asked_at").asc(nulls_first=True), "id").values_list("pk", "provider_ref")[:limit]
    return [(pk, bool(ref)) for pk, ref in rows]


@transaction.atomic
def _begin(payout_id: uuid.UUID, *, at: datetime, actor: Actor) -> Payout | None:
    """Write that the provider is asked now, and return the payout; None when it is not to be."""
    payout = lock_payout(payout_id)
    if payout.status != PayoutStatus.PENDING or payout.provider_ref or not is_allowed(payout):
        return None
    payout.asked_at = at
    if payout.called_at is not None and at - payout.called_at > KEYS_KEPT:
        payout.save(update_fields=["asked_at", "updated_at"])
        _tell_unknown(payout, at=at, actor=actor)
        return None
    if not payout.is_handed_over:
        payout.call_key, payout.called_at = f"payout:{payout.public_id}", at
        if payout.destination is None or not payout.destination.is_attached:
            payout.save(update_fields=["asked_at", "call_key", "called_at", "updated_at"])
            gone = _refused(payout, "destination_gone", "The destination was detached before the payout was sent.")
            record_payout(state=gone, payout_id=payout.pk, at=at, actor=actor)
            return None
    payout.save(update_fields=["asked_at", "call_key", "called_at", "updated_at"])
    return payout


def _look_up(*, payout_id: uuid.UUID, at: datetime, actor: Actor) -> bool:
    payout = Payout.objects.get(pk=payout_id)
    Payout.objects.filter(pk=payout_id).update(asked_at=at)
    try:
        asked = get_gateway(payout.provider_type, livemode=payout.livemode)
        state = asked.fetch_payout(payout_ref=payout.provider_ref)
    except (ProviderUnavailable, NoProcessorAvailable, ObjectUnknown) as refusal:
        logger.warning("nothing is known of payout %s: %s", payout.public_id, refusal)
        return False
    record_payout(state=state, payout_id=payout.pk, at=at, actor=actor)
    return True


def _cancel_here(payout_id: uuid.UUID, *, at: datetime, actor: Actor, reason: str, mark: RequestMark) -> Payout:
    """Cancel what nobody was asked to send; return it, or the payout that has to be called back."""
    with transaction.atomic():
        is_repeat = find_repeated(mark) is not None
        waiting = Payout.objects.filter(pk=payout_id, approval__status=ApprovalStatus.PENDING).first()
        if waiting is not None and waiting.approval_id is not None and not is_repeat:
            approvals.cancel(approval_id=waiting.approval_id, at=at, actor=actor, comment=reason or "Canceled")
            remember(mark, subject_id=waiting.public_id, at=at)
            return lock_payout(payout_id)
        payout = lock_payout(payout_id)
        if is_repeat and payout.status == PayoutStatus.CANCELED:
            return payout
        if payout.status != PayoutStatus.PENDING:
            raise InvalidState("Only a pending payout can be canceled.", current_status=payout.status)
        if not is_repeat:
            remember(mark, subject_id=payout.public_id, at=at)
        if not payout.is_handed_over:
            when = at if payout.account is None else payout.account.clock_time or at
            cancel_unsent(payout, at=when, actor=actor, reason=reason)
        return payout


def _make_order(payout: Payout) -> PayoutOrder:
    if payout.destination is None:
        raise NotFound("payment_method")
    return PayoutOrder(
        reference=payout.public_id,
        amount=Money(payout.amount, payout.currency),
        destination_ref=payout.destination.provider_ref,
        destination_type=payout.destination_type,
        account_id="" if payout.account is None else payout.account.public_id,
        description=payout.description,
    )


def _refused(payout: Payout, code: str, message: str) -> PayoutState:
    """Return what a payout comes to that was surely not sent."""
    return PayoutState(
        ref="",
        status="failed",
        amount=Money(payout.amount, payout.currency),
        failure_code=code,
        failure_message=message,
        reference=payout.public_id,
    )


def _tell_unknown(payout: Payout, *, at: datetime, actor: Actor) -> None:
    shown = f"{format_decimal(payout.amount, payout.currency)} {payout.currency.upper()}"
    open_work_item(
        kind=UNKNOWN_KIND,
        subject=payout,
        title=f"Was the payout of {shown} to {payout.account or 'ourselves'} sent?",
        detail="The provider never answered, and forgets its keys after a day: asking again could pay twice. Look for "
        f"{payout.public_id} there; its webhook or the comparison with the provider settles it.",
        data={"call_key": payout.call_key},
        account_id=payout.account_id,
        severity="critical",
        at=at,
        actor=actor,
    )
