"""`manage.py catalog_schema`: print the JSON Schema of catalog documents."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from catalog.documents.formatting import format_document
from catalog.documents.schema import build_schema


class Command(BaseCommand):
    help = "Print the JSON Schema (draft 2020-12) of catalog documents, as docs/catalog.schema.json holds it."
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(format_document(build_schema()), ending="")
