"""`python -m launcher.prepare CHECKOUT`: make the private database while the packages are being installed."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from launcher.binaries import list_system_binaries
from launcher.console import LauncherError, be_quiet
from launcher.postgres import PrivateDatabase
from launcher.processes import die_with_parent
from launcher.state import State


def start_preparing(state: State) -> subprocess.Popen[bytes] | None:
    """Begin to make the database beside the installation; None when there is nothing to gain."""
    if state.venv.exists() or next(list_system_binaries(), None) is None:
        return None
    state.secrets()  # made here: two processes would make two passwords
    return subprocess.Popen(
        [sys.executable, "-m", "launcher.prepare", str(state.checkout)],
        cwd=Path(__file__).resolve().parent.parent,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=die_with_parent(9),  # noqa: PLW1509 - the launcher has one thread
    )


def main(checkout: str) -> None:
    """Make the database; a failure is found again, and reported, by the one who needs it."""
    be_quiet()
    state = State(Path(checkout))
    with suppress(LauncherError):
        PrivateDatabase(state, state.secrets()["database_password"]).make()


if __name__ == "__main__":
    main(sys.argv[1])
