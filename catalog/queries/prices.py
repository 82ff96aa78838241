"""Stored prices as the pricing engine reads them."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from uuid import UUID

from catalog.models import Price
from catalog.pricing.engine import price_quantity
from catalog.pricing.terms import ZERO, PriceOptions, PriceTerms


def get_price_terms(price: Price) -> PriceTerms:
    """Return the pure form of a stored price. The meter must be loaded."""
    return PriceTerms(
        price_id=price.public_id,
        model=price.model,
        currency=price.currency,
        unit_amount=ZERO if price.unit_amount is None else price.unit_amount,
        meter=price.meter.event_name if price.meter is not None else None,
        unit=price.meter.unit if price.meter is not None else None,
        interval=price.interval,
        interval_count=price.interval_count,
        billing_timing=price.billing_timing,
        lookup_key=price.lookup_key,
        options=PriceOptions.from_dict(price.options),
    )


def compute_unit_fee(price: Price) -> Decimal:
    """Return what one subscribed unit costs per interval: exact minor units. For fees."""
    return price_quantity(get_price_terms(price), Decimal(1)).amount_decimal


def list_prices_of_versions(version_ids: Iterable[UUID]) -> dict[UUID, list[Price]]:
    """Return the prices of plan versions with meter and version loaded, in order of creation. One query."""
    found: dict[UUID, list[Price]] = {version_id: [] for version_id in version_ids}
    prices = Price.objects.filter(plan_version_id__in=list(found)).select_related("meter", "plan_version__plan")
    for price in prices.order_by("id"):
        found[price.plan_version_id].append(price)
    return found
