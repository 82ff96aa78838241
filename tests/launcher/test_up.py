"""The whole of `./countinghouse up`: from an empty state folder to a site that answers, and nothing left after it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from launcher.postgres import find_free_port
from tests.launcher.conftest import CHECKOUT
from tests.launcher.test_processes import is_alive

pytestmark = [
    pytest.mark.processes,
    pytest.mark.slow,
    pytest.mark.skipif(
        not (CHECKOUT / ".venv" / "countinghouse.json").exists(), reason="needs the .venv that ./countinghouse makes"
    ),
]


@dataclass
class Launcher:
    """`./countinghouse` on the real checkout with a state folder of its own."""

    folder: Path
    port: int = field(default_factory=find_free_port)
    process: subprocess.Popen[str] | None = None

    def environment(self) -> dict[str, str]:
        withheld = ("BILLING_", "DJANGO_", "DATABASE_URL", "STRIPE_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(withheld)}
        return {**kept, "COUNTINGHOUSE_STATE_DIR": str(self.folder)}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(CHECKOUT / "countinghouse"), *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, env=self.environment(), stdin=subprocess.DEVNULL
        )

    def start(self, log: Path, *options: str) -> str:
        """Start `up`, wait for the word, return what it printed."""
        with log.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(CHECKOUT / "countinghouse"), "up", "--port", str(self.port), *options],
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                cwd="/",
            )
        deadline = time.monotonic() + 240
        while not re.search(r"\] ready \(", log.read_text()):
            assert self.process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        return log.read_text()

    def list_processes(self) -> list[int]:
        """Return the launcher's children and theirs."""
        assert self.process is not None
        table = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
        parents = [tuple(map(int, line.split())) for line in table.splitlines()]
        found = [self.process.pid]
        for pid in found:
            found += [child for child, parent in parents if parent == pid]
        return found

    def stop(self, number: signal.Signals) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(timeout=60)


@pytest.fixture
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    made = Launcher(tmp_path_factory.mktemp("state") / "a folder")
    yield made
    if made.process is not None and made.process.poll() is None:
        made.stop(signal.SIGTERM)
    made.run("reset", "--yes")


def wait_until_gone(processes: list[int]) -> None:
    deadline = time.monotonic() + 10
    while left := [pid for pid in processes if is_alive(pid)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def check_invoices(base: str, printed: str, numbers: list[str]) -> None:
    """The invoices of the printed table are those of the API, with the printed token."""
    token = next(line for line in printed.splitlines() if line.startswith("eyJ"))
    headers = {"Authorization": f"Bearer {token}"}
    answer = httpx.get(f"{base}/api/v1/billing/invoices", params={"limit": 200}, headers=headers, timeout=30)
    assert answer.status_code == 200, answer.text
    assert sorted(item["number_str"] for item in answer.json()["items"]) == sorted(numbers)


def check_sign_in(base: str, printed: str) -> None:
    """The printed user and password open the admin."""
    sign_in = re.search(r"Sign-in +(\S+) +password (\S+)", printed)
    assert sign_in is not None
    with httpx.Client(base_url=base, timeout=30) as browser:
        form = browser.get("/admin/login/")
        hidden = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form.text)
        assert hidden is not None
        fields = {"csrfmiddlewaretoken": hidden[1], "username": sign_in[1], "password": sign_in[2], "next": "/admin/"}
        answer = browser.post("/admin/login/", data=fields, headers={"Referer": f"{base}/admin/login/"})
        assert (answer.status_code, answer.headers["location"]) == (302, "/admin/")
        assert browser.get("/admin/").status_code == 200


def check_others_in_the_folder(launcher: Launcher, base: str, number: str) -> None:
    """A second `up` is refused and told of the first; commands share its database."""
    assert launcher.process is not None
    second = launcher.run("up")
    assert second.returncode == 1
    assert f"process {launcher.process.pid}, {base}" in second.stderr
    verified = launcher.run("manage", "verify_invoice", number)
    assert verified.returncode == 0, verified.stderr
    assert number in verified.stdout


def check_sandbox(printed: str) -> str:
    """The printed Stripe shows its page and sends its events to the site, which believes them; return its address."""
    found = re.search(r"Stripe +(http://127\.0\.0\.1:\d+)/", printed)
    assert found is not None
    assert "Stripe sandbox" in httpx.get(found[1]).text
    doors = f"{found[1]}/_sandbox/doors"
    made = httpx.post(
        f"{doors}/make_event", json={"type": "account.updated", "object_id": "acct_1SandboxCountinghouse"}
    )
    assert made.status_code == 200, made.text
    delivered = httpx.post(f"{doors}/deliver_all", json={}, timeout=90).json()["result"]
    assert [item["answers"] for item in delivered] == [[200]]
    return found[1]


def kill_worker(launcher: Launcher) -> None:
    assert launcher.process is not None
    table = subprocess.run(["ps", "-ww", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(maxsplit=2) for line in table.splitlines()]
    (worker,) = [
        int(pid) for pid, parent, command in rows if int(parent) == launcher.process.pid and " worker " in command
    ]
    os.kill(worker, signal.SIGKILL)


def test_serves_what_it_prints_keeps_the_data_and_leaves_nothing(launcher: Launcher, tmp_path: Path) -> None:
    base = f"http://127.0.0.1:{launcher.port}"
    printed = launcher.start(tmp_path / "first.log")
    numbers = re.findall(r"^(INV-\d+) ", printed, re.MULTILINE)
    assert numbers
    check_invoices(base, printed, numbers)
    check_sign_in(base, printed)
    check_others_in_the_folder(launcher, base, numbers[0])

    # Ctrl-C leaves no process.
    processes = launcher.list_processes()
    assert len(processes) > 6
    assert launcher.stop(signal.SIGINT) == 0
    wait_until_gone(processes)

    # The next start finds the data; a worker that dies ends the rest, with the reason.
    again = launcher.start(tmp_path / "second.log")
    assert re.findall(r"^(INV-\d+) ", again, re.MULTILINE) == numbers
    assert "applying" not in again
    processes = launcher.list_processes()
    kill_worker(launcher)
    assert launcher.process is not None
    assert launcher.process.wait(timeout=60) == 1
    wait_until_gone(processes)
    assert "worker stopped by itself (killed by SIGKILL)" in (tmp_path / "second.log").read_text()

    # The third has a Stripe of its own. `down` ends it in order; `reset` forgets it and leaves the installation.
    sandbox = check_sandbox(launcher.start(tmp_path / "third.log", "--stripe-sandbox"))
    assert launcher.run("down").returncode == 0
    assert launcher.process.wait(timeout=10) == 0
    assert "stopping PostgreSQL" in (tmp_path / "third.log").read_text()
    with pytest.raises(httpx.ConnectError):
        httpx.get(sandbox)
    assert launcher.run("reset", "--yes").returncode == 0
    assert not launcher.folder.exists()
    assert (CHECKOUT / ".venv" / "countinghouse.json").exists()
