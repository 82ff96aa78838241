"""The project's own files, for the tests that read them."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
APPS = ("catalog", "accounts", "metering", "invoicing")
PRODUCT = ("billing_site", *APPS, "billing_client", "launcher")
# What tools and runs leave in a working copy; none of it is part of the project.
_LEFTOVERS = frozenset({"__pycache__", "build", "dist", "staticfiles", "node_modules"})


def is_leftover(path: Path) -> bool:
    """Tell whether `path` (relative to the root) was left there by a tool or a run."""
    return any(
        part in _LEFTOVERS or part.endswith(".egg-info") or (part.startswith(".") and part != ".ci")
        for part in path.parts[:-1]
    )


@lru_cache(maxsize=1)
def list_files() -> tuple[Path, ...]:
    """Return every file of the project: those git knows or would add, or, outside a clone, those on disk."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, capture_output=True, check=True, text=True).stdout
        names = [Path(name) for name in listed.split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        names = [path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file()]
    return tuple(sorted(ROOT / name for name in names if not is_leftover(name) and (ROOT / name).is_file()))


def list_sources(*packages: str) -> list[Path]:
    """Return the Python files of `packages`, migrations excepted."""
    return [
        path
        for path in list_files()
        if path.suffix == ".py"
        and path.relative_to(ROOT).parts[0] in packages
        and "migrations" not in path.parts
        and not (path.parent.name == "djstripe_migrations" and path.name.startswith("0"))
    ]


@lru_cache(maxsize=2048)
def parse(path: Path) -> ast.Module:
    """Return the syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def name_of(path: Path) -> str:
    """Return the path as a person looks for it, from the root."""
    return path.relative_to(ROOT).as_posix()


def walk_functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield every function and method of a file, nested ones included."""
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
