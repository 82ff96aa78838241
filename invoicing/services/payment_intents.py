"""
Payments that somebody asks for: begun, confirmed, captured, given up.

The provider is asked between two transactions (`charging`); a keyed request that is repeated goes on with the payment
of the first one. Source: contract chapter Payments; ADR 0057.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction

from accounts.models import Account, PaymentMethod
from accounts.models.payment_method import PROVIDER_TYPES
from accounts.queries.currencies import require_currency
from accounts.services.account_locks import lock_open_account
from accounts.services.prepaid import require_amount
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import DomainError, InvalidState, ValidationFailed
from billing_site.platform.services import events
from billing_site.platform.services.keyed_requests import RequestMark, find_repeated, remember
from invoicing.gateways.port import NoProcessorAvailable, PaymentGateway
from invoicing.gateways.registry import get_gateway
from invoicing.models import (
    CaptureMethod,
    IntentPurpose,
    IntentStatus,
    Invoice,
    InvoiceStatus,
    PaymentAllocation,
    PaymentIntent,
    PendingCall,
)
from invoicing.services.charging import ask_provider, begin_call, explain_refusal, lock_intent
from invoicing.services.collecting import CollectionInProgress
from invoicing.services.invoices import lock_invoice, lock_parties
from invoicing.services.payment_booking import snapshot_intent

CONFIRMABLE: tuple[str, ...] = (IntentStatus.REQUIRES_PAYMENT_METHOD, IntentStatus.REQUIRES_CONFIRMATION)


class PaymentMethodMissing(DomainError):
    code, title, status = "payment_method_missing", "No payment method is given or stored", 422


class AmountExceedsCapturable(DomainError):
    """Member `capturable` is minor units."""

    code, title, status = "amount_exceeds_capturable", "More than was authorised", 422


@dataclass(frozen=True, slots=True)
class NewIntent:
    """A payment as it was asked for; `invoice_ids` are invoices of the account that it pays, the oldest first."""

    amount: int
    currency: str
    method: PaymentMethod | None = None
    capture_method: str = CaptureMethod.AUTOMATIC
    confirmation_method: str = CaptureMethod.AUTOMATIC
    setup_future_usage: str = ""
    description: str = ""
    receipt_email: str = ""
    invoice_ids: Sequence[UUID] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)


@transaction.atomic
def create_intent(
    *, account: Account, new: NewIntent, at: datetime, actor: Actor, purpose: str = IntentPurpose.INTENT
) -> PaymentIntent:
    """
    Begin a payment and return it; nothing is charged yet.

    What comes pays the invoices that are named; anything else becomes invoice credit.
    :raises AmountNotPositive: for zero or less. :raises CurrencyUnsupported: for a currency not offered.
    :raises InvalidState: when the account is closed, or a named invoice cannot be paid.
    :raises ValidationFailed: when the currency is not the invoice's, or a method that no provider charges is named.
    """
    require_amount(new.amount)
    currency = require_currency(new.currency)
    invoices = _lock_invoices(new.invoice_ids, currency)
    owner = lock_open_account(account.pk)
    _require_chargeable(new.method)
    intent = PaymentIntent.objects.create(
        account=owner,
        purpose=purpose,
        status=IntentStatus.REQUIRES_CONFIRMATION if new.method else IntentStatus.REQUIRES_PAYMENT_METHOD,
        amount=new.amount,
        currency=currency,
        payment_method=new.method,
        provider_type=new.method.provider_type if new.method else settings.BILLING_PAYMENT_PROVIDER,
        capture_method=new.capture_method,
        confirmation_method=new.confirmation_method,
        setup_future_usage=new.setup_future_usage,
        description=new.description,
        receipt_email=new.receipt_email,
        metadata=dict(new.metadata),
        livemode=owner.livemode,
    )
    _allocate(intent, invoices)
    events.emit(
        "payment_intent.created",
        subject=intent,
        account_id=owner.pk,
        at=at,
        actor=actor,
        data=snapshot_intent(intent),
    )
    return intent


def _lock_invoices(invoice_ids: Sequence[UUID], currency: str) -> list[Invoice]:
    for key in sorted(set(invoice_ids)):
        lock_parties(key)
    invoices = [lock_invoice(key) for key in sorted(set(invoice_ids))]
    for invoice in invoices:
        if invoice.status not in (InvoiceStatus.OPEN, InvoiceStatus.UNCOLLECTIBLE):
            raise InvalidState(f"{invoice} cannot be paid.", current_status=invoice.status)
        if invoice.currency != currency:
            raise ValidationFailed.of("/currency", "mismatch", f"{invoice} is in {invoice.currency.upper()}.")
    return invoices


def _allocate(intent: PaymentIntent, invoices: Sequence[Invoice]) -> None:
    left, rows = intent.amount, []
    for invoice in invoices:
        share = min(left, invoice.amount_remaining)
        left -= share
        if share:
            rows.append(PaymentAllocation(intent=intent, invoice=invoice, amount=share))
    PaymentAllocation.objects.bulk_create(rows)


def _require_chargeable(method: PaymentMethod | None) -> None:
    if method is not None and method.type not in PROVIDER_TYPES:
        raise ValidationFailed.of(
            "/payment_method_id", "not_chargeable", "The prepaid balance is not charged through a provider."
        )


@transaction.atomic
def create_invoice_intent(
    *, invoice_id: UUID, at: datetime, actor: Actor, method: PaymentMethod | None = None
) -> tuple[PaymentIntent, bool]:
    """
    Begin a payment of what is still due on an open invoice, to be finished in a browser; return it and if it is new.

    An unfinished one of the same invoice and amount is returned again.
    :raises InvalidState: if the invoice is not open. :raises NotFound: if there is no such invoice.
    """
    lock_parties(invoice_id)
    invoice = lock_invoice(invoice_id)
    if invoice.status != InvoiceStatus.OPEN:
        raise InvalidState("Only what is open can be paid.", current_status=invoice.status)
    unfinished = PaymentIntent.objects.filter(
        allocations__invoice=invoice, purpose=IntentPurpose.INTENT, amount=invoice.amount_remaining
    ).exclude(status__in=(IntentStatus.SUCCEEDED, IntentStatus.CANCELED))
    if (first := unfinished.select_related("account", "payment_method").order_by("-id").first()) is not None:
        return first, False
    new = NewIntent(
        amount=invoice.amount_remaining,
        currency=invoice.currency,
        method=method,
        description=str(invoice),
        invoice_ids=[invoice.pk],
    )
    return create_intent(account=invoice.account, new=new, at=at, actor=actor), True


def prepare_at_provider(
    *, intent_id: UUID, at: datetime, actor: Actor, gateway: PaymentGateway | None = None
) -> PaymentIntent:
    """
    Let the provider know a payment without a method, so that a browser can finish it there, and return it.

    Call it outside a transaction. It gets the client secret; nothing is charged.
    :raises ProviderUnavailable: when the provider does not answer; asking again is harmless.
    """
    with transaction.atomic():
        intent = lock_intent(intent_id)
        is_ready = bool(intent.provider_ref) or intent.status not in CONFIRMABLE or intent.payment_method is not None
        if is_ready or intent.pending_call:
            return intent
        intent.pending_call, intent.call_key, intent.called_at = PendingCall.PAY, f"{intent.public_id}:prepare", at
        intent.calls += 1
        intent.save(update_fields=["pending_call", "call_key", "called_at", "calls", "updated_at"])
    return ask_provider(intent_id=intent_id, at=at, actor=actor, gateway=gateway)


def confirm_intent(
    *,
    intent_id: UUID,
    at: datetime,
    actor: Actor,
    method: PaymentMethod | None = None,
    token: str = "",
    mark: RequestMark | None = None,
    gateway: PaymentGateway | None = None,
) -> PaymentIntent:
    """
    Charge, or with manual capture authorise, a payment and return it. Call it outside a transaction.

    :raises InvalidState: unless it waits for a method or its confirmation. :raises PaymentMethodMissing: without one.
    :raises PaymentDeclined: when the provider refuses. :raises ProviderUnavailable: when the outcome is unknown.
    :raises CollectionInProgress: while another payment of its invoice is under way.
    """
    _begin_confirmation(intent_id, at=at, method=method, token=token, mark=mark or RequestMark(), gateway=gateway)
    intent = ask_provider(intent_id=intent_id, at=at, actor=actor, token=token, gateway=gateway)
    if intent.status in CONFIRMABLE and intent.decline_reason:
        raise explain_refusal(intent)
    return intent


@transaction.atomic
def _begin_confirmation(
    intent_id: UUID,
    *,
    at: datetime,
    method: PaymentMethod | None,
    token: str,
    mark: RequestMark,
    gateway: PaymentGateway | None,
) -> None:
    intent = lock_intent(intent_id)
    if find_repeated(mark) is not None:
        return
    if intent.status not in CONFIRMABLE or intent.pending_call:
        raise InvalidState("This payment does not wait for a confirmation.", current_status=intent.status)
    chosen = method or intent.payment_method
    if chosen is None and not token:
        raise PaymentMethodMissing
    _require_chargeable(chosen)
    if chosen is not None and not chosen.is_attached:
        raise PaymentMethodMissing("The payment method is not attached any more.")
    if chosen is not None and intent.provider_ref and chosen.provider_type != intent.provider_type:
        raise NoProcessorAvailable("The payment was begun with another provider.")
    intent.provider_type = gateway.name if gateway else chosen.provider_type if chosen else intent.provider_type
    get_gateway(intent.provider_type, livemode=intent.livemode)
    mine = PaymentAllocation.objects.filter(intent=intent).values("invoice")
    if PaymentAllocation.objects.filter(invoice__in=mine, is_open=True).exclude(intent=intent).exists():
        raise CollectionInProgress("Another payment of the invoice is under way.")
    intent.save(update_fields=["provider_type", "updated_at"])
    key = f"topup:{intent.public_id}" if intent.purpose == IntentPurpose.TOPUP else ""
    key = key if key and not intent.calls else f"{intent.public_id}:confirm:{intent.calls + 1}"
    begin_call(intent, PendingCall.PAY, key=key, at=at, method=chosen, off_session=False)
    remember(mark, subject_id=intent.public_id, at=at)


def capture_intent(
    *,
    intent_id: UUID,
    at: datetime,
    actor: Actor,
    amount: int | None = None,
    mark: RequestMark | None = None,
    gateway: PaymentGateway | None = None,
) -> PaymentIntent:
    """
    Take the money of an authorised payment, all of it or `amount`, and return it; the rest is released.

    Call it outside a transaction.
    :raises InvalidState: unless something is authorised. :raises AmountExceedsCapturable: for more than that.
    :raises PaymentDeclined: when the provider refuses. :raises ProviderUnavailable: when the outcome is unknown.
    """
    with transaction.atomic():
        intent = lock_intent(intent_id)
        mark = mark or RequestMark()
        if find_repeated(mark) is None:
            if intent.status != IntentStatus.REQUIRES_CAPTURE or intent.pending_call:
                raise InvalidState("Nothing is authorised that could be captured.", current_status=intent.status)
            wanted = intent.amount_capturable if amount is None else amount
            require_amount(wanted)
            if wanted > intent.amount_capturable:
                raise AmountExceedsCapturable("This is more than was authorised.", capturable=intent.amount_capturable)
            begin_call(
                intent, PendingCall.CAPTURE, key=f"{intent.public_id}:capture:{intent.calls + 1}", at=at, amount=wanted
            )
            remember(mark, subject_id=intent.public_id, at=at)
    intent = ask_provider(intent_id=intent_id, at=at, actor=actor, gateway=gateway)
    if intent.status == IntentStatus.REQUIRES_CAPTURE and intent.last_error:
        raise explain_refusal(intent)
    return intent


def cancel_intent(
    *,
    intent_id: UUID,
    at: datetime,
    actor: Actor,
    reason: str = "",
    mark: RequestMark | None = None,
    gateway: PaymentGateway | None = None,
) -> PaymentIntent:
    """
    Give a payment up and return it; an authorisation is released at the provider. Call it outside a transaction.

    :raises InvalidState: when it succeeded, is processing or canceled.
    :raises ProviderUnavailable: when the outcome is unknown.
    """
    with transaction.atomic():
        intent = lock_intent(intent_id)
        mark = mark or RequestMark()
        if find_repeated(mark) is None:
            ended = (IntentStatus.SUCCEEDED, IntentStatus.PROCESSING, IntentStatus.CANCELED)
            if intent.status in ended or intent.pending_call:
                raise InvalidState("This payment cannot be given up.", current_status=intent.status)
            intent.cancellation_reason = reason[:255]
            intent.save(update_fields=["cancellation_reason", "updated_at"])
            remember(mark, subject_id=intent.public_id, at=at)
            if not intent.provider_ref:
                _cancel_here(intent, at=at, actor=actor)
                return intent
            begin_call(intent, PendingCall.CANCEL, key=f"{intent.public_id}:cancel:{intent.calls + 1}", at=at)
    return ask_provider(intent_id=intent_id, at=at, actor=actor, gateway=gateway)


def _cancel_here(intent: PaymentIntent, *, at: datetime, actor: Actor) -> None:
    """Give up what no provider knows of."""
    before = {"status": intent.status}
    intent.status, intent.canceled_at = IntentStatus.CANCELED, at
    intent.save(update_fields=["status", "canceled_at", "updated_at"])
    events.emit(
        "payment_intent.canceled",
        subject=intent,
        account_id=intent.account_id,
        at=at,
        actor=actor,
        data=snapshot_intent(intent),
        previous=before,
    )
