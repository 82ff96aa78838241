"""Which providers may send events, and how each signs them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from billing_site.kernel.errors import DomainError
from invoicing.webhooks.adapters.local import open_local_door
from invoicing.webhooks.adapters.port import WebhookDoor
from invoicing.webhooks.adapters.stripe import open_stripe_door

__all__ = ["ProviderUnknown", "WebhookDoor", "get_door"]


class ProviderUnknown(DomainError):
    code, title, status = "provider_unknown", "No such provider is configured", 404


_DOORS: Final[Mapping[str, Callable[[], WebhookDoor | None]]] = {
    "stripe": open_stripe_door,
    "local": open_local_door,
}


def get_door(provider: str) -> WebhookDoor:
    """
    Return how a provider's webhooks are checked. The path names the provider; nobody guesses.

    :raises ProviderUnknown: for none, or one without a secret.
    """
    opens = _DOORS.get(provider)
    door = opens() if opens is not None else None
    if door is None:
        raise ProviderUnknown("No payment provider of this name sends events here.")
    return door
