"""
From document values to the texts of a form and back.

Whatever a person did not touch keeps its value exactly as it was written, valid or not; what they typed is stored as
typed, so that the document's own checks say what is wrong with it. Nothing here judges.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.http import QueryDict

_DIGITS: Final = re.compile(r"-?[0-9]{1,38}")
_ROW: Final = re.compile(r"([0-9]{1,6})-")
MAX_ROWS: Final = 2_000
ORIGIN: Final = "__from__"
"""Marks an entry read from a form with the place of the stored one it was made from; never stored."""


class Absent:
    """The value of a key that is not written."""

    def __bool__(self) -> bool:
        return False


ABSENT: Final = Absent()


@dataclass(frozen=True, slots=True)
class Kind:
    """How one kind of value is shown as text, and read from it. Reading nothing gives `ABSENT`."""

    show: Callable[[Any], str]
    read: Callable[[str], Any]


class FormReader:
    """The posted fields whose names begin with `prefix`."""

    def __init__(self, data: QueryDict | Mapping[str, str], prefix: str = "") -> None:
        self._data = data
        self.prefix = prefix

    def text(self, name: str) -> str:
        """Return a field's text with plain line ends and nothing around it; empty when it was not posted."""
        return str(self._data.get(f"{self.prefix}{name}", "")).replace("\r\n", "\n").strip()

    def has(self, name: str) -> bool:
        return f"{self.prefix}{name}" in self._data

    def rows(self, name: str) -> list[FormReader]:
        """
        Return the readers of the repeated fields `name-0-…`, `name-7-…` in the order in which they were posted.

        That is the order of the page: a row put between two others has a number of its own, above theirs.
        """
        start = f"{self.prefix}{name}-"
        numbers = dict.fromkeys(
            match[1] for key in self._data if key.startswith(start) and (match := _ROW.match(key, len(start)))
        )
        return [FormReader(self._data, f"{start}{number}-") for number in list(numbers)[:MAX_ROWS]]

    def origin(self, base: object) -> dict[str, Any]:
        """Return the entry of the list `base` that a row was made from: its hidden field `from` names the place."""
        number = self.text("from")
        if isinstance(base, list) and number.isdecimal() and len(number) < 7 and int(number) < len(base):
            entry = base[int(number)]
            return entry if isinstance(entry, dict) else {}
        return {}

    def mark(self, entry: dict[str, Any]) -> dict[str, Any]:
        """Return the entry with the place it was made from, so that a form drawn from it says the same."""
        return {**entry, ORIGIN: self.text("from")}


def read_value(form: FormReader, name: str, base: Mapping[str, Any], kind: Kind, *, key: str = "") -> Any:
    """Return what the field `name` makes of the key: the old value where the text was not changed."""
    key = key or name
    text = form.text(name)
    if text == kind.show(base.get(key)).strip():
        return base.get(key, ABSENT)
    return kind.read(text)


def put(entry: dict[str, Any], key: str, value: Any) -> None:
    """Write a key, or leave it out when its value is `ABSENT`."""
    if isinstance(value, Absent):
        entry.pop(key, None)
    else:
        entry[key] = value


def keep_others(base: Mapping[str, Any], shown: frozenset[str]) -> dict[str, Any]:
    """Return the keys that the form does not show, with their values."""
    return {key: value for key, value in base.items() if key not in shown}


def strip_origins(value: Any) -> Any:
    """Return an entry without the marks of the form it was read from."""
    if isinstance(value, dict):
        return {key: strip_origins(item) for key, item in value.items() if key != ORIGIN}
    if isinstance(value, list):
        return [strip_origins(item) for item in value]
    return value


def _show_text(value: Any) -> str:
    return "" if value is None or isinstance(value, dict | list) else str(value)


def _read_text(text: str) -> Any:
    return text or ABSENT


def _read_integer(text: str) -> Any:
    return int(text) if _DIGITS.fullmatch(text) else text or ABSENT


def _read_number(text: str) -> Any:
    """A decimal stays text, as documents write it; a bare comma is a typing habit, not another number."""
    return text or ABSENT


def _show_lines(value: Any) -> str:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        return ""
    return "\n".join(value)


def _read_lines(text: str) -> Any:
    return [line.strip() for line in text.split("\n") if line.strip()] or ABSENT


def _show_pairs(value: Any) -> str:
    if not isinstance(value, dict):
        return ""
    return "\n".join(f"{key} = {'' if item is None else item}".rstrip() for key, item in value.items())


def _read_pairs(text: str) -> Any:
    """Lines of `name = number`; a line without a number keeps its text, for the checks to name."""
    pairs: dict[str, Any] = {}
    for line in text.split("\n"):
        name, _, value = line.partition("=")
        if name.strip():
            number = value.strip()
            pairs[name.strip()] = int(number) if _DIGITS.fullmatch(number) else number
    return pairs or ABSENT


def _show_when(value: Any) -> str:
    if not isinstance(value, dict):
        return ""
    return ", ".join(f"{key}={item}" for key, item in value.items())


def _read_when(text: str) -> Any:
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    return {name.strip(): value.strip() for name, _, value in pairs} or ABSENT


TEXT: Final = Kind(_show_text, _read_text)
LOWER: Final = Kind(_show_text, lambda text: text.lower() or ABSENT)
INTEGER: Final = Kind(_show_text, _read_integer)
DECIMAL: Final = Kind(_show_text, _read_number)
LINES: Final = Kind(_show_lines, _read_lines)
PAIRS: Final = Kind(_show_pairs, _read_pairs)
WHEN: Final = Kind(_show_when, _read_when)
FLAG: Final = Kind(lambda value: "on" if value is True else "", lambda text: True if text else ABSENT)
"""A checkbox: ticked is true; not ticked leaves the key out."""
