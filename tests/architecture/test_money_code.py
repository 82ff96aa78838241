"""No binary fraction comes near money: no float literal, type, conversion or column in money code."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.support.source import APPS, ROOT, list_sources, name_of, parse

KERNEL = ("billing_site/kernel/money.py", "billing_site/kernel/periods.py")
ROOMS = ("pricing", "terms", "rating", "calculation", "documents", "models", "services", "queries", "stores")
DRAWING = frozenset({"invoicing/documents/paper.py", "invoicing/documents/invoice.py"})  # page coordinates, no amounts
FLOAT_NAMES = frozenset({"float", "FloatField", "BinaryFloatField"})


def list_money_files() -> list[Path]:
    """Return the kernel's calculators and every file of an app in which amounts are computed, stored or rendered."""
    found = [ROOT / name for name in KERNEL]
    for path in list_sources(*APPS):
        room = path.relative_to(ROOT).parts[1:-1]
        if name_of(path) in DRAWING:
            continue
        if room and (room[0] in ROOMS or room[:2] == ("api", "serializers")):
            found.append(path)
    return found


def find_floats(tree: ast.AST) -> list[int]:
    """Return the lines of float literals and of uses of float types, tests for them excepted."""
    checked: set[ast.AST] = set()
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("isinstance", "issubclass")
        ):
            checked.update(inner for argument in node.args[1:] for inner in ast.walk(argument))
        elif isinstance(node, ast.MatchClass):
            checked.add(node.cls)
    lines = []
    for node in ast.walk(tree):
        if node in checked:
            continue
        is_literal = isinstance(node, ast.Constant) and isinstance(node.value, float | complex)
        is_name = isinstance(node, ast.Name) and node.id in FLOAT_NAMES
        is_attribute = isinstance(node, ast.Attribute) and node.attr in FLOAT_NAMES
        if is_literal or is_name or is_attribute:
            lines.append(getattr(node, "lineno", 0))
    return lines


class TestFindFloats:
    @pytest.mark.parametrize(
        "code",
        [
            "x = 0.5",
            "x = float(y)",
            "def f(x: float) -> int: ...",
            "c = models.FloatField()",
            "x = 1e3",
            "y = map(float, z)",
        ],
    )
    def test_finds_them(self, code: str) -> None:
        assert find_floats(ast.parse(code))

    @pytest.mark.parametrize(
        "code",
        [
            "isinstance(x, float)",
            "isinstance(x, bool | float)",
            "x = 5",
            "x = Decimal('0.5')",
            "match x:\n case float(): ...",
        ],
    )
    def test_leaves_the_rest(self, code: str) -> None:
        assert find_floats(ast.parse(code)) == []


def test_money_code_has_no_float() -> None:
    files = list_money_files()
    assert len(files) > 20, "the rooms of money code were not found"
    found = {name_of(path): lines for path in files if (lines := find_floats(parse(path)))}
    assert found == {}
