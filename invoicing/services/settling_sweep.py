"""
Asking the provider about payments that were never answered.

A call is asked again under its key, which has one effect and tells what became of it. When keys are forgotten (after a
day), when the money is not wanted any more, when it was a token that is kept nowhere, or when the key tells of nothing
but a failure, the provider is only asked whether there is such a payment. Source: contract chapter Payments; ADR 0057.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.db.models import F, Q

from billing_site.kernel.actors import SYSTEM, Actor
from billing_site.kernel.errors import DomainError
from invoicing.gateways.orders import PaymentState, ProviderStatus
from invoicing.gateways.port import CallSpent, NoProcessorAvailable, ObjectUnknown, PaymentGateway, ProviderUnavailable
from invoicing.gateways.registry import get_gateway
from invoicing.models import IntentPurpose, IntentStatus, PaymentAllocation, PaymentIntent, PendingCall
from invoicing.queries.provider_customers import find_customer_ref
from invoicing.services.balance_payments import PAYABLE_STATUSES
from invoicing.services.charging import ask_provider, record_payment, record_rejection

logger = logging.getLogger(__name__)

UNANSWERED_AFTER: Final = timedelta(minutes=10)
KEYS_KEPT: Final = timedelta(hours=23)
NEVER_MADE: Final = "The payment provider never heard of this payment; nothing was charged."


def list_unanswered(*, at: datetime, limit: int) -> list[UUID]:
    """
    Return payments whose last call is not answered, or which the provider is still processing, longest waiting first.

    `at` is the wall clock's time: what waits is an answer from outside, whatever clock the account is on.
    """
    before = at - UNANSWERED_AFTER
    waiting = PaymentIntent.objects.filter(
        ~Q(pending_call="") | Q(status=IntentStatus.PROCESSING),
        Q(asked_at__lt=before) | Q(asked_at__isnull=True),
        updated_at__lt=before,
    )
    return list(waiting.order_by(F("asked_at").asc(nulls_first=True), "id").values_list("pk", flat=True)[:limit])


def settle_unanswered(*, at: datetime, actor: Actor = SYSTEM, limit: int = 200) -> int:
    """Ask about what was never answered, each by itself, and return how many are settled now."""
    settled = 0
    for intent_id in list_unanswered(at=at, limit=limit):
        try:
            settled += settle_payment(intent_id=intent_id, at=at, actor=actor)
        except DomainError:
            logger.exception("payment %s could not be settled", intent_id)
    return settled


def settle_payment(
    *, intent_id: UUID, at: datetime, actor: Actor = SYSTEM, gateway: PaymentGateway | None = None
) -> bool:
    """
    Ask the provider what became of a payment, and tell whether it knows. Call it outside a transaction.

    A payment that the provider never heard of and that nobody wants any more is canceled.
    """
    intent = PaymentIntent.objects.select_related("account__test_clock", "payment_method").get(pk=intent_id)
    now = intent.account.clock_time or at
    PaymentIntent.objects.filter(pk=intent_id).update(asked_at=at)
    try:
        asked = gateway or get_gateway(intent.provider_type, livemode=intent.livemode)
        if intent.pending_call and _may_repeat(intent, now):
            try:
                return not ask_provider(intent_id=intent_id, at=now, actor=actor, gateway=asked).pending_call
            except CallSpent as spent:
                logger.warning("payment %s is looked up: %s", intent.public_id, spent)
        key = intent.call_key
        state = _look_up(intent, asked)
    except (ProviderUnavailable, NoProcessorAvailable) as refusal:
        logger.warning("payment %s is not settled yet: %s", intent.public_id, refusal.code)
        return False
    if state is None:
        record_rejection(intent_id=intent_id, detail=NEVER_MADE, at=now, actor=actor, key=key)
        return True
    answered = "" if state.status == ProviderStatus.PROCESSING else key
    return not record_payment(intent_id=intent_id, state=state, at=now, actor=actor, key=answered).pending_call


def _may_repeat(intent: PaymentIntent, at: datetime) -> bool:
    """Tell whether the same call may be made again: its key is remembered, its means known, its money still wanted."""
    if intent.pending_call != PendingCall.PAY:
        return True
    if intent.payment_method is None or intent.called_at is None or at - intent.called_at > KEYS_KEPT:
        return False
    return intent.purpose != IntentPurpose.INVOICE or _is_wanted(intent)


def _is_wanted(intent: PaymentIntent) -> bool:
    rows = PaymentAllocation.objects.filter(intent=intent).select_related("invoice")
    return all(
        each.invoice.status in PAYABLE_STATUSES and each.invoice.amount_remaining >= each.amount for each in rows
    )


def _look_up(intent: PaymentIntent, gateway: PaymentGateway) -> PaymentState | None:
    """Return the provider's payment, None when it never heard of it."""
    try:
        if intent.provider_ref:
            return gateway.fetch_payment(payment_ref=intent.provider_ref)
    except ObjectUnknown:
        return None
    customer = find_customer_ref(account_id=intent.account_id, provider_type=intent.provider_type)
    since = intent.created_at - timedelta(hours=1)
    return gateway.find_payment(reference=intent.public_id, customer_ref=customer, since=since)
