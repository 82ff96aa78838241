"""Which payment provider is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from django.conf import settings

from invoicing.gateways.local import LocalGateway
from invoicing.gateways.port import NoProcessorAvailable, PaymentGateway

GATEWAYS: Final[Mapping[str, Callable[[], PaymentGateway]]] = {"local": LocalGateway}


def get_gateway(name: str | None = None, *, livemode: bool) -> PaymentGateway:
    """
    Return the provider called `name`, without one that of `BILLING_PAYMENT_PROVIDER`.

    :raises NoProcessorAvailable: when there is no such provider, or for the local one in live mode.
    """
    chosen = name or settings.BILLING_PAYMENT_PROVIDER
    make = GATEWAYS.get(chosen)
    if make is None:
        raise NoProcessorAvailable(f"There is no payment provider {chosen!r} here.")
    if livemode and chosen == LocalGateway.name:
        raise NoProcessorAvailable("The local payment provider takes no real money: configure another one.")
    return make()
