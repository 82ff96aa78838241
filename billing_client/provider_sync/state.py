"""What the provider has of a catalog, read before anything is decided."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from billing_client.provider_sync.connection import StripeConnection
from billing_client.provider_sync.wanted import Skipped, WantedCatalog

PRODUCTS: Final = "/v1/products"
PRICES: Final = "/v1/prices"
METERS: Final = "/v1/billing/meters"
LOOKUP_KEYS_PER_REQUEST: Final = 10

Shown = dict[str, Any]
"""An object as the provider shows it."""


@dataclass(slots=True)
class ProviderState:
    """The provider's objects by lookup key; meters by event name."""

    products: dict[str, Shown] = field(default_factory=dict)
    meters: dict[str, Shown] = field(default_factory=dict)
    prices: dict[str, Shown] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def read_state(connection: StripeConnection, wanted: WantedCatalog) -> ProviderState:
    """
    Return what the provider has. Only reads.

    Products are listed, not searched for: the provider's search lags behind by up to a minute, a list never does.
    :raises ProviderError:
    """
    state = ProviderState()
    for product in connection.iterate(PRODUCTS):
        key = str((product.get("metadata") or {}).get("lookup_key") or "")
        if key:
            _keep_product(state, key, product)
    if wanted.meters:
        for meter in connection.iterate(METERS, {"status": "active"}):
            state.meters[str(meter["event_name"])] = meter
    keys = [price.lookup_key for price in wanted.prices if not isinstance(price, Skipped)]
    for price in _list_prices(connection, keys):
        state.prices.setdefault(str(price["lookup_key"]), price)
    return state


def _keep_product(state: ProviderState, key: str, product: Shown) -> None:
    """Of several products with one lookup key the oldest active one counts. They come newest first."""
    other = state.products.get(key)
    if other is None or product["active"] or not other["active"]:
        state.products[key] = product
    if other is not None:
        used, left = state.products[key]["id"], {other["id"], product["id"]} - {state.products[key]["id"]}
        state.warnings.append(f"two products have the lookup key {key}: {used} is used, {', '.join(left)} is not")


def _list_prices(connection: StripeConnection, keys: Sequence[str]) -> Iterator[Shown]:
    """Yield the prices that have these lookup keys, active ones before archived ones, with their tiers."""
    for active in (True, False):
        for start in range(0, len(keys), LOOKUP_KEYS_PER_REQUEST):
            chunk = list(keys[start : start + LOOKUP_KEYS_PER_REQUEST])
            query = {"lookup_keys": chunk, "active": active, "expand": ["data.tiers"]}
            yield from connection.iterate(PRICES, query)


def find_product(connection: StripeConnection, lookup_key: str) -> Shown | None:
    """Return the product of a lookup key as it is now. :raises ProviderError:"""
    state = ProviderState()
    for product in connection.iterate(PRODUCTS):
        if (product.get("metadata") or {}).get("lookup_key") == lookup_key:
            _keep_product(state, lookup_key, product)
    return state.products.get(lookup_key)


def find_meter(connection: StripeConnection, event_name: str) -> Shown | None:
    """Return the active meter of an event name as it is now. :raises ProviderError:"""
    meters = connection.iterate(METERS, {"status": "active"})
    return next((meter for meter in meters if meter["event_name"] == event_name), None)


def find_price(connection: StripeConnection, lookup_key: str) -> Shown | None:
    """Return the active price of a lookup key as it is now. :raises ProviderError:"""
    return next((price for price in _list_prices(connection, [lookup_key]) if price["active"]), None)
