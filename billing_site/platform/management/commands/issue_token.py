"""Make a token for development and operations."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing_site.platform.services.tokens import SCOPES, SecretMissing, sign_token


class Command(BaseCommand):
    help = "Print a signed token (HS256). Needs BILLING_JWT_SECRET; tokens of your identity provider need none of this."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--audience", choices=["internal", "public"], required=True)
        parser.add_argument("--subject", required=True, help="who the token speaks for")
        parser.add_argument("--scope", action="append", default=[], help="may be repeated", metavar="SCOPE")
        parser.add_argument("--all-scopes", action="store_true", help="every scope this audience may hold")
        parser.add_argument("--days", type=int, default=1, help="days until it expires (default 1)")
        parser.add_argument("--org", help="limit an internal token to one organization")

    def handle(self, *args: Any, **options: Any) -> None:
        audience, days, org = options["audience"], options["days"], options["org"]
        allowed = {scope for scope, audiences in SCOPES.items() if audience in audiences}
        scopes = allowed if options["all_scopes"] else set(options["scope"])
        if not scopes:
            raise CommandError("Give at least one --scope, or --all-scopes.")
        if unknown := sorted(scopes - SCOPES.keys()):
            raise CommandError(f"No such scope: {', '.join(unknown)}.")
        if foreign := sorted(scopes - allowed):
            raise CommandError(f"A {audience} token cannot use {', '.join(foreign)}.")
        if not 1 <= days <= 366:
            raise CommandError("--days is between 1 and 366.")
        if org is not None and audience != "internal":
            raise CommandError("--org limits internal tokens only.")
        try:
            token = sign_token(
                audience=audience,
                subject=options["subject"],
                scopes=scopes,
                at=datetime.now(UTC),
                lifetime=timedelta(days=days),
                org=org,
            )
        except SecretMissing as error:
            raise CommandError(str(error)) from error
        self.stdout.write(token)
