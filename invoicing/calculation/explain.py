"""
Why this amount: the readable steps of one line.

Each step is a title, the arithmetic and its result, as text. They are stored with the line, so that a document explains
itself for ever, whatever later versions of the engine say. Plain Python: no Django, no I/O, no clock.
"""

from __future__ import annotations

from decimal import Decimal
from zoneinfo import ZoneInfo

from billing_site.kernel.money import RoundingMode, format_decimal
from billing_site.kernel.periods import local_date
from invoicing.calculation.facts import ChargeFacts, format_exact, format_instant

ROUNDING_NAMES: dict[RoundingMode, str] = {"half_up": "half away from zero", "half_even": "half to even"}


def explain_charge(
    charge: ChargeFacts, *, exact: Decimal, amount: int, rounding: RoundingMode, timezone: str
) -> tuple[dict[str, str], ...]:
    """Return the steps from price and quantity to the amount of one line, in order."""
    price, zone = charge.price, ZoneInfo(timezone)
    unit = f"{price.unit or 'unit'}" if charge.type == "usage" else "unit"
    start, end = local_date(charge.period.start, zone), local_date(charge.period.end, zone)
    days = charge.period.count_days(zone)
    return (
        _step(
            "Price",
            f"{price.lookup_key} · {price.model.replace('_', ' ')} of {charge.plan_name}",
            f"{format_exact(price.unit_amount)} minor units of {price.currency.upper()} per {_per(charge, unit)}",
        ),
        _step(
            "Period",
            f"{format_instant(charge.period.start)} up to, not including, {format_instant(charge.period.end)}",
            f"{start} to {end} in {timezone}, {days} of {days} days",
        ),
        _quantity_step(charge, unit),
        _step(
            "Exact amount",
            f"{format_exact(charge.quantity)} × {format_exact(price.unit_amount)}",
            f"{format_exact(exact)} minor units",
        ),
        _step(
            "Rounded once",
            f"to whole minor units, {ROUNDING_NAMES[rounding]}",
            f"{amount} = {format_decimal(amount, price.currency)} {price.currency.upper()}",
        ),
    )


def _per(charge: ChargeFacts, unit: str) -> str:
    if charge.type == "usage":
        return unit
    count, name = charge.price.interval_count, charge.price.interval
    return f"unit and {name}" if count == 1 else f"unit and {count} {name}s"


def _quantity_step(charge: ChargeFacts, unit: str) -> dict[str, str]:
    quantity = format_exact(charge.quantity)
    if charge.type == "subscription":
        return _step("Quantity", "of the subscription item", quantity)
    source = charge.source
    counted = f"{source.event_count} events of {charge.meter_name} in the period"
    if source.last_recorded_at is not None:
        counted += f", the last recorded {format_instant(source.last_recorded_at)}"
    return _step("Quantity", counted, f"{quantity} {unit}")


def _step(title: str, formula: str, value: str) -> dict[str, str]:
    return {"title": title, "formula": formula, "value": value}
