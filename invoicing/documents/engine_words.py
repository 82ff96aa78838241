"""
The engine's own words in the language of a document: endings of lines, reasons for no tax, sources of stored money.

They are stored in English; names from the catalog and what people typed are printed as they are. Plain Python: no
Django. Source: ADR 0045.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from invoicing.documents.words import Words, marked

SEPARATOR: Final = " · "
_LATE_USAGE_OF: Final = marked("late usage of {invoice}")
_LATE_PREFIX: Final = _LATE_USAGE_OF.partition("{")[0]
_ENDINGS: Final = frozenset(
    {
        marked("minimum"),
        marked("unused time"),
        marked("remaining time"),
        marked("so far"),
        marked("late usage"),
    }
)
# The names of rates of zero, and why they are; those of other rates are the catalog's.
_ZERO_RATES: Final = frozenset(
    {
        marked("Reverse charge"),
        marked("Tax exempt"),
        marked("Reverse charge: the recipient accounts for the tax."),
        marked("The customer is exempt from tax."),
    }
)
_SOURCES: Final = frozenset({marked("Invoice credit"), marked("Credit"), marked("Prepaid balance")})


def translate_description(text: str, *, names: Sequence[str], words: Words) -> str:
    """
    Return the description of a line: the first of `names` that it begins with, then the engine's words, translated.

    A description that holds anything else behind the name is returned as it is.
    """
    for name in filter(None, names):
        rest = text.removeprefix(f"{name}{SEPARATOR}")
        if rest == text:
            continue
        endings = [_translate_ending(ending, words) for ending in rest.split(SEPARATOR)]
        if all(endings):
            return SEPARATOR.join((name, *endings))
    return text


def _translate_ending(ending: str, words: Words) -> str:
    """Return an ending in the language, empty for what the engine does not write."""
    if ending in _ENDINGS:
        return words(ending)
    if ending.startswith(_LATE_PREFIX):
        return words(_LATE_USAGE_OF, invoice=ending.removeprefix(_LATE_PREFIX))
    return ""


def translate_zero(text: str, words: Words) -> str:
    """Return the name or reason of a rate of zero in the language; other names are the catalog's."""
    return words(text) if text in _ZERO_RATES else text


def translate_source(text: str, words: Words) -> str:
    """Return a source of stored money in the language; the name that a grant was given stays."""
    return words(text) if text in _SOURCES else text


def name_center(name: str, words: Words) -> str:
    """Return the name of a cost center, and what stands for usage without one."""
    return name or words("Without a cost center")
