"""Checking what somebody asks to create: every finding is gathered before anything is refused."""

from __future__ import annotations

from decimal import Decimal, localcontext
from typing import Final

from billing_site.kernel.errors import FieldError, ValidationFailed
from billing_site.kernel.money import EXACT
from catalog.services.documents import list_currencies

_DECIMALS: Final = 12
_WHOLE_DIGITS: Final = 26  # numeric(38, 12)


class FieldChecks:
    """The findings about the fields of one request. Checks return the cleaned value, good or not."""

    def __init__(self) -> None:
        self._found: list[FieldError] = []

    def add(self, pointer: str, code: str, detail: str) -> None:
        """Report a finding."""
        self._found.append(FieldError(pointer, code, detail))

    def read_text(self, name: str, value: str, *, max_length: int, required: bool = False) -> str:
        """Return a text trimmed."""
        text = value.strip()
        if required and not text:
            self.add(f"/{name}", "required", "This must not be blank.")
        elif len(text) > max_length:
            self.add(f"/{name}", "too_long", f"At most {max_length} characters.")
        elif "\x00" in text:
            self.add(f"/{name}", "invalid", "The character U+0000 is not allowed.")
        return text

    def read_currency(self, name: str, value: str) -> str:
        """Return a currency code in lower case."""
        code = value.strip().lower()
        if code not in list_currencies():
            self.add(f"/{name}", "currency_unsupported", f"The currency {code[:10]!r} is not offered.")
        return code

    def check_decimal(self, pointer: str, value: Decimal) -> bool:
        """Tell whether the database keeps a number exactly, and report it if not."""
        if not value.is_finite():
            self.add(pointer, "invalid", "This is not a number.")
        elif value and value.adjusted() >= _WHOLE_DIGITS:
            self.add(pointer, "out_of_range", "The number is too large.")
        elif _count_decimals(value) > _DECIMALS:
            self.add(pointer, "too_precise", f"At most {_DECIMALS} decimals are kept.")
        else:
            return True
        return False

    def require_none(self) -> None:
        """:raises ValidationFailed: with every finding, if there is one."""
        if self._found:
            count = len(self._found)
            detail = self._found[0].detail if count == 1 else f"{count} fields are wrong."
            raise ValidationFailed(detail, errors=self._found)


def _count_decimals(value: Decimal) -> int:
    with localcontext(EXACT):
        return max(0, -int(value.normalize().as_tuple().exponent))
