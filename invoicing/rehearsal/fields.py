"""
Reading one block of a story key by key. Whatever is wrong is remembered with its line and reading goes on.

Each method returns the value when it is good, else what it returns for an absent key: nothing is played of a file that
has a mistake, so the stand-in never counts.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

import yaml

from billing_site.kernel.money import get_exponent, parse_major
from invoicing.rehearsal.marks import (
    Mistakes,
    is_boolean,
    is_integer,
    is_null,
    iterate,
    line_of,
    members,
    to_plain,
)

NUMBER: Final = re.compile(r"[-+]?[0-9]+(?:\.[0-9]+)?")
BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)
MISSING: Final = object()


def suggest(word: str, known: Collection[str]) -> str:
    """Return `; did you mean …?` for a word that is close to a known one, else nothing."""
    close = difflib.get_close_matches(word, sorted(known), n=1)
    return f"; did you mean `{close[0]}`?" if close else ""


class Fields:
    """One mapping of a story. `what` names it in messages: `subscribe`, `account`."""

    def __init__(self, node: yaml.MappingNode, what: str, mistakes: Mistakes) -> None:
        self.node = node
        self.what = what
        self.mistakes = mistakes
        self.line = line_of(node)
        self._members = members(node, mistakes)
        self._known: set[str] = set()

    @classmethod
    def of(cls, node: yaml.Node, what: str, mistakes: Mistakes) -> Fields:
        """Return the block at `node`; one that is no mapping is a mistake and reads as empty."""
        if isinstance(node, yaml.MappingNode):
            return cls(node, what, mistakes)
        if not is_null(node):
            mistakes.add(line_of(node), f"`{what}` takes keys and values, such as {{account: acme}}")
        return cls(yaml.MappingNode(tag="", value=[], start_mark=node.start_mark), what, mistakes)

    # ---- members ------------------------------------------------------------------------------------------------
    def has(self, key: str) -> bool:
        """Tell whether the key is there with a value; from here on it is a known one."""
        self._known.add(key)
        found = self._members.get(key)
        return found is not None and not is_null(found[1])

    def line_at(self, key: str) -> int:
        """Return the line of a key, else that of the block."""
        found = self._members.get(key)
        return line_of(found[0]) if found else self.line

    def names(self, key: str) -> bool:
        """Tell whether the key is there, even with nothing behind it."""
        return key in self._members

    def list_keys(self) -> list[str]:
        """Return the keys in the order of the file."""
        return list(self._members)

    def report(self, key: str, what: str) -> None:
        """Remember a mistake in the value of `key`."""
        self.mistakes.add(self.line_at(key), what)

    def node_of(self, key: str, *, required: bool = False) -> yaml.Node | None:
        """Return the value as a node; from here on the key is a known one."""
        self._known.add(key)
        found = self._members.get(key)
        if found is None or is_null(found[1]):
            if required:
                self.mistakes.add(self.line, f"`{self.what}` needs `{key}`")
            return None
        return found[1]

    def finish(self, *, not_yet: Collection[str] = (), known: Collection[str] = ()) -> None:
        """
        Report every key that nobody has asked for; those of `not_yet` by their name.

        `known` are further keys that may be meant by a misspelled one.
        """
        for key in self._members:
            if key in self._known:
                continue
            if key in not_yet:
                self.report(key, f"the key `{key}` of `{self.what}` is not available yet")
            else:
                self.report(key, f"`{self.what}` has no key `{key}`{suggest(key, {*self._known, *not_yet, *known})}")

    # ---- values -------------------------------------------------------------------------------------------------
    def text(self, key: str, *, required: bool = False, default: str = "") -> str:
        """Read a word or text; a number or date is taken as it is written."""
        node = self.node_of(key, required=required)
        if node is None:
            return default
        if not isinstance(node, yaml.ScalarNode):
            self.report(key, f"`{key}` is a text")
            return default
        text = str(node.value).strip()
        if not text and required:
            self.report(key, f"`{key}` is empty")
        return text

    def choice(self, key: str, choices: Collection[str], *, default: str = "", required: bool = False) -> str:
        """Read one of a few words."""
        text = self.text(key, default=default, required=required)
        if text != default and text not in choices:
            self.report(key, f"`{key}` is one of {', '.join(choices)}, not `{text}`{suggest(text, choices)}")
            return default
        return text

    def integer(self, key: str, *, least: int, most: int = 10**15, required: bool = False) -> int | None:
        """Read a whole number."""
        node = self.node_of(key, required=required)
        if node is None:
            return None
        if not isinstance(node, yaml.ScalarNode) or not NUMBER.fullmatch(node.value) or "." in node.value:
            self.report(key, f"`{key}` is a whole number")
            return None
        number = int(node.value)
        if not least <= number <= most:
            self.report(key, f"`{key}` is {number}; it lies between {least} and {most}")
            return None
        return number

    def decimal(self, key: str, *, required: bool = False) -> Decimal | None:
        """Read a number exactly, in quotes or not."""
        node = self.node_of(key, required=required)
        if node is None:
            return None
        if not isinstance(node, yaml.ScalarNode) or not NUMBER.fullmatch(node.value):
            self.report(key, f'`{key}` is a number such as "1500" or "0.25"')
            return None
        return Decimal(node.value)

    def flag(self, key: str) -> bool | None:
        """Read true or false; None when it is absent."""
        node = self.node_of(key)
        if node is None:
            return None
        if not is_boolean(node):
            self.report(key, f"`{key}` is true or false")
            return None
        return bool(node.value == "true")

    def instant(self, key: str, *, required: bool = False) -> datetime | None:
        """Read a moment with its offset from UTC."""
        node = self.node_of(key, required=required)
        if node is None:
            return None
        text = node.value if isinstance(node, yaml.ScalarNode) else ""
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            self.report(key, f'`{key}` is a time such as "2024-03-01T09:00:00Z"')
            return None
        if moment.tzinfo is None:
            self.report(key, f'`{key}` needs an offset from UTC: "2024-03-01T09:00:00Z" or "…+01:00"')
            return None
        return moment.astimezone(UTC)

    def day(self, key: str) -> date | None:
        """Read a date without a time; None when it is absent."""
        if self.node_of(key) is None:
            return None
        found = parse_day(self.text(key))
        if found is None:
            self.report(key, f"`{key}` is a day such as 2024-03-01")
        return found

    def money(self, key: str, currency: str, *, required: bool = False) -> int:
        """
        Read an amount and return minor units.

        A whole number is minor units, as in the catalog; a text with its decimals is major units, as in `expect`.
        """
        node = self.node_of(key, required=required)
        if node is None:
            return 0
        if is_integer(node):
            return int(node.value)
        if isinstance(node, yaml.ScalarNode):
            try:
                if "." in node.value or get_exponent(currency) == 0:
                    return parse_major(node.value, currency)
            except ValueError:
                pass
        forms = f'3000 for minor units, or with its decimals ("30.00") for major units of {currency.upper()}'
        self.report(key, f"`{key}` is an amount: {forms}")
        return 0

    def plain(self, key: str, *, required: bool = False) -> Any:
        """Read whatever is there, as JSON has it."""
        node = self.node_of(key, required=required)
        return None if node is None else to_plain(node, self.mistakes)

    def mapping(self, key: str) -> dict[str, Any]:
        """Read free keys and values."""
        node = self.node_of(key)
        if node is None:
            return {}
        if not isinstance(node, yaml.MappingNode):
            self.report(key, f"`{key}` takes keys and values")
            return {}
        found: dict[str, Any] = to_plain(node, self.mistakes)
        return found

    def texts(self, key: str, *, required: bool = False) -> list[str]:
        """Read a list of words, or one word."""
        node = self.node_of(key, required=required)
        if node is None:
            return []
        found = []
        for item in iterate(node):
            if isinstance(item, yaml.ScalarNode) and item.value.strip():
                found.append(str(item.value).strip())
            else:
                self.mistakes.add(line_of(item), f"`{key}` is a list of words")
        return found

    def block(self, key: str, *, required: bool = False) -> Fields | None:
        """Read a block inside this one."""
        node = self.node_of(key, required=required)
        if node is None:
            return None
        found = Fields.of(node, key, self.mistakes)
        found.line = self.line_at(key)
        return found

    def blocks(self, key: str, what: str, *, required: bool = False) -> Iterator[Fields]:
        """Read a list of blocks."""
        node = self.node_of(key, required=required)
        if node is None:
            return
        if not isinstance(node, yaml.SequenceNode):
            self.report(key, f"`{key}` is a list")
            return
        for item in node.value:
            yield Fields.of(item, what, self.mistakes)


def parse_day(text: str) -> date | None:
    """Return the day written as 2024-03-01, or None."""
    try:
        return date.fromisoformat(text) if len(text) == len("2024-03-01") else None
    except ValueError:
        return None
