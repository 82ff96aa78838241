"""Language tags: `de`, `en-GB`, `zh-Hant-TW`. Plain Python."""

from __future__ import annotations

from babel import Locale, UnknownLocaleError


class LanguageUnknown(ValueError):
    """A text that names no language whose numbers and dates are known; the text is for people."""


def clean_language(tag: str) -> str:
    """
    Return a BCP 47 tag in its usual spelling; empty stays empty.

    :raises LanguageUnknown: if there is no such language or it has no known formats.
    """
    text = tag.strip().replace("_", "-")
    if not text:
        return ""
    try:
        return str(Locale.parse(text, sep="-")).replace("_", "-")
    except (ValueError, TypeError, UnknownLocaleError) as error:
        raise LanguageUnknown(f"{text[:35]!r} is not a language such as en, en-GB or de.") from error
