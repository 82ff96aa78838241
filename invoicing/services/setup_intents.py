"""
Methods saved without a payment: begun, confirmed, given up, and settled by whoever hears first.

As with payments, what will be asked is written and committed before the provider is called, and the answer, a webhook
and the sweep all end in one function (`record_setup`). Source: contract chapter Payments; ADR 0054.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.db import transaction

from accounts.models import Account, PaymentMethod
from accounts.services.account_locks import lock_account_row, lock_open_account
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import DomainError, InvalidState, NotFound
from billing_site.platform.services import events
from billing_site.platform.services.keyed_requests import RequestMark, find_repeated, remember
from invoicing.gateways.declines import DeclineReason, describe_decline
from invoicing.gateways.orders import SetupOrder, SetupState
from invoicing.gateways.port import ObjectUnknown, OrderRejected, PaymentGateway
from invoicing.gateways.registry import get_gateway
from invoicing.models import SetupCall, SetupIntent, SetupStatus
from invoicing.models.setup_intent import SETUP_ENDED
from invoicing.services.payment_methods import CardVerificationFailed
from invoicing.services.provider_customers import ensure_provider_customer
from invoicing.services.saved_methods import save_method

CONFIRMABLE: Final[tuple[str, ...]] = (SetupStatus.REQUIRES_PAYMENT_METHOD, SetupStatus.REQUIRES_CONFIRMATION)
_COLUMNS: Final = (
    *("status", "payment_method", "method_ref", "provider_ref", "client_secret", "pending_call", "call_key", "calls"),
    *("called_at", "checked_at", "decline_reason", "last_error", "cancellation_reason", "canceled_at", "succeeded_at"),
    "updated_at",
)

logger = logging.getLogger(__name__)


class SetupMethodMissing(DomainError):
    code, title, status = "payment_method_missing", "No payment method is given or stored", 422


@dataclass(frozen=True, slots=True)
class NewSetup:
    """A setup as it was asked for: a method that is attached already, or the provider's name of one, or neither yet."""

    usage: str = "off_session"
    method: PaymentMethod | None = None
    method_ref: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)


def create_setup(
    *,
    account: Account,
    new: NewSetup,
    at: datetime,
    actor: Actor,
    mark: RequestMark | None = None,
    gateway: PaymentGateway | None = None,
) -> SetupIntent:
    """
    Begin the saving of a method, here and at the provider, and return it. Call it outside a transaction.

    A keyed request that is repeated goes on with the setup of the first one.
    :raises InvalidState: for a closed account. :raises NoProcessorAvailable: when there is no provider.
    :raises ProviderUnavailable: when the provider does not answer; asking again is harmless.
    """
    asked = gateway or get_gateway(None if new.method is None else new.method.provider_type, livemode=account.livemode)
    setup = _open(account, new, asked.name, at=at, actor=actor, mark=mark or RequestMark())
    return ask_provider(setup_intent_id=setup.pk, at=at, actor=actor, gateway=gateway)


def confirm_setup(
    *,
    setup_intent_id: UUID,
    at: datetime,
    actor: Actor,
    method: PaymentMethod | None = None,
    method_ref: str = "",
    mark: RequestMark | None = None,
    gateway: PaymentGateway | None = None,
) -> SetupIntent:
    """
    Save the method and return the setup: succeeded, or waiting for its owner to authenticate. Outside a transaction.

    :raises InvalidState: unless it waits for a method or its confirmation. :raises SetupMethodMissing: without one.
    :raises CardVerificationFailed: when the provider refuses. :raises ProviderUnavailable: when nothing is known yet.
    """
    _finish_creation(setup_intent_id, at=at, actor=actor, gateway=gateway)
    _begin_confirmation(setup_intent_id, method, method_ref, at=at, mark=mark or RequestMark())
    setup = ask_provider(setup_intent_id=setup_intent_id, at=at, actor=actor, gateway=gateway)
    if setup.status in CONFIRMABLE and setup.decline_reason:
        raise CardVerificationFailed(
            setup.last_error, decline_reason=setup.last_error, decline_code=setup.decline_reason
        )
    return setup


