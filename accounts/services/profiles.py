"""What a profile field of an account may hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final
from zoneinfo import ZoneInfo

from accounts.models import MAX_GRACE_HOURS, Account, AccountStatus, CollectionMethod, InvoiceGrouping, Tier
from accounts.queries.currencies import require_currency
from accounts.services.tax_ids import TaxIdRefused, clean_tax_id
from billing_site.kernel.countries import is_country
from billing_site.kernel.errors import FieldError, ValidationFailed
from billing_site.kernel.languages import LanguageUnknown, clean_language

MAX_AMOUNT: Final = 10**15


class FieldRefused(ValueError):
    """A value that a field cannot hold: `code` for machines, the text for people."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


def clean_profile(values: Mapping[str, Any], *, account: Account | None = None) -> dict[str, Any]:
    """
    Return the values as they are stored: text trimmed, codes in their usual case, the tax number as its country has it.

    `account` is the one that is changed: its number must still fit when it moves to another country.
    :raises ValidationFailed: naming every field that cannot be stored.
    :raises CurrencyUnsupported: for a currency that is not offered.
    """
    cleaned: dict[str, Any] = {}
    findings: list[FieldError] = []
    for name, value in values.items():
        try:
            check = _CHECKS.get(name) or _check_text(name)
            cleaned[name] = check(value)
        except FieldRefused as refusal:
            findings.append(FieldError(f"/{name}", refusal.code, str(refusal)))
    try:
        cleaned |= _clean_tax_id(cleaned, account)
    except TaxIdRefused as refusal:
        findings.append(FieldError("/tax_id", "invalid_tax_id", str(refusal)))
    if findings:
        raise ValidationFailed(findings[0].detail, errors=findings)
    return cleaned


def _clean_tax_id(cleaned: Mapping[str, Any], account: Account | None) -> dict[str, str]:
    """Check the number against the country when either is new; what is stored already is left alone."""
    before = ("", "") if account is None else (account.tax_id, account.country)
    after = (cleaned.get("tax_id", before[0]), cleaned.get("country", before[1]))
    return {} if after == before else {"tax_id": clean_tax_id(after[0], country=after[1])}


def clean_external_id(value: str | None) -> str | None:
    """:raises FieldRefused: for control characters, too long a handle, or one that looks like our own ids."""
    handle = (value or "").strip()
    if not handle:
        return None
    if len(handle) > 255:
        raise FieldRefused("max_length", "At most 255 characters.")
    if not handle.isprintable():
        raise FieldRefused("invalid", "Printable characters only.")
    if Account.parse_id(handle) is not None:
        raise FieldRefused("invalid", "This looks like an id given by this service.")
    return handle


def derive_org_id(external_id: str | None) -> str:
    """Return the organization an external id belongs to: its part before the first slash, else `default`."""
    head, slash, _ = (external_id or "").partition("/")
    return head.strip().lower()[:100] if slash and head.strip() else "default"


def _check_text(name: str) -> Callable[[Any], str]:
    limit = getattr(Account._meta.get_field(name), "max_length", None) or 255

    def check(value: Any) -> str:
        text = str(value or "").strip()
        if len(text) > limit:
            raise FieldRefused("max_length", f"At most {limit} characters.")
        if "\x00" in text:
            raise FieldRefused("invalid", "Null characters are not allowed.")
        return text

    return check


def _check_name(value: Any) -> str:
    name = _check_text("name")(value)
    if not name:
        raise FieldRefused("required", "An account needs a name.")
    return name


def _check_org(value: Any) -> str:
    org = _check_text("org_id")(value)
    if not org or "/" in org:
        raise FieldRefused("invalid", "An organization is a name without a slash.")
    return org.lower()


def _check_zone(value: Any) -> str:
    name = str(value or "").strip()
    try:
        if name != "UTC" and "/" not in name:
            raise ValueError(name)
        return ZoneInfo(name).key
    except (ValueError, OSError, KeyError) as error:
        raise FieldRefused("invalid", f"{name[:64]!r} is not an IANA time zone such as Europe/Berlin.") from error


def _check_language(value: Any) -> str:
    try:
        return clean_language(str(value or ""))
    except LanguageUnknown as error:
        raise FieldRefused("invalid", str(error)) from error


def _check_country(value: Any) -> str:
    code = str(value or "").strip().upper()
    if code and not is_country(code):
        raise FieldRefused("invalid", f"{code[:10]!r} is not an ISO 3166-1 alpha-2 country code.")
    return code


def _check_choice(choices: list[str]) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if value not in choices:
            raise FieldRefused("invalid_choice", f"One of: {', '.join(choices)}.")
        return str(value)

    return check


def _check_days(value: Any) -> int | None:
    if value is not None and not 0 <= value <= 365:
        raise FieldRefused("out_of_range", "Payment terms are 0 to 365 days.")
    return None if value is None else int(value)


def _check_grace(value: Any) -> int | None:
    if value is not None and not 0 <= value <= MAX_GRACE_HOURS:
        raise FieldRefused("out_of_range", f"Invoices stay drafts for 0 to {MAX_GRACE_HOURS} hours.")
    return None if value is None else int(value)


def _check_threshold(value: Any) -> int | None:
    if value is not None and not 0 < value <= MAX_AMOUNT:
        raise FieldRefused("out_of_range", "A billing threshold is an amount above zero.")
    return None if value is None else int(value)


def _keep(value: Any) -> Any:
    return value


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "external_id": clean_external_id,
    "org_id": _check_org,
    "name": _check_name,
    "country": _check_country,
    "currency": require_currency,
    "timezone": _check_zone,
    "language": _check_language,
    "tier": _check_choice(Tier.values),
    "status": _check_choice(AccountStatus.values),
    "collection_method": _check_choice(CollectionMethod.values),
    "net_terms_days": _check_days,
    "split_by_cost_center": bool,
    "invoice_grouping": _check_choice(["", *InvoiceGrouping.values]),
    "grace_hours": _check_grace,
    "billing_threshold": _check_threshold,
    "tax_exempt": bool,
    "metadata": _keep,
    "test_clock": _keep,
}
