"""
Test databases: migrated once into a template, cloned for every worker, cleaned in spite of their triggers.

Migrating takes many seconds, cloning less than one. The template is named after everything that shapes it (migrations,
the modules they import, roles, names of models), is kept between runs and dropped when another one takes its place.
The clones are kept too (`--reuse-db`, the default here): the next run only cleans them, unless the template or their
schema changed meanwhile. `--create-db` makes them anew.

Many tables refuse DELETE and TRUNCATE, which is what Django's flush does after a transactional test. `clean_database`
replaces it: it empties every table that was empty in the template and restores the others (groups, permissions,
content types, schedules) from copies kept in the schema `pristine`.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.management import call_command
from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper
from django.db.migrations.loader import MigrationLoader
from psycopg import sql

OWN_PACKAGES = ("billing_site", "catalog", "accounts", "metering", "invoicing")
_TEMPLATE_LOCK = 730_581  # with the hash of the base name, an advisory lock of the maintenance database

# Which tables must be emptied, and what the others held in the template. Filled once per process.
_tables: list[str] = []
_pristine: dict[str, str] = {}


# ---- template -------------------------------------------------------------------------------------------------------
def compute_fingerprint() -> str:
    """Return a hash of what a freshly migrated database depends on."""
    digest = hashlib.sha256()
    sources: set[Path] = set()
    loader = MigrationLoader(None, ignore_no_migrations=True)
    for key, migration in sorted(loader.disk_migrations.items()):
        digest.update(repr(key).encode())
        source = Path(sys.modules[migration.__module__].__file__ or "")
        sources.add(source)
        if key[0] in {app.label for app in own_apps()}:
            sources |= imported_own_sources(source)
    for app in own_apps():
        folder = Path(app.path)
        # Permissions follow from models, roles and the actions of the admin pages.
        patterns = ("models/**/*.py", "roles*.py", "admin/**/*.py")
        sources |= {folder / "apps.py", *(path for pattern in patterns for path in folder.glob(pattern))}
    for source in sorted(path for path in sources if path.is_file()):
        digest.update(source.read_bytes())
    for model in sorted(apps.get_models(), key=lambda model: model._meta.label):  # permissions are made of these
        meta = model._meta
        digest.update(repr((meta.label, meta.verbose_name_raw, meta.default_permissions, meta.permissions)).encode())
    return digest.hexdigest()[:16]


def own_apps() -> list[Any]:
    """Return the installed apps of this project."""
    return [app for app in apps.get_app_configs() if app.name.split(".")[0] in OWN_PACKAGES]


def imported_own_sources(source: Path) -> set[Path]:
    """Return the files of this project that the module at `source` imports directly."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    found = set()
    for name in names:
        if name.split(".")[0] in OWN_PACKAGES and (path := _source_of(name)):
            found.add(path)
    return found


def _source_of(name: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:  # a name inside a module, not a module
        return None
    return Path(spec.origin) if spec and spec.origin else None


@contextmanager
def maintenance_cursor(base: str) -> Iterator[CursorWrapper]:
    """A cursor outside the test databases of `base`, holding the lock that lets one process at a time make them."""
    with connection._nodb_cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s, hashtext(%s))", [_TEMPLATE_LOCK, base])
        try:
            yield cursor
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s, hashtext(%s))", [_TEMPLATE_LOCK, base])


def connect_to(name: str) -> None:
    """Point the default connection at database `name`."""
    connection.close()
    connection.settings_dict["NAME"] = name
    settings.DATABASES["default"]["NAME"] = name


