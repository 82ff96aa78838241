"""
Why this amount: the readable steps of one line.

Each step is a title, the arithmetic and its result, as text. They are stored with the line, so that a document explains
itself for ever, whatever later versions of the engine say. Plain Python: no Django, no I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal, localcontext
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from billing_site.kernel.money import EXACT, RoundingMode, format_decimal
from billing_site.kernel.periods import Period, local_date
from catalog.pricing.breakdown import PricedQuantity, PricedTier
from catalog.pricing.terms import divide_quantity
from invoicing.calculation.billed import BilledFacts
from invoicing.calculation.centers import CenterShare
from invoicing.calculation.discounts import Reduction
from invoicing.calculation.facts import ChargeFacts
from invoicing.calculation.texts import format_exact, format_instant

MAX_PARTS: Final = 40
_PARTS: Final = {
    "tier": "Tier",
    "free": "Free units",
    "package": "Packages",
    "percentage": "Percentage",
    "per_event": "Per event",
    "event_bounds": "Bounds per event",
    "other_prices": "Other prices",
    "maximum": "Maximum",
}
_DIFFERENCES: Final = {
    "maximum": "down to the agreed maximum",
    "event_bounds": "what the least and the most per event change",
    "other_prices": "events at further prices, together",
}
_ORIGINS: Final = {"pov": "negotiated as", "rule": "by rule", "qr": "above quota"}
ROUNDING_NAMES: dict[RoundingMode, str] = {"half_up": "half away from zero", "half_even": "half to even"}


def explain_charge(
    charge: ChargeFacts, priced: PricedQuantity, *, amount: int, rounding: RoundingMode, timezone: str
) -> tuple[dict[str, str], ...]:
    """Return the steps from price and quantity to the amount of one line, in order."""
    price = charge.price
    return (
        _step("Price", _name_price(charge), _describe_price(charge)),
        _step("Period", *_describe_period(charge.period, timezone, charge.share.text if charge.share else "")),
        _quantity_step(charge),
        *_conversion_steps(charge),
        *_part_steps(priced.tiers),
        *_discount_steps(charge),
        _exact_step(charge, priced),
        _rounding_step(amount, price.currency, rounding),
    )


@lru_cache(maxsize=1024)
def _describe_period(period: Period, timezone: str, share: str) -> tuple[str, str]:
    zone = ZoneInfo(timezone)
    start, end = local_date(period.start, zone), local_date(period.end, zone)
    days = period.count_days(zone)
    return (
        f"{format_instant(period.start)} up to, not including, {format_instant(period.end)}",
        f"{start} to {end} in {timezone}, " + (share or f"{days} of {days} days"),
    )


def explain_true_up(
    charge: ChargeFacts, priced: PricedQuantity, *, amount: int, rounding: RoundingMode
) -> tuple[dict[str, str], ...]:
    """Return the steps from a minimum and what was used to what is missing, in order."""
    minimum = charge.price.options.minimum_amount or Decimal(0)
    if charge.share is not None:
        minimum = charge.share.of(minimum)
    return (
        _step("Minimum", f"agreed for {_name_price(charge)}", f"{format_exact(minimum)} minor units"),
        _step("Used", "the exact amount of the usage", f"{format_exact(priced.amount_decimal)} minor units"),
        _step(
            "Exact amount",
            f"{format_exact(minimum)} − {format_exact(priced.amount_decimal)}",
            f"{format_exact(priced.true_up)} minor units",
        ),
        _rounding_step(amount, charge.price.currency, rounding),
    )


def explain_discounts(reductions: Sequence[Reduction], *, currency: str) -> tuple[dict[str, str], ...]:
    """Return a step for each discount that a line takes part in, in their order."""
    return tuple(_discount_step(reduction, currency) for reduction in reductions)


def explain_centers(splits: Sequence[CenterShare], *, currency: str) -> tuple[dict[str, str], ...]:
    """Return a step for each cost center's share of a line, in their order."""
    whole = sum((split.center.quantity for split in splits), Decimal(0))
    amount = sum(split.amount for split in splits)
    return tuple(
        _step(
            f"Cost center {split.center.name} ({split.center.code})" if split.center.id else "Without a cost center",
            f"{format_exact(split.center.quantity)} of {format_exact(whole)}, by largest remainder of"
            f" {format_decimal(amount, currency)}",
            f"{split.amount} = {format_decimal(split.amount, currency)} {currency.upper()}",
        )
        for split in splits
    )


