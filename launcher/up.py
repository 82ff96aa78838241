"""`up` and `down`: bring the whole site up, keep it up, take it down in order."""

from __future__ import annotations

import http.client
import json
import os
import shlex
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from launcher.console import STARTED, LauncherError, say, write
from launcher.postgres import PrivateDatabase, is_port_free, stop_stray
from launcher.prepare import start_preparing
from launcher.processes import Stopped, Supervisor, kill_group, run_step, stop_request
from launcher.sandbox import Sandbox
from launcher.site import ADMIN_USER, build_site_environment, check_servers, has_own_database, read_user_environment
from launcher.state import Lock, State, read_json, write_private
from launcher.venv import Environment

TICK = 0.25


@dataclass
class Options:
    host: str = "127.0.0.1"
    port: int = 8087
    sample: bool = True
    stripe_sandbox: bool = False

    @property
    def bind(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def local_host(self) -> str:
        """The address this machine reaches the site at."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(self.host, self.host)  # noqa: S104

    @property
    def url(self) -> str:
        host = self.local_host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"


@dataclass
class Site:
    """One run of `up`: what was started, so that it can be stopped."""

    state: State
    options: Options
    lock: Lock
    database: PrivateDatabase | None = None
    supervisor: Supervisor | None = None
    preparation: subprocess.Popen[bytes] | None = None
    environment: dict[str, str] = field(default_factory=dict)
    access: dict[str, Any] = field(default_factory=dict)
    sandbox: Sandbox | None = None

    def bring_up(self) -> None:
        """Do everything that lies between a bare checkout and a site that answers."""
        user = read_user_environment()
        check_servers(user)
        if self.options.stripe_sandbox:
            self.sandbox = Sandbox.prepare(user, site_url=self.options.url)
            user = {**user, **self.sandbox.environment}
        if not has_own_database(user):
            self.preparation = start_preparing(self.state)
        Environment(self.state).ensure("runtime")
        self.environment = build_site_environment(user, self.state, host=self.options.host)
        if has_own_database(user):
            say("using the database of the environment")
        else:
            self.database = PrivateDatabase(self.state, self.state.secrets()["database_password"])
            self.environment["BILLING_DATABASE_URL"] = self.database.open(tied=True)
        self._create_supervisor()
        self._start_sandbox()
        # It answers "not ready" until the migrations are there, so it may load while they are being applied.
        self._start_web()
        self._bootstrap()
        self._wait_until_ready()
        self._start_jobs()

    def _bootstrap(self) -> None:
        """Run the one management command that prepares the database and the sign-in."""
        say("preparing the site")
        facts = self.state.folder / "bootstrap.json"
        facts.unlink(missing_ok=True)
        command = [str(self.state.python), "manage.py", "bootstrap", "--output", str(facts)]
        if not self.options.sample:
            command.append("--no-sample")
        code = run_step(command, environment=self.environment, cwd=self.state.checkout)
        if code != 0:
            raise LauncherError("the site could not be prepared; the reason is above.")
        self.access = read_json(facts)
        facts.unlink(missing_ok=True)

    def _create_supervisor(self) -> Supervisor:
        self.supervisor = Supervisor(environment=self.environment, cwd=self.state.checkout, logs=self.state.logs)
        return self.supervisor

    def _start_sandbox(self) -> None:
        """Start the payment provider of this machine, before anything could ask it."""
        if self.sandbox is None:
            return
        say("starting the Stripe sandbox")
        supervisor = self.supervisor or self._create_supervisor()
        supervisor.start("stripe", self.sandbox.command(self.state.python))
        self.sandbox.wait(self.check)

    def _start_web(self) -> None:
        say("starting the web server")
        web = [str(self.state.python), "-m", "gunicorn", "billing_site.wsgi:application", "--bind", self.options.bind]
        web += ["--worker-class", "gthread", "--preload", "--workers", "2", "--threads", "8"]
        web += [
            "--no-control-socket",
            "--graceful-timeout",
            "10",
            "--timeout",
            "60",
            "--access-logfile",
            "-",
            "--log-level",
            "warning",
        ]
        supervisor = self.supervisor or self._create_supervisor()
        supervisor.start("web", web, BILLING_DB_POOL=self.environment.get("BILLING_DB_POOL", "true"))

    def _start_jobs(self) -> None:
        """Start one worker and, apart from it, the clock that rings the schedules."""
        say("starting worker and beat")
        supervisor = self.supervisor or self._create_supervisor()
        celery = [str(self.state.python), "-m", "celery", "-A", "billing_site.celery"]
        worker = [*celery, "worker", "--concurrency", "2", "--loglevel", "INFO", "--without-mingle", "--without-gossip"]
        supervisor.start("worker", [*worker, "--hostname", "worker@%h"], BILLING_DB_POOL="false")
        pid_file = str(self.state.folder / "beat.pid")
        (self.state.folder / "beat.pid").unlink(missing_ok=True)  # our lock already excludes a second beat
        beat = [*celery, "beat", "--loglevel", "INFO", "--pidfile", pid_file]
        supervisor.start("beat", beat, BILLING_DB_POOL="false")

    def check(self) -> None:
        """Look once at everything that must live."""
        if self.supervisor:
            self.supervisor.check()
        stop_request.check()
        if self.database:
            self.database.check()

    def _wait_until_ready(self, *, patience: float = 90.0) -> None:
        deadline = time.monotonic() + patience
        answer = "no answer"
        while time.monotonic() < deadline:
            self.check()
            connection = http.client.HTTPConnection(self.options.local_host, self.options.port, timeout=5)
            try:
                connection.request("GET", "/readyz")
                response = connection.getresponse()
                if response.status == 200:
                    return
                answer = f"{response.status} {response.read(300).decode(errors='replace')}"
            except OSError:
                pass
            finally:
                connection.close()
            time.sleep(0.1)
        raise LauncherError(f"{self.options.url}/readyz is not ready after {patience:.0f} s: {answer}")

    def print_box(self) -> None:
        """Print how to use the site, then the word the reader waits for."""
        url, token = self.options.url, self.access.get("token", "")
        write_private(self.state.access, json.dumps({"url": url, "token": token}))
        user = self.environment.get("BILLING_ADMIN_USER", ADMIN_USER)
        lines = [
            f"Admin     {url}/admin/",
            f"Sign-in   {user}  password {self.environment['BILLING_ADMIN_PASSWORD']}",
            f"API docs  {url}/api/docs",
        ]
        if self.sandbox is not None:
            lines.append(f"Stripe    {self.sandbox.url}/  (a sandbox: no card is real, no money moves)")
        if approver := self.access.get("approver"):
            lines.insert(2, f"          {approver}  same password: approves what another person asks for")
        write("\n" + "─" * 78)
        write("\n".join(f"  {line}" for line in lines))
        if token:
            write(f"  Token     internal audience, valid {self.access.get('token_days', 30)} days:\n\n{token}\n")
            write_private(self.state.token, token)
            write(f"  Try it (the token is also in {self.state.token}):\n")
            write(f'  curl -H "Authorization: Bearer $(cat {shlex.quote(str(self.state.token))})" {self.example_url}')
        write("─" * 78)
        say(f"ready ({time.monotonic() - STARTED:.1f} s) — {url} — Ctrl-C stops everything")

    @property
    def example_url(self) -> str:
        return f"'{self.options.url}/api/v1/billing/invoices{self.access.get('example_query', '')}'"

    def serve(self) -> None:
        """Watch until the user stops it or something dies."""
        while True:
            self.check()
            time.sleep(TICK)

    def take_down(self) -> None:
        """Stop web, worker and beat, then the database."""
        if self.preparation:
            kill_group(self.preparation, signal.SIGKILL)
            self.preparation.wait()
        if self.supervisor and self.supervisor.children:
            say("stopping web, worker and beat")
            self.supervisor.stop()
        if self.database:
            say("stopping PostgreSQL")
            self.database.close()
        for leftover in (self.state.access, self.state.folder / "beat.pid"):
            leftover.unlink(missing_ok=True)


def run_up(state: State, options: Options) -> int:
    """Run the site in the foreground; the exit code is 0 after an orderly stop."""
    state.prepare()
    lock = state.lock("up")
    if not lock.acquire():
        other = lock.read()
        raise LauncherError(
            f"already running here: process {other.get('pid', '?')}, {other.get('url', 'starting')}. "
            "Stop it with `./countinghouse down`."
        )
    lock.write({"pid": os.getpid(), "url": options.url})
    if not is_port_free(options.host, options.port):
        raise LauncherError(
            f"port {options.port} on {options.host} is in use or not ours; "
            f"choose another one: `./countinghouse up --port {options.port + 1}`."
        )
    stop_request.install()
    site = Site(state, options, lock)
    is_ready = False
    try:
        site.bring_up()
        site.print_box()
        is_ready = True
        site.serve()
    except Stopped as stop:
        write("")
        say(f"{stop}: stopping")
        return 0 if is_ready else 128 + stop.number
    finally:
        site.take_down()
        lock.release()
        say("stopped")
    return 0


def run_down(state: State, *, patience: float = 60.0) -> int:
    """Stop a running `up` and whatever a crashed one left."""
    if not state.folder.exists():
        say("nothing is running")
        return 0
    lock = state.lock("up")
    stopped = False
    if not lock.acquire():
        pid = int(lock.read().get("pid") or 0)
        say(f"stopping process {pid}")
        deadline = time.monotonic() + patience
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        while not lock.acquire():
            if time.monotonic() > deadline:
                raise LauncherError(
                    f"process {pid} does not stop; look at its terminal, or end it with `kill -9 {pid}`."
                )
            time.sleep(TICK)
        stopped = True
    stopped = stop_stray(state) or stopped
    lock.release()
    say("stopped" if stopped else "nothing is running")
    return 0
