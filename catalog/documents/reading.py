"""Reading one object of a document key by key; whatever is wrong with a key is reported where it stands."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import Any, Final

from catalog.documents.findings import Collector, join_pointer, quote
from catalog.documents.vocabulary import IDENTIFIER, LOOKUP_KEY, UNIT_PRICE

_MAX_SUGGESTED: Final = 50


class ObjectReader:
    """
    One JSON object at `pointer`.

    Each method returns the value when it is good and None when it is absent (or null) or wrong; what is wrong, and what
    is absent although `required`, becomes a finding.
    """

    def __init__(self, value: Mapping[str, Any], pointer: str, findings: Collector) -> None:
        self.value = value
        self.pointer = pointer
        self.findings = findings

    def at(self, key: str | int) -> str:
        """Return the pointer of a member."""
        return join_pointer(self.pointer, key)

    def report(self, key: str, code: str, detail: str) -> None:
        """Report a finding about a member."""
        self.findings.add(self.at(key), code, detail)

    def has(self, key: str) -> bool:
        return self.value.get(key) is not None

    def check_keys(self, known: Collection[str]) -> None:
        """Report every key that is not among `known`, with the likely intended one."""
        for key in self.value:
            if key in known:
                continue
            # Looking for what was meant is slow; after many findings nobody needs it.
            close = difflib.get_close_matches(key, sorted(known), n=1) if len(self.findings) < _MAX_SUGGESTED else []
            hint = f" Did you mean “{close[0]}”?" if close else ""
            self.report(key, "unknown_key", f"This key is not known here.{hint}")

    def _get(self, key: str, required: bool) -> Any:
        value = self.value.get(key)
        if value is None and required:
            self.report(key, "required", "This is required.")
        return value

    def text(self, key: str, *, required: bool = False, max_length: int = 255) -> str | None:
        """Read a text that is not blank (an optional one may be empty)."""
        value = self._get(key, required)
        if value is None:
            return None
        if not isinstance(value, str):
            self.report(key, "not_a_text", "This must be a text.")
        elif required and not value.strip():
            self.report(key, "blank", "This must not be blank.")
        elif len(value) > max_length:
            self.report(key, "too_long", f"This has {len(value):,} characters; {max_length:,} is the most.")
        else:
            return value
        return None

    def _matching(self, key: str, pattern: re.Pattern[str], code: str, rule: str, required: bool) -> str | None:
        value = self._get(key, required)
        if value is None:
            return None
        if not isinstance(value, str):
            self.report(key, "not_a_text", "This must be a text.")
        elif not pattern.fullmatch(value):
            self.report(key, code, f"{quote(value)} is not allowed: {rule}")
        else:
            return value
        return None

    def identifier(self, key: str, *, required: bool = False) -> str | None:
        """Read an id or name: 1 to 100 of letters, digits and `_.:-`, beginning with a letter or digit."""
        rule = "1 to 100 letters, digits, “_”, “.”, “:” or “-”, beginning with a letter or digit."
        return self._matching(key, IDENTIFIER, "identifier_invalid", rule, required)

    def lookup_key(self, key: str = "lookup_key", *, required: bool = False) -> str | None:
        """Read a lookup key: like an id, up to 250 characters, `/` allowed."""
        rule = "1 to 250 letters, digits, “_”, “.”, “:”, “/” or “-”, beginning with a letter or digit."
        return self._matching(key, LOOKUP_KEY, "lookup_key_invalid", rule, required)

    def choice(self, key: str, choices: Mapping[str, str] | Collection[str], *, required: bool = False) -> str | None:
        """Read one of `choices` in any case; a mapping folds aliases."""
        value = self._get(key, required)
        if value is None:
            return None
        if not isinstance(value, str):
            self.report(key, "not_a_text", "This must be a text.")
            return None
        folded = value.strip().lower()
        if folded not in choices:
            shown = sorted(set(choices.values())) if isinstance(choices, Mapping) else choices
            self.report(key, "choice_unknown", f"{quote(value)} is not one of: {', '.join(shown)}.")
            return None
        return choices[folded] if isinstance(choices, Mapping) else folded

    def integer(self, key: str, *, least: int, most: int, required: bool = False) -> int | None:
        """Read a whole number between `least` and `most`."""
        value = self._get(key, required)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            self.report(key, "not_an_integer", "This must be a whole number, written without quotes or a point.")
        elif value < least:
            self.report(key, "too_small", f"This is {value}; the least is {least}.")
        elif value > most:
            self.report(key, "too_large", f"This is {quote(value)}; the most is {most}.")
        else:
            return value
        return None

    def boolean(self, key: str) -> bool | None:
        """Read true or false."""
        value = self.value.get(key)
        if value is None or isinstance(value, bool):
            return value
        self.report(key, "not_a_boolean", "This must be true or false.")
        return None

    def decimal(self, key: str, *, required: bool = False, above_zero: bool = False) -> Decimal | None:
        """
        Read a decimal text, zero or more (or above zero), with up to 12 decimals; a whole number will do.

        A number with a point is refused: it has passed through binary floating point.
        """
        value = self._get(key, required)
        if value is None:
            return None
        if isinstance(value, float | Decimal):
            text = "This number has passed through binary floating point; write it in quotes, as it is meant."
            self.report(key, "not_a_decimal_text", text)
            return None
        if isinstance(value, bool) or not isinstance(value, str | int):
            self.report(key, "not_a_decimal_text", 'This must be a decimal in quotes, such as "0.00005".')
            return None
        text = str(value).strip()
        if text.startswith("-") and UNIT_PRICE.fullmatch(text[1:]):
            self.report(key, "negative", "This cannot be negative.")
            return None
        if not UNIT_PRICE.fullmatch(text):
            rule = "digits, and after a point up to 12 more; at most 15 digits before the point."
            self.report(key, "not_a_decimal_text", f"{quote(text)} is not a decimal: {rule}")
            return None
        number = Decimal(text)
        if above_zero and not number:
            self.report(key, "not_positive", "This must be above zero.")
            return None
        return number

    def texts(self, key: str, *, most: int, max_length: int = 500) -> list[str]:
        """Read a list of texts."""
        return [item for _, item in self._texts(key, most, max_length)]

    def identifiers(self, key: str, *, most: int) -> list[tuple[int, str]]:
        """Read a list of ids, each once, with their places."""
        found: list[tuple[int, str]] = []
        for index, item in self._texts(key, most, 100):
            pointer = join_pointer(self.at(key), index)
            if not IDENTIFIER.fullmatch(item):
                rule = "1 to 100 letters, digits, “_”, “.”, “:” or “-”, beginning with a letter or digit."
                self.findings.add(pointer, "identifier_invalid", f"{quote(item)} is not allowed: {rule}")
            elif any(item == other for _, other in found):
                self.findings.add(pointer, "duplicate", f"{quote(item)} is named twice.")
            else:
                found.append((index, item))
        return found

    def _texts(self, key: str, most: int, max_length: int) -> list[tuple[int, str]]:
        found: list[tuple[int, str]] = []
        for index, item in enumerate(self.items(key, most=most)):
            pointer = join_pointer(self.at(key), index)
            if not isinstance(item, str) or not item.strip():
                self.findings.add(pointer, "not_a_text", "This must be a text that is not blank.")
            elif len(item) > max_length:
                self.findings.add(pointer, "too_long", f"This is longer than {max_length} characters.")
            else:
                found.append((index, item))
        return found

    def items(self, key: str, *, most: int, required: bool = False) -> list[Any]:
        """Read a list of at most `most` entries."""
        value = self._get(key, required)
        if value is None:
            return []
        if not isinstance(value, list):
            self.report(key, "not_a_list", "This must be a list.")
            return []
        if len(value) > most:
            self.report(key, "too_many", f"This list has {len(value):,} entries; {most:,} is the most.")
            return []
        return value

    def objects(self, key: str, *, most: int, required: bool = False) -> list[ObjectReader]:
        """Read a list of objects."""
        found = []
        for index, item in enumerate(self.items(key, most=most, required=required)):
            pointer = join_pointer(self.at(key), index)
            if isinstance(item, dict):
                found.append(ObjectReader(item, pointer, self.findings))
            else:
                self.findings.add(pointer, "not_an_object", "This must be an object.")
        return found

    def member(self, key: str, *, required: bool = False) -> ObjectReader | None:
        """Read an object as a reader of its own."""
        value = self._get(key, required)
        if value is None:
            return None
        if not isinstance(value, dict):
            self.report(key, "not_an_object", "This must be an object.")
            return None
        return ObjectReader(value, self.at(key), self.findings)

    def mapping(self, key: str) -> dict[str, Any] | None:
        """Read an object whose keys are free."""
        value = self.value.get(key)
        if value is None or isinstance(value, dict):
            return value
        self.report(key, "not_an_object", "This must be an object.")
        return None
