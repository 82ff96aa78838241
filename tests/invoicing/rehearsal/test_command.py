"""`manage.py rehearse`: output and exit codes."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from tests.invoicing.rehearsal.test_player import EXPECT, STORY

pytestmark = pytest.mark.django_db


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.yaml"
    path.write_text(STORY + EXPECT, encoding="utf-8")
    return path


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    path = tmp_path / "wrong.yaml"
    path.write_text(STORY + EXPECT.replace("25.40", "25.39"), encoding="utf-8")
    return path


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    path = tmp_path / "broken.yaml"
    path.write_text(f"{STORY}  - {{fly: {{to: the moon}}}}\n", encoding="utf-8")
    return path


def rehearse(*arguments: Any) -> tuple[int, str]:
    output = io.StringIO()
    try:
        call_command("rehearse", *arguments, stdout=output, no_color=True)
    except SystemExit as refusal:
        return int(str(refusal.code)), output.getvalue()
    return 0, output.getvalue()


class TestRehearse:
    def test_prints_steps_documents_and_expectations(self, good: Path) -> None:
        code, output = rehearse(good)
        assert code == 0
        assert (
            output
            == f"""\
a rehearsed month
  acme: USD, UTC

  1  2023-11-01 00:00 UTC  subscribe acme to pro as sub
       INV-0001  2023-11-01  acme  open
         subscription pro  2023-11-01 – 2023-12-01  1  25.00
         total                                         25.00 USD

  2  2023-11-10 00:00 UTC  usage of acme: 40 input_tokens

     2023-12-01 00:00 UTC  billing run: 1 subscription, 1 invoice
       INV-0002  2023-12-01  acme  open
         subscription pro        2023-12-01 – 2024-01-01   1  25.00
         usage pro input_tokens  2023-11-01 – 2023-12-01  40   0.40
         total                                                25.40 USD

  3  2023-12-01 00:00 UTC  advance

✓ expect (line 17)
  ✓ invoices: 2 of 2 as expected

✓ documents recomputed from their trace: 2
✓ {good}: as expected
"""
        )

    def test_shows_expected_and_actual_side_by_side(self, wrong: Path) -> None:
        code, output = rehearse(wrong)
        assert code == 1
        assert (
            """\
✗ expect (line 17)
  ✗ invoices: 1 of 2 as expected
    line 21: INV-0002 acme 2023-12-01 25.40 USD (subscription pro: 1 = 25.00; usage pro input_tokens: 40 = 0.40)
                 expected  actual
        account  acme      acme
        number   INV-0002  INV-0002
      ✗ total    25.39     25.40
"""
            in output
        )
        assert output.endswith(f"✗ {wrong}: not as expected\n")

    def test_names_every_mistake_of_a_file_that_cannot_be_read(self, broken: Path) -> None:
        code, output = rehearse(broken)
        assert (code, output) == (2, f"{broken}:17: there is no verb `fly`\n")

    def test_takes_several_files_and_tells_the_worst(self, good: Path, wrong: Path, broken: Path) -> None:
        code, output = rehearse(good, wrong, broken)
        assert code == 2
        assert output.endswith("3 stories: 1 as expected, 1 not as expected, 1 unreadable\n")
        assert rehearse(good, wrong)[0] == 1

    def test_writes_json(self, good: Path, wrong: Path, broken: Path) -> None:
        code, output = rehearse(good, wrong, broken, "--json")
        first, second, third = json.loads(output)
        assert (code, first["result"], second["result"], third["result"]) == (2, "met", "not_met", "unreadable")
        step = first["steps"][2]
        assert (step["line"], step["at"], step["step"]) == (16, "2023-12-01T00:00:00Z", "advance")
        (document,) = step["on_the_way"][0]["documents"]
        assert (document["number"], document["total"], len(document["lines"])) == ("INV-0002", "25.40", 2)
        values = second["expect"]["invoices"][1]["values"]
        assert {"name": "total", "expected": "25.39", "actual": "25.40", "met": False} in values
        assert third["errors"] == [{"line": 17, "message": "there is no verb `fly`"}]

    def test_keeps_nothing_in_a_live_system(self, good: Path, settings: Any) -> None:
        settings.BILLING_LIVEMODE = True
        with pytest.raises(CommandError, match="not kept in a live system"):
            rehearse(good, "--keep")
        assert rehearse(good)[0] == 0

    def test_says_where_it_kept_a_story(self, good: Path) -> None:
        _, output = rehearse(good, "--keep")
        assert "kept in the organization rehearsal-" in output
