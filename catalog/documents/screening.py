"""
The first look at a document: can it be checked and stored at all, and does it hold a secret?

Walks without recursion and stops early, so that a hostile document costs no more than its own size.
"""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any, Final

from catalog.documents.findings import SECRET_CODE, Collector, Findings, join_pointer
from catalog.documents.secrets import describe_secret_value, is_secret_key_name

MAX_DEPTH: Final = 12
MAX_VALUES: Final = 200_000
MAX_TEXT: Final = 10_000
MAX_KEY: Final = 200
MAX_DIGITS: Final = 40
_LARGEST: Final = 10**MAX_DIGITS
_HIDDEN = "…"


def screen_document(raw: object) -> Findings:
    """
    Return what forbids to look any closer: secrets alone when there are any, else what cannot be stored.

    A pointer never contains a secret: a key that holds one is shown as `…`.
    """
    walk = _Walk()
    walk.run(raw)
    secrets = walk.secrets.collect()
    return walk.broken.collect() if secrets.is_valid else secrets


class _Walk:
    def __init__(self) -> None:
        self.secrets = Collector()
        self.broken = Collector()
        self._good_keys: set[str] = set()

    def run(self, raw: object) -> None:
        stack: list[tuple[object, str, int]] = [(raw, "", 1)]
        seen = 0
        while stack:
            value, pointer, depth = stack.pop()
            seen += 1
            if seen > MAX_VALUES:
                self.broken.add("", "too_large", f"The document holds more than {MAX_VALUES:,} values.")
                return
            if isinstance(value, dict | list):
                if depth > MAX_DEPTH:
                    self.broken.add(pointer, "too_deep", f"Nothing may be nested deeper than {MAX_DEPTH} levels.")
                elif isinstance(value, dict):
                    members = [(item, self._check_key(key, pointer), depth + 1) for key, item in value.items()]
                    stack.extend(reversed(members))
                else:
                    items = [(item, join_pointer(pointer, index), depth + 1) for index, item in enumerate(value)]
                    stack.extend(reversed(items))
            else:
                self._check_scalar(value, pointer)

    def _check_key(self, key: Any, parent: str) -> str:
        """Return the pointer of the member `key`. A document has few keys, many times."""
        if key in self._good_keys:
            return f"{parent}/{key}"
        if not isinstance(key, str):
            self.broken.add(parent, "key_invalid", "Keys are texts.")
            return join_pointer(parent, _HIDDEN)
        if kind := describe_secret_value(key):
            pointer = join_pointer(parent, _HIDDEN)
            self.secrets.add(pointer, SECRET_CODE, f"A key here looks like {kind}. Secrets do not belong in a catalog.")
            return pointer
        if len(key) > MAX_KEY or not _is_storable(key):
            pointer = join_pointer(parent, _HIDDEN)
            self.broken.add(pointer, "key_invalid", f"Keys have at most {MAX_KEY} characters and no control codes.")
            return pointer
        pointer = join_pointer(parent, key)
        if is_secret_key_name(key):
            self.secrets.add(pointer, SECRET_CODE, "This key is named like a secret, which a catalog must not hold.")
        elif key.isidentifier():
            self._good_keys.add(key)
        return pointer

    def _check_scalar(self, value: object, pointer: str) -> None:
        match value:
            case None | bool():
                return
            case str():
                if kind := describe_secret_value(value):
                    text = f"This value looks like {kind}. Secrets do not belong in a catalog."
                    self.secrets.add(pointer, SECRET_CODE, text)
                elif len(value) > MAX_TEXT:
                    self.broken.add(pointer, "too_long", f"Texts have at most {MAX_TEXT:,} characters.")
                elif not _is_storable(value):
                    self.broken.add(pointer, "text_invalid", "The text holds a character that cannot be stored.")
            case int():
                if abs(value) >= _LARGEST:
                    self.broken.add(pointer, "too_large", f"Numbers have at most {MAX_DIGITS} digits.")
            case float() | Decimal():
                if not math.isfinite(value) or abs(Decimal(value)) >= _LARGEST:
                    self.broken.add(pointer, "number_invalid", "This is not a number that can be stored.")
            case _:
                self.broken.add(pointer, "type_invalid", f"{type(value).__name__} is not a JSON type.")


def _is_storable(text: str) -> bool:
    """PostgreSQL takes neither NUL nor half of a surrogate pair."""
    if "\x00" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
