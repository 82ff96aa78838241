"""How far a long task is: a bar on a terminal, a line now and then anywhere else, nothing when quiet."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from billing_client.cli.output import Output

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

SECONDS_BETWEEN_LINES = 5.0
_PHASES = {"check": "Checking", "send": "Sending"}


class TaskProgress:
    """Shows the phases of a task on stderr."""

    def __init__(self, output: Output, name: str) -> None:
        self._output = output
        self._name = name
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._phase = ""
        self._total = 0
        self._told = time.monotonic()

    def __enter__(self) -> Self:
        if not self._output.options.quiet and self._output.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            console = Console(file=self._output.stderr, no_color=not self._output.options.color)
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                console=console,
                transient=True,
            )
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def begin(self, phase: str, total: int, unit: str = "events") -> None:
        """Start a phase (`Sending`) with `total` steps; 0 where the number is not known."""
        self._phase, self._total = phase, total
        if self._bar is not None:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task = self._bar.add_task(f"{self._phase} {self._name}", total=total or None)
        else:
            steps = f": {total:,} {unit}" if total else ""
            self._output.say(f"{self._phase} {self._name}{steps}")

    def advance(self, done: int) -> None:
        """`done` steps of the phase are done."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done)
        elif time.monotonic() - self._told >= SECONDS_BETWEEN_LINES:
            self._told = time.monotonic()
            self._output.say(f"{self._phase} {self._name}: {done:,}" + (f" of {self._total:,}" if self._total else ""))

    def say(self, message: str) -> None:
        """Say something, above the bar if there is one."""
        if self._bar is not None:
            self._bar.console.print(message, highlight=False, markup=False)
        else:
            self._output.say(message)


class ImportProgress(TaskProgress):
    """The two phases of an import, by their names: `check` and `send`."""

    def begin(self, phase: str, total: int, unit: str = "events") -> None:
        """Start a phase; see `TaskProgress`."""
        super().begin(_PHASES[phase], total, unit)
