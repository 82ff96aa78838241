"""The machinery the other tests stand on: a test leaves nothing behind, append-only tables included."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group, Permission
from django.db import connection

from billing_site.djstripe_migrations._generate import read_schema
from tests.support.databases import clean_database, compute_fingerprint


def count(table: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f'SELECT count(*) FROM "{table}"')
        row = cursor.fetchone()
    return int(row[0]) if row else 0


@pytest.fixture
def guarded_table() -> str:
    """A table that refuses DELETE and TRUNCATE, with a row, and a deferred key to another table with a row."""
    with connection.cursor() as cursor:
        cursor.execute("SET client_min_messages = warning")
        cursor.execute("DROP TABLE IF EXISTS guarded_child, guarded")
        cursor.execute("CREATE TABLE guarded (id int PRIMARY KEY)")
        cursor.execute(
            "CREATE TABLE guarded_child (id int PRIMARY KEY, "
            "parent int NOT NULL REFERENCES guarded DEFERRABLE INITIALLY DEFERRED)"
        )
        cursor.execute(
            "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'append-only'; END $$"
        )
        for table in ("guarded", "guarded_child"):
            cursor.execute(
                f"CREATE TRIGGER keep BEFORE DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION refuse(); "
                f"CREATE TRIGGER keep_all BEFORE TRUNCATE ON {table} EXECUTE FUNCTION refuse()"
            )
        cursor.execute("INSERT INTO guarded VALUES (1); INSERT INTO guarded_child VALUES (1, 1)")
    return "guarded"


@pytest.mark.django_db(transaction=True)
class TestCleanDatabase:
    @pytest.mark.parametrize("as_superuser", [True, False])
    def test_empties_tables_that_refuse_it(
        self, guarded_table: str, as_superuser: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tests.support.databases._tables", ["guarded", "guarded_child"])
        with pytest.raises(Exception, match="append-only"), connection.cursor() as cursor:
            cursor.execute("DELETE FROM guarded_child")
        clean_database(as_superuser=as_superuser)
        assert (count("guarded"), count("guarded_child")) == (0, 0)
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO guarded VALUES (2)")
        with pytest.raises(Exception, match="append-only"), connection.cursor() as cursor:
            cursor.execute("DELETE FROM guarded")  # the guard is back
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE guarded_child, guarded")

    @pytest.mark.parametrize("as_superuser", [True, False])
    def test_restores_what_migrations_made(self, as_superuser: bool) -> None:
        permissions = set(Permission.objects.values_list("pk", "codename", "name"))
        assert permissions
        Permission.objects.filter(codename__startswith="view_").delete()
        Permission.objects.update(name="changed")
        Group.objects.create(name="invented by a test")
        clean_database(as_superuser=as_superuser)
        assert set(Permission.objects.values_list("pk", "codename", "name")) == permissions
        assert not Group.objects.filter(name="invented by a test").exists()


class TestCompute:
    def test_the_fingerprint_is_stable_within_a_state_of_the_tree(self) -> None:
        assert compute_fingerprint() == compute_fingerprint()


@pytest.mark.django_db
def test_copies_for_restoring_are_invisible_to_the_product() -> None:
    assert "pristine" not in connection.introspection.table_names()
    assert all("pristine" not in str(row) for row in read_schema()["constraints"])
