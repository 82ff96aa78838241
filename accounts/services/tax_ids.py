"""
What a company's tax number looks like in its country.

Form and check digits are checked, not whether the number was given to anybody. Source: contract chapter Tax.
"""

from __future__ import annotations

from typing import Any, Final

from stdnum import get_cc_module
from stdnum.eu import vat
from stdnum.exceptions import ValidationError

# Countries whose VAT numbers begin with their own code, and what the code is where it differs.
UNION: Final = frozenset(
    {
        *("AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IT"),
        *("LT", "LU", "LV", "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK"),
    }
)
_PREFIXES: Final = {"GR": ("EL", "GR"), "GB": ("XI",)}

# Other numbers a company of a country may be known by.
_NATIONAL: Final[dict[str, tuple[str, ...]]] = {
    "AR": ("cuit",),
    "AU": ("abn",),
    "BR": ("cnpj", "cpf"),
    "CA": ("bn",),
    "CH": ("vat", "uid"),
    "CL": ("rut",),
    "CN": ("uscc",),
    "CO": ("nit",),
    "DE": ("stnr",),
    "FR": ("siret", "siren"),
    "GB": ("vat",),
    "IL": ("hp", "idnr"),
    "IN": ("gstin", "pan"),
    "IS": ("vsk",),
    "IT": ("codicefiscale",),
    "JP": ("cn",),
    "KR": ("brn",),
    "MX": ("rfc",),
    "NO": ("mva", "orgnr"),
    "NZ": ("ird",),
    "RS": ("pib",),
    "SG": ("uen",),
    "TR": ("vkn", "tckimlik"),
    "TW": ("ubn",),
    "US": ("ein", "tin"),
    "ZA": ("tin",),
}


class TaxIdRefused(ValueError):
    """A number that cannot be one of the country; the text is for people."""


def clean_tax_id(tax_id: str, *, country: str) -> str:
    """
    Return a tax number as it is stored: VAT numbers of the European Union without blanks and with their prefix.

    `country` is ISO 3166-1 alpha-2 in upper case. Numbers of a country without known rules, or of none, are kept.
    :raises TaxIdRefused: when it has neither form nor check digits of a number of that country.
    """
    if not tax_id or (country not in UNION and country not in _NATIONAL):
        return tax_id
    for prefix in _list_prefixes(country):
        found = _find_union_number(tax_id, prefix)
        if found is not None:
            return found
    if any(_is_national(tax_id, country, kind) for kind in _NATIONAL.get(country, ())):
        return tax_id
    wanted = " or ".join(_list_prefixes(country)[:1] or ("a national number",))
    shape = f"a VAT number that begins with {wanted}" if country in UNION else "a number of this country"
    raise TaxIdRefused(f"{tax_id[:50]!r} is no tax number of {country}: expected {shape}, with right check digits.")


def is_business_number(tax_id: str, *, country: str) -> bool:
    """
    Tell whether a stored number shows that its holder is a business that accounts for tax itself.

    In the European Union that is a VAT number with the right check digits, not any national number; elsewhere the
    number that was accepted.
    """
    if not tax_id or country not in UNION:
        return bool(tax_id)
    return any(_find_union_number(tax_id, prefix) is not None for prefix in _list_prefixes(country))


def _list_prefixes(country: str) -> tuple[str, ...]:
    return _PREFIXES.get(country, (country,) if country in UNION else ())


def _find_union_number(tax_id: str, prefix: str) -> str | None:
    text = "".join(tax_id.split()).upper()
    try:
        return str(vat.validate(text if text.startswith(prefix) else prefix + text))
    except ValidationError:
        return None


def _is_national(tax_id: str, country: str, kind: str) -> bool:
    module: Any = get_cc_module(country, kind)
    return bool(module.is_valid(tax_id))
