"""Payment methods, attached through the use case with the local provider."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from accounts.models import Account, PaymentMethod
from accounts.services.payment_methods import NewPaymentMethod
from invoicing.gateways.port import PaymentGateway
from invoicing.services.payment_methods import attach_payment_method
from tests.factories.accounts import ACTOR, AT


def make_payment_method(
    account: Account,
    token: str = "tok_visa",
    *,
    at: datetime = AT,
    gateway: PaymentGateway | None = None,
    **values: Any,
) -> PaymentMethod:
    """Attach a method to an account."""
    new = NewPaymentMethod(provider_ref=token, **values)
    return attach_payment_method(account=account, new=new, at=at, actor=ACTOR, gateway=gateway).method
