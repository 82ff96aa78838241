"""The installed program as a process: its start, its help, its streams."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys

import pytest

from billing_client.cli.registry import ENTRIES
from tests.billing_client.conftest import USER_TOKEN
from tests.billing_client.service import Service

LOADED = """
import sys
from billing_client.cli.main import run
code = run(sys.argv[1:])
print("|".join(sorted(sys.modules)), file=sys.stderr)
sys.exit(code)
"""


def start(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "billing_client.cli.main", *words],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


class TestHelp:
    @pytest.mark.parametrize("words", [["--help"], ["invoice", "list", "-h"], ["operator"], ["--version"]])
    def test_loads_neither_http_nor_tables_nor_the_server(self, words: list[str]) -> None:
        done = subprocess.run([sys.executable, "-c", LOADED, *words], capture_output=True, text=True, check=True)
        loaded = set(done.stderr.strip().split("|"))
        heavy = {"httpx", "rich.progress", "rich.table", "rich.console", "django", "asyncio", "ssl", "rest_framework"}
        assert loaded & heavy == set()
        assert not any(name.split(".")[0] in {"billing_site", "invoicing", "catalog"} for name in loaded)
        assert "billing" in done.stdout

    @pytest.mark.parametrize("name", ENTRIES)
    def test_every_level_answers(self, name: str) -> None:
        done = start(name, "--help")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(f"Usage: billing {name}")

    def test_a_bare_program_prints_it(self) -> None:
        done = start()
        assert done.returncode == 0
        assert all(name in done.stdout for name in ENTRIES)


class TestProcess:
    def test_data_goes_to_stdout_and_leaves_with_zero(self, service: Service) -> None:
        done = start("invoice", BILLING_API_URL=service.url, BILLING_API_TOKEN=USER_TOKEN)
        assert (done.returncode, done.stderr) == (0, "")
        assert "INV-0042" in done.stdout

    def test_errors_go_to_stderr_and_leave_with_their_code(self) -> None:
        assert start("invoice").returncode == 1
        done = start("--token", "x")
        assert (done.returncode, done.stdout) == (2, "")

    def test_a_reader_that_goes_away_is_no_crash(self, service: Service) -> None:
        command = f"{shlex.quote(sys.executable)} -m billing_client.cli.main operator catalog template | head -c 1"
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
        assert (done.stdout, done.stderr) == ("{", "")
