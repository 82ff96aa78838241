"""
The words of documents in the languages there are: English in the code, others in `locale/<language>.po`.

A catalog is read and compiled when a process first needs it, so no compiled file can be older than its source. Plain
Python: no Django; the only files read are the catalogs beside the code. Source: ADR 0045.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from gettext import GNUTranslations, NullTranslations
from io import BytesIO
from pathlib import Path
from typing import Final

from babel import Locale, UnknownLocaleError
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

DEFAULT: Final = "en"
CATALOGS: Final = Path(__file__).parent / "locale"


@dataclass(frozen=True, slots=True)
class Words:
    """Texts of one language; call it with the English text, and with values for what stands in braces."""

    language: str
    translations: NullTranslations = field(repr=False)

    def __call__(self, text: str, **values: object) -> str:
        found = self.translations.gettext(text)
        return found.format(**values) if values else found


def marked(text: str) -> str:
    """Return the text as it is; what is marked so is translated where it is used."""
    return text


def list_languages() -> list[str]:
    """Return the languages that documents can be written in."""
    return [DEFAULT, *sorted(path.stem for path in CATALOGS.glob("*.po"))]


def choose_locale(*tags: str) -> str:
    """
    Return the locale of the first language tag that there are words for: `de_AT` of `de-AT`; English without one.

    Words come from the language, numbers and dates from the whole tag.
    """
    for tag in filter(None, tags):
        try:
            locale = Locale.parse(tag, sep="-")
        except (ValueError, UnknownLocaleError):
            continue
        if locale.language in list_languages():
            return str(locale)
    return DEFAULT


@cache
def load_words(locale: str) -> Words:
    """Return the words of a locale's language; those of English where there is no catalog."""
    language = locale.partition("_")[0].partition("-")[0]
    path = CATALOGS / f"{language}.po"
    return Words(language, _compile(path)) if path.is_file() else Words(DEFAULT, NullTranslations())


def _compile(path: Path) -> GNUTranslations:
    compiled = BytesIO()
    with path.open("rb") as source:
        write_mo(compiled, read_po(source))
    compiled.seek(0)
    return GNUTranslations(compiled)
