"""
The stories of this folder, through the product's own command.

Each file says in comments how its amounts come about, and which documents there must be; an unexpected one fails.
"""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from django.core.management import call_command

FOLDER = Path(__file__).parent
STORIES = sorted(FOLDER.glob("*.yaml"))


@pytest.mark.django_db
@pytest.mark.parametrize("story", STORIES, ids=lambda path: path.stem)
def test_comes_out_as_it_says(story: Path) -> None:
    output = io.StringIO()
    try:
        call_command("rehearse", story, stdout=output, no_color=True)
    except SystemExit as refusal:
        pytest.fail(f"exit {refusal.code}\n{output.getvalue()}", pytrace=False)
    assert f"✓ {story}: as expected" in output.getvalue()


@pytest.mark.parametrize("story", STORIES, ids=lambda path: path.stem)
def test_expects_exactly_what_it_says(story: Path) -> None:
    # A story that only looks for some documents would not notice one too many.
    text = story.read_text(encoding="utf-8")
    assert "\nexpect:\n  exact: true\n" in text
    assert text.startswith("# "), "say in a comment how the amounts come about"


def test_there_are_stories() -> None:
    assert len(STORIES) >= 20