def explain_billed(charge: ChargeFacts, billed: BilledFacts, *, net: int) -> tuple[dict[str, str], ...]:
    """Return the step that takes what was billed before off the whole of a period's usage, in minor units."""
    currency, rest = charge.price.currency, net - billed.amount
    where = f"on {billed.invoice}" if billed.invoice else "before"
    later = f" and {billed.sequence - 1} later lines" if billed.sequence > 1 else ""
    return (
        _step(
            "Billed before",
            f"{format_exact(billed.quantity)} {_unit(charge)} {where}{later}:"
            f" {format_decimal(net, currency)} − {format_decimal(billed.amount, currency)}",
            f"{rest} = {format_decimal(rest, currency)} {currency.upper()}",
        ),
    )


def explain_true_up_before(charge: ChargeFacts, whole: int) -> tuple[dict[str, str], ...]:
    """Return the step that takes off what was asked for a minimum before, if there was something."""
    before = charge.billed.true_up if charge.billed is not None else 0
    if not before:
        return ()
    currency, rest = charge.price.currency, whole - before
    return (
        _step(
            "Billed before",
            f"{format_decimal(whole, currency)} − {format_decimal(before, currency)}",
            f"{rest} = {format_decimal(rest, currency)} {currency.upper()}",
        ),
    )


def _discount_step(reduction: Reduction, currency: str) -> dict[str, str]:
    discount, applied_to = reduction.discount, format_decimal(reduction.applied_to, currency)
    if discount.percent_off is not None:
        formula = f"{format_exact(discount.percent_off)} % of {applied_to}"
    else:
        formula = f"{format_decimal(discount.amount_off or 0, currency)}, at most {applied_to}"
    if reduction.lines > 1:
        formula += f", shared by {reduction.lines} lines by largest remainder"
    if reduction.gross_left is not None:
        gross_left, before = format_decimal(reduction.gross_left, currency), format_decimal(reduction.before, currency)
        formula += f"; leaves {gross_left} of the line without its maximum of {before}"
    return _step(
        f"Discount {discount.name}".rstrip(),
        formula,
        f"−{reduction.amount} = −{format_decimal(reduction.amount, currency)} {currency.upper()},"
        f" leaves {format_decimal(reduction.left, currency)}",
    )


def has_parts(tiers: Sequence[PricedTier]) -> bool:
    """Tell whether an amount has more to show than one quantity at one price."""
    return len(tiers) != 1 or tiers[0].kind != "tier" or bool(tiers[0].flat_amount) or tiers[0].up_to is not None


def _name_price(charge: ChargeFacts) -> str:
    price = charge.price
    origin = f", {_ORIGINS.get(price.origin.split('_')[0], 'set by')} {price.origin}" if price.origin else ""
    return f"{price.lookup_key} · {price.model.replace('_', ' ')} of {charge.plan_name}{origin}"


def _describe_price(charge: ChargeFacts) -> str:
    price, options = charge.price, charge.price.options
    money = f"minor units of {price.currency.upper()}"
    if price.model == "dynamic":
        return f"the price that each event carries, in {money}"
    if options.percent is not None:
        return f"{format_exact(options.percent)} % of the money that was counted, in {money}"
    if options.tiers:
        return f"{len(options.tiers)} tiers, in {money}"
    if price.model == "package" and options.package_size is not None:
        return f"{format_exact(price.unit_amount)} {money} per {format_exact(options.package_size)} {_unit(charge)}"
    return f"{format_exact(price.unit_amount)} {money} per {_per(charge)}"


def _unit(charge: ChargeFacts) -> str:
    return f"{charge.price.unit or 'unit'}" if charge.type == "usage" else "unit"


def _conversion_steps(charge: ChargeFacts) -> Iterator[dict[str, str]]:
    options = charge.price.options
    if options.divide_by is not None:
        with localcontext(EXACT):
            divided = divide_quantity(charge.quantity, options)
        rounded = "" if options.divide_round == "none" else f", rounded {options.divide_round} to whole units"
        yield _step(
            "Converted",
            f"{format_exact(charge.quantity)} ÷ {format_exact(options.divide_by)}{rounded}",
            format_exact(divided),
        )


