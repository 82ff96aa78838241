"""
How documents write money, quantities, prices and dates.

Digits of a currency come from the kernel's table, signs and separators from the locale. Plain Python, no clock.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Context, Decimal, localcontext
from functools import lru_cache
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_date
from babel.numbers import format_currency, format_decimal, get_currency_symbol

from billing_site.kernel.money import EXACT, get_exponent
from billing_site.kernel.periods import Period
from invoicing.documents.words import load_words, marked

# A price below a hundredth of the major unit with more digits than this is quoted per 1K, 1M or 1B units instead.
_READABLE_DECIMALS = 4
_SMALL = Decimal("0.01")
# A price with more digits is an average that nobody agreed on; it is printed with a few.
_AGREED_DIGITS = 8
_AVERAGE = Context(prec=6)
_CLEAR_SIGNS = frozenset("€")  # no other currency has them
_SCALES = ((1_000, marked("1K")), (1_000_000, marked("1M")), (1_000_000_000, marked("1B")))


@lru_cache(maxsize=64)
def _currency_pattern(locale: str, exponent: int) -> str:
    """The locale's currency pattern with `exponent` digits instead of its own two."""
    pattern = Locale.parse(locale).currency_formats["standard"].pattern
    return re.sub(r"0(?:\.[0#]+)?(?![#,0])", f"0.{'0' * exponent}" if exponent else "0", pattern)


def _count_decimals(value: Decimal) -> int:
    with localcontext(EXACT):
        return max(0, -int(value.normalize().as_tuple().exponent))


@dataclass(frozen=True, slots=True)
class Formats:
    """Writers for one locale, currency and zone."""

    locale: str
    currency: str
    timezone: str

    @property
    def has_sign(self) -> bool:
        """Tell whether the locale has a sign for the currency that is not just its code."""
        return get_currency_symbol(self.currency.upper(), locale=self.locale) != self.currency.upper()

    def money(self, amount: int) -> str:
        """Return minor units with sign or code and the currency's digits: `$17.31`, `¥1,500`, `1.731 KWD`."""
        code = self.currency.upper()
        if not self.has_sign:
            return f"{self.plain_money(amount)}\u00a0{code}"
        text = format_currency(
            self._major(Decimal(amount)),
            code,
            format=_currency_pattern(self.locale, get_exponent(self.currency)),
            locale=self.locale,
            currency_digits=False,
        )
        return text.replace("-", "−", 1)

    def money_with_code(self, amount: int) -> str:
        """Return `money` followed by the code where the sign alone could mean several currencies: `$17.31 USD`."""
        needs_code = (
            self.has_sign and get_currency_symbol(self.currency.upper(), locale=self.locale) not in _CLEAR_SIGNS
        )
        return f"{self.money(amount)} {self.currency.upper()}" if needs_code else self.money(amount)

    def plain_money(self, amount: int) -> str:
        """Return minor units as a grouped number without sign: `1,234.50`."""
        digits = "0" * get_exponent(self.currency)
        return self._number(self._major(Decimal(amount)), f"#,##0.{digits}" if digits else "#,##0")

    def quantity(self, quantity: Decimal) -> str:
        """Return an exact quantity, grouped, without trailing zeros: `22,361,870`."""
        return self._number(quantity, "#,##0.############")

    def unit_price(self, unit_amount: Decimal) -> str:
        """
        Return a price per unit, exact and without sign; tiny ones per 1K, 1M or 1B units: `0.50 / 1M`.

        `unit_amount` is in minor units per unit.
        """
        exponent = get_exponent(self.currency)
        major = self._major(unit_amount)
        label = ""
        if major and abs(major) < _SMALL and _count_decimals(major) > max(exponent, _READABLE_DECIMALS):
            with localcontext(EXACT):
                candidates = [(major * scale, name) for scale, name in _SCALES]
            sizeable = [(value, name) for value, name in candidates if abs(value) >= _SMALL] or candidates[-1:]
            major, label = next((pair for pair in sizeable if _count_decimals(pair[0]) <= exponent), sizeable[0])
        text = self._number(major, f"#,##0.{'0' * exponent}{'#' * (24 - exponent)}")
        return f"{text} / {load_words(self.locale)(label)}" if label else text

    def line_price(self, unit_amount: Decimal) -> str:
        """Return the price of a line: exact, but for an average that does not end: `≈ 22.1129`."""
        major = self._major(unit_amount)
        if min(_count_decimals(major), len(major.normalize(EXACT).as_tuple().digits)) <= _AGREED_DIGITS:
            return self.unit_price(unit_amount)
        return f"≈ {self.unit_price(_AVERAGE.create_decimal(unit_amount))}"

    def percent(self, rate: Decimal) -> str:
        """Return a rate that is already in percent: `19%`, `8.875%`."""
        sign = Locale.parse(self.locale).percent_formats[None].pattern.rpartition("0")[2]
        return f"{self._number(rate, '#,##0.######')}{sign}"

    def day(self, day: date) -> str:
        """Return a day in the locale's medium form: `Jan 31, 2026`."""
        return format_date(day, format="medium", locale=self.locale)

    def period(self, period: Period) -> str:
        """Return a half-open period as its first and last local day: `Jan 1, 2026 – Jan 31, 2026`."""
        zone = ZoneInfo(self.timezone)
        first = period.start.astimezone(zone).date()
        last = max(first, (period.end - timedelta(microseconds=1)).astimezone(zone).date())
        return self.day(first) if first == last else f"{self.day(first)} – {self.day(last)}"

    def _major(self, minor: Decimal) -> Decimal:
        with localcontext(EXACT):
            return minor.scaleb(-get_exponent(self.currency))

    def _number(self, value: Decimal, pattern: str) -> str:
        with localcontext(EXACT):
            return format_decimal(value, format=pattern, locale=self.locale).replace("-", "−", 1)
