"""Prices in words: `29.00 USD / month`, `0.50 USD / 1,000,000 tokens`, and the tiers one by one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Final

from billing_site.backoffice.display import format_money, format_quantity
from billing_site.kernel.money import get_exponent
from catalog.documents.content import PriceEntry
from catalog.models import Price
from catalog.pricing.terms import PriceOptions, PriceTerms, Tier
from catalog.queries.prices import get_price_terms

_SCALES: Final = (1, 1_000, 1_000_000, 1_000_000_000)
_ZERO: Final = Decimal(0)
_AMOUNTS: Final = (
    ("fixed_amount", "plus {} per event"),
    ("free_amount", "first {} free"),
    ("event_minimum", "at least {} per event"),
    ("event_maximum", "at most {} per event"),
    ("minimum_amount", "at least {} per interval"),
    ("maximum_amount", "at most {} per interval"),
)


def describe_price(price: Price) -> str:
    """Return what a stored price charges for what. The meter must be loaded."""
    return describe_terms(get_price_terms(price))


def describe_terms(terms: PriceTerms) -> str:
    """Return a price in a few words: its amount, or its model where that has many."""
    every = describe_interval(terms.interval, terms.interval_count)
    unit = terms.unit or "unit"
    options = terms.options
    if options.tiers or terms.model in ("percentage", "dynamic"):
        return f"{_describe_model(terms.model, options, terms.currency)} / {every}"
    if terms.model == "package" and options.package_size is not None:
        size = format_quantity(options.package_size)
        return f"{_describe_unit_amount(terms.unit_amount, terms.currency)} {size} {unit}".replace(" / ", " per ", 1)
    if not terms.is_metered or terms.model == "flat":
        return f"{_describe_unit_amount(terms.unit_amount, terms.currency)} {every}"
    return _describe_rate(terms.unit_amount, terms.currency, unit)


def describe_details(terms: PriceTerms) -> list[str]:
    """Return everything else a price says, a line each: tiers, free units, bounds, variants."""
    unit = terms.unit or ("units" if terms.is_metered else "of the subscribed quantity")
    lines = list(_describe_tiers(terms.options.tiers, terms.model, terms.currency, unit))
    lines += _describe_options(terms.options, terms.currency, unit)
    for variant in terms.options.variants:
        of_variant = replace(terms, unit_amount=variant.unit_amount or _ZERO, options=variant.options)
        lines.append(f"{variant.label}: {describe_terms(of_variant)}")
        lines += [f"{variant.label}: {line}" for line in describe_details(of_variant)]
    if not terms.is_metered and terms.billing_timing == "arrears":
        lines.append("billed in arrears")
    return lines


def make_terms(entry: PriceEntry, unit: str | None) -> PriceTerms:
    """Return a price of a document as the engine sees it; `unit` is that of its meter."""
    return PriceTerms(
        price_id="",
        model=entry.model,
        currency=entry.currency,
        unit_amount=_ZERO if entry.unit_amount is None else entry.unit_amount,
        meter=entry.meter,
        unit=unit,
        interval=entry.interval,
        interval_count=entry.interval_count,
        billing_timing=entry.billing_timing,
        lookup_key=entry.lookup_key,
        options=entry.options,
    )


def summarise_prices(prices: Iterable[Price]) -> list[tuple[str, str]]:
    """Return (CSS class, text) lines for stored prices; see `summarise_terms`."""
    return summarise_terms(map(get_price_terms, prices))


def summarise_terms(prices: Iterable[PriceTerms]) -> list[tuple[str, str]]:
    """Return (CSS class, text) lines: per currency its fees on one, its usage prices on another, each text once."""
    lines: dict[tuple[str, bool], dict[str, None]] = {}
    for terms in prices:
        lines.setdefault((terms.currency, terms.is_metered), {})[describe_terms(terms)] = None
    return [("ch-muted" if is_usage else "", " · ".join(texts)) for (_, is_usage), texts in lines.items()]


def describe_interval(interval: str, count: int) -> str:
    """Return `month`, or `3 months`."""
    return interval if count == 1 else f"{count} {interval}s"


def describe_amount(amount: Decimal, currency: str) -> str:
    """Return exact minor units as money: `29.00 USD`, `0.00005 USD` where it is below a minor unit."""
    if amount == amount.to_integral_value():
        return format_money(int(amount), currency)
    return f"{format_quantity(amount.scaleb(-get_exponent(currency)))} {currency.upper()}"


def _describe_model(model: str, options: PriceOptions, currency: str) -> str:
    """Name a price that is not one amount: `graduated, 3 tiers`, `1.2 % + 0.10 USD / event`."""
    name = model.replace("_", " ")
    if options.percent is not None:
        fixed = f" + {describe_amount(options.fixed_amount, currency)} an event" if options.fixed_amount else ""
        return f"{format_quantity(options.percent)} %{fixed}"
    if options.tiers:
        count = len(options.tiers)
        return f"{name}, {count} tier{'' if count == 1 else 's'}"
    return name


def _describe_tiers(tiers: tuple[Tier, ...], model: str, currency: str, unit: str) -> Iterator[str]:
    below: Decimal | None = None
    for tier in tiers:
        if tier.up_to is not None:
            where = f"up to {format_quantity(tier.up_to)}"
        else:
            where = f"above {format_quantity(below)}" if below is not None else "any quantity"
        yield f"{where}: {_describe_tier(tier, model, currency, unit)}"
        below = tier.up_to


def _describe_tier(tier: Tier, model: str, currency: str, unit: str) -> str:
    parts = []
    if model == "graduated_percentage":
        parts.append(f"{format_quantity(tier.percent)} %")
    elif model != "stairstep" and (tier.unit_amount or not tier.flat_amount):
        parts.append(_describe_rate(tier.unit_amount, currency, unit))
    if tier.flat_amount or not parts:
        parts.append(f"{describe_amount(tier.flat_amount, currency)} flat")
    return " + ".join(parts)


def _describe_options(options: PriceOptions, currency: str, unit: str) -> Iterator[str]:
    if options.divide_by is not None:
        rounded = "" if options.divide_round == "none" else f", rounded {options.divide_round}"
        yield f"quantity divided by {format_quantity(options.divide_by)}{rounded}"
    if options.free_quantity:
        yield f"first {format_quantity(options.free_quantity)} {unit} free"
    if options.free_events:
        yield f"first {format_quantity(options.free_events)} events free"
    for name, text in _AMOUNTS:
        amount: Decimal | None = getattr(options, name)
        if amount is not None and not (name == "fixed_amount" and options.percent is not None):
            yield text.format(describe_amount(amount, currency))
    if not options.bill_zero_usage:
        yield "nothing owed without usage"


def _describe_rate(amount: Decimal, currency: str, unit: str) -> str:
    """Return `0.50 USD / 1,000,000 tokens`, and `0.01 USD / token` for a single one."""
    text = _describe_unit_amount(amount, currency)
    is_plural = unit.endswith("s") and not unit.endswith("ss") and len(unit) > 2
    return f"{text} {unit[:-1] if is_plural and text.endswith('/') else unit}"


def _describe_unit_amount(amount: Decimal, currency: str) -> str:
    """A unit price is often far below a cent: name the number of units that cost whole minor units."""
    for scale in _SCALES:
        scaled = amount * scale
        if scaled == scaled.to_integral_value():
            units = "" if scale == 1 else f"{format_quantity(scale)} "
            return f"{format_money(int(scaled), currency)} / {units}".rstrip()
    return f"{format_quantity(amount.scaleb(-get_exponent(currency)))} {currency.upper()} /"
