"""What no file of the project says, and no code leaves unfinished."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.support.source import PRODUCT, list_files, list_sources, name_of, parse

# Written in pieces, so that this file does not find itself.
UNFINISHED = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK")) + r")\b")
OUTSIDE = "../" + "shared"
REGISTRIES = re.compile(
    "|".join(
        re.escape(host)
        for host in (
            "py" + "pi.org",
            "python" + "hosted.org",
            "registry." + "npmjs",
            "crates" + ".io",
            "proxy.golang" + ".org",
            "--index" + "-url",
            "--extra-index" + "-url",
        )
    )
)
BINARY = frozenset({".ttf", ".otf", ".png", ".jpg", ".ico", ".pdf", ".woff", ".woff2", ".gz", ".xlsx", ".mo"})
THIRD_PARTY = re.compile(r"(^|/)(fonts|vendor)/|LICENSE|djstripe_migrations/(0|schema)")


def read_texts() -> Iterator[tuple[str, str]]:
    """Yield name and content of every text file that people of this project write."""
    for path in list_files():
        name = name_of(path)
        if path.suffix.lower() not in BINARY and not THIRD_PARTY.search(name):
            yield name, path.read_text(encoding="utf-8", errors="replace")


def find(pattern: re.Pattern[str], *, but: frozenset[str] = frozenset()) -> list[str]:
    return [
        f"{name}:{number}"
        for name, text in read_texts()
        if name not in but and pattern.search(text)
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


def test_only_the_ci_script_knows_its_surroundings() -> None:
    assert find(re.compile(re.escape(OUTSIDE)), but=frozenset({".ci/run"})) == []


def test_nothing_is_marked_as_unfinished() -> None:
    assert find(UNFINISHED) == []


def test_no_package_registry_is_named() -> None:
    assert find(REGISTRIES) == []


def list_methods(tree: ast.Module) -> Iterator[tuple[str, str, ast.FunctionDef]]:
    """Yield class, name and definition of every method."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            yield from ((node.name, item.name, item) for item in node.body if isinstance(item, ast.FunctionDef))


def raises_not_implemented(node: ast.AST) -> bool:
    """Tell whether the code raises the error that stands for a missing body."""
    return any(
        isinstance(inner, ast.Raise)
        and isinstance(inner.exc, ast.Call | ast.Name)
        and "NotImplemented" in ast.dump(inner.exc)
        for inner in ast.walk(node)
    )


def test_every_method_left_to_subclasses_is_defined_by_one() -> None:
    sources: list[Path] = list_sources(*PRODUCT)
    methods = [found for path in sources for found in list_methods(parse(path))]
    left = {(owner, name) for owner, name, node in methods if raises_not_implemented(node)}
    defined = {name for owner, name, _ in methods if (owner, name) not in left}
    assert sorted(f"{owner}.{name}" for owner, name in left if name not in defined) == []


def test_no_function_stands_for_something_to_come() -> None:
    functions = [
        f"{name_of(path)}:{node.lineno}"
        for path in list_sources(*PRODUCT)
        for node in parse(path).body
        if isinstance(node, ast.FunctionDef) and raises_not_implemented(node)
    ]
    assert functions == []
