"""
`manage.py rehearse`: play stories on a moved clock through the product's own services, and roll them back.

Exits 0 when everything is as the stories expect it, 1 when something is not, 2 when a file cannot be read.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from invoicing.rehearsal.marks import FileUnreadable
from invoicing.rehearsal.player import Played, play_story
from invoicing.rehearsal.reading import read_story
from invoicing.rehearsal.report import Painter, describe_mistakes, describe_story, show_mistakes, show_story

NOT_MET: Final = 1
UNREADABLE: Final = 2


class Command(BaseCommand):
    help = (
        "Play stories (catalog, accounts, steps with dates, expected documents) through the product's own services"
        " on a moved clock, print the documents, and roll everything back. Exits 1 where `expect` is not met, 2 for"
        " a file that cannot be read."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("files", nargs="+", metavar="FILE.yaml", type=Path, help="a story, or several")
        parser.add_argument(
            "--json", action="store_true", dest="as_json", help="print one JSON list, an entry per file"
        )
        parser.add_argument("--keep", action="store_true", help="keep what the stories made, each in its organization")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["keep"] and settings.BILLING_LIVEMODE:
            raise CommandError("A rehearsal is not kept in a live system (BILLING_LIVEMODE is on).", returncode=2)
        code = 0
        results: list[dict[str, Any]] = []
        for number, path in enumerate(options["files"]):
            found, result, lines = self._rehearse(path, keep=options["keep"])
            code = max(code, found)
            results.append(result)
            if not options["as_json"]:
                self.stdout.write("\n".join([*([""] if number else []), *lines]))
        if options["as_json"]:
            self.stdout.write(json.dumps(results, indent=2, ensure_ascii=False))
        elif len(results) > 1:
            self._summarise([result["result"] for result in results])
        if code:
            sys.exit(code)

    def _rehearse(self, path: Path, *, keep: bool) -> tuple[int, dict[str, Any], list[str]]:
        """Return the exit code of one file, its result as plain values, and what to print."""
        try:
            played = play_story(read_story(path), keep=keep)
        except FileUnreadable as unreadable:
            mistakes = unreadable.mistakes
            shown = [self.style.ERROR(line) for line in show_mistakes(str(path), mistakes)]
            return UNREADABLE, describe_mistakes(str(path), mistakes), shown
        return _judge(played), describe_story(played), show_story(played, self._make_painter())

    def _make_painter(self) -> Painter:
        return Painter(good=self.style.SUCCESS, bad=self.style.ERROR, strong=self.style.MIGRATE_HEADING)

    def _summarise(self, results: list[str]) -> None:
        counts = {name: results.count(name) for name in ("met", "not_met", "unreadable")}
        words = {"met": "as expected", "not_met": "not as expected", "unreadable": "unreadable"}
        shown = ", ".join(f"{count} {words[name]}" for name, count in counts.items() if count)
        self.stdout.write(f"\n{len(results)} stories: {shown}")


def _judge(played: Played) -> int:
    if played.refused is not None:
        return UNREADABLE
    return 0 if played.holds else NOT_MET
