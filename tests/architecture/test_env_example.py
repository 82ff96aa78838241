"""`.env.example` lists exactly the variables the product reads."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAME = re.compile(r"^#?([A-Z][A-Z0-9_]*)=", re.MULTILINE)
VARIABLE = re.compile(r"^[A-Z][A-Z0-9]*(_[A-Z0-9]+)+$")
READERS = {"bool", "int", "list", "str", "first_env", "get"}
# Read by commands, not by the settings.
ELSEWHERE = {"BILLING_ADMIN_USER", "BILLING_ADMIN_PASSWORD"}


def list_read_variables(source: str) -> set[str]:
    """Return the names given to environment readers: env.str("…"), first_env("…", "…"), os.environ.get("…")."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        reader = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        if reader in READERS:
            texts = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
            names |= {text for text in texts if isinstance(text, str) and VARIABLE.match(text)}
    return names


@pytest.fixture(scope="module")
def listed() -> list[str]:
    return NAME.findall((ROOT / ".env.example").read_text())


def test_lists_what_the_settings_read(listed: list[str]) -> None:
    names = ("settings", "payment_settings", "environment")
    read = set().union(*(list_read_variables((ROOT / "billing_site" / f"{name}.py").read_text()) for name in names))
    assert len(read) > 40
    assert set(listed) == read | ELSEWHERE


def test_lists_each_once(listed: list[str]) -> None:
    assert len(listed) == len(set(listed))


def test_gives_no_secret_a_value() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    secret = [line for line in lines if re.match(r"^#?\w*(SECRET|PASSWORD|SECRET_KEY)=", line)]
    assert len(secret) >= 5
    assert [line for line in secret if not line.endswith("=")] == []


def test_what_a_command_reads_is_in_that_command() -> None:
    commands = "".join(path.read_text() for path in ROOT.glob("billing_site/platform/management/commands/*.py"))
    assert {name for name in ELSEWHERE if f'"{name}"' not in commands} == set()