def prepare_database(base: str, name: str, *, reuse: bool) -> None:
    """
    Point the connection at database `name`, as the migrations of today leave it.

    The template of `base` is migrated first when it is missing. With `reuse`, a clone of that template left by an
    earlier run is cleaned and used again.
    """
    prefix = f"{base}_template_"
    template = f"{prefix}{compute_fingerprint()}"
    with maintenance_cursor(base) as cursor:
        cursor.execute("SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [prefix])
        existing = {row[0] for row in cursor.fetchall()}
        if template not in existing:
            for stale in existing:
                _drop(cursor, stale)
            _build_template(cursor, template)
        if reuse and _is_clone(cursor, name, template) and _reuse(name):
            return
        connect_to(base)
        _drop(cursor, name)
        cursor.execute(_statement("CREATE DATABASE {} TEMPLATE {}", name, template))
        cursor.execute(_statement("COMMENT ON DATABASE {} IS ", name) + f"'{template}'")
    connect_to(name)
    _remember_tables()


def _is_clone(cursor: CursorWrapper, name: str, template: str) -> bool:
    """Tell whether `name` was cloned from `template`; sessions that a killed run left in it are ended."""
    cursor.execute("SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s", [name])
    row = cursor.fetchone()
    if not row or row[0] != template:
        return False
    cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
    return True


def _reuse(name: str) -> bool:
    """Connect to the clone and clean it, or answer False when a test changed its schema."""
    connect_to(name)
    with connection.cursor() as cursor:
        cursor.execute("SELECT value FROM pristine.schema_hash")
        row = cursor.fetchone()
        if not row or row[0] != _hash_schema(cursor):
            return False
    _remember_tables()
    clean_database()
    return True


def drop_database(base: str, name: str) -> None:
    """Drop the test database `name` and point the connection back to `base`."""
    connect_to(base)
    with maintenance_cursor(base) as cursor:
        _drop(cursor, name)


def _build_template(cursor: CursorWrapper, template: str) -> None:
    building = f"{template}_building"  # renamed when complete: an interrupted build is never cloned
    _drop(cursor, building)
    cursor.execute(_statement("CREATE DATABASE {} TEMPLATE template0", building))
    original = connection.settings_dict["NAME"]
    connect_to(building)
    try:
        call_command("migrate", verbosity=0, interactive=False)
        _keep_pristine_copies()
    finally:
        connect_to(original)
    cursor.execute(_statement("ALTER DATABASE {} RENAME TO {}", building, template))


def _drop(cursor: CursorWrapper, name: str) -> None:
    cursor.execute(_statement("DROP DATABASE IF EXISTS {} WITH (FORCE)", name))


def _statement(text: str, *names: str) -> str:
    return sql.SQL(text).format(*map(sql.Identifier, names)).as_string(None)


# ---- cleaning -------------------------------------------------------------------------------------------------------
def _list_tables(cursor: CursorWrapper) -> list[str]:
    cursor.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') "
        "AND NOT relispartition ORDER BY relname"
    )
    return [row[0] for row in cursor.fetchall()]


def _list_filled(cursor: CursorWrapper, tables: list[str]) -> list[str]:
    """Return those of `tables` that hold a row, in one round trip."""
    if not tables:
        return []
    parts = [
        sql.SQL("SELECT {} WHERE EXISTS (SELECT FROM public.{})").format(sql.Literal(table), sql.Identifier(table))
        for table in tables
    ]
    cursor.execute(sql.SQL(" UNION ALL ").join(parts).as_string(connection.connection))
    return [row[0] for row in cursor.fetchall()]


def _hash_tables(cursor: CursorWrapper, tables: list[str]) -> dict[str, str]:
    if not tables:
        return {}
    parts = [
        sql.SQL("SELECT {}, md5(coalesce(string_agg(t::text, chr(10) ORDER BY t::text), '')) FROM public.{} t").format(
            sql.Literal(table), sql.Identifier(table)
        )
        for table in tables
    ]
    cursor.execute(sql.SQL(" UNION ALL ").join(parts).as_string(connection.connection))
    return dict(cursor.fetchall())


