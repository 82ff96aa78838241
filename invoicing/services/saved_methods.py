"""Methods that a provider saved and verified, kept with their account: one row, however often it is told."""

from __future__ import annotations

from datetime import datetime

from accounts.models import Account, PaymentMethod, PaymentMethodStatus
from accounts.services.payment_methods import NewPaymentMethod, open_payment_method, settle_attached
from billing_site.kernel.actors import Actor
from invoicing.gateways.orders import SetupState


def save_method(
    *, account: Account, provider_type: str, state: SetupState, at: datetime, actor: Actor, reason: str
) -> PaymentMethod:
    """
    Return the account's row of the method that a setup saved, attached and verified. In a transaction.

    :raises InvalidState: when the account is closed.
    """
    attached = PaymentMethod.objects.filter(
        account=account,
        provider_type=provider_type,
        provider_ref=state.method_ref,
        status=PaymentMethodStatus.ATTACHED,
    ).first()
    if attached is None:
        new = NewPaymentMethod(type=state.method_type, provider_type=provider_type, provider_ref=state.method_ref)
        return settle_attached(
            method_id=open_payment_method(account=account, new=new).pk,
            at=at,
            actor=actor,
            provider_ref=state.method_ref,
            card=state.card,
            bank_account=state.bank_account,
            is_verified=True,
            reason=reason,
        )
    if attached.verified_at is None:
        attached.verified_at = at
        attached.save(update_fields=["verified_at", "updated_at"])
    return attached
