"""
Top-ups: a means of payment is charged, and the money is prepaid balance.

The row is written before the charge, the provider gets its key from it, and the deposit is booked once: by the answer,
the webhook or the sweep. Source: contract chapter Payments.
"""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.db import transaction

from accounts.models import Account, PaymentMethod
from accounts.queries.currencies import require_currency
from accounts.services.account_locks import lock_account_row
from accounts.services.prepaid import require_amount
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import ValidationFailed
from billing_site.platform.services.keyed_requests import RequestKeyReused, RequestMark, find_repeated, remember
from invoicing.gateways.port import PaymentGateway, ProviderUnavailable
from invoicing.gateways.registry import get_gateway
from invoicing.models import IntentPurpose, PaymentIntent
from invoicing.services.charging import explain_refusal
from invoicing.services.payment_intents import CONFIRMABLE, NewIntent, confirm_intent, create_intent


def top_up(
    *,
    account: Account,
    amount: int,
    currency: str,
    at: datetime,
    actor: Actor,
    method: PaymentMethod | None = None,
    token: str = "",
    mark: RequestMark | None = None,
    gateway: PaymentGateway | None = None,
) -> PaymentIntent:
    """
    Charge `amount` minor units to a stored method, or once to a token, and return the payment; call it outside a
    transaction.

    It is succeeded, and deposited, or still open: processing, or waiting for the card holder.
    :raises AmountNotPositive: for zero or less. :raises ValidationFailed: outside `BILLING_TOPUP_MIN` and `_MAX`.
    :raises PaymentDeclined: when the provider refuses. :raises NoProcessorAvailable: when none can charge it.
    :raises InvalidState: when the account is closed.
    """
    intent, is_new = _open(
        account, amount, currency, at=at, actor=actor, method=method, mark=mark or RequestMark(), gateway=gateway
    )
    if not is_new and intent.status not in CONFIRMABLE:
        return intent
    if not is_new and intent.decline_reason:
        raise explain_refusal(intent)
    try:
        return confirm_intent(intent_id=intent.pk, at=at, actor=actor, method=method, token=token, gateway=gateway)
    except ProviderUnavailable:
        return PaymentIntent.objects.select_related("account", "payment_method").get(pk=intent.pk)


@transaction.atomic
def _open(
    account: Account,
    amount: int,
    currency: str,
    *,
    at: datetime,
    actor: Actor,
    method: PaymentMethod | None,
    mark: RequestMark,
    gateway: PaymentGateway | None,
) -> tuple[PaymentIntent, bool]:
    """Return the row of a top-up, that of the first request with the same key where there was one, and if it is new."""
    lock_account_row(account.pk)
    if (repeated := find_repeated(mark)) is not None:
        rows = PaymentIntent.objects.select_related("account", "payment_method")
        key = PaymentIntent.parse_id(repeated)
        if key is None:
            raise RequestKeyReused("Use a new key for a different request.")
        return rows.get(pk=key), False
    require_amount(amount)
    currency = require_currency(currency)
    if not settings.BILLING_TOPUP_MIN <= amount <= settings.BILLING_TOPUP_MAX:
        detail = f"A top-up is {settings.BILLING_TOPUP_MIN} to {settings.BILLING_TOPUP_MAX} minor units."
        raise ValidationFailed.of("/amount_cents", "out_of_range", detail)
    provider = gateway or get_gateway(None if method is None else method.provider_type, livemode=account.livemode)
    intent = create_intent(
        account=account,
        new=NewIntent(amount=amount, currency=currency, method=method, description="Top-up"),
        at=at,
        actor=actor,
        purpose=IntentPurpose.TOPUP,
    )
    if intent.provider_type != provider.name:
        intent.provider_type = provider.name
        intent.save(update_fields=["provider_type", "updated_at"])
    remember(mark, subject_id=intent.public_id, at=at)
    return intent, True
