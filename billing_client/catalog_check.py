"""
The checks of a catalog document that need no server: JSON, structure, references, secrets.

What looks like a secret is refused before anything leaves the machine; a finding names the place, never the value.
The server checks everything again, and more.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Generator, Iterator
from decimal import Decimal
from typing import Any, Final

from billing_client.catalog_prices import Meters, check_decimal, check_keys, check_price
from billing_client.catalog_words import DOCUMENT_KEYS, ENTRY_KEYS
from billing_client.errors import Finding

ARRAYS: Final = ("products", "plans", "meters")
IDENTIFIER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}")

_SECRET_VALUES: Final = (
    (re.compile(r"(?<![A-Za-z0-9])[sr]k_(?:live|test)_"), "a provider's secret key"),
    (re.compile(r"(?<![A-Za-z0-9])whsec_"), "a webhook secret"),
    (re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY"), "a private key"),
    (re.compile(r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]*\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"), "a signed token"),
    (
        re.compile(
            r"(?<![A-Za-z0-9])(?:A3T[A-Z0-9]|ABIA|ACCA|AGPA|AIDA|AIPA|AKIA|ANPA|ANVA|AROA|ASIA)[A-Z0-9]{16}(?![A-Z0-9])"
        ),
        "a cloud access key id",
    ),
)
_AUTHORITY: Final = re.compile(r"://([^\s/?#]*)@")
_SECRET_NAMES: Final = frozenset({"secret", "password", "passwd", "token", "apikey", "privatekey", "webhooksecret"})
_SECRET_ENDINGS: Final = (
    ("secret",),
    ("password",),
    ("passwd",),
    ("token",),
    ("api", "key"),
    ("private", "key"),
)
_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


class NotJson(ValueError):
    """The text is not JSON; the message says where."""


def check_catalog(text: str) -> list[Finding]:
    """
    Return everything that is wrong with a catalog document, in its order; secrets alone when there are any.

    :raises NotJson: if it is not JSON.
    """
    try:
        document = json.loads(text, parse_float=Decimal)
    except RecursionError as error:
        raise NotJson("it is nested too deeply") from error
    except json.JSONDecodeError as error:
        raise NotJson(f"line {error.lineno}, column {error.colno}: {error.msg}") from error
    secrets = list(_find_secrets(document))
    return secrets or list(_check_structure(document))


def _find_secrets(root: object) -> Iterator[Finding]:
    """Yield what looks like a secret, in the order of the document. Not recursive: it may be nested deeply."""
    stack: list[Finding | tuple[object, str]] = [(root, "")]
    while stack:
        top = stack.pop()
        if isinstance(top, Finding):
            yield top
            continue
        value, pointer = top
        below: list[Finding | tuple[object, str]] = []
        if isinstance(value, dict):
            for key, item in value.items():
                kind = describe_secret_value(key)
                place = join_pointer(pointer, "…" if kind else key)
                if kind:
                    text = f"a key here looks like {kind}; secrets do not belong in a catalog"
                    below.append(Finding(place, "secret", text))
                elif is_secret_key_name(key):
                    text = "this key is named like a secret, which a catalog must not hold"
                    below.append(Finding(place, "secret", text))
                below.append((item, place))
        elif isinstance(value, list):
            below.extend((item, join_pointer(pointer, index)) for index, item in enumerate(value))
        elif isinstance(value, str) and (kind := describe_secret_value(value)):
            yield Finding(pointer, "secret", f"this value looks like {kind}; secrets do not belong in a catalog")
        stack.extend(reversed(below))


def describe_secret_value(text: str) -> str | None:
    """Return what kind of secret `text` holds, or None. The answer never contains any of the text."""
    for pattern, kind in _SECRET_VALUES:
        if pattern.search(text):
            return kind
    for match in _AUTHORITY.finditer(text):
        _, colon, password = match[1].partition(":")
        if colon and password:
            return "a URL with a password"
    return None


def is_secret_key_name(key: str) -> bool:
    """Tell whether a key announces a secret: `api_key`, `API-Key`, `client_secret`; a price `per_token` does not."""
    if re.sub(r"[^a-z0-9]", "", key.lower()) in _SECRET_NAMES:
        return True
    words = tuple(word.lower() for word in _WORDS.findall(key))
    return any(
        words[-len(ending) :] == ending and words[-len(ending) - 1 : -len(ending)] != ("per",)
        for ending in _SECRET_ENDINGS
    )


def _check_structure(document: object) -> Iterator[Finding]:
    if not isinstance(document, dict):
        yield Finding("", "type_invalid", "a catalog is a JSON object")
        return
    yield from check_keys(document, "", DOCUMENT_KEYS)
    # The flat provider form has its prices here and may do without plans and meters.
    is_flat = document.get("prices") is not None
    for name in (*ARRAYS, "prices"):
        if document.get(name) is None:
            if name == "products" or (name in ARRAYS and not is_flat):
                yield Finding(f"/{name}", "required", "this array is missing")
        elif not isinstance(document[name], list):
            yield Finding(f"/{name}", "type_invalid", "this must be an array")
    entries = {name: list(_list_entries(document, name)) for name in (*ARRAYS, "prices")}
    for name, values in entries.items():
        for pointer, entry in values:
            if not isinstance(entry, dict):
                yield Finding(pointer, "type_invalid", "this must be an object")
            else:
                yield from check_keys(entry, pointer, ENTRY_KEYS[name])
    products = yield from _collect_ids(entries["products"], ("id", "lookup_key"))
    meters = yield from _collect_ids(entries["meters"], ("event_name", "name"))
    plans = yield from _collect_ids(entries["plans"], ("id",))
    declared = _read_dimensions(entries["meters"])
    dimensions = {name: declared[name] for name in meters}
    for pointer, plan in entries["plans"]:
        if isinstance(plan, dict):
            yield from _check_reference(plan, pointer, "product_id", products, "product")
            for key in ("prices", "quotas"):
                yield from _check_part(plan, pointer, key, meters=dimensions, plans=plans)


def _read_dimensions(meters: list[tuple[str, Any]]) -> dict[str, frozenset[str] | None]:
    """Return the dimensions of each meter by event name; None where they cannot be read."""
    found: dict[str, frozenset[str] | None] = {}
    for _, meter in meters:
        if not isinstance(meter, dict):
            continue
        name, declared = meter.get("event_name", meter.get("name")), meter.get("dimensions") or []
        is_readable = isinstance(declared, list) and all(isinstance(each, str) for each in declared)
        if isinstance(name, str):
            found.setdefault(name, frozenset(declared) if is_readable else None)
    return found


def _list_entries(parent: dict[str, Any], name: str, pointer: str = "") -> Iterator[tuple[str, Any]]:
    values = parent.get(name)
    if isinstance(values, list):
        for index, value in enumerate(values):
            yield f"{pointer}/{name}/{index}", value


def _collect_ids(entries: list[tuple[str, Any]], keys: tuple[str, ...]) -> Generator[Finding, None, set[str]]:
    """Yield what is wrong with ids and return the good ones."""
    seen: set[str] = set()
    for pointer, entry in entries:
        if not isinstance(entry, dict):
            continue
        key = next((key for key in keys if key in entry), keys[-1])
        value = entry.get(key)
        if value is None:
            yield Finding(f"{pointer}/{key}", "required", "this is missing")
        elif not isinstance(value, str) or not IDENTIFIER.fullmatch(value):
            yield Finding(f"{pointer}/{key}", "identifier_invalid", "1 to 100 letters, digits and _ . : - are allowed")
        elif value in seen:
            yield Finding(f"{pointer}/{key}", "duplicate", f"“{value}” is there already")
        else:
            seen.add(value)
    return seen


def _check_part(plan: dict[str, Any], pointer: str, key: str, *, meters: Meters, plans: set[str]) -> Iterator[Finding]:
    for place, part in _list_entries(plan, key, pointer):
        if not isinstance(part, dict):
            yield Finding(place, "type_invalid", "this must be an object")
        elif key == "prices":
            yield from check_price(part, place, meters=meters)
            yield from _check_reference(part, place, "meter", meters, "meter")
        else:
            yield from check_keys(part, place, ENTRY_KEYS["quotas"])
            if part.get("overage_price") is not None:
                yield from check_decimal(part["overage_price"], f"{place}/overage_price")
            yield from _check_reference(part, place, "meter_event_name", meters, "meter")
            yield from _check_reference(part, place, "upgrade_plan_id", plans, "plan")


def _check_reference(
    entry: dict[str, Any], pointer: str, key: str, known: Collection[str], kind: str
) -> Iterator[Finding]:
    value = entry.get(key)
    if isinstance(value, str) and value not in known:
        yield Finding(f"{pointer}/{key}", f"{kind}_unknown", f"the document has no {kind} “{value}”")


def join_pointer(parent: str, key: str | int) -> str:
    """Return the JSON pointer (RFC 6901) of a member of `parent`."""
    return f"{parent}/{str(key).replace('~', '~0').replace('/', '~1')}"
