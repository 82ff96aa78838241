"""Prices and usage for the tests of the engine."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from catalog.documents.normalising import read_price_options
from catalog.pricing.engine import price_usage
from catalog.pricing.terms import PricedQuantity, PriceTerms
from catalog.pricing.usage import EventGroup, Usage, UsageGroup
from tests.unit.catalog.price_terms import usage_prices


def make_price(model: str, *, meter: str | None = "calls", **terms: Any) -> PriceTerms:
    """A price with the terms a document would give it."""
    amount = terms.get("unit_amount")
    return PriceTerms(
        price_id="price_0",
        model=model,
        currency="usd",
        unit_amount=Decimal(str(amount or 0)),
        meter=meter,
        unit="calls" if meter else None,
        interval="month",
        interval_count=1,
        billing_timing="arrears" if meter else "advance",
        lookup_key="pro:usd:month:calls",
        options=read_price_options(terms),
    )


def tiers(*rows: tuple[Any, ...], keys: tuple[str, ...] = ("unit_amount", "flat_amount")) -> list[dict[str, Any]]:
    """Tiers written as rows: bound, then the values of `keys`."""
    return [{"up_to": row[0], **dict(zip(keys, row[1:], strict=False))} for row in rows]


def price_of(price: PriceTerms, quantity: str | int | Decimal) -> Decimal:
    return price_usage(price, Usage(Decimal(str(quantity)))).amount_decimal


def price_events(price: PriceTerms, *values: str | int | tuple[str, str]) -> PricedQuantity:
    """Price single events; a pair is a value and the unit price it carries."""
    events = tuple(
        EventGroup(Decimal(value[0]), 1, Decimal(value[1])) if isinstance(value, tuple) else EventGroup(Decimal(value))
        for value in values
    )
    return price_usage(price, Usage(sum((event.value for event in events), Decimal(0)), events))


def show(priced: PricedQuantity) -> list[tuple[str, str, str]]:
    """Return kind, quantity and amount of each step."""
    return [(step.kind, step.as_dict()["quantity"] or "", step.as_dict()["amount"] or "") for step in priced.tiers]


quantities = st.decimals(min_value=0, max_value=Decimal("1e12"), places=12)
small_quantities = st.decimals(min_value=0, max_value=Decimal("2e6"), places=3)
event_groups = st.builds(
    EventGroup,
    st.decimals(0, Decimal("1e6"), places=2),
    st.integers(1, 50),
    st.none() | st.decimals(0, 1000, places=6),
)


@st.composite
def prices(draw: st.DrawFn) -> PriceTerms:
    """A usage price of any model with any valid options."""
    raw = draw(usage_prices())
    return make_price(raw.pop("model").lower(), **raw)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    """Events by dimensions, with the quantities they sum to."""
    groups = []
    for names in draw(st.lists(st.sampled_from(["", "model=a", "model=b region=a", "region=c"]), unique=True)):
        dimensions = tuple(sorted((key, value) for key, _, value in (each.partition("=") for each in names.split())))
        events = tuple(draw(st.lists(event_groups, min_size=1, max_size=4)))
        groups.append(UsageGroup(dimensions, _sum(events), events))
    events = tuple(event for group in groups for event in group.events)
    return Usage(_sum(events), events, tuple(groups))


def _sum(events: tuple[EventGroup, ...]) -> Decimal:
    return sum((event.value * event.times for event in events), Decimal(0))
