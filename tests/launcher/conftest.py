"""Fixtures of the launcher's tests: a checkout of their own, real PostgreSQL programs, no network."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.console import LauncherError
from launcher.postgres import PrivateDatabase, stop_stray
from launcher.processes import stop_request
from launcher.state import State

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> State:
    """The state of an empty checkout in a path with a space; its `.venv` is the one the tests run in."""
    monkeypatch.delenv("COUNTINGHOUSE_STATE_DIR", raising=False)
    checkout = tmp_path / "check out"
    checkout.mkdir()
    (checkout / ".venv").symlink_to(sys.prefix)
    made = State(checkout)
    made.prepare()
    return made


@pytest.fixture(scope="session")
def made_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data folder as `create` makes it, to be copied: making one takes seconds."""
    checkout = tmp_path_factory.mktemp("cluster")
    (checkout / ".venv").symlink_to(sys.prefix)
    made = State(checkout)
    made.prepare()
    try:
        cluster = PrivateDatabase(made, "a-password").cluster
    except LauncherError as error:
        pytest.skip(str(error))
    cluster.create()
    yield cluster.folder
    made.delete()


@pytest.fixture
def database(state: State, made_cluster: Path) -> Iterator[PrivateDatabase]:
    """A private database that does not run yet; whatever runs on it is stopped in the end."""
    made = PrivateDatabase(state, "a-password")
    made.cluster.folder.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-a", made_cluster, made.cluster.folder], check=True)
    yield made
    stop_stray(state)
    state.delete()


@pytest.fixture(autouse=True)
def _no_stop_request() -> Iterator[None]:
    stop_request.number = None
    stop_request.count = 0
    yield
    stop_request.number = None
    stop_request.count = 0