def cancel_setup(
    *,
    setup_intent_id: UUID,
    at: datetime,
    actor: Actor,
    reason: str = "",
    mark: RequestMark | None = None,
    gateway: PaymentGateway | None = None,
) -> SetupIntent:
    """
    Give a setup up and return it. Call it outside a transaction.

    :raises InvalidState: when it succeeded or is canceled already, be it meanwhile at the provider.
    :raises ProviderUnavailable: when the provider does not answer; the sweep goes on.
    """
    _finish_creation(setup_intent_id, at=at, actor=actor, gateway=gateway)
    with transaction.atomic():
        setup = lock_setup(setup_intent_id)
        if find_repeated(mark or RequestMark()) is None:
            if setup.status in SETUP_ENDED:
                raise InvalidState("This setup has ended.", current_status=setup.status)
            setup.cancellation_reason = reason[:255]
            _begin(setup, SetupCall.CANCEL, f"{setup.public_id}:cancel", at=at)
            remember(mark or RequestMark(), subject_id=setup.public_id, at=at)
    setup = ask_provider(setup_intent_id=setup_intent_id, at=at, actor=actor, gateway=gateway)
    if setup.status == SetupStatus.SUCCEEDED:
        raise InvalidState("This setup succeeded meanwhile.", current_status=setup.status)
    return setup


def lock_setup(setup_intent_id: UUID) -> SetupIntent:
    """Lock the account of a setup and the setup, and return it. :raises NotFound: if there is none."""
    account_id = SetupIntent.objects.filter(pk=setup_intent_id).values_list("account_id", flat=True).first()
    if account_id is None:
        raise NotFound("setup_intent")
    lock_account_row(account_id)
    rows = SetupIntent.objects.select_for_update(of=("self",)).select_related("account__test_clock", "payment_method")
    return next(iter(rows.filter(pk=setup_intent_id)))


# ---- what is asked --------------------------------------------------------------------------------------------------
@transaction.atomic
def _open(
    account: Account, new: NewSetup, provider_type: str, *, at: datetime, actor: Actor, mark: RequestMark
) -> SetupIntent:
    """Write a setup, or return that of the first request with the same key."""
    first = find_repeated(mark)
    if first is not None:
        return SetupIntent.objects.get(pk=str(SetupIntent.parse_id(first)))
    owner = lock_open_account(account.pk)
    ref = new.method.provider_ref if new.method is not None else new.method_ref
    setup = SetupIntent(
        account=owner,
        status=SetupStatus.REQUIRES_CONFIRMATION if ref else SetupStatus.REQUIRES_PAYMENT_METHOD,
        usage=new.usage,
        payment_method=new.method,
        method_ref=ref,
        provider_type=provider_type,
        metadata=dict(new.metadata),
        livemode=owner.livemode,
    )
    setup.pending_call, setup.call_key = SetupCall.CREATE, f"{setup.public_id}:create"
    setup.called_at, setup.calls = at, 1
    setup.save(force_insert=True)
    remember(mark, subject_id=setup.public_id, at=at)
    _emit("created", setup, at=at, actor=actor)
    return setup


@transaction.atomic
def _begin_confirmation(
    setup_intent_id: UUID, method: PaymentMethod | None, method_ref: str, *, at: datetime, mark: RequestMark
) -> None:
    setup = lock_setup(setup_intent_id)
    if find_repeated(mark) is not None:
        return
    if setup.status not in CONFIRMABLE or setup.pending_call:
        raise InvalidState("This setup cannot be confirmed now.", current_status=setup.status)
    if method is not None:
        setup.payment_method, setup.method_ref = method, method.provider_ref
    elif method_ref:
        setup.payment_method, setup.method_ref = None, method_ref
    if not setup.method_ref:
        raise SetupMethodMissing("Name a payment method, or let the owner choose one in the browser.")
    setup.status = SetupStatus.PROCESSING
    setup.decline_reason = setup.last_error = ""
    _begin(setup, SetupCall.CONFIRM, f"{setup.public_id}:confirm:{setup.calls}", at=at)
    remember(mark, subject_id=setup.public_id, at=at)


