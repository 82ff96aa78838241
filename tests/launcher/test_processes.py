"""Supervision with real children: a death ends the rest, a signal leaves nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from launcher.console import LauncherError
from launcher.processes import Stopped, Supervisor, describe_exit, run_step, run_together, stop_request
from tests.launcher.conftest import CHECKOUT

pytestmark = pytest.mark.processes

# A child with a grandchild, as a web server or a worker pool has.
FAMILY = (
    "import subprocess, sys, time; p = subprocess.Popen(['sleep', '600']); print(p.pid, flush=True); time.sleep(600)"
)
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
)
LAUNCHER = """
import sys, time
from pathlib import Path
from launcher.processes import Stopped, Supervisor, stop_request
stop_request.install()
supervisor = Supervisor(environment={"PATH": "/usr/bin:/bin"}, cwd=Path("/"), logs=Path(sys.argv[1]))
try:
    for name in ("web", "worker"):
        child = supervisor.start(name, [sys.executable, "-c", sys.argv[2]])
        print(child.process.pid, flush=True)
    while True:
        supervisor.check()
        time.sleep(0.05)
except Stopped as stop:
    print(stop, flush=True)
finally:
    supervisor.stop(grace=5)
"""


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"


def wait_until(condition: object, *, seconds: float = 15) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def read_numbers(path: Path) -> list[int]:
    return [int(line) for line in path.read_text().split()] if path.exists() else []


@pytest.fixture
def supervisor(tmp_path: Path) -> Supervisor:
    return Supervisor(environment={"PATH": "/usr/bin:/bin"}, cwd=Path("/"), logs=tmp_path)


class TestSupervisor:
    def test_a_death_is_reported_with_the_end_of_its_log_and_ends_the_rest(
        self, supervisor: Supervisor, tmp_path: Path
    ) -> None:
        supervisor.start("web", [sys.executable, "-c", FAMILY])
        wait_until(lambda: read_numbers(tmp_path / "web.log"))
        (grandchild,) = read_numbers(tmp_path / "web.log")
        web = supervisor.children[0].process.pid
        supervisor.check()
        dying = supervisor.start("worker", [sys.executable, "-c", "print('the reason'); raise SystemExit(3)"])
        dying.process.wait()
        with pytest.raises(LauncherError, match=r"worker stopped by itself \(exit code 3\)(.|\n)*the reason"):
            supervisor.check()
        supervisor.stop()
        assert not is_alive(web)
        wait_until(lambda: not is_alive(grandchild))

    def test_a_child_that_ignores_the_request_is_killed(self, supervisor: Supervisor, tmp_path: Path) -> None:
        child = supervisor.start("web", [sys.executable, "-c", STUBBORN])
        wait_until(lambda: (tmp_path / "web.log").read_text() == "up\n")
        supervisor.stop(grace=0.3)
        assert child.process.returncode == -signal.SIGKILL

    def test_the_log_of_the_run_before_is_kept(self, supervisor: Supervisor, tmp_path: Path) -> None:
        for word in ("first", "second"):
            supervisor.start("beat", [sys.executable, "-c", f"print({word!r})"]).process.wait()
            supervisor.stop()
        assert (tmp_path / "beat.log").read_text() == "second\n"
        assert (tmp_path / "beat.log.1").read_text() == "first\n"


class TestSignals:
    def start_launcher(self, logs: Path, code: str) -> tuple[subprocess.Popen[str], list[int]]:
        """Start a launcher with two children; return it and the pids of children and grandchildren."""
        launcher = subprocess.Popen(
            [sys.executable, "-c", LAUNCHER, str(logs), code], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True
        )
        assert launcher.stdout is not None
        pids = [int(launcher.stdout.readline()) for _ in range(2)]
        for name in ("web", "worker"):
            wait_until(lambda name=name: read_numbers(logs / f"{name}.log"))
            pids += read_numbers(logs / f"{name}.log")
        return launcher, pids

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
    def test_leave_no_process(self, number: signal.Signals, tmp_path: Path) -> None:
        launcher, pids = self.start_launcher(tmp_path, FAMILY)
        launcher.send_signal(number)
        output, _ = launcher.communicate(timeout=20)
        assert output.strip() == number.name
        assert launcher.returncode == 0
        assert [pid for pid in pids[:2] if is_alive(pid)] == []
        wait_until(lambda: not any(is_alive(pid) for pid in pids))

    @pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a child to its parent")
    def test_even_kill_leaves_no_child(self, tmp_path: Path) -> None:
        launcher, pids = self.start_launcher(tmp_path, FAMILY)
        launcher.kill()
        launcher.communicate()
        wait_until(lambda: not any(is_alive(pid) for pid in pids[:2]))
        for pid in pids[2:]:  # the fake children do not look after their own
            os.kill(pid, signal.SIGKILL)


class TestRunStep:
    def test_returns_the_exit_code_and_logs_the_output(self, tmp_path: Path) -> None:
        log = tmp_path / "step.log"
        code = run_step(["/bin/sh", "-c", "echo out; echo err >&2; exit 7"], environment={}, cwd=tmp_path, log=log)
        assert code == 7
        assert log.read_text() == "out\nerr\n"

    def test_a_request_to_stop_ends_the_command(self, tmp_path: Path) -> None:
        stop_request.number = signal.SIGTERM
        started = time.monotonic()
        with pytest.raises(Stopped, match="SIGTERM"):
            run_step(["/bin/sleep", "60"], environment={}, cwd=tmp_path)
        assert time.monotonic() - started < 10

    def test_commands_run_side_by_side(self, tmp_path: Path) -> None:
        # Each waits for the other's file: one after the other they would wait for ever.
        meet = 'touch "$0"; i=0; while [ ! -e "$1" ]; do sleep 0.02; i=$((i+1)); [ $i -lt 500 ] || exit 9; done'
        commands = [["/bin/sh", "-c", meet, "a", "b"], ["/bin/sh", "-c", meet, "b", "a"]]
        assert run_together(commands, environment={"PATH": "/usr/bin:/bin"}, cwd=tmp_path) == [0, 0]


class TestDescribeExit:
    @pytest.mark.parametrize(
        ("code", "text"), [(3, "exit code 3"), (-9, "killed by SIGKILL"), (-99, "killed by signal 99")]
    )
    def test_names_the_signal(self, code: int, text: str) -> None:
        assert describe_exit(code) == text
