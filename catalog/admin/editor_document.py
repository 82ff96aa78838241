"""Editing a catalog document entry by entry: plain functions from a document to a new one, nothing stored."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any, Final

from billing_site.kernel.errors import DomainError, NotFound
from catalog.documents.content import canonical_json
from catalog.services.drafts import hash_document

Document = dict[str, Any]
Entry = dict[str, Any]

SINGULAR: Final[dict[str, str]] = {"plans": "plan", "products": "product", "meters": "meter"}
KEYS: Final[dict[str, tuple[str, ...]]] = {
    "plans": ("id",),
    "products": ("id", "lookup_key"),
    "meters": ("event_name", "name"),
}
_COPY: Final = "-copy"


class EntryChanged(DomainError):
    code, title, status = "draft_entry_changed", "This was changed meanwhile", 409


def list_entries(document: Document, section: str) -> list[tuple[int, Entry]]:
    """Return the objects of a section with their places; whatever is no object is passed over."""
    entries = document.get(section)
    if not isinstance(entries, list):
        return []
    return [(index, entry) for index, entry in enumerate(entries) if isinstance(entry, dict)]


def get_entry(document: Document, section: str, index: int) -> Entry:
    """
    Return the entry at a place.

    :raises NotFound: if there is no object there.
    """
    for place, entry in list_entries(document, section):
        if place == index:
            return entry
    raise NotFound(SINGULAR[section], f"The draft has no {SINGULAR[section]} number {index + 1}.")


def find_key(section: str, entry: Entry) -> str:
    """Return what the entry is called in its section, or nothing."""
    return next((str(entry[key]) for key in KEYS[section] if isinstance(entry.get(key), str) and entry[key]), "")


def find_index(document: Document, section: str, key: str) -> int | None:
    """Return the place of the entry called `key`, or None."""
    return next((index for index, entry in list_entries(document, section) if find_key(section, entry) == key), None)


def hash_entry(entry: Entry) -> str:
    """Return the hash a form carries of the entry it was made from."""
    return hash_document(entry)


def replace_entry(document: Document, section: str, index: int, entry: Entry, *, seen: str) -> Document:
    """
    Return the document with `entry` in the place of the one that was seen.

    :raises NotFound: if nothing is there. :raises EntryChanged: if it is not what `seen` (`hash_entry`) says.
    """
    if hash_entry(get_entry(document, section, index)) != seen:
        raise EntryChanged(
            f"Somebody changed this {SINGULAR[section]} while you edited it. Yours is still below; open the "
            f"{SINGULAR[section]} again to see the other one."
        )
    changed = _copy_section(document, section)
    changed[section][index] = entry
    return changed


def append_entry(document: Document, section: str, entry: Entry) -> tuple[Document, int]:
    """Return the document with one entry more, and its place."""
    changed = _copy_section(document, section)
    changed[section].append(entry)
    return changed, len(changed[section]) - 1


def insert_entry(document: Document, section: str, index: int, entry: Entry) -> Document:
    """Return the document with the entry before the one at `index`."""
    changed = _copy_section(document, section)
    changed[section].insert(index, entry)
    return changed


def remove_entry(document: Document, section: str, index: int) -> Document:
    """
    Return the document without the entry at a place.

    :raises NotFound: if nothing is there.
    """
    get_entry(document, section, index)
    changed = _copy_section(document, section)
    del changed[section][index]
    return changed


def restore_entry(document: Document, published: Document, section: str, key: str) -> Document:
    """
    Return the document in which the entry called `key` is as in another one: put back, taken out or replaced.

    :raises NotFound: if neither has it.
    """
    place, old_place = find_index(document, section, key), find_index(published, section, key)
    if old_place is None:
        if place is None:
            raise NotFound(SINGULAR[section], f"There is no {SINGULAR[section]} {key[:100]!r}.")
        return remove_entry(document, section, place)
    entry = get_entry(published, section, old_place)
    if place is None:
        return insert_entry(document, section, old_place, entry)
    changed = _copy_section(document, section)
    changed[section][place] = entry
    return changed


def duplicate_plan(document: Document, index: int) -> tuple[Document, int]:
    """
    Return the document with a copy of a plan behind it, under an id that is free, and the copy's place.

    Lookup keys are not copied: they stand once in a document and are derived where none is given.
    """
    copy = deepcopy(get_entry(document, "plans", index))
    taken = {find_key("plans", entry) for _, entry in list_entries(document, "plans")}
    copy["id"] = next(name for name in _name_copies(find_key("plans", copy) or "plan") if name not in taken)
    copy["name"] = f"{copy.get('name') or copy['id']} (copy)"
    copy.pop("popular", None)
    prices = copy.get("prices")
    for price in prices if isinstance(prices, list) else []:
        if isinstance(price, dict):
            price.pop("lookup_key", None)
    return insert_entry(document, "plans", index + 1, copy), index + 1


def is_same_entry(one: Entry | None, other: Entry | None) -> bool:
    """Tell whether two entries are the same JSON."""
    return one is other or (one is not None and other is not None and canonical_json(one) == canonical_json(other))


def _name_copies(key: str) -> Iterator[str]:
    base = key[: 100 - len(_COPY) - 3]
    yield f"{base}{_COPY}"
    for number in range(2, 1_000):
        yield f"{base}{_COPY}-{number}"


def _copy_section(document: Document, section: str) -> Document:
    """A new document that shares everything but the list of the section."""
    entries = document.get(section)
    return {**document, section: list(entries) if isinstance(entries, list) else []}
