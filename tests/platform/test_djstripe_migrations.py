"""
The one migration of `billing_site.djstripe_migrations` makes the schema dj-stripe's own migrations make.

The usual run compares the test database, which was made by ours, with the committed snapshot of the catalogs after
theirs. `COUNTINGHOUSE_SLOW=1` also takes that snapshot again, which needs a minute or two.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.db.migrations.loader import MigrationLoader

from billing_site.djstripe_migrations import _generate

KINDS = ("columns", "constraints", "indexes", "sequences", "triggers")


@pytest.fixture(scope="module")
def snapshot() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(_generate.SNAPSHOT.read_text(encoding="utf-8"))
    return content


class TestSnapshot:
    def test_was_taken_from_the_installed_version(self, snapshot: dict[str, Any]) -> None:
        assert snapshot["dj-stripe"] == version("dj-stripe"), (
            "run `python -m billing_site.djstripe_migrations._generate` and review the diff"
        )

    def test_holds_every_kind_of_catalog_row(self, snapshot: dict[str, Any]) -> None:
        assert set(snapshot["schema"]) == set(KINDS)
        assert {row[0] for row in snapshot["schema"]["columns"]} >= {"djstripe_customer", "djstripe_webhookendpoint"}

    @pytest.mark.skipif(os.environ.get("COUNTINGHOUSE_SLOW") != "1", reason="takes a minute; set COUNTINGHOUSE_SLOW=1")
    def test_is_what_the_original_migrations_make(self, snapshot: dict[str, Any]) -> None:
        database = settings.DATABASES["default"]
        password = f":{database['PASSWORD']}" if database.get("PASSWORD") else ""
        place = f"{database['HOST']}:{database['PORT']}" if database.get("PORT") else database["HOST"]
        url = f"postgres://{database['USER']}{password}@{place}/postgres"
        taken = subprocess.run(
            [sys.executable, "-m", "billing_site.djstripe_migrations._generate", "--snapshot"],
            env={**os.environ, "BILLING_DATABASE_URL": url},
            cwd=settings.BASE_DIR,
            capture_output=True,
            text=True,
            check=True,
            timeout=600,
        )
        assert json.loads(taken.stdout) == snapshot


@pytest.mark.django_db
class TestOurMigration:
    @pytest.mark.parametrize("kind", KINDS)
    def test_makes_the_same_schema(self, kind: str, snapshot: dict[str, Any]) -> None:
        ours = json.loads(json.dumps(_generate.read_schema()))[kind]
        theirs = snapshot["schema"][kind]
        assert [row for row in theirs if row not in ours] == [], f"{kind} missing in ours"
        assert [row for row in ours if row not in theirs] == [], f"{kind} only in ours"

    def test_replaces_every_original_and_is_replaceable_by_them(self) -> None:
        loader = MigrationLoader(connection, replace_migrations=False)
        ours = [migration for (app, _), migration in loader.disk_migrations.items() if app == "djstripe"]
        assert len(ours) == 1
        originals = {("djstripe", name) for name in ("0001_initial", "0002_2_10", "0003_2_11")}
        assert set(ours[0].replaces) == originals
        # A database made by ours is up to date for dj-stripe's own migrations too.
        assert set(loader.applied_migrations) >= originals
