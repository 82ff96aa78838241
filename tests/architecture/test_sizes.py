"""A file or a function that grows past its limit usually holds two ideas."""

from __future__ import annotations

import pytest

from tests.support.source import PRODUCT, list_sources, name_of, walk_functions

FILE_LINES = 400
FUNCTION_LINES = 70
TEST_FILE_LINES = 600
TEST_FUNCTION_LINES = 100


def count_lines(text: str) -> int:
    return len(text.splitlines())


@pytest.mark.parametrize(
    ("packages", "limit"), [(PRODUCT, FILE_LINES), (("tests", "benchmarks"), TEST_FILE_LINES)], ids=["product", "tests"]
)
def test_files_stay_short(packages: tuple[str, ...], limit: int) -> None:
    lines = {name_of(path): count_lines(path.read_text(encoding="utf-8")) for path in list_sources(*packages)}
    assert {name: count for name, count in lines.items() if count > limit} == {}


@pytest.mark.parametrize(
    ("packages", "limit"),
    [(PRODUCT, FUNCTION_LINES), (("tests", "benchmarks"), TEST_FUNCTION_LINES)],
    ids=["product", "tests"],
)
def test_functions_stay_short(packages: tuple[str, ...], limit: int) -> None:
    lengths = {
        f"{name_of(path)}:{node.lineno} {node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for path in list_sources(*packages)
        for node in walk_functions(path)
    }
    assert lengths, "nothing was measured"
    assert {name: length for name, length in lengths.items() if length > limit} == {}
