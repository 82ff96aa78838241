"""A private PostgreSQL: made, started, found again and stopped."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from launcher.binaries import CLEAN_ENVIRONMENT, Binaries, Owner, can_reach, choose_owner, find_binaries, run_as
from launcher.console import LauncherError, last_lines, say
from launcher.processes import POLL, die_with_parent, stop_request
from launcher.state import State

USER = DATABASE = "countinghouse"
# Only loopback TCP: a socket file's path may be 107 bytes long, a checkout's may be longer.
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "logging_collector": "off",
    "log_destination": "stderr",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "max_connections": "100",
}
# A test database may be lost at any time.
FAST_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "max_connections": "200",
}


def find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_port_free(host: str, port: int) -> bool:
    """True when a server could listen there now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def is_postgres(pid: int) -> bool:
    """True when a process lives and is a PostgreSQL server: pid files outlive machines, pids are used again."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    process = Path(f"/proc/{pid}")
    if Path("/proc/self").exists():
        with suppress(OSError):
            return b"postgres" in (process / "cmdline").read_bytes().split(b"\0")[0]
        return False
    command = ["ps", "-ww", "-o", "command=", "-p", str(pid)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return "postgres" in answer.stdout


class Cluster:
    """One data folder and the server on it."""

    def __init__(
        self, folder: Path, *, binaries: Binaries, owner: Owner | None, log: Path, password: str, durable: bool = True
    ) -> None:
        self.folder = folder
        self.binaries = binaries
        self.owner = owner
        self.log = log
        self.password = password
        self.durable = durable
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def exists(self) -> bool:
        return (self.folder / "PG_VERSION").exists()

    def read_pid_file(self) -> list[str]:
        """Return the lines of the server's pid file: pid, folder, start, port, socket folder, address, key, status."""
        try:
            return (self.folder / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except OSError:
            return []

    def find_pid(self) -> int | None:
        """Return the pid of the server that runs on this folder, whoever started it."""
        if self.process is not None:
            return self.process.pid if self.process.poll() is None else None
        lines = self.read_pid_file()
        pid = int(lines[0]) if lines and lines[0].strip().isdigit() else 0
        return pid if pid > 1 and is_postgres(pid) else None

    @property
    def port(self) -> int:
        """The port of the running server."""
        return int(self.read_pid_file()[3])

    @property
    def url(self) -> str:
        return f"postgres://{USER}:{self.password}@127.0.0.1:{self.port}/{DATABASE}"

    def create(self) -> None:
        """Make the data folder: UTF-8, passwords needed, no locale of the machine in the sort order."""
        draft = self.folder.with_name(f"{self.folder.name}.new")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700, parents=True)
        if self.owner:
            os.chown(draft, self.owner.uid, self.owner.gid)
        descriptor, password_file = tempfile.mkstemp(prefix="countinghouse-")
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(self.password)
                if self.owner:
                    os.fchown(file.fileno(), self.owner.uid, self.owner.gid)
            self._initialise(draft, password_file)
        finally:
            Path(password_file).unlink()
        single = [str(self.binaries.folder / "postgres"), "--single", "-D", str(draft)]
        answer = run_as(self.owner, [*single, "template1"], text=f"CREATE DATABASE {DATABASE};\n")
        if answer.returncode != 0 or "ERROR" in answer.stderr:
            raise LauncherError(f"could not create the database {DATABASE}:\n{answer.stderr}")
        draft.rename(self.folder)

    def _initialise(self, draft: Path, password_file: str) -> None:
        command = [str(self.binaries.folder / "initdb"), "-D", str(draft), "-U", USER, f"--pwfile={password_file}"]
        command += ["--auth=scram-sha-256", "--encoding=UTF8", *([] if self.durable else ["--no-sync"])]
        answer = run_as(self.owner, [*command, "--locale=C.UTF-8"])
        if answer.returncode != 0:  # that locale is not everywhere
            answer = run_as(self.owner, [*command, "--locale=C"])
        if answer.returncode == 0:
            return
        who = f" as the user {self.owner.name}" if self.owner else ""
        raise LauncherError(f"initdb failed{who} ({self.binaries.folder}):\n{answer.stdout}{answer.stderr}")

    def start(self, *, port: int, tied: bool) -> None:
        """Start the server and wait until it answers; `tied`: it must not outlive the launcher."""
        settings = SETTINGS | ({} if self.durable else FAST_SETTINGS)
        arguments = [str(self.binaries.folder / "postgres"), "-D", str(self.folder), "-p", str(port)]
        for name, value in settings.items():
            arguments += ["-c", f"{name}={value}"]
        if self.find_pid() is None:  # a pid file of another boot, whose number now belongs to something else
            (self.folder / "postmaster.pid").unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            self.log.replace(self.log.with_name(f"{self.log.name}.1"))
        who = {"user": self.owner.uid, "group": self.owner.gid, "extra_groups": []} if self.owner else {}
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(  # type: ignore[call-overload]
                arguments,
                cwd="/",
                env=CLEAN_ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGINT) if tied else None,  # noqa: PLW1509 - one thread
                **who,
            )
        self.wait_until_ready()

    def wait_until_ready(self, *, patience: float = 60.0) -> None:
        deadline = time.monotonic() + patience
        while True:
            stop_request.check()
            if self.process is not None and self.process.poll() is not None:
                raise LauncherError(f"PostgreSQL did not start. The end of {self.log}:\n{last_lines(self.log)}")
            lines = self.read_pid_file()
            own = self.process is None or (lines and lines[0] == str(self.process.pid))
            if own and len(lines) >= 8 and lines[7].strip() == "ready":
                return
            if time.monotonic() > deadline:
                raise LauncherError(f"PostgreSQL is not ready after {patience:.0f} s. See {self.log}.")
            time.sleep(POLL)

    def stop(self, *, grace: float = 30.0) -> bool:
        """Stop the server, whoever started it; False when none was running."""
        pid = self.find_pid()
        if pid is None:
            return False
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):  # fast, immediate, none
            with suppress(ProcessLookupError):
                os.kill(pid, number)
            deadline = time.monotonic() + grace
            while time.monotonic() < deadline:
                if self.process.poll() is not None if self.process else not is_postgres(pid):
                    return True
                time.sleep(POLL)
        return True


