"""The worked examples that the documentation promises: each has a story that says so and shows every amount."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

FOLDER = Path(__file__).parent
PAGE = FOLDER.parents[1] / "docs" / "worked-examples.md"
_ROW = re.compile(r"\| (?P<case>[^|]+) \| (?P<expected>[^|]+) \| \[[^]]+\]\((?P<link>[^)]+)\) \|")
_AMOUNT = re.compile(r"-?\d+\.\d\d")
_COMMENT = re.compile(r"(?m)(?:^|\s)#.*$")
_MARK = "# Worked example: "


class Example(NamedTuple):
    case: str
    expected: str
    link: str

    @property
    def story(self) -> Path:
        return (PAGE.parent / self.link).resolve()


EXAMPLES = [Example(**found.groupdict()) for found in _ROW.finditer(PAGE.read_text(encoding="utf-8"))]


def list_marked() -> set[Path]:
    return {path for path in FOLDER.glob("*.yaml") if path.read_text(encoding="utf-8").startswith(_MARK)}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.story.stem)
class TestEachExample:
    def test_is_named_by_its_story(self, example: Example) -> None:
        first = example.story.read_text(encoding="utf-8").splitlines()[0]
        assert first == f"{_MARK}{example.case}: {example.expected}."

    def test_has_its_amounts_among_what_the_story_expects(self, example: Example) -> None:
        steps = example.story.read_text(encoding="utf-8").partition("\nsteps:\n")[2]
        shown = set(_AMOUNT.findall(_COMMENT.sub("", steps)))
        promised = set(_AMOUNT.findall(example.expected))
        assert promised
        assert promised <= shown


def test_the_page_and_the_stories_name_each_other() -> None:
    assert len(EXAMPLES) >= 12
    assert {example.story for example in EXAMPLES} == list_marked()
