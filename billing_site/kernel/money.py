"""
Money: integer minor units of one currency, exact splitting, one rounding.

Plain Python: no Django, no I/O, no clock. A float anywhere here is a bug and raises.
Source: policies.md, Rounding and money (rules 1 to 3).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Context, Decimal, localcontext
from typing import Final, Literal

RoundingMode = Literal["half_up", "half_even"]

# ISO 4217 exponents that are not 2. Payment processors differ for some of these; that is mapped in the gateways only.
_EXPONENTS: Final[dict[str, int]] = {
    **dict.fromkeys(
        (
            "bif",
            "clp",
            "djf",
            "gnf",
            "isk",
            "jpy",
            "kmf",
            "krw",
            "pyg",
            "rwf",
            "ugx",
            "uyi",
            "vnd",
            "vuv",
            "xaf",
            "xof",
            "xpf",
        ),
        0,
    ),
    **dict.fromkeys(("bhd", "iqd", "jod", "kwd", "lyd", "omr", "tnd"), 3),
    **dict.fromkeys(("clf", "uyw"), 4),
}
_TWO_DIGITS: Final[frozenset[str]] = frozenset(
    """
    aed afn all amd ang aoa ars aud awg azn bam bbd bdt bgn bmd bnd bob bov brl bsd btn bwp byn bzd cad cdf che
    chf chw cny cop cou crc cup cve czk dkk dop dzd egp ern etb eur fjd fkp gbp gel ghs gip gmd gtq gyd hkd hnl
    htg huf idr ils inr irr jmd kes kgs khr kpw kyd kzt lak lbp lkr lrd lsl mad mdl mga mkd mmk mnt mop mru mur
    mvr mwk mxn mxv myr mzn nad ngn nio nok npr nzd pab pen pgk php pkr pln qar ron rsd rub sar sbd scr sdg sek
    sgd shp sle sos srd ssp stn svc syp szl thb tjs tmt top try ttd twd tzs uah usd usn uyu uzs ved ves wst xcd
    xcg yer zar zmw zwg
    """.split()
)
CURRENCIES: Final[frozenset[str]] = _TWO_DIGITS | _EXPONENTS.keys()

_MAJOR: Final = re.compile(r"(?P<whole>[+-]?[0-9]+)(?:\.(?P<decimals>[0-9]+))?")

# Wide enough that a 38-digit quantity times a 38-digit price stays exact.
EXACT: Final[Context] = Context(prec=96)
_UNIT_PLACES: Final = Decimal("1e-12")


class CurrencyMismatch(ValueError):
    """Two currencies met in one sum."""


class UnknownCurrency(ValueError):
    """The code is not an ISO 4217 currency with minor units."""


def is_known_currency(code: str) -> bool:
    """Tell whether `code` (lower case) is a currency this product can bill in."""
    return code in CURRENCIES


def get_exponent(currency: str) -> int:
    """
    Return the number of minor-unit digits of `currency` (JPY 0, USD 2, KWD 3, CLF 4).

    :raises UnknownCurrency: for anything else.
    """
    if currency not in CURRENCIES:
        raise UnknownCurrency(currency)
    return _EXPONENTS.get(currency, 2)


def round_to_minor(amount: Decimal, *, mode: RoundingMode = "half_up") -> int:
    """
    Round exact minor units to whole minor units, ties away from zero (or to even).

    The only rounding of the product; called once per invoice line.
    :raises ValueError: for an infinite amount or NaN.
    Source: policies.md 1 and 2.
    """
    if not isinstance(amount, Decimal):
        raise TypeError(f"round_to_minor takes a Decimal, not {type(amount).__name__}")
    if not amount.is_finite():
        raise ValueError(f"{amount} is not an amount")
    rounding = ROUND_HALF_UP if mode == "half_up" else ROUND_HALF_EVEN
    with localcontext(EXACT):
        return int(amount.quantize(Decimal(1), rounding=rounding))


def allocate(amount: int, weights: Sequence[Decimal | int]) -> list[int]:
    """
    Split `amount` minor units by `weights`: largest remainder, ties by order; the parts sum to `amount`.

    Weights are zero or more; when all are zero the first part takes everything.
    :raises ValueError: without weights or with a negative one.
    Source: policies.md 3.
    """
    if not weights:
        raise ValueError("nothing to allocate to")
    if any(isinstance(weight, float) for weight in weights):
        raise TypeError("weights are Decimal or int, never float")
    shares = _scale_to_integers([Decimal(weight) for weight in weights])
    if any(share < 0 for share in shares):
        raise ValueError("weights cannot be negative")
    total = sum(shares)
    if total == 0:
        return [amount] + [0] * (len(shares) - 1)
    sign, size = (-1, -amount) if amount < 0 else (1, amount)
    # Whole numbers all the way: two remainders of one third are equal, whatever precision a Decimal has.
    parts, remainders = map(list, zip(*(divmod(size * share, total) for share in shares), strict=True))
    by_remainder = sorted(range(len(shares)), key=lambda index: (-remainders[index], index))
    for index in by_remainder[: size - sum(parts)]:
        parts[index] += 1
    return [sign * part for part in parts]


def _scale_to_integers(weights: Sequence[Decimal]) -> list[int]:
    """Multiply `weights` by the power of ten that makes all of them whole."""
    if not all(weight.is_finite() for weight in weights):
        raise ValueError("weights are finite numbers")
    places = max(0, *(-int(weight.as_tuple().exponent) for weight in weights))
    scale = 10**places
    return [int(numerator * scale // denominator) for numerator, denominator in map(Decimal.as_integer_ratio, weights)]


def average_unit_amount(amount: Decimal, quantity: Decimal = Decimal(1)) -> Decimal:
    """
    Return what a unit came to: minor units to 12 decimals, as many as a unit price has. For display only.

    Zero where there is no quantity.
    """
    if not quantity:
        return Decimal(0)
    with localcontext(EXACT):
        return (amount / quantity).quantize(_UNIT_PLACES)


def format_decimal(amount: int, currency: str) -> str:
    """Return `amount` minor units as a decimal string in major units: 1050 usd is `10.50`."""
    exponent = get_exponent(currency)
    digits = f"{abs(amount):0{exponent + 1}d}"
    sign = "-" if amount < 0 else ""
    return f"{sign}{digits[:-exponent]}.{digits[-exponent:]}" if exponent else f"{sign}{digits}"


def parse_major(text: str, currency: str) -> int:
    """
    Return the minor units of a decimal string in major units: `10.50` usd is 1050.

    :raises ValueError: if it is not written in plain digits or has more decimals than the currency.
    """
    match = _MAJOR.fullmatch(text)
    exponent = get_exponent(currency)
    decimals = (match["decimals"] or "").rstrip("0") if match else ""
    if match is None or len(decimals) > exponent:
        raise ValueError(f"{text!r} is not an amount in {currency.upper()}")
    return int(f"{match['whole']}{decimals.ljust(exponent, '0')}")


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in minor units of one currency. Adding two currencies raises `CurrencyMismatch`."""

    amount: int
    currency: str

    def __post_init__(self) -> None:
        if isinstance(self.amount, bool) or not isinstance(self.amount, int):
            raise TypeError(f"Money takes whole minor units, not {type(self.amount).__name__}")
        get_exponent(self.currency)

    def _require_same(self, other: Money) -> None:
        if other.currency != self.currency:
            raise CurrencyMismatch(f"{self.currency} and {other.currency}")

    def __add__(self, other: Money) -> Money:
        self._require_same(other)
        return Money(self.amount + other.amount, self.currency)

    def __sub__(self, other: Money) -> Money:
        self._require_same(other)
        return Money(self.amount - other.amount, self.currency)

    def __neg__(self) -> Money:
        return Money(-self.amount, self.currency)

    def __lt__(self, other: Money) -> bool:
        self._require_same(other)
        return self.amount < other.amount

    def __le__(self, other: Money) -> bool:
        self._require_same(other)
        return self.amount <= other.amount

    def allocate(self, weights: Sequence[Decimal | int]) -> list[Money]:
        """Split by `weights`; see `allocate`."""
        return [Money(part, self.currency) for part in allocate(self.amount, weights)]

    def __str__(self) -> str:
        return f"{format_decimal(self.amount, self.currency)} {self.currency.upper()}"