def choose_folder(state: State, owner: Owner | None) -> Path:
    """Return where the private database lives: in the state folder, or outside where its user cannot go there."""
    if can_reach(owner, state.folder):
        return state.database
    return state.outside / "postgres"


class PrivateDatabase:
    """
    The cluster of a checkout, shared by `up`, `manage` and `shell`.

    Whoever needs it holds the lock "users" as a reader; the last one to leave stops the server.
    """

    def __init__(self, state: State, password: str) -> None:
        owner = choose_owner()
        folder = choose_folder(state, owner)
        version_file = folder / "PG_VERSION"
        wanted = int(version_file.read_text()) if version_file.exists() else None
        self.state = state
        self.cluster = Cluster(
            folder,
            binaries=find_binaries(state, owner, wanted=wanted),
            owner=owner,
            log=state.logs / "postgres.log",
            password=password,
        )
        self._users = state.lock("users")
        self._started = False

    def make(self) -> None:
        """Make the data folder unless it is there; whoever comes second waits."""
        with self.state.lock("database").held():
            self._make()

    def _make(self) -> None:
        cluster = self.cluster
        if not cluster.exists:
            say(f"making a private database in {cluster.folder} (PostgreSQL {cluster.binaries.version})")
            cluster.create()

    def open(self, *, tied: bool) -> str:
        """Make, start or join the server and return its URL."""
        cluster = self.cluster
        with self.state.lock("database").held():
            self._users.acquire(shared=True, wait=True)
            if cluster.find_pid() is not None:
                cluster.wait_until_ready()
                return cluster.url
            self._make()
            port = self.state.recall("database_port") or find_free_port()
            if not is_port_free("127.0.0.1", port):
                port = find_free_port()
            self._started = tied
            try:
                cluster.start(port=port, tied=tied)
            except LauncherError:
                if is_port_free("127.0.0.1", port):
                    raise
                port = find_free_port()  # another program took the port in between
                cluster.start(port=port, tied=tied)
            say(f"PostgreSQL {cluster.binaries.version} answers on 127.0.0.1:{port}")
            self.state.remember("database_port", port)
            return cluster.url

    def close(self) -> None:
        """Leave; stop the server if `up` owns it or nobody else uses it."""
        with self.state.lock("database").held():
            if self._started or self._users.acquire():
                self.cluster.stop()
            self._users.release()

    def check(self) -> None:
        """:raises LauncherError: if the server has gone."""
        if self.cluster.find_pid() is None:
            log = self.cluster.log
            raise LauncherError(
                f"PostgreSQL stopped by itself, so everything is stopped. The end of {log}:\n{last_lines(log)}"
            )


def stop_stray(state: State) -> bool:
    """Stop the private database a crashed launcher left; False when there is none."""
    stopped = False
    for folder in (state.database, state.outside / "postgres"):
        nothing = Binaries(folder, 0)
        cluster = Cluster(folder, binaries=nothing, owner=None, log=state.logs / "postgres.log", password="")
        stopped = cluster.stop() or stopped
    return stopped


@contextmanager
def open_test_database(state: State) -> Iterator[str]:
    """Yield the URL of a fresh PostgreSQL that trades durability for speed and disappears after the block."""
    owner = choose_owner()
    with tempfile.TemporaryDirectory(prefix="countinghouse-test-", ignore_cleanup_errors=True) as name:
        base = Path(name)
        base.chmod(0o711)
        log = base / "postgres.log"
        cluster = Cluster(
            base / "data",
            binaries=find_binaries(state, owner),
            owner=owner,
            log=log,
            password="test",  # noqa: S106 - loopback, thrown away
            durable=False,
        )
        cluster.create()
        try:
            cluster.start(port=find_free_port(), tied=True)
            yield cluster.url
        finally:
            cluster.stop()
