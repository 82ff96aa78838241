"""Words of documents: every text has its German, nothing else has, and the locale that is chosen."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages.pofile import read_po

from invoicing.documents.words import CATALOGS, choose_locale, list_languages, load_words

ROOT = Path(__file__).parents[4]
SOURCES = [
    *sorted((ROOT / "invoicing/documents").glob("*.py")),
    *sorted((ROOT / "invoicing/queries").glob("*documents.py")),
]
FIELDS = re.compile(r"\{(\w+)\}")


def find_texts(path: Path) -> Iterator[str]:
    """Yield what a file gives to `words(…)` and `marked(…)` literally."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        first = node.args[0]
        if name in {"words", "marked"} and isinstance(first, ast.Constant) and isinstance(first.value, str):
            yield first.value


TEXTS = {text for path in SOURCES for text in find_texts(path)}
LANGUAGES = [language for language in list_languages() if language != "en"]


class TestCatalogs:
    def test_the_sources_are_found(self) -> None:
        assert {"Invoice", "Credit note", "Unit price", "minimum", "1M"} <= TEXTS
        assert LANGUAGES == ["de"]

    @pytest.mark.parametrize("language", LANGUAGES)
    def test_every_text_is_translated_and_nothing_is_left_over(self, language: str) -> None:
        with (CATALOGS / f"{language}.po").open("rb") as file:
            catalog = read_po(file)
        known = {str(message.id): str(message.string) for message in catalog if message.id}
        assert known.keys() == TEXTS
        assert not [text for text, translation in known.items() if not translation]
        assert not [message.id for message in catalog if message.id and message.fuzzy]

    @pytest.mark.parametrize("language", LANGUAGES)
    def test_translations_have_the_same_values_in_braces(self, language: str) -> None:
        words = load_words(language)
        wrong = [text for text in TEXTS if set(FIELDS.findall(text)) != set(FIELDS.findall(words(text)))]
        assert not wrong


class TestChooseLocale:
    @pytest.mark.parametrize(
        ("tags", "expected"),
        [
            ((), "en"),
            (("de",), "de"),
            (("de-AT", "en"), "de_AT"),
            (("en-GB", "de"), "en_GB"),
            (("", "de"), "de"),
            (("fr", "de"), "de"),
            (("fr-CA",), "en"),
            (("no language", "de"), "de"),
        ],
    )
    def test_takes_the_first_language_that_has_words(self, tags: tuple[str, ...], expected: str) -> None:
        assert choose_locale(*tags) == expected

    def test_a_country_of_a_language_has_its_words(self) -> None:
        assert load_words("de_AT")("Invoice") == "Rechnung"
        assert load_words("en_GB")("Invoice") == "Invoice"
