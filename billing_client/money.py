"""
Money and large numbers as people read them. Exact: whole minor units and Decimals, never float.

The table of digits repeats the server's (ISO 4217), because the client must work without the server's code.
"""

from __future__ import annotations

import re
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

_EXPONENTS: Final[dict[str, int]] = {
    **dict.fromkeys("bif clp djf gnf isk jpy kmf krw pyg rwf ugx uyi vnd vuv xaf xof xpf".split(), 0),
    **dict.fromkeys("bhd iqd jod kwd lyd omr tnd".split(), 3),
    **dict.fromkeys("clf uyw".split(), 4),
}
_SIGNS: Final[dict[str, str]] = {
    "usd": "$", "eur": "€", "gbp": "£", "jpy": "¥", "inr": "₹", "krw": "₩", "ils": "₪", "vnd": "₫", "php": "₱",
    "aud": "A$", "cad": "CA$", "nzd": "NZ$", "hkd": "HK$", "mxn": "MX$", "brl": "R$", "cny": "CN¥", "twd": "NT$",
}  # fmt: skip
# A price below a hundredth with more digits than this is quoted per 1K, 1M or 1B units.
_READABLE_DECIMALS: Final = 4
_SMALL: Final = Decimal("0.01")
_AMOUNT: Final = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,12})?")
_STEPS: Final = ((1_000_000_000, "B"), (1_000_000, "M"), (1_000, "K"))


def get_exponent(currency: str) -> int:
    """Return the number of minor-unit digits of a currency (JPY 0, USD 2, KWD 3, CLF 4)."""
    return _EXPONENTS.get(currency.lower(), 2)


def format_money(amount: int, currency: str) -> str:
    """Return minor units with the currency's sign and digits: `$17.31`, `-¥1,500`, `1.250 KWD`."""
    exponent = get_exponent(currency)
    text = f"{abs(Decimal(amount)).scaleb(-exponent):,.{exponent}f}"
    minus = "-" if amount < 0 else ""
    sign = _SIGNS.get(currency.lower())
    return f"{minus}{sign}{text}" if sign else f"{minus}{text} {currency.upper()}"


def format_unit_price(unit_amount: Decimal, currency: str) -> str:
    """
    Return a price per unit, exact; tiny ones per 1K, 1M or 1B units: `$0.50 / 1M`.

    `unit_amount` is in minor units per unit and may have many decimals.
    """
    exponent = get_exponent(currency)
    value, label = unit_amount.scaleb(-exponent), ""
    if value and abs(value) < _SMALL and _count_decimals(value) > max(exponent, _READABLE_DECIMALS):
        candidates = [(value * step, name) for step, name in reversed(_STEPS)]
        sizeable = [(scaled, name) for scaled, name in candidates if abs(scaled) >= _SMALL] or candidates[-1:]
        value, label = next((pair for pair in sizeable if _count_decimals(pair[0]) <= exponent), sizeable[0])
    text = f"{abs(value):,.{max(exponent, _count_decimals(value))}f}"
    sign = _SIGNS.get(currency.lower())
    priced = f"{sign}{text}" if sign else f"{text} {currency.upper()}"
    return f"{'-' if value < 0 else ''}{priced}{f' / 1{label}' if label else ''}"


def _count_decimals(value: Decimal) -> int:
    return max(0, -int(value.normalize().as_tuple().exponent))


def parse_major(text: str, currency: str) -> int:
    """
    Return the minor units of an amount in major units: `25.00` usd is 2500.

    :raises ValueError: if it is no plain number or has more digits than the currency.
    """
    if not _AMOUNT.fullmatch(text.strip()):
        raise ValueError(f'"{text}" is not an amount such as 25.00')
    minor = Decimal(text.strip()).scaleb(get_exponent(currency))
    if minor != minor.to_integral_value():
        raise ValueError(f'"{text}" has more digits than {currency.upper()} ({get_exponent(currency)})')
    return int(minor)


def format_number(value: Decimal | int) -> str:
    """Return a quantity, shortened from a thousand up: 22361870 is `22.4M`; smaller ones exact."""
    number = Decimal(value)
    for index, (step, letter) in enumerate(_STEPS):
        if abs(number) > step:
            short = (number / step).quantize(Decimal("0.1"), rounding=ROUND_HALF_UP)
            if abs(short) >= 1000 and index > 0:  # 999,999 is a million, not a thousand thousands
                return f"{'-' if number < 0 else ''}1.0{_STEPS[index - 1][1]}"
            return f"{short:f}{letter}"
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
