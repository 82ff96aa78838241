"""
What the columns of a seller may hold.

Source: contract chapter Invoices; policies, rules 1 and 7 to 13; ADR 0045.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

from stdnum import bic, iban
from stdnum.exceptions import ValidationError

from accounts.models import MAX_GRACE_HOURS, LedgerKind
from billing_site.kernel.countries import is_country
from billing_site.kernel.errors import FieldError, ValidationFailed
from billing_site.kernel.languages import LanguageUnknown, clean_language
from billing_site.kernel.money import is_known_currency
from invoicing.models import Seller
from invoicing.models.seller import MAX_LATE_PERIODS

# What stands on documents and is kept with each of them.
PRINTED: Final = (
    "name",
    "line1",
    "line2",
    "city",
    "state",
    "postal_code",
    "country",
    "email",
    "tax_id",
    "other_tax_ids",
    "account_holder",
    "bank_name",
    "iban",
    "bic",
    "payment_text",
    "language",
    "footer",
)
# The settings with a few words to choose from.
_CHOICES: Final = (
    "numbering",
    "rounding",
    "tax_mode",
    "proration_unit",
    "proration_basis",
    "alignment",
    "interval_change",
    "pause_credit",
    "cancel_unused",
    "invoice_grouping",
)
_PREFIXES: Final = ("invoice_prefix", "credit_note_prefix")
_SWITCHES: Final = (
    "payment_gated",
    "voiding_allowed",
    "mails_invoices",
    "mails_receipts",
    "mails_credit_notes",
    "mails_dunning",
    "review_negative",
    "review_approval",
)
_REVIEW: Final = ("review_factor", "review_amounts")
_NUMBERS: Final = ("due_days", "late_usage_periods", "grace_hours")
EDITABLE: Final = frozenset({*PRINTED, *_CHOICES, *_PREFIXES, *_SWITCHES, *_REVIEW, *_NUMBERS, "ledger_codes"})

# A series of a year is `INV-2026`: a prefix that ends like one could meet it.
_PREFIX: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9/-]{0,14}")
_YEAR: Final = re.compile(r"-\d{4}$")
_MAX_TAX_IDS: Final = 6
_MAX_FACTOR: Final = 1_000_000


class _Refused(ValueError):
    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


def clean_seller(values: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return the values as they are stored: text trimmed, codes in their usual spelling.

    :raises ValidationFailed: naming every column that is not a seller's to change or cannot hold its value.
    """
    cleaned: dict[str, Any] = {}
    findings: list[FieldError] = []
    for name, value in values.items():
        if name not in EDITABLE:
            findings.append(FieldError(f"/{name}", "unknown", f"{name} cannot be changed."))
            continue
        try:
            cleaned[name] = _find_check(name)(value)
        except _Refused as refusal:
            findings.append(FieldError(f"/{name}", refusal.code, str(refusal)))
    if findings:
        raise ValidationFailed(findings[0].detail, errors=findings)
    return cleaned


def _find_check(name: str) -> Callable[[Any], Any]:
    if name in _CHECKS:
        return _CHECKS[name]
    if name in _CHOICES:
        return lambda value: _check_choice(name, value)
    if name in _PREFIXES:
        return _check_prefix
    return lambda value: _check_text(name, value)


def _check_text(name: str, value: object) -> str:
    text = str(value or "").strip()
    limit = getattr(Seller._meta.get_field(name), "max_length", None)
    if limit is not None and len(text) > limit:
        raise _Refused("max_length", f"At most {limit} characters.")
    if "\x00" in text:
        raise _Refused("invalid", "Null characters are not allowed.")
    return text


def _check_name(value: object) -> str:
    name = _check_text("name", value)
    if not name:
        raise _Refused("required", "This cannot be empty.")
    return name


def _check_ledger_codes(value: object) -> dict[str, str]:
    """Return codes by kind of ledger account: 1 to 40 characters each."""
    if not isinstance(value, Mapping):
        raise _Refused("invalid", "Codes are an object of kind and code.")
    for kind, code in value.items():
        if kind not in LedgerKind.values:
            raise _Refused("choice_unknown", f"{kind!r:.60} is not one of: {', '.join(LedgerKind.values)}.")
        if not isinstance(code, str) or not 0 < len(code.strip()) <= 40 or "\x00" in code:
            raise _Refused("invalid", f"The code of {kind} has 1 to 40 characters.")
    return {kind: code.strip() for kind, code in value.items()}


