"""The migrations say what the models say."""

from __future__ import annotations

import io

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader

from tests.support.source import APPS


@pytest.mark.django_db
class TestMigrations:
    def test_none_is_missing(self) -> None:
        output = io.StringIO()
        try:
            call_command("makemigrations", check_changes=True, dry_run=True, interactive=False, stdout=output)
        except SystemExit:
            pytest.fail(f"run makemigrations:\n{output.getvalue()}")

    def test_all_are_applied_to_a_new_database(self) -> None:
        loader = MigrationLoader(connection)
        assert set(loader.graph.leaf_nodes()) - set(loader.applied_migrations) == set()

    def test_no_two_of_an_app_follow_the_same_one(self) -> None:
        assert MigrationLoader(connection).detect_conflicts() == {}

    @pytest.mark.parametrize("app", APPS)
    def test_every_table_of_the_app_exists(self, app: str) -> None:
        tables = set(connection.introspection.table_names())
        expected = {model._meta.db_table for model in apps.get_app_config(app).get_models() if model._meta.managed}
        assert expected - tables == set()
