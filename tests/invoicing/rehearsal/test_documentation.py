"""What docs/rehearsal.md promises is what the command takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from invoicing.rehearsal.expected import BALANCE, INVOICE, LINE, SECTIONS, SUBSCRIPTION
from invoicing.rehearsal.player import play_story
from invoicing.rehearsal.reading import read_story
from invoicing.rehearsal.steps import NOT_YET, VERBS
from tests.support.source import ROOT

TEXT = (ROOT / "docs" / "rehearsal.md").read_text(encoding="utf-8")


def list_words(text: str) -> set[str]:
    return set(re.findall(r"`([a-z_]+)`", text))


def read_rows() -> dict[str, str]:
    """Return the table rows of the document: the first word in backticks, and the other cells."""
    rows = re.findall(r"^\| `([a-z_]+)`[^|]*\| (.*) \|$", TEXT, re.MULTILINE)
    return dict(rows)


@pytest.mark.django_db
def test_its_example_comes_out_as_it_says(tmp_path: Path) -> None:
    found = re.search(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    assert found is not None
    path = tmp_path / "story.yaml"
    path.write_text(found[1], encoding="utf-8")
    played = play_story(read_story(path))
    assert played.holds
    assert played.verified == 2


def test_it_lists_every_verb() -> None:
    assert set(VERBS) - read_rows().keys() == set()


def test_it_lists_every_verb_that_is_missing() -> None:
    found = re.search(r"refused by name until their features exist: (.*?)\.", TEXT, re.DOTALL)
    assert found is not None
    assert list_words(found[1]) == NOT_YET


@pytest.mark.parametrize(
    ("section", "kinds"),
    [("invoices", INVOICE), ("lines", LINE), ("balances", BALANCE), ("subscriptions", SUBSCRIPTION)],
)
def test_it_lists_every_expectation(section: str, kinds: dict[str, str]) -> None:
    assert set(kinds) - list_words(read_rows()[section]) == set()
    assert section == "lines" or section in SECTIONS
