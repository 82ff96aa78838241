"""The resources the server knows, one module each. A new one is named here."""

from __future__ import annotations

from tests.stripe_server.resources import balance, meters, prices, products
from tests.stripe_server.routing import Route
from tests.stripe_server.store import Kind

MODULES = (balance, products, prices, meters)
ROUTES: tuple[Route, ...] = tuple(route for module in MODULES for route in module.ROUTES)
KINDS: dict[str, Kind] = {kind.name: kind for kind in (products.PRODUCT, prices.PRICE, meters.METER)}
