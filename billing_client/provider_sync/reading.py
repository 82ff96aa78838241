"""Reading the objects of a document: each wrong field becomes a finding with its place, and reading goes on."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from billing_client.catalog_check import join_pointer
from billing_client.errors import Finding

DECIMAL_PLACES: Final = 12
MAX_AMOUNT: Final = 10**15


class Entry:
    """One object of a document. Null and an empty text count as absent."""

    def __init__(self, value: Mapping[str, Any], pointer: str, findings: list[Finding]) -> None:
        self._value = value
        self.pointer = pointer
        self._findings = findings

    def __getitem__(self, key: str) -> Any:
        return self._value.get(key)

    def has(self, key: str) -> bool:
        """Tell whether a key says something."""
        return self._value.get(key) not in (None, "", [], {})

    def report(self, key: str, code: str, detail: str) -> None:
        """Add a finding about a key, about the object itself for an empty one."""
        self._findings.append(Finding(join_pointer(self.pointer, key) if key else self.pointer, code, detail))

    def refuse_unknown(self, known: Collection[str]) -> None:
        """Report keys that are none of `known`."""
        for key in self._value:
            if key not in known:
                self.report(key, "unknown_key", "this key is not known; it might change what the price costs")

    def text(self, key: str, *, required: bool = False, longest: int = 5000) -> str | None:
        """Return a text."""
        if not self.has(key):
            if required:
                self.report(key, "required", "this is missing")
            return None
        value = self[key]
        if not isinstance(value, str):
            self.report(key, "type_invalid", "this must be a text")
            return None
        if len(value) > longest:
            self.report(key, "too_long", f"the provider takes at most {longest} characters")
            return None
        return value

    def choice(self, key: str, choices: Collection[str], *, required: bool = False) -> str | None:
        """Return one of a few words, in lower case."""
        text = self.text(key, required=required)
        if text is None:
            return None
        word = text.strip().lower()
        if word not in choices:
            self.report(key, "choice_invalid", f"this must be one of {', '.join(choices)}")
            return None
        return word

    def integer(self, key: str, *, least: int = 0) -> int | None:
        """Return a whole number."""
        value = self[key]
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool):
            self.report(key, "type_invalid", "this must be a whole number")
            return None
        if value < least:
            self.report(key, "too_small", f"this must be at least {least}")
            return None
        return value

    def decimal(self, key: str, *, required: bool = False) -> Decimal | None:
        """Return an exact number, zero or more: a whole number, or a text with at most 12 decimals."""
        if not self.has(key):
            if required:
                self.report(key, "required", "this is missing")
            return None
        value = self[key]
        if not isinstance(value, str | int) or isinstance(value, bool):
            self.report(key, "type_invalid", "this must be a whole number, or a text such as “0.00005”")
            return None
        try:
            number = Decimal(value.strip() if isinstance(value, str) else value)
        except InvalidOperation:
            number = Decimal("NaN")
        if not number.is_finite():
            self.report(key, "type_invalid", "this is not a number")
        elif number < 0:
            self.report(key, "negative", "this cannot be negative")
        elif number > MAX_AMOUNT:
            self.report(key, "too_large", f"this is above {MAX_AMOUNT}")
        elif count_places(number) > DECIMAL_PLACES:
            self.report(key, "too_precise", f"at most {DECIMAL_PLACES} decimals are kept")
        else:
            return number
        return None

    def entry(self, key: str) -> Entry | None:
        """Return the object inside."""
        if not self.has(key):
            return None
        value = self[key]
        if not isinstance(value, dict):
            self.report(key, "type_invalid", "this must be an object")
            return None
        return Entry(value, join_pointer(self.pointer, key), self._findings)

    def entries(self, key: str) -> list[Entry]:
        """Return the objects of a list; without it there are none."""
        value = self[key]
        if value is None:
            return []
        place = join_pointer(self.pointer, key)
        if not isinstance(value, list):
            self.report(key, "type_invalid", "this must be an array")
            return []
        found = []
        for index, item in enumerate(value):
            if isinstance(item, dict):
                found.append(Entry(item, join_pointer(place, index), self._findings))
            else:
                self._findings.append(Finding(join_pointer(place, index), "type_invalid", "this must be an object"))
        return found


def count_places(number: Decimal) -> int:
    """Return how many decimals a number has, trailing zeros left out."""
    exponent = number.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def is_whole(number: Decimal) -> bool:
    """Tell whether a number has no decimals."""
    return number == number.to_integral_value()
