"""The Python environment `.venv`, made from hashed requirements with uv, or with venv and pip."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import stat
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path

from launcher.console import LauncherError, last_lines, say, warn
from launcher.processes import run_step, run_together
from launcher.state import State, read_json

PYTHON_NAMES = ("PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")
GROUPS = {"runtime": "requirements.txt", "dev": "requirements-dev.txt"}

CONSOLE_SCRIPT = """#!/bin/sh
'''exec' "{python}" "$0" "$@"
' '''
import sys

from billing_client.cli.main import main

sys.exit(main())
"""


def hash_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def split_requirements(text: str) -> list[str]:
    """Return one block per package: the line that names it and the lines with its hashes."""
    blocks: list[str] = []
    for line in text.splitlines(keepends=True):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if line[0].isspace() and blocks:
            blocks[-1] += line
        else:
            blocks.append(line)
    return blocks


class Environment:
    """The `.venv` of one checkout and the stamp that says what it holds."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.stamp = state.venv / "countinghouse.json"
        self.log = state.logs / "install.log"

    def ensure(self, group: str) -> None:
        """Make the environment hold the requirements of `group` ("runtime" or "dev"); at once when it does."""
        wanted = hash_file(self.state.checkout / GROUPS[group])
        if self._holds(group, wanted):
            return
        with self.state.lock("install").held():
            if self._holds(group, wanted):  # another start has just done it
                return
            self.log.unlink(missing_ok=True)
            if not self._is_ours():
                self._create()
            stamp = read_json(self.stamp)
            self.stamp.unlink(missing_ok=True)
            self._install(self.state.checkout / GROUPS[group])
            self._link_checkout()
            groups = stamp.get("groups", {}) | {group: wanted}
            if group == "dev":  # the dev file holds everything
                groups["runtime"] = hash_file(self.state.checkout / GROUPS["runtime"])
            self.stamp.write_text(
                json.dumps({"folder": str(self.state.venv), "groups": groups}, indent=1), encoding="utf-8"
            )

    def _holds(self, group: str, wanted: str) -> bool:
        return self._is_ours() and read_json(self.stamp).get("groups", {}).get(group) == wanted

    def _is_ours(self) -> bool:
        """True when the environment was made at this place and its Python still exists."""
        # Not "by this Python": two shells with two Pythons would replace it under a running site.
        return self.state.python.exists() and read_json(self.stamp).get("folder") == str(self.state.venv)

    def _create(self) -> None:
        venv = self.state.venv
        if venv.is_symlink() or (venv.exists() and any(venv.iterdir()) and not (venv / "pyvenv.cfg").exists()):
            raise LauncherError(f"{venv} exists and is not a Python environment; move it away and start again.")
        shutil.rmtree(venv, ignore_errors=True)
        say(f"making the Python environment {venv.name} (Python {sys.version.split()[0]})")
        uv = shutil.which("uv")
        if uv and self._run([uv, "venv", "--quiet", "--python", sys.executable, str(venv)]) == 0:
            return
        if importlib.util.find_spec("ensurepip") is None or importlib.util.find_spec("venv") is None:
            version = f"{sys.version_info.major}.{sys.version_info.minor}"
            raise LauncherError(
                f"Python {version} here has no venv: run `apt install python{version}-venv` (Debian, Ubuntu) "
                "or install uv, then start again."
            )
        if self._run([sys.executable, "-m", "venv", "--without-pip", str(venv)]) != 0:
            raise LauncherError(f"could not make {venv}:\n{last_lines(self.log)}")

    def _install(self, requirements: Path) -> None:
        """Install pinned, hashed packages; the file is the whole closure, so nothing needs to be resolved."""
        blocks = split_requirements(requirements.read_text(encoding="utf-8"))
        if not blocks:
            return
        say(f"installing {len(blocks)} packages from {requirements.name}")
        hashed = ["--require-hashes", "--no-deps"]
        uv = shutil.which("uv")
        if uv:
            install = [uv, "pip", "install", "--python", str(self.state.python), *hashed, "-r", str(requirements)]
            if self._run(install) == 0:
                return
            warn(f"uv could not install the packages (see {self.log}); trying pip")
        self._ensure_pip()
        pip = [str(self.state.python), "-m", "pip", "--no-input", "--disable-pip-version-check"]
        install = [*pip, "install", "--no-compile", *hashed, "-r"]
        if self._install_in_lanes(install, blocks):
            return
        warn(f"installing side by side failed (see {self.log}); trying again, one by one")
        if self._run([*install, str(requirements)]) != 0:
            raise LauncherError(
                f"could not install the packages of {requirements.name}. Check the network or pip's settings "
                f"(pip.conf, PIP_INDEX_URL). The end of {self.log}:\n{last_lines(self.log)}"
            )

    def _install_in_lanes(self, install: list[str], blocks: list[str]) -> bool:
        """Share the packages between several pips: one spends its time on one processor, reading index pages."""
        lanes = min(4, os.cpu_count() or 1)

        def show_progress() -> None:
            done = sum(1 for _ in self._packages.glob("*.dist-info"))
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
            fetched = sum(line.startswith("Collecting ") for line in lines)
            say(f"  {fetched} fetched, {done} installed …")

        with tempfile.TemporaryDirectory(prefix="countinghouse-") as folder:
            commands = []
            for lane in range(lanes):
                part = Path(folder) / f"{lane}.txt"
                part.write_text("".join(blocks[lane::lanes]), encoding="utf-8")
                commands.append([*install, str(part)])
            codes = run_together(
                commands, environment=self._clean(), cwd=self.state.checkout, log=self.log, heartbeat=show_progress
            )
        return not any(codes)

    def _ensure_pip(self) -> None:
        """Put the interpreter's own pip into the environment: unpacked, which is quicker than `ensurepip`."""
        if any(self._packages.glob("pip-*.dist-info")):
            return
        folders = [sysconfig.get_config_var("WHEEL_PKG_DIR")]
        spec = importlib.util.find_spec("ensurepip")
        if spec is not None and spec.origin:
            folders.append(str(Path(spec.origin).parent / "_bundled"))
        for folder in filter(None, folders):
            for wheel in Path(folder).glob("pip-*.whl"):
                with zipfile.ZipFile(wheel) as archive:
                    archive.extractall(self._packages)
                return
        self._run([str(self.state.python), "-m", "ensurepip"])

    @property
    def _packages(self) -> Path:
        (folder,) = self.state.venv.glob("lib/python3*/site-packages")
        return folder

    @staticmethod
    def _clean() -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if name not in PYTHON_NAMES}

    def _run(self, arguments: list[str]) -> int:
        return run_step(arguments, environment=self._clean(), cwd=self.state.checkout, log=self.log)

    def _link_checkout(self) -> None:
        """Make the checkout importable in the environment and `billing` runnable, without a build."""
        (self._packages / "countinghouse.pth").write_text(f"{self.state.checkout}\n", encoding="utf-8")
        script = self.state.venv / "bin" / "billing"
        script.write_text(CONSOLE_SCRIPT.format(python=self.state.python), encoding="utf-8")
        script.chmod(script.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