def _check_choice(name: str, value: object) -> str:
    known = [choice for choice, _ in getattr(Seller._meta.get_field(name), "choices", None) or ()]
    if value not in known:
        raise _Refused("choice_unknown", f"{value!r:.60} is not one of: {', '.join(known)}.")
    return str(value)


def _check_prefix(value: object) -> str:
    prefix = str(value or "").strip()
    if not prefix:
        raise _Refused("required", "This cannot be empty.")
    if not _PREFIX.fullmatch(prefix) or _YEAR.search(prefix):
        raise _Refused("invalid", "At most 15 letters, digits, dashes and slashes, and no year at the end.")
    return prefix


def _check_country(value: object) -> str:
    code = str(value or "").strip().upper()
    if code and not is_country(code):
        raise _Refused("invalid", f"{code[:10]!r} is not an ISO 3166-1 alpha-2 country code.")
    return code


def _check_language(value: object) -> str:
    try:
        return clean_language(str(value or "")) or "en"
    except LanguageUnknown as error:
        raise _Refused("invalid", str(error)) from error


def _check_iban(value: object) -> str:
    try:
        return iban.validate(str(value)) if value else ""
    except ValidationError as error:
        raise _Refused("invalid", "This is no IBAN with right check digits.") from error


def _check_bic(value: object) -> str:
    try:
        return bic.validate(str(value)) if value else ""
    except ValidationError as error:
        raise _Refused("invalid", "A BIC has 8 or 11 letters and digits.") from error


def _check_tax_ids(value: object) -> list[dict[str, str]]:
    rows = value or []
    if not isinstance(rows, list) or len(rows) > _MAX_TAX_IDS:
        raise _Refused("invalid", f"A list of at most {_MAX_TAX_IDS} numbers.")
    cleaned = []
    for row in rows:
        if not isinstance(row, Mapping) or not row.keys() <= {"label", "value"}:
            raise _Refused("invalid", "Each number has a label and a value.")
        label, number = (str(row.get(key) or "").strip() for key in ("label", "value"))
        if not number or len(label) > 40 or len(number) > 50:
            raise _Refused("invalid", "A label has at most 40 characters, a number 1 to 50.")
        cleaned.append({"label": label, "value": number})
    return cleaned


def _check_due_days(value: object) -> int:
    if not isinstance(value, int) or not 0 <= value <= 365:
        raise _Refused("out_of_range", "Payment terms are 0 to 365 days.")
    return value


def _check_factor(value: object) -> Decimal | None:
    if value is None or value == "":
        return None
    if not isinstance(value, Decimal) or not 1 <= value < _MAX_FACTOR:
        raise _Refused("out_of_range", "At least 1: below it, every second invoice would be held.")
    return value


def _check_amounts(value: object) -> dict[str, int]:
    """Whole minor units for each of some currencies."""
    if not isinstance(value, Mapping):
        raise _Refused("invalid", 'Write minor units by currency: {"eur": 1000000}.')
    for currency, amount in value.items():
        if not isinstance(currency, str) or not is_known_currency(currency):
            raise _Refused("currency_unknown", f"There is no currency {currency!r:.20}.")
        if not isinstance(amount, int) or isinstance(amount, bool) or amount < 0:
            raise _Refused("invalid", f"{currency}: minor units, a whole number.")
    return dict(value)


def _check_late_periods(value: object) -> int:
    if not isinstance(value, int) or not 0 <= value <= MAX_LATE_PERIODS:
        raise _Refused("out_of_range", f"Late usage is billed for at most {MAX_LATE_PERIODS} periods back.")
    return value


def _check_grace_hours(value: object) -> int:
    if not isinstance(value, int) or not 0 <= value <= MAX_GRACE_HOURS:
        raise _Refused("out_of_range", f"Invoices stay drafts for at most {MAX_GRACE_HOURS} hours.")
    return value


_CHECKS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "name": _check_name,
    "country": _check_country,
    "language": _check_language,
    "iban": _check_iban,
    "bic": _check_bic,
    "other_tax_ids": _check_tax_ids,
    "due_days": _check_due_days,
    "review_factor": _check_factor,
    "review_amounts": _check_amounts,
    "ledger_codes": _check_ledger_codes,
    "late_usage_periods": _check_late_periods,
    "grace_hours": _check_grace_hours,
    **dict.fromkeys(_SWITCHES, bool),
}
