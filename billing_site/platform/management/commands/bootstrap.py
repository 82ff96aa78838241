"""`manage.py bootstrap`: everything between an empty database and a site that can serve, in one process."""

from __future__ import annotations

import io
import json
import os
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.utils import OperationalError

TOKEN_DAYS = 30
APPROVER = "approver"
OLDEST_POSTGRESQL = 150_000


class Command(BaseCommand):
    """Migrate, load the sample, create the administrator and a token."""

    help = "Prepare the database, sample data, administrator and token; safe to run again."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--no-sample", action="store_true", help="load no sample data into an empty database")
        parser.add_argument("--output", type=Path, help="write what was made (token) to this file, as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        self.check_database()
        self.migrate()
        with suppress(CommandError):  # somebody is in the way: the schedule makes the days later
            call_command("keep_usage_partitions", stdout=io.StringIO())
        if not options["no_sample"]:
            self.load_sample()
        if os.environ.get("BILLING_ADMIN_PASSWORD"):
            approver = "" if options["no_sample"] else APPROVER
            call_command("ensure_admin", "--approver", approver, stdout=io.StringIO())
        facts = {"token": self.issue_token(), "token_days": TOKEN_DAYS}
        if not options["no_sample"]:
            facts["approver"] = APPROVER
        if options["output"]:
            self.write_private(options["output"], json.dumps(facts))

    def check_database(self) -> None:
        """:raises CommandError: if the database refuses us or is too old, with what to do about it."""
        where = "{HOST}:{PORT}/{NAME}".format(**connection.settings_dict)
        try:
            connection.ensure_connection()
        except OperationalError as error:
            raise CommandError(
                f"the database {where} refuses the connection: {str(error).strip()}\n"
                "Check the database URL: the database and its user must exist and the password must fit."
            ) from error
        version: int = connection.pg_version  # type: ignore[attr-defined]  # the PostgreSQL backend's
        if version < OLDEST_POSTGRESQL:
            raise CommandError(f"the database {where} is PostgreSQL {version // 10_000}; 15 is needed.")

    def migrate(self) -> None:
        executor = MigrationExecutor(connection)
        missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
        if missing:
            with self.timed(f"applying {len(missing)} migrations"):
                call_command("migrate", interactive=False, verbosity=0)

    def load_sample(self) -> None:
        """Load the sample into an empty database, or finish loading it; later only show its invoices."""
        unfinished = Path(settings.BILLING_DATA_DIR) / "sample.unfinished"
        if unfinished.exists() or not apps.get_model("accounts", "Account").objects.exists():
            unfinished.touch()
            with self.timed("loading the sample and running its billing cycle", ends_with_output=True):
                call_command("load_sample", stdout=self.stdout)
            unfinished.unlink()
        else:
            call_command("load_sample", "--show", stdout=self.stdout)

    def issue_token(self) -> str:
        """Return a token for the operator; empty when keys come from a JWKS address, whose owner issues them."""
        if not settings.BILLING_JWT_SECRET:
            self.stdout.write("no token: BILLING_JWT_KEYS names who issues them")
            return ""
        printed = io.StringIO()
        with redirect_stdout(printed):
            call_command(
                *("issue_token", "--audience", "internal", "--subject", "operator"),
                *("--days", str(TOKEN_DAYS), "--all-scopes"),
                stdout=printed,
            )
        return printed.getvalue().strip()

    @contextmanager
    def timed(self, what: str, *, ends_with_output: bool = False) -> Iterator[None]:
        """Say what is being done before it starts, and how long it took."""
        self.stdout.write(f"          {what} …", ending="\n" if ends_with_output else "")
        self.stdout.flush()
        started = time.monotonic()
        yield
        if not ends_with_output:
            self.stdout.write(f" {time.monotonic() - started:.1f} s")
            self.stdout.flush()

    @staticmethod
    def write_private(path: Path, text: str) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
