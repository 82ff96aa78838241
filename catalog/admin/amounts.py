"""Prices in words: `29.00 USD / month`, `0.50 USD / 1,000,000 tokens`."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Final

from billing_site.backoffice.display import format_money, format_quantity
from billing_site.kernel.money import get_exponent
from catalog.models import Price

_SCALES: Final = (1, 1_000, 1_000_000, 1_000_000_000)


def describe_price(price: Price) -> str:
    """Return what a price charges for what."""
    if price.meter is None:
        return f"{format_money(int(price.unit_amount), price.currency)} / {_describe_interval(price)}"
    return f"{_describe_unit_amount(price.unit_amount, price.currency)} {price.meter.unit}"


def summarise_prices(prices: Iterable[Price]) -> list[tuple[str, str]]:
    """Return (CSS class, text) lines: per currency its fees on one, its usage prices on another, each text once."""
    lines: dict[tuple[str, bool], dict[str, None]] = {}
    for price in prices:
        lines.setdefault((price.currency, price.is_metered), {})[describe_price(price)] = None
    return [("ch-muted" if is_usage else "", " · ".join(texts)) for (_, is_usage), texts in lines.items()]


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
