"""
Attaching and detaching payment methods, with the payment provider.

A row is written and committed before the provider is asked, and its answer is recorded in a second transaction; the
keys of the calls come from the row, so whoever goes on with it (a repeat of the request, the sweep) has the same
effect. Source: contract chapter Payments.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.db import IntegrityError, transaction

from accounts.models import Account, PaymentMethod, PaymentMethodStatus, PaymentMethodType
from accounts.services.account_locks import lock_account_row
from accounts.services.payment_methods import (
    ACCOUNT_CLOSED,
    ALREADY_ATTACHED,
    OWN_PROVIDER,
    NewPaymentMethod,
    detach_row,
    open_payment_method,
    settle_attached,
    settle_refused,
)
from billing_site.kernel import jobs
from billing_site.kernel.actors import SYSTEM, Actor
from billing_site.kernel.errors import DomainError, InvalidState, ValidationFailed
from billing_site.kernel.money import Money
from billing_site.platform.services.keyed_requests import RequestKeyReused
from invoicing.gateways.declines import DeclineReason, describe_decline
from invoicing.gateways.port import (
    Declined,
    NoProcessorAvailable,
    PaymentGateway,
    ProviderUnavailable,
    StoredMethod,
    TokenRejected,
)
from invoicing.gateways.registry import get_gateway
from invoicing.services.provider_customers import ensure_provider_customer, make_payer

__all__ = [
    "CardVerificationFailed",
    "NoProcessorAvailable",
    "ProviderUnavailable",
    "abandon_payment_method",
    "attach_payment_method",
    "detach_payment_method",
    "list_abandoned",
    "list_unreleased",
    "release_payment_method",
]

VERIFICATION_AMOUNT: Final = 100
"""What is held on a new card and let go at once: minor units of the account's currency."""
ABANDONED_AFTER: Final = timedelta(hours=1)
RELEASE_JOB: Final = "invoicing.release_payment_method"
_REJECTED: Final = "token_rejected"

logger = logging.getLogger(__name__)


class CardVerificationFailed(DomainError):
    """Member `decline_reason` is one plain sentence."""

    code, title, status = "card_verification_failed", "The card could not be verified", 402


@dataclass(frozen=True, slots=True)
class Attachment:
    """The attached method. `is_repeat`: an earlier request with the same key had attached it."""

    method: PaymentMethod
    is_repeat: bool = False


def attach_payment_method(
    *,
    account: Account,
    new: NewPaymentMethod,
    at: datetime,
    actor: Actor,
    gateway: PaymentGateway | None = None,
    reason: str = "",
) -> Attachment:
    """
    Attach a method to an account and return it; a card is verified by a hold that is let go at once.

    Call it outside a transaction: the provider is asked between two. `gateway` defaults to the provider that `new`
    names (empty: the configured one). A request key seen before goes on with, or answers, what the first request began.
    :raises CardVerificationFailed: when the card is declined. :raises ProviderUnavailable: when nothing is known yet.
    :raises NoProcessorAvailable: when no provider takes it. :raises InvalidState: for a closed account.
    :raises ValidationFailed: for a token that names nothing, an address that cannot be, a method that is there already.
    :raises RequestKeyReused: when the key came with another request.
    """
    if new.type == PaymentMethodType.BALANCE:
        return _attach_balance(account=account, new=new, at=at, actor=actor, reason=reason)
    if not new.provider_ref:
        raise ValidationFailed.of("/provider_ref", "required", "Name the provider's token of the payment method.")
    asked = gateway or get_gateway(new.provider_type, livemode=account.livemode)
    method, is_repeat = _open(account, replace(new, provider_type=asked.name))
    if method.status == PaymentMethodStatus.PENDING:
        method = _ask_provider(method, asked, at=at, actor=actor, reason=reason)
    if method.status == PaymentMethodStatus.REFUSED:
        raise _explain_refusal(method)
    return Attachment(method, is_repeat)


