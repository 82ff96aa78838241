"""
What a provider does by itself, followed here: its invoices copied, its payment methods attached, changed and detached.

Nothing here moves money. Source: contract chapter Webhooks in; ADR 0052.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.db import transaction

from accounts.models import Account, PaymentMethod, PaymentMethodStatus, Subscription
from accounts.queries.snapshots import describe_subscription
from accounts.services.account_locks import lock_account
from accounts.services.payment_methods import (
    NewPaymentMethod,
    detach_row,
    open_payment_method,
    settle_attached,
    update_display_data,
)
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import DomainError
from billing_site.platform.models import Event
from billing_site.platform.services import events
from invoicing.gateways.billed import BilledInvoiceState
from invoicing.gateways.orders import MethodState
from invoicing.models import ProviderInvoice

TRIAL_WILL_END = "subscription.trial_will_end"


class MethodBeingAttached(DomainError):
    """A request of ours may be attaching this very method: whoever heard of it asks again a little later."""

    code, title, status, retryable = "method_being_attached", "A payment method is being attached", 409, True


@transaction.atomic
def mirror_invoice(*, account: Account, provider: str, state: BilledInvoiceState, read_at: datetime) -> ProviderInvoice:
    """Keep what a provider's invoice is now, and return the copy; one that was read later stays as it is."""
    lock_account(account.pk)
    subscription = Subscription.objects.filter(
        account=account, provider=provider, provider_subscription_id=state.subscription_ref or "-"
    ).first()
    known = ProviderInvoice.objects.filter(provider_type=provider, ref=state.ref).first()
    if known is not None and known.read_at > read_at:
        return known
    has_period = state.period_start is not None and state.period_end is not None
    copy = known or ProviderInvoice(provider_type=provider, ref=state.ref, livemode=account.livemode)
    copy.account, copy.subscription = account, subscription
    copy.number, copy.state, copy.currency = state.number, state.status, state.total.currency
    copy.total, copy.amount_due, copy.amount_paid = (
        state.total.amount,
        state.amount_due.amount,
        state.amount_paid.amount,
    )
    copy.attempt_count, copy.next_attempt_at = state.attempt_count, state.next_attempt_at
    copy.period_start = state.period_start if has_period else None
    copy.period_end = state.period_end if has_period else None
    copy.finalized_at, copy.paid_at = state.finalized_at, state.paid_at
    copy.hosted_url, copy.read_at = state.hosted_url, read_at
    copy.save()
    return copy


@transaction.atomic
def tell_trial_will_end(
    *,
    account: Account,
    provider: str,
    subscription_ref: str,
    trial_end: datetime | None,
    mark: str,
    at: datetime,
    actor: Actor,
) -> str:
    """Write the event that a trial ends soon, once per event of the provider (`mark`), and return a sentence."""
    lock_account(account.pk)
    rows = Subscription.objects.select_related("plan_version__plan")
    subscription = rows.filter(account=account, provider=provider, provider_subscription_id=subscription_ref).first()
    if subscription is None:
        return "The provider's trial ends soon; no subscription here follows it."
    told = Event.objects.filter(type=TRIAL_WILL_END, object_id=subscription.public_id, data__provider_event_id=mark)
    if not told.exists():
        events.emit(
            TRIAL_WILL_END,
            subject=subscription,
            account_id=account.pk,
            at=at,
            actor=actor,
            data=describe_subscription(subscription)
            | {"provider": provider, "provider_event_id": mark, "trial_end": trial_end or subscription.trial_end},
        )
    return "The trial ends soon."


@transaction.atomic
def mirror_attached_method(
    *, account: Account, provider: str, state: MethodState, at: datetime, actor: Actor
) -> PaymentMethod:
    """
    Attach a method that a provider keeps for the account, and return it; of one that is attached follow what is shown.

    It counts as not verified: nobody here has tried it. One that we have let go, and that the provider has yet to
    forget, stays let go.
    :raises MethodBeingAttached: while a request of the account waits for this provider.
    :raises InvalidState: when the account is closed.
    """
    lock_account(account.pk)
    rows = PaymentMethod.objects.filter(account=account, provider_type=provider)
    known = rows.filter(provider_ref=state.ref, status=PaymentMethodStatus.ATTACHED).first()
    if known is not None:
        return update_display_data(
            method_id=known.pk,
            card=state.card,
            bank_account=state.bank_account,
            at=at,
            actor=actor,
            reason="changed at the provider",
        )
    ended = (PaymentMethodStatus.DETACHED, PaymentMethodStatus.REFUSED)
    let_go = rows.filter(provider_ref=state.ref, status__in=ended, released_at__isnull=True).order_by("-id").first()
    if let_go is not None:
        return let_go
    if rows.filter(status=PaymentMethodStatus.PENDING).exists():
        raise MethodBeingAttached("A request of the account is attaching a method; this may be the one.")
    new = NewPaymentMethod(
        type=state.type,
        provider_type=provider,
        provider_ref=state.ref,
        card=state.card,
        bank_account=state.bank_account,
    )
    row = open_payment_method(account=account, new=new)
    return settle_attached(method_id=row.pk, at=at, actor=actor, reason="attached at the provider")


@transaction.atomic
def mirror_detached_method(*, method_id: UUID, at: datetime, actor: Actor) -> PaymentMethod | None:
    """Detach a method that the provider has no more, be it the only one of the account; None if it is not attached."""
    found = PaymentMethod.objects.filter(pk=method_id, status=PaymentMethodStatus.ATTACHED).first()
    if found is None:
        return None
    lock_account(found.account_id)
    if not PaymentMethod.objects.filter(pk=method_id, status=PaymentMethodStatus.ATTACHED).exists():
        return None
    method = detach_row(method_id=method_id, at=at, actor=actor, force=True, reason="detached at the provider")
    PaymentMethod.objects.filter(pk=method.pk, released_at__isnull=True).update(released_at=at)
    method.released_at = method.released_at or at
    return method
