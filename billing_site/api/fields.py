"""Serializer fields of the contract's types. None of them lets a float near money, a price or a quantity."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from django.conf import settings
from rest_framework import serializers

from billing_site.api.params import read_instant
from billing_site.kernel.money import is_known_currency

MAX_AMOUNT: Final = 2**63 - 1
MAX_DECIMALS: Final = 12
_MAX_WHOLE_DIGITS: Final = 26  # numeric(38, 12)
_WHOLE_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,19}", re.ASCII)
_DECIMAL: Final = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?", re.ASCII)


def format_plain(value: Decimal) -> str:
    """Return a decimal without exponent and without trailing zeros: `1E+3` is `1000`, `0.500` is `0.5`."""
    text = format(value, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


def count_decimals(value: Decimal) -> int:
    """Return how many digits after the point `value` needs, trailing zeros aside."""
    _, digits, exponent = value.as_tuple()
    if not value or not isinstance(exponent, int) or exponent >= 0:
        return 0
    zeros = next(index for index, digit in enumerate(reversed(digits)) if digit)
    return max(0, -exponent - zeros)


class ContractField:
    """A field that knows its OpenAPI description."""

    def get_openapi(self, *, output: bool) -> dict[str, Any]:
        """Return the JSON schema of what is answered (`output`) or taken."""
        raise NotImplementedError


class SignedMoneyField(ContractField, serializers.Field[int, Any, int, Any]):
    """Whole minor units; text of digits is taken too, because query parameters are text."""

    default_error_messages = {
        "invalid": "An amount is a whole number of minor units.",
        "out_of_range": "The amount is too large.",
        "min_value": "The amount cannot be below {minimum}.",
        "amount_not_positive": "The amount must be above zero.",
    }
    minimum: int | None = None

    def __init__(self, *, positive: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.positive = positive

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, str) and _WHOLE_NUMBER.fullmatch(data.strip()):
            data = int(data)
        if isinstance(data, bool) or not isinstance(data, int):
            self.fail("invalid")
        if abs(data) > MAX_AMOUNT:
            self.fail("out_of_range")
        if self.positive and data <= 0:
            self.fail("amount_not_positive")
        if self.minimum is not None and data < self.minimum:
            self.fail("min_value", minimum=self.minimum)
        return data

    def to_representation(self, value: int) -> int:
        return int(value)

    def get_openapi(self, *, output: bool) -> dict[str, Any]:
        lowest = 1 if self.positive else -MAX_AMOUNT if self.minimum is None else self.minimum
        return {"type": "integer", "format": "int64", "minimum": lowest, "maximum": MAX_AMOUNT}


class MoneyField(SignedMoneyField):
    """Whole minor units, zero or more; `positive=True` refuses zero with the code `amount_not_positive`."""

    minimum = 0


class DecimalStringField(ContractField, serializers.Field[Decimal, Any, str, Any]):
    """An exact decimal: text or a JSON number in, plain text out; at most 12 decimals."""

    default_error_messages = {
        "invalid": "This is not a decimal number.",
        "too_precise": f"At most {MAX_DECIMALS} decimals are kept.",
        "out_of_range": "The number is too large.",
        "min_value": "The number cannot be below {minimum}.",
    }

    def __init__(self, *, minimum: Decimal | int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.minimum = minimum

    def to_internal_value(self, data: Any) -> Decimal:
        if isinstance(data, str):
            data = self._read_text(data.strip())
        if isinstance(data, bool) or not isinstance(data, int | Decimal):
            self.fail("invalid")
        # The size is checked on the exponent, before arithmetic could blow a number up.
        value = Decimal(data)
        if not value.is_finite():
            self.fail("invalid")
        if value and value.adjusted() >= _MAX_WHOLE_DIGITS:
            self.fail("out_of_range")
        if count_decimals(value) > MAX_DECIMALS:
            self.fail("too_precise")
        if self.minimum is not None and value < self.minimum:
            self.fail("min_value", minimum=self.minimum)
        return value or Decimal(0)  # never minus zero

    def _read_text(self, text: str) -> Decimal:
        if len(text) > 100 or not _DECIMAL.fullmatch(text):
            self.fail("invalid")
        try:
            return Decimal(text)
        except InvalidOperation:
            self.fail("invalid")

    def to_representation(self, value: Decimal | int | str) -> str:
        if isinstance(value, float):
            raise TypeError("a float reached a decimal field")
        return format_plain(Decimal(value))

    def get_openapi(self, *, output: bool) -> dict[str, Any]:
        text = {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,12})?$"}
        return text if output else {"anyOf": [text, {"type": "number"}]}


class CurrencyField(serializers.CharField):
    """ISO 4217 in any case, kept in lower case; codes that are not offered fail as `currency_unsupported`."""

    default_error_messages = {"currency_unsupported": "The currency {currency} is not offered."}

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("max_length", 3)
        super().__init__(**kwargs)

    def to_internal_value(self, data: Any) -> str:
        currency = super().to_internal_value(data).strip().lower()
        offered = [code.lower() for code in settings.BILLING_CURRENCIES]
        if not is_known_currency(currency) or (offered and currency not in offered):
            self.fail("currency_unsupported", currency=currency[:10])
        return currency


class TimestampField(ContractField, serializers.Field[datetime, Any, str, Any]):
    """RFC 3339 with offset, or a plain date (midnight UTC; as an end bound, the end of that day); UTC with Z out."""

    default_error_messages = {"invalid": "This is not an RFC 3339 time with offset, such as 2026-03-01T00:00:00Z."}

    def __init__(self, *, end: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.end = end

    def to_internal_value(self, data: Any) -> datetime:
        instant = read_instant(data, end=self.end) if isinstance(data, str) else None
        if instant is None:
            self.fail("invalid")
        return instant

    def to_representation(self, value: datetime) -> str:
        return format_instant(value)

    def get_openapi(self, *, output: bool) -> dict[str, Any]:
        moment = {"type": "string", "format": "date-time"}
        return moment if output else {"anyOf": [moment, {"type": "string", "format": "date"}]}


def format_instant(value: datetime) -> str:
    """Return an instant as the API writes it: UTC with Z."""
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


class AccountRefField(serializers.CharField):
    """An account's id or external id, trimmed and in lower case."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("max_length", 255)
        super().__init__(**kwargs)

    def to_internal_value(self, data: Any) -> str:
        return super().to_internal_value(data).strip().lower()


