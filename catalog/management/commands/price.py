"""`manage.py price`: what quantities and events would cost, without a database."""

from __future__ import annotations

import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing_site.kernel.errors import ValidationFailed
from catalog.documents.parsing import DocumentUnreadable, parse_document
from catalog.services.quotes import quote_request, quote_requests


class Command(BaseCommand):
    help = (
        'Price a request, or a list of them: {"currency": "usd", "price": {… as in a catalog document …}, "quantity": '
        '"1500"}, or "events": [{"value": "50"}]. Prints JSON; a list is answered by a list in the same order.'
    )
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", nargs="?", default="-", metavar="FILE", help="JSON; - (the default) reads stdin")

    def handle(self, *args: Any, **options: Any) -> None:
        request = _read(options["file"])
        try:
            answer: Any
            if isinstance(request, list):
                answer = [quoted.as_dict() for quoted in quote_requests(request)]
            else:
                answer = quote_request(request).as_dict()
        except ValidationFailed as refusal:
            problems = (f"{error.pointer or 'the request'}: {error.detail}" for error in refusal.errors)
            raise CommandError(" ".join(problems)) from refusal
        self.stdout.write(json.dumps(answer, indent=2, ensure_ascii=False))


def _read(file: str) -> Any:
    try:
        text = sys.stdin.read() if file == "-" else Path(file).expanduser().read_text(encoding="utf-8-sig")
    except OSError as error:
        raise CommandError(f"cannot read {file}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise CommandError(f"{file} is not UTF-8 text") from error
    try:
        return parse_document(text, parse_float=Decimal)
    except DocumentUnreadable as error:
        raise CommandError(f"{'the request' if file == '-' else file} is not JSON. {error}") from error
