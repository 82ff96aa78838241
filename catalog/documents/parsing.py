"""Reading the text of a document: JSON in which nothing is lost silently."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from catalog.documents.findings import quote


class DocumentUnreadable(ValueError):
    """The text is no JSON document; the message says where and why."""


def parse_document(text: str, *, parse_float: Callable[[str], Any] | None = None) -> Any:
    """
    Return the JSON value of `text`; numbers with a point are read by `parse_float`, if given.

    :raises DocumentUnreadable: if it is not JSON, an object names a key twice, or it is nested without end.
    """
    try:
        return json.loads(
            text, object_pairs_hook=_read_object, parse_float=parse_float, parse_constant=_refuse_constant
        )
    except json.JSONDecodeError as error:
        raise DocumentUnreadable(f"Line {error.lineno}, column {error.colno}: {error.msg}.") from error
    except RecursionError as error:
        raise DocumentUnreadable("The document is nested too deeply.") from error
    except DocumentUnreadable:
        raise
    except ValueError as error:  # a number of thousands of digits
        raise DocumentUnreadable("The document holds a number with too many digits.") from error


def _read_object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise DocumentUnreadable(f"An object names the key {quote(key)} twice.")
        found[key] = value
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise DocumentUnreadable(f"{name} is not a JSON number.")
