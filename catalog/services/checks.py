"""Checking what somebody asks to create: every finding is gathered before anything is refused."""

from __future__ import annotations

from billing_site.kernel.errors import FieldError, ValidationFailed
from catalog.services.documents import list_currencies


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

    def require_none(self) -> None:
        """:raises ValidationFailed: with every finding, if there is one."""
        if self._found:
            count = len(self._found)
            detail = self._found[0].detail if count == 1 else f"{count} fields are wrong."
            raise ValidationFailed(detail, errors=self._found)
