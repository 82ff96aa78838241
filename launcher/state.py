"""The state folder `.countinghouse/`: paths, secrets, remembered facts and locks."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.console import LauncherError


def write_private(path: Path, text: str) -> None:
    """Replace a file in one step; only its owner may read it."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a file; an absent or broken file is empty."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


class Lock:
    """An advisory lock on a file: it ends with the process, so a crash leaves none behind."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def acquire(self, *, shared: bool = False, wait: bool = False) -> bool:
        """Take the lock (again, to change its kind); False when another process holds it."""
        if self._descriptor is None:
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        kind = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
        try:
            fcntl.flock(self._descriptor, kind)
        except BlockingIOError:
            return False
        return True

    def write(self, facts: dict[str, Any]) -> None:
        """Tell others who holds the lock."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, json.dumps(facts).encode(), 0)

    def read(self) -> dict[str, Any]:
        return read_json(self.path)

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock for a block, waiting for it."""
        self.acquire(wait=True)
        try:
            yield
        finally:
            self.release()


@dataclass(frozen=True)
class State:
    """The checkout and its state folder (COUNTINGHOUSE_STATE_DIR puts it elsewhere)."""

    checkout: Path

    @property
    def folder(self) -> Path:
        elsewhere = os.environ.get("COUNTINGHOUSE_STATE_DIR")
        return Path(elsewhere).absolute() if elsewhere else self.checkout / ".countinghouse"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def venv(self) -> Path:
        return self.checkout / ".venv"

    @property
    def python(self) -> Path:
        return self.venv / "bin" / "python"

    @property
    def database(self) -> Path:
        return self.folder / "postgres"

    @property
    def outside(self) -> Path:
        """Where files live that another system user must reach when the checkout is closed to it."""
        key = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:12]
        return Path("/var/lib/countinghouse") / key

    @property
    def access(self) -> Path:
        """Address, sign-in and token of the running site, written for `shell`."""
        return self.folder / "access.json"

    @property
    def token(self) -> Path:
        return self.folder / "token"

    def lock(self, name: str) -> Lock:
        return Lock(self.folder / f"{name}.lock")

    def prepare(self) -> None:
        """Make the folders. Root leaves the top one passable: its database runs as another user."""
        try:
            self.folder.mkdir(exist_ok=True, parents=True)
            self.folder.chmod(0o711 if os.geteuid() == 0 else 0o700)
            for part in (self.logs, self.folder / "broker"):
                part.mkdir(exist_ok=True, mode=0o700)
        except PermissionError as error:
            raise LauncherError(
                f"cannot write to {error.filename}: it belongs to another user. "
                "Run as that user, or remove the folder .countinghouse."
            ) from error

    def recall(self, key: str) -> Any:
        return read_json(self.folder / "facts.json").get(key)

    def remember(self, key: str, value: Any) -> None:
        facts = read_json(self.folder / "facts.json") | {key: value}
        write_private(self.folder / "facts.json", json.dumps(facts, indent=1))

    def secrets(self) -> dict[str, str]:
        """Return this checkout's own secrets; made once, readable by the owner only."""
        path = self.folder / "secrets.json"
        known = read_json(path)
        made = {
            "secret_key": secrets.token_urlsafe(48),
            "jwt_secret": secrets.token_urlsafe(48),
            "admin_password": secrets.token_urlsafe(12),
            "database_password": secrets.token_urlsafe(24),
        } | known
        if made != known:
            write_private(path, json.dumps(made, indent=1))
        return made

    def delete(self) -> None:
        """Remove everything the launcher keeps, apart from the Python environment."""
        for folder in (self.folder, self.outside):
            shutil.rmtree(folder, ignore_errors=True)
            if folder.exists():
                raise LauncherError(f"could not delete {folder}; check who owns it.")
        with suppress(OSError):
            self.outside.parent.rmdir()
