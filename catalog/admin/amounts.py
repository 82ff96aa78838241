"""Prices in words: `29.00 USD / month`, `0.50 USD / 1,000,000 tokens`."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Final

from billing_site.backoffice.display import format_money, format_quantity
from billing_site.kernel.money import get_exponent
from catalog.models import Price
from catalog.pricing.terms import PriceOptions

_SCALES: Final = (1, 1_000, 1_000_000, 1_000_000_000)


def describe_price(price: Price) -> str:
    """Return what a price charges for what."""
    every = _describe_interval(price)
    unit = price.meter.unit if price.meter else "unit"
    options = PriceOptions.from_dict(price.options)
    if price.unit_amount is None:
        return f"{_describe_model(price.model, options, price.currency)} / {every}"
    if price.model == "package" and options.package_size is not None:
        size = format_quantity(options.package_size)
        return f"{_describe_unit_amount(price.unit_amount, price.currency)} {size} {unit}".replace(" / ", " per ", 1)
    if price.meter is None or price.model == "flat":
        return f"{_describe_unit_amount(price.unit_amount, price.currency)} {every}"
    return f"{_describe_unit_amount(price.unit_amount, price.currency)} {unit}"


def summarise_prices(prices: Iterable[Price]) -> list[tuple[str, str]]:
    """Return (CSS class, text) lines: per currency its fees on one, its usage prices on another, each text once."""
    lines: dict[tuple[str, bool], dict[str, None]] = {}
    for price in prices:
        lines.setdefault((price.currency, price.is_metered), {})[describe_price(price)] = None
    return [("ch-muted" if is_usage else "", " · ".join(texts)) for (_, is_usage), texts in lines.items()]


def _describe_model(model: str, options: PriceOptions, currency: str) -> str:
    """Name a price that is not one amount: `graduated, 3 tiers`, `percentage 1.2 %`."""
    name = model.replace("_", " ")
    if options.percent is not None:
        fixed = f" + {_describe_unit_amount(options.fixed_amount, currency)} event" if options.fixed_amount else ""
        return f"{format_quantity(options.percent)} %{fixed}"
    if options.tiers:
        count = len(options.tiers)
        return f"{name}, {count} tier{'' if count == 1 else 's'}"
    return name


def _describe_interval(price: Price) -> str:
    return price.interval if price.interval_count == 1 else f"{price.interval_count} {price.interval}s"


def _describe_unit_amount(amount: Decimal, currency: str) -> str:
    """A unit price is often far below a cent: name the number of units that cost whole minor units."""
    for scale in _SCALES:
        scaled = amount * scale
        if scaled == scaled.to_integral_value():
            units = "" if scale == 1 else f"{format_quantity(scale)} "
            return f"{format_money(int(scaled), currency)} / {units}".rstrip()
    return f"{format_quantity(amount.scaleb(-get_exponent(currency)))} {currency.upper()} /"
