"""What a price of the document costs in the provider's words, or why it has none for it."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from billing_client.provider_sync.currencies import can_be_charged, to_provider
from billing_client.provider_sync.reading import DECIMAL_PLACES, Entry, count_places, is_whole
from billing_client.provider_sync.wanted import Terms, Tier

MODELS: Final = (
    "flat",
    "per_unit",
    "graduated",
    "volume",
    "package",
    "percentage",
    "graduated_percentage",
    "stairstep",
    "dynamic",
)
TERM_KEYS: Final = frozenset(
    """
    model unit_amount tiers package_size percent fixed_amount free_events free_amount event_minimum event_maximum
    free_quantity transform_quantity bill_zero_usage minimum_amount maximum_amount variants
    """.split()
)
_NOT_CARRIED: Final = {
    "variants": "prices by dimension",
    "minimum_amount": "minimum per interval",
    "maximum_amount": "maximum per interval",
}
# A step price is a volume price whose tiers have nothing but a flat amount.
_TIERS_MODES: Final = {"graduated": "graduated", "volume": "volume", "stairstep": "volume"}


class NotCarried(Exception):
    """The provider has no form for these terms; the message says which part."""


def read_terms(entry: Entry, *, model: str, currency: str, is_usage: bool) -> Terms | None:
    """
    Return the terms of a price; None where a finding was reported instead.

    :raises NotCarried: if the provider cannot price like that.
    """
    for key, words in _NOT_CARRIED.items():
        if entry.has(key):
            raise NotCarried(f"Stripe has no {words}")
    if model in _TIERS_MODES:
        return _read_tiered(entry, model, currency)
    if model == "flat" and is_usage:
        raise NotCarried("Stripe has no flat amount for a meter")
    if model not in {"flat", "per_unit", "package"}:
        raise NotCarried(f"Stripe has no {model} prices")
    return _read_simple(entry, model, currency, is_usage=is_usage)


def _read_simple(entry: Entry, model: str, currency: str, *, is_usage: bool) -> Terms | None:
    given = entry.decimal("unit_amount", required=True)
    size = entry.decimal("package_size", required=True) if model == "package" else None
    if given is None or (model == "package" and size is None):
        return None
    if not is_usage and not is_whole(given):
        entry.report("unit_amount", "type_invalid", "a fee is a whole number of minor units")
        return None
    if size is not None and size == 0:
        entry.report("package_size", "too_small", "this must be above zero")
        return None
    amount = _convert(given, currency)
    if not is_usage and not can_be_charged(amount, currency):
        raise NotCarried(f"Stripe charges {currency} in steps of ten minor units")
    transform = entry.entry("transform_quantity")
    free = entry.decimal("free_quantity")
    if size is not None:
        if transform is not None or free:
            raise NotCarried("Stripe has no packages of converted or partly free quantities")
        if not is_whole(size):
            raise NotCarried("Stripe has whole package sizes only")
        return Terms(amount, divide_by=int(size), round="up")
    if transform is not None:
        if free:
            raise NotCarried("Stripe has no converted quantities that are partly free")
        return _read_transform(transform, amount)
    if free:
        if not is_whole(free):
            raise NotCarried("Stripe has whole free quantities only")
        return Terms(tiers=(Tier(int(free)), Tier(None, amount)), tiers_mode="graduated")
    return Terms(amount)


def _read_transform(transform: Entry, amount: Decimal) -> Terms | None:
    divide_by = transform.decimal("divide_by", required=True)
    rounding = transform.choice("round", ("up", "down", "none")) if transform.has("round") else "none"
    if divide_by is None or rounding is None:
        return None
    if divide_by == 0:
        transform.report("divide_by", "too_small", "this must be above zero")
        return None
    if rounding == "none" or not is_whole(divide_by):
        raise NotCarried("Stripe divides quantities by whole numbers and rounds them up or down")
    return Terms(amount, divide_by=int(divide_by), round=rounding)


def _read_tiered(entry: Entry, model: str, currency: str) -> Terms | None:
    given = entry.entries("tiers")
    if not given:
        if not entry.has("tiers"):
            entry.report("tiers", "required", "this is missing")
        return None
    if entry.has("transform_quantity") or entry.has("free_quantity"):
        raise NotCarried("Stripe has no tiers of converted or partly free quantities")
    tiers, below = [], Decimal(0)
    for place, tier in enumerate(given, 1):
        bound = _read_bound(tier, is_last=place == len(given), below=below)
        unit, flat = tier.decimal("unit_amount"), tier.decimal("flat_amount")
        if bound is not None:
            if not is_whole(bound):
                raise NotCarried("Stripe has whole bounds of tiers only")
            below = bound
        tiers.append(
            Tier(
                None if bound is None else int(bound),
                _convert(unit or Decimal(0), currency),
                _convert(flat or Decimal(0), currency),
            )
        )
    if any(not is_whole(tier.flat_amount) for tier in tiers):
        raise NotCarried("Stripe has whole flat amounts of tiers only")
    if entry["bill_zero_usage"] is False and tiers[0].flat_amount:
        raise NotCarried("Stripe bills the flat amount of the first tier without usage too")
    return Terms(tiers=tuple(tiers), tiers_mode=_TIERS_MODES[model])


def _read_bound(tier: Entry, *, is_last: bool, below: Decimal) -> Decimal | None:
    """Return the bound of a tier, None for the last; what is wrong with it is reported."""
    if is_last:
        if tier.has("up_to") and str(tier["up_to"]).strip() != "0":
            tier.report("up_to", "tier_last_bounded", "the last tier has no bound: null, or nothing")
        return None
    bound = tier.decimal("up_to", required=True)
    if bound is not None and bound <= below:
        tier.report("up_to", "tier_bound_unordered", "bounds are cumulative, above zero and ascending")
    return bound


def _convert(amount: Decimal, currency: str) -> Decimal:
    converted = to_provider(amount, currency)
    if count_places(converted) > DECIMAL_PLACES:
        raise NotCarried(f"Stripe has at most {DECIMAL_PLACES} decimals of its minor unit of {currency}")
    return converted
