"""Real processes of the product, started at once and killed when a test says so."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings

from tests.support.processes import product_environment

_PATIENCE = 180.0  # the first of them waits until everything is loaded


class Process:
    """One process: what it was told, what it tells, how it ended."""

    def __init__(self, launcher: Launcher, work: str) -> None:
        self._launcher = launcher
        self.work = work
        self.pid = 0
        self.told: list[Any] = []
        self.failure = ""
        self.code: int | None = None

    def wait(self) -> Any:
        """Wait for its end and return what its work returned."""
        self._launcher.wait_for(self, lambda: self.code is not None)
        assert self.code == 0, f"{self.work} ended with {self.code}: {self.failure}"
        return self.told[-1]

    def wait_word(self) -> Any:
        """Wait for the first thing it tells and return it; it goes on."""
        self._launcher.wait_for(self, lambda: bool(self.told) or self.code is not None)
        assert self.told, f"{self.work} ended with {self.code}: {self.failure}"
        return self.told[0]

    def wait_death(self) -> None:
        """Wait until it was killed, and make sure that it did not end otherwise."""
        self._launcher.wait_for(self, lambda: self.code is not None)
        assert self.code == -signal.SIGKILL, f"{self.work} ended with {self.code}: {self.told} {self.failure}"

    def kill(self) -> None:
        """Kill it as a machine that loses its power does, unless it ended by itself."""
        self._launcher.wait_for(self, lambda: bool(self.pid))
        if self.code is None:
            os.kill(self.pid, signal.SIGKILL)
        self._launcher.wait_for(self, lambda: self.code is not None)


class Launcher:
    """The process that the others are copies of."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process, self._stdin, self._stdout = process, process.stdin, process.stdout
        self._changed = threading.Condition()
        self._started: list[Process] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def start(self, work: str, *, values: dict[str, Any], dies: dict[str, Any], arguments: dict[str, Any]) -> Process:
        """Start a copy with settings of its own; see `tests.faults.product_worker`."""
        process = Process(self, work)
        with self._changed:
            self._started.append(process)
            order = {"id": len(self._started) - 1, "work": work, "settings": values, "dies": dies}
        self._stdin.write(json.dumps({**order, "arguments": arguments}) + "\n")
        self._stdin.flush()
        return process

    def wait_for(self, process: Process, is_so: Any) -> None:
        with self._changed:
            assert self._changed.wait_for(is_so, _PATIENCE), f"{process.work} neither tells anything nor ends"

    def stop(self) -> None:
        """End it with all its copies."""
        self._stdin.close()
        self._process.wait(timeout=_PATIENCE)
        self._reader.join(_PATIENCE)
        self._stdout.close()

    def _read(self) -> None:
        for line in self._stdout:
            said = json.loads(line)
            with self._changed:
                process = self._started[said["id"]]
                process.pid = said.get("started", process.pid)
                process.failure = said.get("failed", process.failure)
                process.code = said.get("ended", process.code)
                if "told" in said:
                    process.told.append(said["told"])
                self._changed.notify_all()
        with self._changed:  # it is gone, and its copies with it
            for process in self._started:
                process.code = -1 if process.code is None else process.code
            self._changed.notify_all()


class Processes:
    """The processes of one test, which all see the same settings."""

    def __init__(self, launcher: Launcher, values: dict[str, Any]) -> None:
        self._launcher = launcher
        self.values = {"JOBS_SENDER": "tests.faults.product_worker.drop_job", **values}
        self._started: list[Process] = []

    def start(self, work: str, *, dies: dict[str, Any] | None = None, **arguments: Any) -> Process:
        """Start a process that does something, and dies of it if it is told to."""
        process = self._launcher.start(work, values=self.values, dies=dies or {}, arguments=arguments)
        self._started.append(process)
        return process

    def run(self, work: str, **arguments: Any) -> Any:
        """Have something done by a process, and return what it returned."""
        return self.start(work, **arguments).wait()

    def die(self, work: str, *, dies: dict[str, Any], **arguments: Any) -> None:
        """Have something begun by a process that dies of it."""
        self.start(work, dies=dies, **arguments).wait_death()

    def stop(self) -> None:
        """End what still runs."""
        for process in self._started:
            process.kill()


@contextmanager
def launched(**environment: str) -> Iterator[Launcher]:
    """Start the process that the others will be copies of, with the test database, for the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.product_worker"],
        cwd=settings.BASE_DIR,
        env=product_environment(**environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    launcher = Launcher(process)
    try:
        yield launcher
    finally:
        launcher.stop()
