"""`GET /readyz`: yes within two seconds, or what is wrong."""

from __future__ import annotations

import importlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, connections
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client

from billing_site.platform.services import readiness
from tests.support.problems import problem

pytestmark = [pytest.mark.urls("tests.api.probe"), pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def fresh(settings: Any, tmp_path: Path) -> Iterator[None]:
    """A broker that works, and no memory of earlier checks."""
    settings.CELERY_BROKER_URL = "filesystem://"
    settings.CELERY_BROKER_TRANSPORT_OPTIONS = {"data_folder_out": str(tmp_path / "messages")}
    readiness.forget_clean_migrations()
    readiness._running.clear()
    yield
    readiness.forget_clean_migrations()
    readiness._running.clear()


def ask() -> Any:
    return Client().get("/readyz")


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def point_database_at(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    """Connections made from now on go elsewhere; the test's own stays."""
    connection.ensure_connection()
    changed = {**connections.settings["default"], "HOST": "127.0.0.1", "PORT": str(port)}
    monkeypatch.setitem(connections.settings, "default", changed)


class TestReady:
    def test_says_ok_and_nothing_else(self) -> None:
        response = ask()
        assert (response.status_code, response.json()) == (200, {"ok": True})
        assert response.headers["Request-Id"]

    def test_takes_no_token_and_ignores_a_wrong_one(self) -> None:
        assert Client().get("/readyz", headers={"Authorization": "Bearer nonsense"}).status_code == 200

    def test_looks_at_migrations_once(self) -> None:
        ask()
        [newest] = MigrationLoader(connection).graph.leaf_nodes("platform")
        MigrationRecorder(connection).record_unapplied(*newest)
        assert ask().status_code == 200  # a running process was started after its migrations


class TestNotReady:
    def test_refused_database(self, monkeypatch: pytest.MonkeyPatch, closed_port: int) -> None:
        point_database_at(monkeypatch, closed_port)
        response = ask()
        body = problem(response, "not_ready", 503)
        assert body["ok"] is False
        assert body["checks"] == {"database": "OperationalError", "broker": "ok"}
        assert str(closed_port) not in response.content.decode()

    def test_hanging_database_is_told_in_time_and_tried_once(
        self, monkeypatch: pytest.MonkeyPatch, silent_port: int
    ) -> None:
        point_database_at(monkeypatch, silent_port)
        started = time.monotonic()
        body = problem(ask(), "not_ready", 503)
        assert time.monotonic() - started < 20, "it waits for ever"
        assert body["checks"]["database"] == "no answer in time"
        hanging = readiness._running["database"]
        ask()
        assert readiness._running["database"] is hanging

    def test_pending_migrations(self) -> None:
        [newest] = MigrationLoader(connection).graph.leaf_nodes("platform")
        MigrationRecorder(connection).record_unapplied(*newest)
        checks = problem(ask(), "not_ready", 503)["checks"]
        assert checks["database"].endswith("migrations pending")

    def test_unreachable_redis(self, settings: Any, closed_port: int) -> None:
        importlib.import_module("redis")  # its first import may outlast the deadline on a busy machine
        settings.CELERY_BROKER_URL = f"redis://:secret@127.0.0.1:{closed_port}/0"
        body = problem(ask(), "not_ready", 503)
        assert body["checks"] == {"database": "ok", "broker": "ConnectionError"}

    def test_silent_redis(self, settings: Any, silent_port: int) -> None:
        settings.CELERY_BROKER_URL = f"redis://127.0.0.1:{silent_port}/0"
        started = time.monotonic()
        assert problem(ask(), "not_ready", 503)["checks"]["broker"] in ("TimeoutError", "no answer in time")
        assert time.monotonic() - started < 20, "it waits for ever"

    def test_broker_folder_that_cannot_be(self, settings: Any, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("in the way")
        settings.CELERY_BROKER_TRANSPORT_OPTIONS = {"data_folder_out": str(tmp_path / "file")}
        assert problem(ask(), "not_ready", 503)["checks"]["broker"] == "FileExistsError"
