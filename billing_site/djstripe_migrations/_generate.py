"""Generate the migration and the schema snapshot of this package; see its docstring."""

from __future__ import annotations

import json
import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import django
import environ
from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.graph import MigrationGraph
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.migration import Migration
from django.db.migrations.optimizer import MigrationOptimizer
from django.db.migrations.questioner import NonInteractiveMigrationQuestioner
from django.db.migrations.state import ProjectState
from django.db.migrations.writer import MigrationWriter

HERE = Path(__file__).resolve().parent
SNAPSHOT = HERE / "schema.json"
APP = "djstripe"

_TABLES = "c.relnamespace = 'public'::regnamespace AND c.relname LIKE 'djstripe%'"
_QUERIES = {
    "columns": f"""
        SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
               pg_get_expr(d.adbin, d.adrelid), co.collname
        FROM pg_attribute a
        JOIN pg_class c ON c.oid = a.attrelid
        LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        LEFT JOIN pg_collation co ON co.oid = a.attcollation AND co.collname <> 'default'
        WHERE {_TABLES} AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
        ORDER BY 1, 2""",
    "constraints": f"""
        SELECT c.relname, k.conname, pg_get_constraintdef(k.oid)
        FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
        WHERE {_TABLES} ORDER BY 1, 2, 3""",
    "indexes": f"""
        SELECT c.relname, i.relname, pg_get_indexdef(x.indexrelid)
        FROM pg_index x JOIN pg_class c ON c.oid = x.indrelid JOIN pg_class i ON i.oid = x.indexrelid
        WHERE {_TABLES} ORDER BY 1, 2""",
    "sequences": f"SELECT c.relname, c.relkind::text FROM pg_class c WHERE {_TABLES} AND c.relkind = 'S' ORDER BY 1",
    "triggers": f"""
        SELECT c.relname, pg_get_triggerdef(t.oid) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
        WHERE {_TABLES} AND NOT t.tgisinternal ORDER BY 1, 2""",
}


def read_schema() -> dict[str, Any]:
    """Return dj-stripe's tables as the catalogs of the connected database describe them, in a fixed order."""
    schema: dict[str, Any] = {}
    with connection.cursor() as cursor:
        for kind, query in _QUERIES.items():
            cursor.execute(query)
            schema[kind] = [list(row) for row in cursor.fetchall()]
    return schema


@contextmanager
def temporary_database() -> Iterator[str]:
    """Make the default connection point to a new, empty database, which is dropped afterwards."""
    name = f"djstripe_schema_{uuid.uuid4().hex[:12]}"
    original = connection.settings_dict["NAME"]
    with connection._nodb_cursor() as cursor:
        cursor.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
    connection.close()
    connection.settings_dict["NAME"] = name
    try:
        yield name
    finally:
        connection.close()
        connection.settings_dict["NAME"] = original
        with connection._nodb_cursor() as cursor:
            cursor.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def snapshot_original_schema() -> dict[str, Any]:
    """Run dj-stripe's own migrations in a temporary database and return its version and schema. Takes a minute."""
    with temporary_database():
        call_command("migrate", APP, verbosity=0)
        return {"dj-stripe": version("dj-stripe"), "schema": read_schema()}


def build_migration() -> Migration:
    """Return one migration that leads from nothing to the state dj-stripe's own migrations lead to."""
    loader = MigrationLoader(None)
    originals = sorted(key for key in loader.graph.nodes if key[0] == APP)
    target = loader.project_state()
    start = ProjectState(models={key: model for key, model in target.models.items() if key[0] != APP})
    detector = MigrationAutodetector(start, target, NonInteractiveMigrationQuestioner(specified_apps={APP}))
    changes = detector.changes(graph=MigrationGraph(), trim_to_apps={APP})
    found = changes[APP]
    steps = MigrationOptimizer().optimize([step for migration in found for step in migration.operations], APP)
    needed = sorted({key for migration in found for key in migration.dependencies if key[0] != APP})

    class Squashed(Migration):
        initial = True
        replaces = originals
        dependencies = needed
        operations = steps

    return Squashed(f"0001_squashed_{originals[-1][1]}", APP)


def configure() -> None:
    """Load Django with only what dj-stripe's migrations need, and without our `MIGRATION_MODULES`."""
    url = os.environ.get("BILLING_DATABASE_URL") or os.environ.get("DATABASE_URL")
    if not url:
        sys.exit("Set BILLING_DATABASE_URL to a PostgreSQL in which a temporary database may be created.")
    settings.configure(
        DATABASES={"default": environ.Env.db_url_config(url)},
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "djstripe"],
        DJSTRIPE_FOREIGN_KEY_TO_FIELD="id",
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",  # as in our settings; decides the keys of M2M tables
        USE_TZ=True,
    )
    django.setup()


def main() -> None:
    """Write the migration and the snapshot. With `--snapshot`, print the snapshot and write nothing."""
    configure()
    if "--snapshot" in sys.argv:
        sys.stdout.write(dump(snapshot_original_schema()))
        return
    writer = MigrationWriter(build_migration())
    target = HERE / writer.filename
    text = writer.as_string().replace("(migrations.Migration):", "(CreateTables):", 1)
    imports = "from django.db import migrations, models\n"
    base = "\nfrom billing_site.djstripe_migrations._create_tables import CreateTables\n"
    target.write_text(text.replace(imports, imports + base, 1), encoding="utf-8")
    SNAPSHOT.write_text(dump(snapshot_original_schema()), encoding="utf-8")
    sys.stdout.write(f"wrote {target.name} and {SNAPSHOT.name}\n")


def dump(snapshot: dict[str, Any]) -> str:
    """Return the snapshot as text, one catalog row per line, so that a change of the schema reads well in a diff."""
    lines = ["{", f'  "dj-stripe": {json.dumps(snapshot["dj-stripe"])},', '  "schema": {']
    kinds = []
    for kind, rows in snapshot["schema"].items():
        body = ",\n".join(f"      {json.dumps(row)}" for row in rows)
        kinds.append(f'    "{kind}": [\n{body}\n    ]' if rows else f'    "{kind}": []')
    lines += [",\n".join(kinds), "  }", "}", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
