"""Small pieces of JSON Schema: texts, numbers, choices in any case, objects with known keys."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from catalog.documents.vocabulary import MAX_PERCENT, UNIT_PRICE

Schema = dict[str, Any]

NULL: Final[Schema] = {"type": "null"}
BOOLEAN: Final[Schema] = {"type": "boolean"}
_DIGITS: Final = UNIT_PRICE.pattern
# A number of JSON that is whole, or a text that is a decimal.
DECIMAL: Final[Schema] = {
    "description": "A decimal in quotes with at most 12 decimals, or a whole number.",
    "type": ["string", "integer"],
    "pattern": rf"^\s*{_DIGITS}\s*$",
    "minimum": 0,
    "exclusiveMaximum": 10**15,
}
POSITIVE: Final[Schema] = {**DECIMAL, "pattern": rf"^\s*(?=[0-9.]*[1-9]){_DIGITS}\s*$", "minimum": 1}
PERCENT: Final[Schema] = {
    **DECIMAL,
    "pattern": r"^\s*0*(?:100(?:\.0{1,12})?|[0-9]{1,2}(?:\.[0-9]{1,12})?)\s*$",
    "maximum": MAX_PERCENT,
}


def text(most: int, meaning: str = "", *, at_least: int = 0) -> Schema:
    """Return a text of at most so many characters; with `at_least` one that is not blank."""
    shown: Schema = {"type": "string", "maxLength": most}
    if at_least:
        shown["pattern"] = r"\S"
    return describe(shown, meaning)


def pattern(expression: re.Pattern[str], meaning: str) -> Schema:
    """Return a text that matches as a whole."""
    return describe({"type": "string", "pattern": f"^{expression.pattern}$"}, meaning)


def count(least: int, most: int, meaning: str = "") -> Schema:
    """Return a whole number between two others."""
    return describe({"type": "integer", "minimum": least, "maximum": most}, meaning)


def one_of(choices: Sequence[str], meaning: str = "") -> Schema:
    """Return one of some words; an editor offers them, and any case is accepted."""
    return describe({"anyOf": [{"enum": list(choices)}, match_words(choices)]}, meaning)


def match_words(choices: Iterable[str]) -> Schema:
    """Return a text that is one of some words, in any case."""
    spelled = "|".join(
        "".join(f"[{letter}{letter.upper()}]" if letter.isalpha() else letter for letter in word) for word in choices
    )
    return {"type": "string", "pattern": rf"^\s*(?:{spelled})\s*$"}


def list_of(item: Schema, most: int, meaning: str = "", *, unique: bool = False) -> Schema:
    """Return a list of at most so many items."""
    shown: Schema = {"type": "array", "items": item, "maxItems": most}
    if unique:
        shown["uniqueItems"] = True
    return describe(shown, meaning)


def make_object(properties: Mapping[str, Schema], *, known: Collection[str], required: Sequence[str]) -> Schema:
    """
    Return an object with exactly the known keys.

    :raises ValueError: if the properties are not the keys that documents are read with.
    """
    if properties.keys() != set(known):
        raise ValueError(f"the schema and the vocabulary differ in {sorted(properties.keys() ^ set(known))}")
    shown: Schema = {"type": "object", "additionalProperties": False, "properties": dict(properties)}
    return {**shown, "required": list(required)} if required else shown


def optional(schema: Schema) -> Schema:
    """Return the same, or null: a key that is null is a key that is absent."""
    kind = schema.get("type")
    if kind is not None:
        return {**schema, "type": [kind, "null"] if isinstance(kind, str) else [*kind, "null"]}
    if "anyOf" in schema:
        return {**schema, "anyOf": [*schema["anyOf"], NULL]}
    return {"anyOf": [schema, NULL]}


def describe(schema: Schema, meaning: str) -> Schema:
    """Return the schema with a description, if there is one."""
    return {"description": meaning, **schema} if meaning else schema