def _hash_schema(cursor: CursorWrapper) -> str:
    """Return a hash of tables, columns, constraints, triggers (and whether they are on) and functions."""
    cursor.execute(
        """
        SELECT md5(string_agg(line, chr(10) ORDER BY line)) FROM (
            SELECT concat_ws(' ', c.oid::regclass, a.attname, a.atttypid, a.atttypmod, a.attnotnull)
            FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
            WHERE c.relnamespace = 'public'::regnamespace AND NOT a.attisdropped
            UNION ALL
            SELECT pg_get_constraintdef(k.oid) || k.conrelid::regclass
            FROM pg_constraint k WHERE k.connamespace = 'public'::regnamespace
            UNION ALL
            SELECT t.tgenabled::text || pg_get_triggerdef(t.oid) FROM pg_trigger t WHERE NOT t.tgisinternal
            UNION ALL
            SELECT p.proname || p.prosrc FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace
        ) lines (line)
        """
    )
    row = cursor.fetchone()
    return str(row[0]) if row else ""


def _keep_pristine_copies() -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA pristine")
        tables = _list_tables(cursor)
        filled = _list_filled(cursor, tables)
        for table in filled:
            cursor.execute(_statement("CREATE TABLE pristine.{0} AS TABLE public.{0}", table))
        cursor.execute("CREATE TABLE pristine.schema_hash AS SELECT %s::text AS value", [_hash_schema(cursor)])
        for table, value in _hash_tables(cursor, filled).items():
            cursor.execute(_statement("COMMENT ON TABLE pristine.{} IS ", table) + f"'{value}'")


def _remember_tables() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname, obj_description(oid, 'pg_class') FROM pg_class "
            "WHERE relnamespace = 'pristine'::regnamespace AND relkind = 'r' AND relname <> 'schema_hash'"
        )
        _pristine.clear()
        _pristine.update(cursor.fetchall())
        _tables[:] = [table for table in _list_tables(cursor) if table not in _pristine]


def clean_database(*, as_superuser: bool | None = None) -> None:
    """
    Bring the test database back to what the migrations made, in one transaction.

    A superuser skips triggers and foreign keys with `session_replication_role`; the owner of the tables, when it is
    none, switches the triggers off and defers the keys. `as_superuser` forces one way (for the test of this function).
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL lock_timeout = '10s'")  # another connection left open in a transaction: say so
        filled = _list_filled(cursor, _tables)
        now = _hash_tables(cursor, sorted(_pristine))
        changed = [table for table, value in now.items() if value != _pristine[table]]
        if not filled and not changed:
            return
        if as_superuser is None:
            cursor.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
            row = cursor.fetchone()
            as_superuser = bool(row and row[0])
        guarded = [] if as_superuser else _list_guarded(cursor, [*filled, *changed])
        if as_superuser:
            cursor.execute("SET LOCAL session_replication_role = replica")
        else:
            for table in guarded:
                cursor.execute(_statement("ALTER TABLE public.{} DISABLE TRIGGER USER", table))
            cursor.execute("SET CONSTRAINTS ALL DEFERRED")
        for table in [*filled, *changed]:
            cursor.execute(_statement("DELETE FROM public.{}", table))
        for table in changed:
            cursor.execute(_statement("INSERT INTO public.{0} SELECT * FROM pristine.{0}", table))
        if not as_superuser:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            for table in guarded:
                cursor.execute(_statement("ALTER TABLE public.{} ENABLE TRIGGER USER", table))
        else:
            cursor.execute("SET LOCAL session_replication_role = origin")


def _list_guarded(cursor: CursorWrapper, tables: list[str]) -> list[str]:
    """Return those of `tables` that have triggers of their own."""
    cursor.execute(
        "SELECT DISTINCT c.relname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid "
        "WHERE c.relnamespace = 'public'::regnamespace AND NOT t.tgisinternal AND c.relname = ANY(%s)",
        [tables],
    )
    return [row[0] for row in cursor.fetchall()]


def teardown_transactional_test(test_case: object) -> None:
    """What replaces `TransactionTestCase._fixture_teardown`."""
    clean_database()
