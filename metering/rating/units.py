"""
Units of usage and exact conversion between them.

Plain Python: no Django, no I/O, no clock. Quantities are Decimals with up to 12 decimals.
Source: contract chapter Meters and usage, Unit conversions.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction
from typing import Final

from billing_site.kernel.money import EXACT

QUANTITY_DECIMALS: Final = 12
_STEP: Final = Decimal(1).scaleb(-QUANTITY_DECIMALS)

_GB: Final = 1024**3

# Every unit of a family in the family's first one. A GB is 2^30 bytes, as the contract defines it.
_FAMILIES: Final[tuple[dict[str, Fraction], ...]] = (
    {"byte": Fraction(1), "gb": Fraction(_GB)},
    {"byte-hour": Fraction(1), "gb-hour": Fraction(_GB)},
    {"second": Fraction(1), "millisecond": Fraction(1, 1000), "minute": Fraction(60), "hour": Fraction(3600)},
)
# CPU time is time: seconds become CPU-hours.
_CROSSINGS: Final[dict[str, str]] = {"cpu-second": "second", "cpu-hour": "hour"}

_ALIASES: Final[dict[str, str]] = {
    "b": "byte",
    "gib": "gb",
    "gigabyte": "gb",
    "ms": "millisecond",
    "s": "second",
    "sec": "second",
    "min": "minute",
    "h": "hour",
    "hr": "hour",
    "gb-h": "gb-hour",
    "cpu-s": "cpu-second",
    "cpu-h": "cpu-hour",
    "count": "unit",
}
# Units that only count things; a caller may say "count" for any of them.
_COUNTED: Final = "unit"


class UnitNotConvertible(ValueError):
    """There is no exact rule from one unit to the other."""

    def __init__(self, unit: str, target: str) -> None:
        super().__init__(f"{unit} does not convert to {target}")
        self.unit = unit
        self.target = target


def normalize_unit(unit: str) -> str:
    """Return the comparable form of a unit: lower case, singular, hyphens (`GB_Hours` is `gb-hour`)."""
    text = "-".join(unit.strip().lower().replace("_", " ").replace("-", " ").split())
    if text in _ALIASES:
        return _ALIASES[text]
    # Queries loses "ies", addresses keeps its "ss"; both sides of a comparison go through here.
    if text.endswith("ies"):
        text = f"{text[:-3]}y"
    elif text.endswith("s") and not text.endswith("ss"):
        text = text[:-1]
    return _ALIASES.get(text, text)


def get_conversion_factor(*, unit: str, target: str) -> Fraction:
    """
    Return what one `unit` is in `target`, exactly.

    :raises UnitNotConvertible: if the two measure different things.
    """
    one, other = normalize_unit(unit), normalize_unit(target)
    if one == other or (one == _COUNTED and not any(other in family for family in _FAMILIES)):
        return Fraction(1)
    one, other = _CROSSINGS.get(one, one), _CROSSINGS.get(other, other)
    for family in _FAMILIES:
        if one in family and other in family:
            return family[one] / family[other]
    raise UnitNotConvertible(unit, target)


def convert_quantity(quantity: Decimal, *, unit: str, target: str) -> Decimal:
    """
    Return `quantity` of `unit` in `target`, rounded half up to 12 decimals where the exact result has more.

    :raises UnitNotConvertible: if the two measure different things.
    """
    factor = get_conversion_factor(unit=unit, target=target)
    if factor == 1:
        return quantity
    with localcontext(EXACT):
        converted = quantity * factor.numerator / factor.denominator
        return converted.quantize(_STEP, rounding=ROUND_HALF_UP)


def count_decimals(quantity: Decimal) -> int:
    """Return how many decimals a finite quantity needs; trailing zeros do not count (1.50 needs one)."""
    with localcontext(EXACT):
        exponent = quantity.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0
