"""
Card numbers, which nothing here may keep, log or answer: recognising one.

A number that only happens to have the right length and checksum (a tenth of all ids and timestamps do) is told from a
card by the prefixes and lengths that card networks use. Source: contract chapter Payments.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

HIDDEN: Final = "[card number]"
_LENGTHS: Final = range(13, 20)
_WHOLE: Final = re.compile(r"\s*[0-9](?:[ -]?[0-9]){12,18}\s*", re.ASCII)
_IN_TEXT: Final = re.compile(r"(?<![\w.-])[2-6](?:[ -]?[0-9]){12,18}(?![\w-])", re.ASCII)
# A whole value of a JSON text; what is written with escapes may hide one.
_IN_BYTES: Final = re.compile(rb"(?<![^\s\",:\[])[0-9](?:[ -]?[0-9]){12,18}(?![^\s\",}\]])")
# The first look: what may stand in a card number becomes 0, what may stand before a value 1.
_SHAPE: Final = bytes(
    ord("0") if chr(code) in "0123456789 -" else ord("1") if chr(code) in '",:[\t\n\r' else ord(".")
    for code in range(256)
)
_LONG_VALUE: Final = b"1" + b"0" * 13
_ESCAPES: Final = re.compile(rb"\\[tnrfu]")
# First digits and length of the numbers that networks give out.
_ISSUED: Final = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})"  # Visa
    r"|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}"  # Mastercard
    r"|3[47]\d{13}"  # American Express
    r"|3(?:0[0-5]|[689]\d)\d{11,13}"  # Diners Club
    r"|35(?:2[89]|[3-8]\d)\d{12,15}"  # JCB
    r"|6(?:011|5\d\d|4[4-9]\d)\d{12,15}"  # Discover
    r"|62\d{14,17}"  # UnionPay
    r"|(?:5018|5020|5038|5893|6304|6759|676[1-3])\d{9,15}",  # Maestro
    re.ASCII,
)
# Members that hold numbers of their own: whatever stands there is read as an amount or a quantity.
_AMOUNTS: Final = re.compile(r"(?i)(amount|quantity|value|up_?to|threshold|budget|limit|minimum|maximum|price)")


def has_checksum(digits: str) -> bool:
    """Tell whether the last of `digits` checks the others (Luhn)."""
    total = 0
    for index, digit in enumerate(reversed(digits)):
        number = int(digit) * (1 + index % 2)
        total += number - 9 if number > 9 else number
    return total % 10 == 0


def looks_like_card_number(text: str, *, issued_only: bool = True) -> bool:
    """
    Tell whether `text` as a whole is a card number, with or without blanks and hyphens between its digits.

    Without `issued_only` any 13 to 19 digits with a right checksum are one.
    """
    if not _WHOLE.fullmatch(text):
        return False
    digits = re.sub(r"[\s-]", "", text)
    if len(digits) not in _LENGTHS or not has_checksum(digits):
        return False
    return not issued_only or _ISSUED.fullmatch(digits) is not None


def may_hold_card_number(body: bytes) -> bool:
    """Tell, at the price of two short scans, whether it is worth looking for a card number in a JSON text."""
    if b"\\" in body and _ESCAPES.search(body) is not None:
        return True
    return (body[:1].isdigit() or _LONG_VALUE in body.translate(_SHAPE)) and any(
        looks_like_card_number(found[0].decode()) for found in _IN_BYTES.finditer(body)
    )


def find_card_numbers(value: object, *, issued_only: bool = True, pointer: str = "") -> Iterator[str]:
    """
    Yield the JSON pointer of every member of `value` that is a card number; of a key that is one, where it stands.

    Texts and whole numbers count. With `issued_only`, members that hold amounts or quantities by their name do not.
    """
    match value:
        case Mapping():
            for key, item in value.items():
                name = str(key)
                if looks_like_card_number(name, issued_only=issued_only):
                    yield pointer
                elif not issued_only or isinstance(item, Mapping | list) or not _AMOUNTS.search(name):
                    yield from find_card_numbers(item, issued_only=issued_only, pointer=f"{pointer}/{name}")
        case list():
            for index, item in enumerate(value):
                yield from find_card_numbers(item, issued_only=issued_only, pointer=f"{pointer}/{index}")
        case str() if looks_like_card_number(value, issued_only=issued_only):
            yield pointer
        case int() if not isinstance(value, bool) and looks_like_card_number(str(value), issued_only=issued_only):
            yield pointer


def hide_card_numbers(text: str) -> str:
    """Return `text` with every card number in it replaced."""
    return _IN_TEXT.sub(lambda found: HIDDEN if looks_like_card_number(found[0]) else found[0], text)
