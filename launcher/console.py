"""What the launcher says, and how it fails."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TextIO

STARTED = time.monotonic()
_quiet: list[bool] = []


class LauncherError(Exception):
    """Something the user can act on: the message says what happened and what to do next."""


def be_quiet() -> None:
    """Say only what went wrong: the output of `manage` belongs to the command."""
    _quiet.append(True)


def write(text: str, *, stream: TextIO | None = None) -> None:
    """Print one line at once; a terminal that has gone away is no reason to stop."""
    target = stream or (sys.stderr if _quiet else sys.stdout)
    with suppress(OSError, ValueError):
        print(text, file=target, flush=True)


def say(text: str) -> None:
    """Print one progress line, with the seconds since the start."""
    if not _quiet:
        write(f"[{time.monotonic() - STARTED:5.1f} s] {text}")


def warn(text: str) -> None:
    write(f"countinghouse: {text}", stream=sys.stderr)


def last_lines(path: Path, count: int = 15, limit: int = 65_536) -> str:
    """Return the end of a log file, indented, for an error message."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - limit))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return "    (no log)"
    return "\n".join(f"    {line}" for line in lines[-count:]) or "    (the log is empty)"
