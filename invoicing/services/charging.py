"""
One payment and the provider: asked between two transactions, settled by whoever hears first.

`begin_call` writes what will be asked and under which key; that is committed before `ask_provider` calls. The answer,
a webhook and the sweep all end in `record_payment`, which books a payment once. An unknown outcome leaves the row as it
is: nobody charges again until it is settled. Source: contract chapters Collection and Payments; ADR 0057.
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.db import transaction

from accounts.models import PaymentMethod
from accounts.services.account_locks import lock_account_row
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import DomainError, NotFound
from billing_site.kernel.money import Money
from billing_site.platform.services import events
from invoicing.gateways.declines import describe_decline
from invoicing.gateways.orders import PaymentOrder, PaymentState
from invoicing.gateways.port import NoProcessorAvailable, ObjectUnknown, OrderRejected, PaymentGateway
from invoicing.gateways.registry import get_gateway
from invoicing.models import ENDED_STATUSES, IntentStatus, Invoice, PaymentAllocation, PaymentIntent, PendingCall
from invoicing.queries.members import lock_subscriptions_of
from invoicing.queries.provider_customers import find_customer_ref
from invoicing.services.payment_booking import book_fee, book_payment, read_fee, snapshot_intent, tell_failed_attempts

logger = logging.getLogger(__name__)

REJECTED: Final = "rejected"
NOT_CARRIED_OUT: Final = "The payment provider did not carry this payment out; nothing was charged."
WAITING_STATUSES: Final = (IntentStatus.REQUIRES_PAYMENT_METHOD, IntentStatus.REQUIRES_CONFIRMATION)
_CALL_COLUMNS: Final = (
    *("status", "pending_call", "pending_amount", "call_key", "calls", "called_at", "payment_method", "off_session"),
    *("decline_reason", "last_error", "updated_at"),
)

_SETTLED_COLUMNS: Final = (
    *("status", "provider_ref", "client_secret", "pending_call", "pending_amount", "decline_reason", "last_error"),
    *("amount_capturable", "amount_received", "fee", "succeeded_at", "canceled_at", "updated_at"),
)


class PaymentDeclined(DomainError):
    """Member `decline_reason` is one plain sentence, `decline_code` our word for it."""

    code, title, status = "payment_declined", "The payment was declined", 402


def lock_intent(intent_id: UUID) -> PaymentIntent:
    """
    Lock the account of a payment, the subscriptions and invoices it pays, and the payment itself; return it.

    :raises NotFound: if there is none.
    """
    account_id = PaymentIntent.objects.filter(pk=intent_id).values_list("account_id", flat=True).first()
    if account_id is None:
        raise NotFound("payment_intent")
    lock_account_row(account_id)
    invoices = list(PaymentAllocation.objects.filter(intent=intent_id).values_list("invoice_id", flat=True))
    if invoices:
        lock_subscriptions_of(invoices)
        list(Invoice.objects.select_for_update().filter(pk__in=invoices).order_by("id").values_list("pk"))
    rows = PaymentIntent.objects.select_for_update(of=("self",)).select_related("account__test_clock", "payment_method")
    return list(rows.filter(pk=intent_id))[0]  # noqa: RUF015 — read anew in each transaction


def begin_call(
    intent: PaymentIntent,
    call: PendingCall,
    *,
    key: str,
    at: datetime,
    amount: int | None = None,
    method: PaymentMethod | None = None,
    off_session: bool = False,
) -> None:
    """
    Write on a locked payment what the provider is asked next, and under which key. `amount` is what to capture.

    Commit it before `ask_provider`.
    """
    intent.pending_call, intent.call_key, intent.called_at = call, key, at
    intent.pending_amount = amount
    intent.calls += 1
    if call == PendingCall.PAY:
        intent.status, intent.payment_method, intent.off_session = IntentStatus.PROCESSING, method, off_session
        intent.decline_reason = intent.last_error = ""
        PaymentAllocation.objects.filter(intent=intent, applied__isnull=True).update(is_open=True)
    intent.save(update_fields=_CALL_COLUMNS)


def ask_provider(
    *, intent_id: UUID, at: datetime, actor: Actor, token: str = "", gateway: PaymentGateway | None = None
) -> PaymentIntent:
    """
    Ask the provider what the payment's row says, record the answer and return the payment.

    Call it outside a transaction. Asking again, after a crash or a timeout, has one effect. `token` pays once and is
    kept nowhere.
    :raises ProviderUnavailable: when nothing is known yet; the row stays as it is.
    """
    intent = PaymentIntent.objects.select_related("account", "payment_method").get(pk=intent_id)
    if not intent.pending_call:
        return intent
    key = intent.call_key
    try:
        asked = gateway or get_gateway(intent.provider_type, livemode=intent.livemode)
        state = _call(intent, asked, token)
    except (OrderRejected, NoProcessorAvailable, ObjectUnknown) as refusal:
        return record_rejection(intent_id=intent_id, detail=str(refusal), at=at, actor=actor, key=key)
    return record_payment(intent_id=intent_id, state=state, at=at, actor=actor, key=key)


def _call(intent: PaymentIntent, gateway: PaymentGateway, token: str) -> PaymentState:
    if intent.pending_call == PendingCall.CAPTURE:
        amount = Money(intent.pending_amount or intent.amount_capturable, intent.currency)
        return gateway.capture(payment_ref=intent.provider_ref, amount=amount, key=intent.call_key)
    if intent.pending_call == PendingCall.CANCEL:
        return gateway.cancel_payment(payment_ref=intent.provider_ref, key=intent.call_key)
    return gateway.pay(order=make_order(intent, token=token), key=intent.call_key)


def make_order(intent: PaymentIntent, *, token: str = "") -> PaymentOrder:
    """Return what the provider is asked to do for a payment."""
    method, account = intent.payment_method, intent.account
    return PaymentOrder(
        reference=intent.public_id,
        account_id=account.public_id,
        amount=Money(intent.amount, intent.currency),
        customer_ref=find_customer_ref(account_id=account.pk, provider_type=intent.provider_type),
        method_ref="" if method is None else method.provider_ref,
        token=token,
        payment_ref=intent.provider_ref,
        captures=intent.capture_method == "automatic",
        off_session=intent.off_session,
        confirm=bool(method is not None or token),
        setup_future_usage=intent.setup_future_usage,
        description=intent.description,
        receipt_email=intent.receipt_email,
    )


@transaction.atomic
def record_payment(*, intent_id: UUID, state: PaymentState, at: datetime, actor: Actor, key: str = "") -> PaymentIntent:
    """
    Settle a payment by what the provider says of it, and return it; what is known already changes nothing.

    `key` is that of the call which `state` answers; without one it was only looked up, and does not end a call that
    is under way. Money that came is booked once: to the invoices of the payment, to the prepaid balance for a top-up,
    and what is left over to the invoice credit.
    """
    intent = lock_intent(intent_id)
    if intent.status in ENDED_STATUSES:
        book_fee(intent, state, at=at)
        return intent
    if _is_overtaken(intent, state, key) or not _is_news(intent, state):
        return intent
    if state.status != intent.status and not intent.can_become(state.status):
        logger.error("payment %s is %s at the provider and %s here", intent.public_id, state.status, intent.status)
        return intent
    before = {"status": intent.status}
    _take_over(intent, state, at)
    intent.save(update_fields=_SETTLED_COLUMNS)
    match intent.status:
        case IntentStatus.SUCCEEDED:
            book_payment(intent, at=at, actor=actor)
            _emit("succeeded", intent, before, at=at, actor=actor)
        case IntentStatus.REQUIRES_PAYMENT_METHOD | IntentStatus.REQUIRES_CONFIRMATION if intent.decline_reason:
            _fail(intent, before, at=at, actor=actor)
        case IntentStatus.CANCELED:
            _close(intent)
            _emit("canceled", intent, before, at=at, actor=actor)
            tell_failed_attempts(intent, at=at, actor=actor)
        case _:
            _emit("updated", intent, before, at=at, actor=actor)
    return intent


@transaction.atomic
def record_rejection(*, intent_id: UUID, detail: str, at: datetime, actor: Actor, key: str) -> PaymentIntent:
    """
    Settle a call that the provider surely did not carry out, and return the payment.

    A capture or cancel leaves the payment as it was; a payment goes back to wait for another method.
    """
    intent = lock_intent(intent_id)
    if intent.status in ENDED_STATUSES or intent.call_key != key or not intent.pending_call:
        return intent
    before = {"status": intent.status}
    is_payment = intent.pending_call == PendingCall.PAY
    intent.pending_call, intent.pending_amount = "", None
    intent.last_error, intent.decline_reason = detail[:500], REJECTED
    if is_payment:
        intent.status = IntentStatus.REQUIRES_PAYMENT_METHOD
    intent.save(update_fields=_SETTLED_COLUMNS)
    if is_payment:
        _fail(intent, before, at=at, actor=actor)
    return intent


def _is_overtaken(intent: PaymentIntent, state: PaymentState, key: str) -> bool:
    """
    Tell whether a state is older than what was asked of the payment since, so that the later call will tell.

    Where money came or nothing can come any more there is no later. An authorisation ends a payment that is under way,
    and no capture or cancellation of it.
    """
    is_authorised = state.status == IntentStatus.REQUIRES_CAPTURE and intent.pending_call in ("", PendingCall.PAY)
    if state.status in ENDED_STATUSES or is_authorised:
        return False
    return intent.call_key != key if key else bool(intent.pending_call)


def _is_news(intent: PaymentIntent, state: PaymentState) -> bool:
    if intent.pending_call:
        return True
    told = (state.status, state.amount_capturable, state.ref)
    return told != (intent.status, intent.amount_capturable, intent.provider_ref) or (
        bool(state.decline_reason) and state.decline_reason != intent.decline_reason
    )


def _take_over(intent: PaymentIntent, state: PaymentState, at: datetime) -> None:
    """Put what the provider says on the row. A provider that asks for a method after a decline keeps its payment."""
    was_begun = intent.status == IntentStatus.PROCESSING
    intent.provider_ref = state.ref
    intent.client_secret = state.client_secret or intent.client_secret
    intent.pending_call, intent.pending_amount = "", None
    intent.status = IntentStatus(state.status)
    intent.amount_capturable = state.amount_capturable if state.status == IntentStatus.REQUIRES_CAPTURE else 0
    intent.decline_reason = state.decline_reason
    intent.last_error = describe_decline(state.decline_reason) if state.decline_reason else ""
    if intent.status == IntentStatus.SUCCEEDED:
        intent.amount_received = min(state.amount_received, intent.amount)
        intent.succeeded_at, intent.fee = at, read_fee(intent, state)
        if state.amount != Money(intent.amount, intent.currency):
            logger.error("payment %s is %s at the provider, not as it was ordered", intent.public_id, state.amount)
    elif intent.status == IntentStatus.CANCELED:
        intent.canceled_at = at
    elif was_begun and not state.decline_reason and intent.status in WAITING_STATUSES:
        # The call did not get there: nothing of it will come any more, and nobody is to wait for it.
        intent.decline_reason, intent.last_error = REJECTED, NOT_CARRIED_OUT


def _fail(intent: PaymentIntent, before: dict[str, Any], *, at: datetime, actor: Actor) -> None:
    _close(intent)
    _emit("payment_failed", intent, before, at=at, actor=actor)
    tell_failed_attempts(intent, at=at, actor=actor)


def _close(intent: PaymentIntent) -> None:
    """Let others collect the invoices again."""
    PaymentAllocation.objects.filter(intent=intent, is_open=True).update(is_open=False)


def _emit(what: str, intent: PaymentIntent, before: dict[str, Any], *, at: datetime, actor: Actor) -> None:
    changed = {name: value for name, value in before.items() if value != getattr(intent, name)}
    events.emit(
        f"payment_intent.{what}",
        subject=intent,
        account_id=intent.account_id,
        at=at,
        actor=actor,
        data=snapshot_intent(intent),
        previous=changed,
    )


def explain_refusal(intent: PaymentIntent) -> PaymentDeclined:
    """Return what a declined payment says to whoever asked."""
    return PaymentDeclined(intent.last_error, decline_reason=intent.last_error, decline_code=intent.decline_reason)
