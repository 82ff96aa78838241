"""The Python environment: made once, made again when something it depends on has changed."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from launcher.console import LauncherError
from launcher.state import State
from launcher.venv import Environment, split_requirements

REQUIREMENTS = """\
amqp==5.4.2 \\
    --hash=sha256:aa \\
    --hash=sha256:bb
    # via kombu
# a remark
async-timeout==5.0.1 ; python_full_version < '3.11.3' \\
    --hash=sha256:cc
"""


@pytest.fixture
def checkout(state: State, monkeypatch: pytest.MonkeyPatch) -> State:
    """A checkout without an environment, whose requirements name nothing."""
    (state.checkout / ".venv").unlink()
    for name in ("requirements.txt", "requirements-dev.txt"):
        (state.checkout / name).write_text("")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    return state


class TestSplitRequirements:
    def test_keeps_each_package_with_its_hashes(self) -> None:
        blocks = split_requirements(REQUIREMENTS)
        assert [block.split()[0] for block in blocks] == ["amqp==5.4.2", "async-timeout==5.0.1"]
        assert blocks[0].count("--hash") == 2
        assert "a remark" not in "".join(blocks)

    def test_of_the_project_loses_no_hash(self) -> None:
        text = (Path(__file__).parents[2] / "requirements.txt").read_text()
        blocks = split_requirements(text)
        assert sum(block.count("--hash=") for block in blocks) == text.count("--hash=")
        assert all("==" in block.splitlines()[0] for block in blocks)


@pytest.mark.processes
class TestEnsure:
    def test_makes_an_environment_that_finds_the_checkout(self, checkout: State) -> None:
        client = checkout.checkout / "billing_client" / "cli"
        client.mkdir(parents=True)
        (client / "main.py").write_text("def main():\n    print('the client')\n    return 3\n")
        Environment(checkout).ensure("runtime")
        answer = subprocess.run(
            [checkout.venv / "bin" / "billing"], capture_output=True, text=True, check=False, cwd="/"
        )
        assert (answer.stdout, answer.returncode) == ("the client\n", 3), answer.stderr

    def test_does_nothing_the_second_time(self, checkout: State) -> None:
        Environment(checkout).ensure("runtime")
        marker = checkout.venv / "marker"
        marker.touch()
        stamp = checkout.venv / "countinghouse.json"
        before = stamp.stat().st_mtime_ns
        Environment(checkout).ensure("runtime")
        assert marker.exists()
        assert stamp.stat().st_mtime_ns == before

    def test_installs_again_when_the_requirements_change(self, checkout: State) -> None:
        Environment(checkout).ensure("runtime")
        (checkout.checkout / "requirements.txt").write_text("# changed\n")
        Environment(checkout).ensure("runtime")
        stamp = json.loads((checkout.venv / "countinghouse.json").read_text())
        assert stamp["groups"]["runtime"] == hashlib.sha256(b"# changed\n").hexdigest()

    def test_is_made_anew_in_a_moved_checkout(self, checkout: State, tmp_path: Path) -> None:
        Environment(checkout).ensure("runtime")
        (checkout.venv / "marker").touch()
        moved = State(checkout.checkout.rename(tmp_path / "moved"))
        Environment(moved).ensure("runtime")
        assert not (moved.venv / "marker").exists()

    @pytest.mark.slow
    def test_a_package_that_cannot_be_had_is_named_with_the_next_step(self, checkout: State) -> None:
        (checkout.checkout / "requirements.txt").write_text(f"no-such-package==1.0 --hash=sha256:{'0' * 64}\n")
        with pytest.raises(LauncherError, match=r"Check the network or pip's settings(.|\n)*no-such-package"):
            Environment(checkout).ensure("runtime")
        assert not (checkout.venv / "countinghouse.json").exists()

    def test_a_folder_that_is_no_environment_is_left_alone(self, checkout: State) -> None:
        (checkout.checkout / ".venv").mkdir()
        (checkout.checkout / ".venv" / "thesis.txt").write_text("ten years of work")
        with pytest.raises(LauncherError, match="is not a Python environment"):
            Environment(checkout).ensure("runtime")
        assert (checkout.checkout / ".venv" / "thesis.txt").exists()