class MetadataField(ContractField, serializers.Field[dict[str, Any], Any, dict[str, Any], Any]):
    """A caller's own JSON object, kept as it is; `accept_text=True` also takes a JSON text holding an object."""

    MAX_BYTES: Final = 16_384
    default_error_messages = {
        "invalid": "This must be a JSON object.",
        "too_large": f"Keep it under {MAX_BYTES:,} bytes of JSON.",
        "number_out_of_range": "It holds a number that cannot be kept.",
    }

    def __init__(self, *, accept_text: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.accept_text = accept_text

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if self.accept_text and isinstance(data, str):
            try:
                data = json.loads(data, parse_float=Decimal)
            except (ValueError, RecursionError):
                self.fail("invalid")
        if not isinstance(data, dict):
            self.fail("invalid")
        plain = {str(key): self._to_plain(value) for key, value in data.items()}
        text = json.dumps(plain, ensure_ascii=True)
        if len(text) > self.MAX_BYTES:
            self.fail("too_large")
        if "\\u0000" in text:
            self.fail("invalid")
        return plain

    def _to_plain(self, value: Any) -> Any:
        """Free-form numbers are nobody's money: JSON knows no Decimal, so a fraction becomes a JSON number again."""
        match value:
            case Decimal():
                number = float(value)
                if not math.isfinite(number):
                    self.fail("number_out_of_range")
                return number
            case Mapping():
                return {str(key): self._to_plain(item) for key, item in value.items()}
            case list():
                return [self._to_plain(item) for item in value]
        return value

    def to_representation(self, value: dict[str, Any]) -> dict[str, Any]:
        return value

    def get_openapi(self, *, output: bool) -> dict[str, Any]:
        return {"type": "object", "additionalProperties": True}
