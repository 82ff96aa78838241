"""Child processes: started apart from the terminal, watched, and never left behind."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType

from launcher.console import LauncherError, last_lines, say

PR_SET_PDEATHSIG = 1
POLL = 0.05
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class Stopped(Exception):
    """The user or the system asked the launcher to end."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class StopRequest:
    """
    Turns SIGINT, SIGTERM and SIGHUP into a flag that is looked at between steps.

    A handler that raised could leave between starting a child and writing it down.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self.count = 0

    def install(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.number = self.number or number
        self.count += 1

    def check(self) -> None:
        """:raises Stopped: if a signal has arrived."""
        if self.number is not None:
            raise Stopped(self.number)


stop_request = StopRequest()


def die_with_parent(number: int) -> Callable[[], None] | None:
    """Return a function for the child that ties its life to the launcher's, where Linux allows it."""
    if _libc is None:
        return None
    libc, parent = _libc, os.getpid()

    def tie() -> None:
        libc.prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
        if os.getppid() != parent:  # the launcher died in between
            os._exit(1)

    return tie


def describe_exit(code: int) -> str:
    """Say how a process ended."""
    if code >= 0:
        return f"exit code {code}"
    with suppress(ValueError):
        return f"killed by {signal.Signals(-code).name}"
    return f"killed by signal {-code}"


def kill_group(process: subprocess.Popen[bytes], number: int) -> None:
    """Signal everything in the child's own session."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


class Child:
    """One supervised process with its own log file."""

    def __init__(
        self, name: str, arguments: Sequence[str], *, environment: Mapping[str, str], cwd: Path, log: Path
    ) -> None:
        self.name = name
        self.log = log
        with suppress(FileNotFoundError):
            log.replace(log.with_name(f"{log.name}.1"))
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                list(arguments),
                env=dict(environment),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGTERM),  # noqa: PLW1509 - the launcher has one thread
            )


class Supervisor:
    """Holds the children of `up`: the death of one ends the rest."""

    def __init__(self, *, environment: Mapping[str, str], cwd: Path, logs: Path) -> None:
        self.environment = environment
        self.cwd = cwd
        self.logs = logs
        self.children: list[Child] = []

    def start(self, name: str, arguments: Sequence[str], **extra: str) -> Child:
        """Start one child; `extra` is added to its environment."""
        child = Child(
            name, arguments, environment={**self.environment, **extra}, cwd=self.cwd, log=self.logs / f"{name}.log"
        )
        self.children.append(child)
        return child

    def check(self) -> None:
        """
        Look at every child once.

        :raises Stopped: if the launcher was asked to end.
        :raises LauncherError: if a child has ended by itself.
        """
        stop_request.check()
        for child in self.children:
            code = child.process.poll()
            if code is not None:
                raise LauncherError(
                    f"{child.name} stopped by itself ({describe_exit(code)}), so everything is stopped. "
                    f"The end of {child.log}:\n{last_lines(child.log)}"
                )

    def stop(self, *, grace: float = 20.0) -> None:
        """Ask every child to finish, wait, kill what is left; returns when nothing of them lives."""
        for child in self.children:
            if child.process.poll() is None:
                child.process.terminate()
        deadline = time.monotonic() + grace
        patience = stop_request.count + 1
        for child in self.children:
            while child.process.poll() is None:
                if time.monotonic() > deadline or stop_request.count > patience:
                    say(f"{child.name} does not stop; killing it")
                    break
                time.sleep(POLL)
            kill_group(child.process, signal.SIGKILL)
            child.process.wait()
        self.children.clear()


def run_together(
    commands: Sequence[Sequence[str]],
    *,
    environment: Mapping[str, str],
    cwd: Path,
    log: Path | None = None,
    heartbeat: Callable[[], None] | None = None,
) -> list[int]:
    """
    Run commands side by side to their end and return their exit codes; output goes to `log`, or to the terminal.

    `heartbeat` is called every five seconds. :raises Stopped: if the launcher was asked to end (they are killed).
    """
    processes: list[subprocess.Popen[bytes]] = []
    next_beat = time.monotonic() + 5
    try:
        for arguments in commands:
            processes.append(_start_step(arguments, environment=environment, cwd=cwd, log=log))
        while any(process.poll() is None for process in processes):
            stop_request.check()
            if heartbeat and time.monotonic() > next_beat:
                heartbeat()
                next_beat += 5
            time.sleep(POLL)
        return [process.returncode for process in processes]
    finally:
        for process in processes:
            if process.poll() is None:
                process.terminate()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=5)
                kill_group(process, signal.SIGKILL)
                process.wait()


def _start_step(
    arguments: Sequence[str], *, environment: Mapping[str, str], cwd: Path, log: Path | None
) -> subprocess.Popen[bytes]:
    output = log.open("ab") if log else None
    try:
        return subprocess.Popen(
            list(arguments),
            env=dict(environment),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if output else None,
            start_new_session=True,
            preexec_fn=die_with_parent(signal.SIGKILL),  # noqa: PLW1509 - the launcher has one thread
        )
    finally:
        if output:
            output.close()


def run_step(arguments: Sequence[str], *, environment: Mapping[str, str], cwd: Path, log: Path | None = None) -> int:
    """Run one command to its end and return its exit code, as `run_together` does."""
    return run_together([arguments], environment=environment, cwd=cwd, log=log)[0]


def run_attached(arguments: Sequence[str], *, environment: Mapping[str, str], cwd: Path) -> int:
    """
    Run a command that owns the terminal and return its exit code.

    Ctrl-C reaches it directly; SIGTERM and SIGHUP of the launcher are passed on.
    """
    process = subprocess.Popen(
        list(arguments),
        env=dict(environment),
        cwd=cwd,
        preexec_fn=die_with_parent(signal.SIGTERM),  # noqa: PLW1509
    )
    passed_on = 0
    while (code := process.poll()) is None:
        if stop_request.count > passed_on:
            passed_on = stop_request.count
            if stop_request.number != signal.SIGINT:
                process.terminate()
        time.sleep(0.02)
    return code if code >= 0 else 128 - code
