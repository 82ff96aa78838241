"""Words of documents: every text has its German, nothing else has, and the locale that is chosen."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages.pofile import read_po

from invoicing.calculation import wording
from invoicing.calculation.taxes import NOTES, ZERO_NAMES
from invoicing.documents.engine_words import translate_description, translate_source, translate_zero
from invoicing.documents.words import CATALOGS, choose_locale, list_languages, load_words
from invoicing.models import CreditSource

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


class TestEngineWords:
    """What the engine writes is English in the record; on paper all of it is in the language."""

    @pytest.mark.parametrize("language", LANGUAGES)
    @pytest.mark.parametrize("ending", wording.ENDINGS)
    def test_every_ending_of_a_line_is_translated(self, ending: str, language: str) -> None:
        words = load_words(language)
        written = wording.join_words("Team", "API calls", ending.format(invoice="INV-0007"))
        expected = wording.join_words("Team", "API calls", words(ending).format(invoice="INV-0007"))
        assert translate_description(written, names=("Team · API calls", "Team"), words=words) == expected != written

    def test_several_endings_are_each_translated(self) -> None:
        written = "Team · API calls · late usage of INV-0007 · minimum"
        shown = translate_description(written, names=("Team · API calls", "Team"), words=load_words("de"))
        assert shown == "Team · API calls · nachträglich gemeldet zu INV-0007 · Mindestbetrag"

    def test_what_people_typed_stays(self) -> None:
        for text in ("Team · API calls · minimum order", "so far", "Setup · minimum", "Team · API calls · minimum · x"):
            assert translate_description(text, names=("Team · API calls", "Team"), words=load_words("de")) == text

    def test_the_engine_writes_no_other_words(self) -> None:
        """The text literals of descriptions are all in one module; one elsewhere would stay English on paper."""
        for name in ("charge_prices.py", "draft.py"):
            tree = ast.parse((ROOT / "invoicing/calculation" / name).read_text())
            texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
            assert not [text for text in texts if isinstance(text, str) and wording.SEPARATOR in text]

    @pytest.mark.parametrize("language", LANGUAGES)
    @pytest.mark.parametrize("text", [*filter(None, NOTES.values()), *ZERO_NAMES.values()])
    def test_every_reason_for_no_tax_is_translated(self, text: str, language: str) -> None:
        assert translate_zero(text, load_words(language)) != text

    @pytest.mark.parametrize("source", CreditSource.labels)
    def test_every_source_of_stored_money_is_translated(self, source: str) -> None:
        assert translate_source(source, load_words("de")) != source
        assert translate_source("Welcome", load_words("de")) == "Welcome"


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