@transaction.atomic
def detach_payment_method(
    *,
    method_id: UUID,
    at: datetime,
    actor: Actor,
    new_default_id: UUID | None = None,
    force: bool = False,
    reason: str = "",
) -> PaymentMethod:
    """
    Detach a method and return it; the provider is told after commit.

    Arguments and refusals are those of `accounts.services.payment_methods.detach_row`.
    """
    method = detach_row(
        method_id=method_id, at=at, actor=actor, new_default_id=new_default_id, force=force, reason=reason
    )
    _enqueue_release(method)
    return method


def release_payment_method(*, method_id: UUID, at: datetime) -> bool:
    """
    Let the provider forget a method that is not attached; answers False when it must be tried again.

    Call it outside a transaction. The method stays with the provider while another row has it attached.
    """
    method = PaymentMethod.objects.filter(pk=method_id, released_at__isnull=True).first()
    if method is None or method.status not in (PaymentMethodStatus.DETACHED, PaymentMethodStatus.REFUSED):
        return True
    attached = PaymentMethod.objects.filter(
        provider_type=method.provider_type, provider_ref=method.provider_ref, status=PaymentMethodStatus.ATTACHED
    )
    if not attached.exists():
        try:
            gateway = get_gateway(method.provider_type, livemode=method.livemode)
            gateway.detach_method(method_ref=method.provider_ref, key=f"{method.public_id}:detach")
        except (ProviderUnavailable, NoProcessorAvailable) as refusal:
            logger.warning("payment method %s not released yet: %s", method.public_id, refusal.code)
            return False
    PaymentMethod.objects.filter(pk=method.pk, released_at__isnull=True).update(released_at=at)
    return True


def abandon_payment_method(*, method_id: UUID, at: datetime) -> bool:
    """
    Refuse a method whose request ended without an answer; answers False when it must be tried again.

    Call it outside a transaction. Whoever asked was told to ask again; attaching it now would surprise them.
    """
    method = PaymentMethod.objects.select_related("account").filter(pk=method_id).first()
    if method is None or method.status != PaymentMethodStatus.PENDING:
        return True
    stored_ref = ""
    try:
        # The same key names what the provider stored the first time, if it did.
        gateway = get_gateway(method.provider_type, livemode=method.livemode)
        stored_ref = _store(method, gateway, at=at, actor=SYSTEM).ref
    except (Declined, TokenRejected):
        pass
    except (ProviderUnavailable, NoProcessorAvailable) as refusal:
        logger.warning("payment method %s stays pending: %s", method.public_id, refusal.code)
        return False
    _record_refusal(method, DeclineReason.TIMEOUT, at=at, stored_ref=stored_ref)
    return True


def list_unreleased(*, limit: int) -> list[UUID]:
    """Return methods that the provider keeps for nothing, longest waiting first."""
    waiting = PaymentMethod.objects.filter(
        status__in=(PaymentMethodStatus.DETACHED, PaymentMethodStatus.REFUSED), released_at__isnull=True
    )
    return list(waiting.order_by("id").values_list("pk", flat=True)[:limit])


def list_abandoned(*, at: datetime, limit: int) -> list[UUID]:
    """Return methods whose request began more than an hour before `at` and was never answered."""
    waiting = PaymentMethod.objects.filter(status=PaymentMethodStatus.PENDING, created_at__lt=at - ABANDONED_AFTER)
    return list(waiting.order_by("created_at").values_list("pk", flat=True)[:limit])


# ---- the row --------------------------------------------------------------------------------------------------------
@transaction.atomic
def _open(account: Account, new: NewPaymentMethod) -> tuple[PaymentMethod, bool]:
    """Return a pending row, or that of the first request with the same key and whether it is one."""
    if new.request_key:
        lock_account_row(account.pk)  # repeats of one request come one after the other
        first = PaymentMethod.objects.select_related("account").filter(request_key=new.request_key).first()
        if first is not None:
            if (first.account_id, first.request_hash) != (account.pk, new.request_hash):
                raise RequestKeyReused("Use a new key for a different request.")
            return first, True
    try:
        with transaction.atomic():
            return open_payment_method(account=account, new=new), False
    except IntegrityError as error:
        if "payment_methods_request_once" not in str(error):
            raise
        raise RequestKeyReused("The key came with a request for another account.") from error