def _part_steps(tiers: Sequence[PricedTier]) -> Iterator[dict[str, str]]:
    """Yield a step per part; those of a long list beyond the first forty are in the stored tiers."""
    if not has_parts(tiers):
        return
    for number, tier in enumerate(tiers[:MAX_PARTS], start=1):
        bound = "" if tier.kind != "tier" else " up to " + format_exact(tier.up_to) if tier.up_to is not None else ""
        title = f"{_PARTS.get(tier.kind, 'Tier')} {number}" if tier.kind == "tier" else _PARTS.get(tier.kind, tier.kind)
        variant = f"{tier.variant}: " if tier.variant else ""
        yield _step(f"{title}{bound}", variant + _multiply(tier), f"{format_exact(tier.amount)} minor units")


def _multiply(tier: PricedTier) -> str:
    if tier.kind in ("maximum", "event_bounds", "other_prices"):
        return _DIFFERENCES[tier.kind]
    text = f"{format_exact(tier.quantity)} × {format_exact(tier.unit_amount)}"
    return f"{text} + {format_exact(tier.flat_amount)} flat" if tier.flat_amount else text


def _discount_steps(charge: ChargeFacts) -> Iterator[dict[str, str]]:
    """Yield the step of the discount that a prorated fee carries itself."""
    if charge.discount:
        yield _step("Own discount", "of the fee for the whole period", f"{format_exact(charge.discount)} minor units")


def _exact_step(charge: ChargeFacts, priced: PricedQuantity) -> dict[str, str]:
    formula, exact = _describe_sum(priced.tiers), f"{format_exact(priced.amount_decimal)} minor units"
    if charge.type == "proration":
        net = f"({formula}) − {format_exact(charge.discount)}" if charge.discount else formula
        share = f"({net}) × {charge.share.text}" if charge.share is not None else net
        share += _describe_bound(charge)
        return _step("Exact amount", f"−({share}), given back" if charge.is_credit else share, exact)
    if charge.share is not None and charge.type == "subscription":
        return _step("Exact amount", f"({formula}) × {charge.share.text}", exact)
    return _step("Exact amount", formula, exact)


def _describe_bound(charge: ChargeFacts) -> str:
    """Return what bounds a credit besides its share: what notes gave back of it, and what is left of its line."""
    credits = charge.credits
    if credits is None:
        return ""
    given = f" − {format_exact(credits.given)} credited by notes" if credits.given else ""
    return given + (f", at most {format_exact(credits.left)} left of the line" if credits.left is not None else "")


def _describe_sum(tiers: Sequence[PricedTier]) -> str:
    if not tiers:
        return "nothing"
    if not has_parts(tiers):
        return _multiply(tiers[0])
    return " + ".join(format_exact(tier.amount) for tier in tiers[:MAX_PARTS]) + (
        " + …" if len(tiers) > MAX_PARTS else ""
    )


def _rounding_step(amount: int, currency: str, rounding: RoundingMode) -> dict[str, str]:
    return _step(
        "Rounded once",
        f"to whole minor units, {ROUNDING_NAMES[rounding]}",
        f"{amount} = {format_decimal(amount, currency)} {currency.upper()}",
    )


def _per(charge: ChargeFacts) -> str:
    if charge.type == "usage" and charge.price.model != "flat":
        return _unit(charge)
    count, name = charge.price.interval_count, charge.price.interval
    return f"unit and {name}" if count == 1 else f"unit and {count} {name}s"


def _quantity_step(charge: ChargeFacts) -> dict[str, str]:
    quantity = format_exact(charge.quantity)
    if charge.type != "usage":
        return _step("Quantity", "of the subscription item", quantity)
    source = charge.source
    counted = f"{source.event_count} events of {charge.meter_name} in the period"
    if source.last_recorded_at is not None:
        counted += f", the last recorded {format_instant(source.last_recorded_at)}"
    return _step("Quantity", counted, f"{quantity} {_unit(charge)}")


def _step(title: str, formula: str, value: str) -> dict[str, str]:
    return {"title": title, "formula": formula, "value": value}
