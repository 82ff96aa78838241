"""
Asking the provider for refunds, outside any transaction, and asking again about those that were never answered.

Source: contract chapter Refunds and credit notes; ADR 0055.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from billing_site.kernel.actors import SYSTEM, Actor
from billing_site.kernel.errors import DomainError, NotFound
from billing_site.kernel.money import Money
from invoicing.gateways.orders import RefundOrder
from invoicing.gateways.port import CallSpent, ObjectUnknown, OrderRejected, PaymentGateway
from invoicing.gateways.registry import get_gateway
from invoicing.models import Refund, RefundDestination, RefundStatus
from invoicing.services.refund_settling import record_refund, record_refusal

ASKED_AGAIN_AFTER: Final = timedelta(minutes=10)

logger = logging.getLogger(__name__)


def send_refund(
    *, refund_id: uuid.UUID, at: datetime, actor: Actor = SYSTEM, gateway: PaymentGateway | None = None
) -> Refund:
    """
    Ask the provider for a refund that was released, record the answer and return the refund.

    Call it outside a transaction. The key of the call comes from the row, so that asking twice has one effect; what
    was answered before is not asked again.
    :raises ProviderUnavailable: when nothing is known; the refund stays pending and the sweep goes on with it.
    """
    refund = _load(refund_id)
    if refund.status != RefundStatus.PENDING or not refund.is_sent or refund.provider_ref:
        return refund
    asked = gateway or get_gateway(refund.provider_type, livemode=refund.livemode)
    Refund.objects.filter(pk=refund.pk).update(called_at=at)
    intent = refund.payment_intent
    order = RefundOrder(
        reference=refund.public_id,
        account_id=refund.account.public_id,
        payment_ref=intent.provider_ref if intent is not None else "",
        amount=Money(refund.amount, refund.currency),
        reason=refund.reason,
    )
    try:
        state = asked.refund(order=order, key=f"refund:{refund.public_id}")
    except OrderRejected as refusal:
        record_refusal(refund_id=refund.pk, reason=f"{refusal.code}: {refusal}", at=at, actor=actor)
    except ObjectUnknown as refusal:
        record_refusal(refund_id=refund.pk, reason=f"payment_unknown: {refusal}", at=at, actor=actor)
    else:
        record_refund(state=state, provider_type=refund.provider_type, at=at, actor=actor)
    return _load(refund_id)


def send_refunds(refunds: Sequence[Refund], *, at: datetime, actor: Actor) -> list[Refund]:
    """Ask the provider for the refunds of one request and return them as they are then. Raises as `send_refund`."""
    return [send_refund(refund_id=refund.pk, at=at, actor=actor) for refund in refunds]


def ask_about_refund(*, refund_id: uuid.UUID, at: datetime, actor: Actor = SYSTEM) -> Refund:
    """
    Find out what became of a pending refund, make it if it was not made, and return it. Outside a transaction.

    :raises ProviderUnavailable: when nothing is known still.
    """
    refund = _load(refund_id)
    if refund.status != RefundStatus.PENDING or not refund.is_sent:
        return refund
    gateway = get_gateway(refund.provider_type, livemode=refund.livemode)
    intent = refund.payment_intent
    if refund.provider_ref:
        try:
            state = gateway.fetch_refund(refund_ref=refund.provider_ref)
        except ObjectUnknown:
            logger.error("refund %s: the provider does not know it any more", refund.public_id)
            return refund
    else:
        # The key of the first call may be forgotten by now: look before asking again.
        found = gateway.find_refund(
            reference=refund.public_id, payment_ref=intent.provider_ref if intent is not None else ""
        )
        if found is None:
            return _send_again(refund, gateway, at=at, actor=actor)
        state = found
    record_refund(state=state, provider_type=refund.provider_type, at=at, actor=actor)
    return _load(refund_id)


def _send_again(refund: Refund, gateway: PaymentGateway, *, at: datetime, actor: Actor) -> Refund:
    """Make a refund that the provider did not have a moment ago; one whose key tells of a failure only has failed."""
    try:
        return send_refund(refund_id=refund.pk, at=at, actor=actor, gateway=gateway)
    except CallSpent as spent:
        intent = refund.payment_intent
        # Once more: somebody else's call may have been the one that failed.
        state = gateway.find_refund(
            reference=refund.public_id, payment_ref=intent.provider_ref if intent is not None else ""
        )
        if state is None:
            record_refusal(refund_id=refund.pk, reason=f"provider_failed: {spent}", at=at, actor=actor)
        else:
            record_refund(state=state, provider_type=refund.provider_type, at=at, actor=actor)
    return _load(refund.pk)


def list_unanswered(*, at: datetime, limit: int) -> list[uuid.UUID]:
    """
    Return refunds that the provider was to make and has not settled for ten minutes, longest not asked first.

    `at` is the wall clock's time: what waits is an answer from outside, whatever clock the account is on.
    """
    before = at - ASKED_AGAIN_AFTER
    rows = Refund.objects.filter(
        updated_at__lte=before,
        status=RefundStatus.PENDING,
        released_at__isnull=False,
        destination=RefundDestination.PROVIDER,
    )
    return list(rows.order_by("updated_at").values_list("pk", flat=True)[:limit])


def sweep_refunds(*, at: datetime, limit: int = 200) -> int:
    """Ask about pending refunds and return how many were settled; what cannot be asked waits for the next time."""
    settled = 0
    for refund_id in list_unanswered(at=at, limit=limit):
        Refund.objects.filter(pk=refund_id).update(updated_at=at)  # the others have their turn before it is asked again
        try:
            refund = ask_about_refund(refund_id=refund_id, at=_load(refund_id).account.clock_time or at)
        except DomainError as refusal:
            logger.warning("refund %s stays pending: %s", refund_id, refusal.code)
            continue
        settled += refund.status != RefundStatus.PENDING
    return settled


def _load(refund_id: uuid.UUID) -> Refund:
    rows = Refund.objects.select_related("account__test_clock", "payment_intent", "invoice", "credit_note")
    found = rows.filter(pk=refund_id).first()
    if found is None:
        raise NotFound("refund")
    return found
