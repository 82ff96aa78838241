"""`test`: every check of the project, one after the other, and one verdict at the end."""

from __future__ import annotations

import os
import secrets
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from launcher.console import say, write
from launcher.postgres import open_test_database
from launcher.processes import POLL, die_with_parent, run_step, stop_request
from launcher.site import build_test_environment, first_of, read_user_environment
from launcher.state import State
from launcher.venv import Environment

WORKER_OPTIONS = ("-n", "--numprocesses", "--pdb", "--trace", "--dist", "no:xdist")


@dataclass(frozen=True)
class Step:
    """One check: a title, a command and what its environment has besides the common one."""

    title: str
    arguments: list[str]
    extra: Mapping[str, str]


@dataclass(frozen=True)
class Outcome:
    title: str
    code: int
    seconds: float


class Background:
    """A check that runs beside others; its output is shown when it is done."""

    def __init__(self, step: Step, *, environment: Mapping[str, str], cwd: Path) -> None:
        self.title = step.title
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed in finish
        self._started = time.time()
        self._process = subprocess.Popen(
            step.arguments,
            env={**environment, **step.extra},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            preexec_fn=die_with_parent(9),  # noqa: PLW1509 - the launcher has one thread
        )

    @property
    def is_done(self) -> bool:
        return self._process.poll() is not None

    def finish(self) -> Outcome:
        while not self.is_done:
            stop_request.check()
            time.sleep(POLL)
        # Nobody watched it end, but it printed its verdict then.
        seconds = max(0.0, os.fstat(self._output.fileno()).st_mtime - self._started)
        self._output.seek(0)
        print_heading(f"{self.title} ({seconds:.0f} s beside the others)")
        write(self._output.read().decode(errors="replace").rstrip())
        self._output.close()
        return Outcome(self.title, self._process.returncode, seconds)

    def cancel(self) -> None:
        if not self.is_done:
            self._process.kill()
            self._process.wait()
        self._output.close()


def print_heading(title: str) -> None:
    write(f"\n── {title} " + "─" * max(2, 74 - len(title)))


def list_static_steps(state: State, folder: str) -> list[Step]:
    """Return the checks that run no test, quickest first; the type check is the last."""
    python = str(state.python)
    manage = [python, "manage.py"]
    schema = str(state.folder / "openapi.yaml")
    deployed = {
        "BILLING_DEBUG": "false",
        "BILLING_TESTING": "false",
        "BILLING_SECRET_KEY": secrets.token_urlsafe(48),
        "BILLING_JWT_SECRET": secrets.token_urlsafe(48),
        "BILLING_ALLOWED_HOSTS": "billing.example.com",
        "BILLING_STATIC_ROOT": f"{folder}/static",
    }
    return [
        Step("ruff check", [python, "-m", "ruff", "check", "."], {}),
        Step("ruff format", [python, "-m", "ruff", "format", "--check", "."], {}),
        Step("import contracts", [str(state.venv / "bin" / "lint-imports")], {}),
        Step("migrations", [*manage, "makemigrations", "--check", "--dry-run"], {}),
        Step("deployment check", [*manage, "check", "--deploy", "--fail-level", "WARNING"], deployed),
        Step("OpenAPI schema", [*manage, "spectacular", "--validate", "--fail-on-warn", "--file", schema], {}),
        Step("types", [python, "-m", "mypy", "."], {}),
    ]


def build_test_step(state: State, arguments: Sequence[str]) -> Step:
    """Return the pytest run: over two processes and naming the slowest, unless the caller names tests or workers."""
    command = [str(state.python), "-m", "pytest", *arguments]
    if not arguments:
        command += ["-n", "2", "--dist", "worksteal", "--durations", "30"]
    elif not any(argument.startswith(WORKER_OPTIONS) for argument in arguments):
        command += ["-p", "no:xdist"]
    return Step("tests", command, {})


def run_steps(steps: Sequence[Step], *, environment: Mapping[str, str], cwd: Path) -> list[Outcome]:
    """Run every step, also after a failure; the type check runs beside the others."""
    outcomes: list[Outcome] = []
    background = [
        Background(step, environment=environment, cwd=cwd) for step in steps if step.title == "types" and len(steps) > 1
    ]
    try:
        for step in steps:
            if background and step.title == "types":
                continue
            print_heading(step.title)
            started = time.monotonic()
            code = run_step(step.arguments, environment={**environment, **step.extra}, cwd=cwd)
            outcomes.append(Outcome(step.title, code, time.monotonic() - started))
            if background and background[0].is_done:
                outcomes.append(background.pop().finish())
        outcomes += [other.finish() for other in background]
        background.clear()
    finally:
        for other in background:
            other.cancel()
    return outcomes


def print_summary(outcomes: Sequence[Outcome]) -> int:
    """Print one line per check; return 0 when all passed."""
    print_heading("summary")
    for outcome in outcomes:
        verdict = "passed" if outcome.code == 0 else f"FAILED (exit code {outcome.code})"
        write(f"  {outcome.title:20} {verdict:24} {outcome.seconds:6.1f} s")
    failed = [outcome.title for outcome in outcomes if outcome.code != 0]
    write(f"\n{'all checks passed' if not failed else 'failed: ' + ', '.join(failed)}")
    return 1 if failed else 0


def run_test(state: State, arguments: Sequence[str]) -> int:
    """Run all checks, or with arguments only pytest with them (`--all` adds the other checks)."""
    state.prepare()
    stop_request.install()
    Environment(state).ensure("dev")
    user = read_user_environment()
    wants_all = not arguments or "--all" in arguments
    arguments = [argument for argument in arguments if argument != "--all"]
    with tempfile.TemporaryDirectory(prefix="countinghouse-test-state-") as folder:

        def run(url: str) -> int:
            environment = build_test_environment(user, state, database_url=url, folder=folder)
            steps = [*(list_static_steps(state, folder) if wants_all else []), build_test_step(state, arguments)]
            return print_summary(run_steps(steps, environment=environment, cwd=state.checkout))

        own = first_of(user, ("BILLING_TEST_DATABASE_URL",))
        if own:
            return run(own)
        with open_test_database(state) as url:
            say("a fresh PostgreSQL for the tests is up")
            return run(url)
