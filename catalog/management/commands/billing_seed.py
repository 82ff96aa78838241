"""`manage.py billing_seed`: publish the default catalog where nothing is published yet."""

from __future__ import annotations

from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing_site.kernel import clock
from billing_site.kernel.actors import Actor
from billing_site.kernel.errors import DomainError
from catalog.data import read_default
from catalog.queries.revisions import DEFAULT_ORG, find_active_revision
from catalog.services.documents import read_document
from catalog.services.publishing import publish_document

ACTOR: Final = Actor("system", "billing_seed")


class Command(BaseCommand):
    help = (
        "Publish the default catalog (products platform, ai, monitor and dns). A catalog that was published already "
        "stays as it is, so the command may run at every start."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--org", default=DEFAULT_ORG, help="organization whose catalog it becomes")
        parser.add_argument("--replace", action="store_true", help="publish it over another catalog, as a new revision")

    def handle(self, *args: Any, **options: Any) -> None:
        org_id, document = options["org"], read_default()
        active = find_active_revision(org_id=org_id)
        if active is not None and not options["replace"]:
            is_same = active.document_hash == read_document(document).compute_hash()
            what = "is the default catalog already" if is_same else "stays; --replace publishes the default catalog"
            self.stdout.write(f"Revision {active.revision} of {org_id} {what}.")
            return
        try:
            result = publish_document(
                org_id=org_id,
                document=document,
                at=clock.now(),
                actor=ACTOR,
                reason="Default catalog",
                if_match=active.revision if active else 0,
            )
        except DomainError as refusal:
            raise CommandError(refusal.detail) from refusal
        counts = ", ".join(f"{len(document[name])} {name}" for name in ("products", "meters", "plans"))
        self.stdout.write(f"Revision {result.revision.revision} of {org_id}: {counts}.")
