"""ISO 3166-1 alpha-2 country codes."""

from __future__ import annotations

from functools import cache

from babel import Locale

# Groups of countries, the unknown one and test codes, which the territory list also holds.
_NO_COUNTRIES = frozenset({"EU", "EZ", "QO", "UN", "XA", "XB", "ZZ"})


@cache
def list_countries() -> frozenset[str]:
    """Return every country code, in upper case."""
    return frozenset(str(code) for code in Locale.parse("en").territories if len(str(code)) == 2) - _NO_COUNTRIES


def is_country(code: str) -> bool:
    """Tell whether `code` (upper case) is a country."""
    return code in list_countries()