@transaction.atomic
def _attach_balance(*, account: Account, new: NewPaymentMethod, at: datetime, actor: Actor, reason: str) -> Attachment:
    """The account's own prepaid balance: nobody has to be asked."""
    if new.provider_ref or new.provider_type:
        name = "provider_ref" if new.provider_ref else "provider_type"
        raise ValidationFailed.of(f"/{name}", "not_applicable", "The prepaid balance is kept here, not by a provider.")
    method, is_repeat = _open(account, replace(new, provider_type=OWN_PROVIDER))
    return Attachment(settle_attached(method_id=method.pk, at=at, actor=actor, reason=reason), is_repeat)


def _record_refusal(method: PaymentMethod, reason: str, *, at: datetime, stored_ref: str = "") -> PaymentMethod:
    with transaction.atomic():
        refused = settle_refused(method_id=method.pk, decline_reason=reason, at=at, stored_ref=stored_ref)
        _enqueue_release(refused)
    return refused


def _enqueue_release(method: PaymentMethod) -> None:
    if method.released_at is None and not method.is_attached:
        jobs.enqueue(RELEASE_JOB, method_id=str(method.pk))


def _explain_refusal(method: PaymentMethod) -> DomainError:
    """Return what a refused row says to whoever asked, the first time and every other."""
    match method.decline_reason:
        case reason if reason == ACCOUNT_CLOSED:
            return InvalidState("The account is closed.", current_status="closed")
        case reason if reason == ALREADY_ATTACHED:
            return ValidationFailed.of("/provider_ref", ALREADY_ATTACHED, "This payment method is attached already.")
        case reason if reason == _REJECTED:
            return ValidationFailed.of(
                "/provider_ref", _REJECTED, f"The payment provider knows no {method.get_type_display()} by this token."
            )
    sentence = describe_decline(method.decline_reason)
    return CardVerificationFailed(sentence, decline_reason=sentence, decline_code=method.decline_reason)


# ---- the provider ---------------------------------------------------------------------------------------------------
def _ask_provider(
    method: PaymentMethod, gateway: PaymentGateway, *, at: datetime, actor: Actor, reason: str
) -> PaymentMethod:
    """Let the provider store and verify a pending method, record its answer and return the settled row."""
    stored_ref = ""
    try:
        stored = _store(method, gateway, at=at, actor=actor)
        stored_ref = stored.ref
        if method.type == PaymentMethodType.CARD:
            _verify_card(method, gateway, stored)
    except Declined as refusal:
        return _record_refusal(method, refusal.reason, at=at, stored_ref=stored_ref)
    except TokenRejected:
        return _record_refusal(method, _REJECTED, at=at)
    with transaction.atomic():
        settled = settle_attached(
            method_id=method.pk,
            at=at,
            actor=actor,
            provider_ref=stored.ref,
            card=stored.card,
            bank_account=stored.bank_account,
            is_verified=method.type == PaymentMethodType.CARD,
            reason=reason,
        )
        _enqueue_release(settled)
    return settled


def _store(method: PaymentMethod, gateway: PaymentGateway, *, at: datetime, actor: Actor) -> StoredMethod:
    """Let the provider keep a method with the customer that the account is there."""
    customer = ensure_provider_customer(account=method.account, gateway=gateway, at=at, actor=actor)
    return gateway.store_method(
        token=method.provider_ref,
        type=method.type,
        payer=make_payer(method.account, customer_ref=customer.ref),
        key=f"{method.public_id}:store",
    )


def _verify_card(method: PaymentMethod, gateway: PaymentGateway, stored: StoredMethod) -> None:
    """Hold a small amount and let it go. What is not let go lapses, so that is no reason to refuse the card."""
    amount = Money(VERIFICATION_AMOUNT, method.account.currency)
    held = gateway.authorise(method_ref=stored.ref, amount=amount, key=f"{method.public_id}:verify")
    try:
        gateway.cancel(authorisation_ref=held, key=f"{method.public_id}:release")
    except ProviderUnavailable:
        logger.warning("the verification hold on payment method %s was not let go and lapses", method.public_id)
