"""Which currencies this site bills in."""

from __future__ import annotations

from django.conf import settings

from billing_site.kernel.errors import CurrencyUnsupported
from billing_site.kernel.money import is_known_currency


def is_offered(currency: str) -> bool:
    """Tell whether `currency` (lower case) is known and in `BILLING_CURRENCIES`, when that is set."""
    offered: list[str] = settings.BILLING_CURRENCIES
    return is_known_currency(currency) and (not offered or currency in {code.strip().lower() for code in offered})


def require_currency(currency: str) -> str:
    """
    Return the code in lower case.

    :raises CurrencyUnsupported: when it is unknown or not offered.
    """
    code = currency.strip().lower()
    if not is_offered(code):
        raise CurrencyUnsupported(f"{currency[:10]!r} is not a currency offered here.")
    return code
