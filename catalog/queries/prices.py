"""Stored prices as the pricing engine reads them."""

from __future__ import annotations

from decimal import Decimal

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