def _finish_creation(setup_intent_id: UUID, *, at: datetime, actor: Actor, gateway: PaymentGateway | None) -> None:
    """Let the provider know a setup that it may not have heard of."""
    if SetupIntent.objects.filter(pk=setup_intent_id, pending_call=SetupCall.CREATE).exists():
        ask_provider(setup_intent_id=setup_intent_id, at=at, actor=actor, gateway=gateway)


def _begin(setup: SetupIntent, call: str, key: str, *, at: datetime) -> None:
    setup.pending_call, setup.call_key, setup.called_at = call, key, at
    setup.calls += 1
    setup.save(update_fields=_COLUMNS)


def ask_provider(
    *, setup_intent_id: UUID, at: datetime, actor: Actor, gateway: PaymentGateway | None = None
) -> SetupIntent:
    """
    Ask the provider what the row says, record the answer and return the setup.

    Call it outside a transaction. Asking again, after a crash or a timeout, has one effect.
    :raises ProviderUnavailable: when nothing is known yet; the row stays as it is.
    """
    setup = SetupIntent.objects.select_related("account").get(pk=setup_intent_id)
    if not setup.pending_call:
        return setup
    key = setup.call_key
    try:
        asked = gateway or get_gateway(setup.provider_type, livemode=setup.livemode)
        state = _call(setup, asked, at=at, actor=actor)
    except (OrderRejected, ObjectUnknown) as refusal:
        return _record_rejection(setup_intent_id, str(refusal), at=at, actor=actor, key=key)
    return record_setup(setup_intent_id=setup_intent_id, state=state, at=at, actor=actor, key=key)


def _call(setup: SetupIntent, gateway: PaymentGateway, *, at: datetime, actor: Actor) -> SetupState:
    if setup.pending_call == SetupCall.CANCEL and setup.provider_ref:
        return gateway.cancel_setup(setup_ref=setup.provider_ref, key=setup.call_key)
    if setup.pending_call == SetupCall.CANCEL:
        return SetupState(ref="", status=SetupStatus.CANCELED)
    customer = ensure_provider_customer(account=setup.account, gateway=gateway, at=at, actor=actor)
    order = SetupOrder(
        reference=setup.public_id,
        account_id=setup.account.public_id,
        customer_ref=customer.ref,
        usage=setup.usage,
        # A method is named when it is confirmed: until then it may be another one.
        method_ref=setup.method_ref if setup.pending_call == SetupCall.CONFIRM else "",
        setup_ref=setup.provider_ref,
        confirm=setup.pending_call == SetupCall.CONFIRM,
    )
    return gateway.set_up(order=order, key=setup.call_key)


# ---- what came of it ------------------------------------------------------------------------------------------------
@transaction.atomic
def record_setup(*, setup_intent_id: UUID, state: SetupState, at: datetime, actor: Actor, key: str = "") -> SetupIntent:
    """
    Settle a setup by what the provider says of it, and return it; what is known already changes nothing.

    `key` is that of the call which `state` answers; without one it was only looked up. A success stores the method
    with the account, verified; one that is stored already is the setup's.
    """
    setup = lock_setup(setup_intent_id)
    if setup.status in SETUP_ENDED:
        return setup
    setup.checked_at = at
    is_answer = bool(key) and setup.call_key == key
    if setup.pending_call and not is_answer and state.status not in SETUP_ENDED:
        setup.save(update_fields=["checked_at", "updated_at"])
        return setup  # the call under way will tell
    before, call, known = setup.status, setup.pending_call, (setup.status, setup.decline_reason)
    setup.provider_ref = state.ref or setup.provider_ref
    setup.client_secret = state.client_secret or setup.client_secret
    setup.pending_call = ""
    setup.method_ref = state.method_ref or setup.method_ref
    setup.decline_reason = state.decline_reason
    setup.last_error = describe_decline(state.decline_reason) if state.decline_reason else ""
    status = _read_status(setup, state, call)
    if status == SetupStatus.SUCCEEDED:
        status = _store_method(setup, state, at=at, actor=actor)
    setup.status = status
    if status == SetupStatus.CANCELED:
        setup.canceled_at = at
    setup.save(update_fields=_COLUMNS)
    if (setup.status, setup.decline_reason) != known:
        _emit(_name_event(setup), setup, at=at, actor=actor, before=before)
    return setup


