"""The command itself, in a checkout without anything: it says what is wrong before it installs anything."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from launcher.healthcheck import choose_host
from launcher.state import State
from tests.launcher.conftest import CHECKOUT

pytestmark = pytest.mark.processes


@pytest.fixture
def bare(state: State) -> State:
    """The checkout holds the launcher and nothing else."""
    shutil.copy(CHECKOUT / "countinghouse", state.checkout)
    shutil.copytree(CHECKOUT / "launcher", state.checkout / "launcher", ignore=shutil.ignore_patterns("__pycache__"))
    return state


def run(state: State, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("BILLING_", "DATABASE"))}
    return subprocess.run(
        [sys.executable, str(state.checkout / "countinghouse"), *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env=environment,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )


class TestUp:
    def test_refuses_a_second_one_and_names_the_first(self, bare: State) -> None:
        lock = bare.lock("up")
        lock.acquire()
        lock.write({"pid": 4711, "url": "http://127.0.0.1:9999"})
        answer = run(bare, "up")
        assert answer.returncode == 1
        assert "already running here: process 4711, http://127.0.0.1:9999" in answer.stderr
        assert "./countinghouse down" in answer.stderr

    def test_names_the_option_when_the_port_is_taken(self, bare: State) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            answer = run(bare, "up", "--port", str(port))
        assert answer.returncode == 1
        assert f"port {port} on 127.0.0.1 is in use" in answer.stderr
        assert f"--port {port + 1}" in answer.stderr


class TestReset:
    def test_asks_or_needs_yes(self, bare: State) -> None:
        bare.secrets()
        answer = run(bare, "reset")
        assert answer.returncode == 1
        assert "--yes" in answer.stderr
        assert bare.folder.exists()

    def test_deletes_state_and_leaves_the_checkout(self, bare: State) -> None:
        bare.secrets()
        answer = run(bare, "reset", "--yes")
        assert answer.returncode == 0, answer.stderr
        assert not bare.folder.exists()
        assert (bare.checkout / "launcher").exists()


class TestDown:
    def test_is_content_with_nothing_to_stop(self, bare: State) -> None:
        answer = run(bare, "down")
        assert answer.returncode == 0
        assert "nothing is running" in answer.stdout


class TestHelp:
    def test_names_every_command(self, bare: State) -> None:
        printed = run(bare, "--help").stdout
        for command in ("up", "down", "test", "manage", "shell", "reset"):
            assert f"\n  {command} " in printed

    def test_an_unknown_command_is_an_error(self, bare: State) -> None:
        assert run(bare, "start").returncode == 2

    def test_imports_the_standard_library_only(self, bare: State) -> None:
        command = [sys.executable, "-I", "-S", str(bare.checkout / "countinghouse"), "--help"]
        assert subprocess.run(command, capture_output=True, check=False).returncode == 0


class TestHealthcheck:
    @pytest.mark.parametrize(
        ("allowed", "host"),
        [
            ("billing.example.com,b", "billing.example.com"),
            (".example.com", "example.com"),
            ("*", "localhost"),
            ("", "localhost"),
        ],
    )
    def test_asks_with_a_name_the_site_accepts(self, allowed: str, host: str) -> None:
        assert choose_host(allowed) == host


def test_old_pythons_can_read_the_first_file() -> None:
    """No syntax newer than Python 3.4 in the file that says which Python is needed."""
    import ast

    source = Path(CHECKOUT / "countinghouse").read_text()
    ast.parse(source, feature_version=(3, 4))
