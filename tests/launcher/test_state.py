"""The state folder keeps secrets to itself and lets one process at a time in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from launcher.state import State, read_json, write_private
from tests.launcher.conftest import CHECKOUT

HOLD = """
import sys
from pathlib import Path
from launcher.state import Lock
lock = Lock(Path(sys.argv[1]))
print("held" if lock.acquire(shared=sys.argv[2] == "shared") else "refused", flush=True)
sys.stdin.read()
"""


def hold_elsewhere(path: Path, kind: str) -> subprocess.Popen[str]:
    """Start a process that tries to take the lock and says whether it has it."""
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), kind],
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def try_elsewhere(path: Path, kind: str) -> str:
    with hold_elsewhere(path, kind) as other:
        answer, _ = other.communicate("")
    return answer.strip()


class TestSecrets:
    def test_are_made_once(self, state: State) -> None:
        first = state.secrets()
        assert state.secrets() == first
        assert all(len(value) >= 12 for value in first.values())
        assert len(set(first.values())) == len(first)

    def test_are_readable_by_the_owner_only(self, state: State) -> None:
        state.secrets()
        assert (state.folder / "secrets.json").stat().st_mode & 0o777 == 0o600

    def test_differ_between_checkouts(self, state: State, tmp_path: Path) -> None:
        other = State(tmp_path / "other")
        other.checkout.mkdir()
        other.prepare()
        assert not set(other.secrets().values()) & set(state.secrets().values())


class TestRemember:
    def test_survives_a_new_process(self, state: State) -> None:
        state.remember("database_port", 41_234)
        state.remember("another", "fact")
        assert State(state.checkout).recall("database_port") == 41_234

    def test_a_broken_file_is_an_empty_one(self, state: State) -> None:
        (state.folder / "facts.json").write_text('{"database_port": 41')
        assert state.recall("database_port") is None


class TestWritePrivate:
    def test_replaces_a_file_others_could_read(self, tmp_path: Path) -> None:
        path = tmp_path / "token"
        path.write_text("old")
        path.chmod(0o644)
        write_private(path, "new")
        assert path.read_text() == "new"
        assert path.stat().st_mode & 0o777 == 0o600
        assert list(tmp_path.iterdir()) == [path]


class TestLock:
    def test_refuses_a_second_process(self, state: State) -> None:
        lock = state.lock("up")
        assert lock.acquire()
        assert try_elsewhere(lock.path, "exclusive") == "refused"
        lock.release()
        assert try_elsewhere(lock.path, "exclusive") == "held"

    def test_ends_with_a_killed_process(self, state: State) -> None:
        lock = state.lock("up")
        with hold_elsewhere(lock.path, "exclusive") as other:
            assert other.stdout is not None
            assert other.stdout.readline().strip() == "held"
            assert not lock.acquire()
            other.kill()
        assert lock.acquire()

    def test_readers_share_and_keep_a_writer_out(self, state: State) -> None:
        lock = state.lock("users")
        assert lock.acquire(shared=True)
        assert try_elsewhere(lock.path, "shared") == "held"
        assert try_elsewhere(lock.path, "exclusive") == "refused"

    def test_tells_others_who_holds_it(self, state: State) -> None:
        lock = state.lock("up")
        lock.acquire()
        lock.write({"pid": 1234567, "url": "http://127.0.0.1:8087"})
        lock.write({"pid": 12})
        assert read_json(lock.path) == {"pid": 12}