def _read_status(setup: SetupIntent, state: SetupState, call: str) -> SetupStatus:
    """Return where the setup stands here: a method that was named and not yet confirmed waits for that."""
    status = SetupStatus(state.status)
    if status == SetupStatus.REQUIRES_PAYMENT_METHOD and not state.decline_reason and setup.method_ref:
        return SetupStatus.REQUIRES_CONFIRMATION
    if status == SetupStatus.REQUIRES_PAYMENT_METHOD and call == SetupCall.CONFIRM:
        # A method that was refused is not tried again by itself.
        setup.payment_method, setup.method_ref = None, ""
    return status


def _store_method(setup: SetupIntent, state: SetupState, *, at: datetime, actor: Actor) -> SetupStatus:
    """Keep the method with the account, and answer how the setup ends."""
    told = replace(state, method_ref=state.method_ref or setup.method_ref)
    try:
        attached = save_method(
            account=setup.account, provider_type=setup.provider_type, state=told, at=at, actor=actor, reason=str(setup)
        )
    except InvalidState:
        # The account was closed meanwhile: nothing is kept for it.
        setup.cancellation_reason = "account_closed"
        setup.payment_method = None
        return SetupStatus.CANCELED
    setup.payment_method, setup.succeeded_at = attached, at
    return SetupStatus.SUCCEEDED


@transaction.atomic
def _record_rejection(setup_intent_id: UUID, detail: str, *, at: datetime, actor: Actor, key: str) -> SetupIntent:
    """Settle a call that the provider surely did not carry out."""
    setup = lock_setup(setup_intent_id)
    if setup.status in SETUP_ENDED or setup.call_key != key or not setup.pending_call:
        return setup
    logger.warning("setup %s was not taken by the provider: %s", setup.public_id, detail)
    before, call = setup.status, setup.pending_call
    setup.pending_call = ""
    if call == SetupCall.CANCEL:
        # The provider has nothing that could still succeed.
        setup.status, setup.canceled_at = SetupStatus.CANCELED, at
    else:
        setup.status, setup.payment_method, setup.method_ref = SetupStatus.REQUIRES_PAYMENT_METHOD, None, ""
        setup.decline_reason = str(DeclineReason.UNKNOWN)
        setup.last_error = describe_decline(setup.decline_reason)
    setup.save(update_fields=_COLUMNS)
    _emit(_name_event(setup), setup, at=at, actor=actor, before=before)
    return setup


def _name_event(setup: SetupIntent) -> str:
    if setup.decline_reason:
        return "setup_failed"
    named = {SetupStatus.SUCCEEDED: "succeeded", SetupStatus.CANCELED: "canceled"}
    return named.get(SetupStatus(setup.status), "requires_action" if setup.status == "requires_action" else "updated")


def snapshot_setup(setup: SetupIntent) -> dict[str, Any]:
    """Return a setup as events show it: nothing secret."""
    return {
        "id": setup.public_id,
        "status": setup.status,
        "usage": setup.usage,
        "payment_method_id": setup.payment_method.public_id if setup.payment_method else None,
        "provider_type": setup.provider_type,
        "decline_reason": setup.decline_reason,
        "cancellation_reason": setup.cancellation_reason,
        "metadata": setup.metadata,
    }


def _emit(what: str, setup: SetupIntent, *, at: datetime, actor: Actor, before: str = "") -> None:
    events.emit(
        f"setup_intent.{what}",
        subject=setup,
        account_id=setup.account_id,
        at=at,
        actor=actor,
        data=snapshot_setup(setup),
        previous={"status": before} if before and before != setup.status else None,
    )
