"""Which payment provider is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from django.conf import settings

from invoicing.gateways.local import LocalGateway
from invoicing.gateways.port import NoProcessorAvailable, PaymentGateway

STRIPE: Final = "stripe"


def _make_stripe() -> PaymentGateway:
    # Its library is large and takes a while to load; who does not use it does not wait for it.
    from invoicing.gateways.stripe import StripeGateway

    return StripeGateway(livemode=settings.BILLING_LIVEMODE)


GATEWAYS: Final[Mapping[str, Callable[[], PaymentGateway]]] = {"local": LocalGateway, STRIPE: _make_stripe}


def get_gateway(name: str | None = None, *, livemode: bool) -> PaymentGateway:
    """
    Return the provider called `name`, without one that of `BILLING_PAYMENT_PROVIDER`.

    :raises NoProcessorAvailable: when there is no such provider, for the local one in live mode, and for another one
        without a key of that mode.
    """
    chosen = name or settings.BILLING_PAYMENT_PROVIDER
    make = GATEWAYS.get(chosen)
    if make is None:
        raise NoProcessorAvailable(f"There is no payment provider {chosen!r} here.")
    if livemode and chosen == LocalGateway.name:
        raise NoProcessorAvailable("The local payment provider takes no real money: configure another one.")
    if livemode != settings.BILLING_LIVEMODE and chosen != LocalGateway.name:
        mode = "live" if settings.BILLING_LIVEMODE else "test"
        raise NoProcessorAvailable(f"This site runs in {mode} mode; the account belongs to the other.")
    return make()
