"""
YAML with line numbers, read so that nothing changes its meaning on the way.

Only what JSON knows is recognised: true, false, null, whole numbers, numbers, texts. Dates and times stay texts, `no`
is no boolean and `12:30` no number; a number with a point keeps its digits. What is wrong is collected with its line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import yaml

_STANDARD: Final = "tag:yaml.org,2002:"
_MAX_DEPTH: Final = 60


@dataclass(frozen=True, slots=True, order=True)
class Mistake:
    """Something wrong with a file: the line (from 1) and a sentence."""

    line: int
    what: str


class Mistakes:
    """Collects what is wrong while a file is read."""

    def __init__(self) -> None:
        self._found: list[Mistake] = []

    def add(self, line: int, what: str) -> None:
        """Remember one mistake."""
        self._found.append(Mistake(line, what))

    def has(self, line: int) -> bool:
        """Tell whether something is wrong on a line already."""
        return any(mistake.line == line for mistake in self._found)

    def collect(self) -> list[Mistake]:
        """Return all of them in the order of lines, each once."""
        return sorted(dict.fromkeys(self._found), key=lambda mistake: mistake.line)


class FileUnreadable(Exception):
    """The file is no story; `mistakes` say where and why."""

    def __init__(self, mistakes: list[Mistake]) -> None:
        super().__init__(f"{len(mistakes)} mistakes")
        self.mistakes = mistakes


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the few plain scalars of JSON."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}


_Loader.add_implicit_resolver(f"{_STANDARD}bool", re.compile(r"^(?:true|false)$"), list("tf"))
_Loader.add_implicit_resolver(f"{_STANDARD}null", re.compile(r"^(?:~|null|)$"), ["~", "n", ""])
_Loader.add_implicit_resolver(f"{_STANDARD}int", re.compile(r"^[-+]?[0-9]+$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    f"{_STANDARD}float",
    re.compile(r"^[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?:\.[0-9]*)?[eE][-+]?[0-9]+)$"),
    list("-+.0123456789"),
)


def compose(text: str) -> yaml.Node:
    """
    Return the root node of the one YAML document in `text`.

    :raises FileUnreadable: if it is not YAML, empty, or more than one document.
    """
    try:
        root = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = " ".join(part for part in (error.context, error.problem) if part)
        raise FileUnreadable([Mistake(mark.line + 1 if mark else 1, f"not readable as YAML: {what}")]) from error
    except yaml.YAMLError as error:
        line = text[: getattr(error, "position", 0)].count("\n") + 1
        raise FileUnreadable([Mistake(line, f"not readable as YAML: {str(error).splitlines()[0]}")]) from error
    except RecursionError as error:
        raise FileUnreadable([Mistake(1, "nested too deeply")]) from error
    if root is None:
        raise FileUnreadable([Mistake(1, "the file is empty")])
    return root


def line_of(node: yaml.Node) -> int:
    """Return the line a node begins on, from 1."""
    return int(node.start_mark.line) + 1


def is_null(node: yaml.Node) -> bool:
    """Tell whether nothing is written there: `null`, `~` or an empty value."""
    return node.tag == f"{_STANDARD}null"


def is_integer(node: yaml.Node) -> bool:
    """Tell whether it is a whole number without quotes."""
    return isinstance(node, yaml.ScalarNode) and node.tag == f"{_STANDARD}int"


def is_boolean(node: yaml.Node) -> bool:
    """Tell whether it is true or false."""
    return isinstance(node, yaml.ScalarNode) and node.tag == f"{_STANDARD}bool"


def members(node: yaml.MappingNode, mistakes: Mistakes) -> dict[str, tuple[yaml.Node, yaml.Node]]:
    """Return the members by key as (key, value) nodes; a key that is no text or there twice is a mistake."""
    found: dict[str, tuple[yaml.Node, yaml.Node]] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            mistakes.add(line_of(key), "a key is a plain word")
        elif key.value in found:
            mistakes.add(line_of(key), f"the key `{key.value}` is there twice")
        else:
            found[key.value] = (key, value)
    return found


def to_plain(node: yaml.Node, mistakes: Mistakes) -> Any:
    """
    Return the value as JSON has it; a number with a point becomes the text of its digits, so that it stays exact.

    What JSON cannot say (tags, keys twice, a value that contains itself) is a mistake.
    """
    return _to_plain(node, mistakes, 0)


def _to_plain(node: yaml.Node, mistakes: Mistakes, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        mistakes.add(line_of(node), "nested too deeply")
        return None
    if isinstance(node, yaml.MappingNode):
        return {key: _to_plain(value, mistakes, depth + 1) for key, (_, value) in members(node, mistakes).items()}
    if isinstance(node, yaml.SequenceNode):
        return [_to_plain(item, mistakes, depth + 1) for item in node.value]
    if is_null(node):
        return None
    if is_boolean(node):
        return node.value == "true"
    if is_integer(node):
        return int(node.value)
    if node.tag not in (f"{_STANDARD}str", f"{_STANDARD}float"):
        mistakes.add(line_of(node), f"the tag {node.tag} has no meaning here")
    return str(node.value)


def find_line(node: yaml.Node, pointer: str) -> int:
    """Return the line of what a JSON pointer into `node` names, or of the nearest thing around it."""
    for part in pointer.split("/")[1:]:
        step = _step_into(node, part.replace("~1", "/").replace("~0", "~"))
        if step is None:
            break
        node = step
    return line_of(node)


def _step_into(node: yaml.Node, part: str) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == part), None)
    if isinstance(node, yaml.SequenceNode) and part.isdigit() and int(part) < len(node.value):
        found: yaml.Node = node.value[int(part)]
        return found
    return None


def iterate(node: yaml.Node) -> Iterator[yaml.Node]:
    """Yield the items of a list; a single value stands for a list of one."""
    if isinstance(node, yaml.SequenceNode):
        yield from node.value
    else:
        yield node
