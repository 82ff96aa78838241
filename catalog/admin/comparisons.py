"""Findings and differences of documents as readable blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from django.contrib import admin
from django.template.loader import render_to_string
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from billing_site.backoffice.display import Column
from catalog.documents.differences import DocumentDifference, EntryChange
from catalog.documents.findings import Findings
from catalog.documents.formatting import format_document

_SHOWN_ROWS: Final = 300
_SHOWN_TEXT: Final = 240
_SINGULAR: Final = {"products": "product", "meters": "meter", "plans": "plan", "prices": "provider price"}


@dataclass(frozen=True, slots=True)
class _Row:
    change: str
    tone: str
    entry: str
    pointer: str
    field: str = ""
    old: str = ""
    new: str = ""


def render_findings(findings: Findings) -> SafeString:
    """Return the findings as a table of places and sentences."""
    return mark_safe(render_to_string("catalog/findings.html", {"findings": findings.items}))  # noqa: S308 — escaped there


def render_difference(
    difference: DocumentDifference, *, before: str, after: str, nothing: str = "Nothing differs."
) -> SafeString:
    """Return what changes as a table, the old value beside the new one."""
    rows = list(_list_rows(difference))
    context = {
        "rows": rows[:_SHOWN_ROWS],
        "more": max(0, len(rows) - _SHOWN_ROWS),
        "before": before,
        "after": after,
        "nothing": nothing,
    }
    return mark_safe(render_to_string("catalog/difference.html", context))  # noqa: S308 — escaped there


def describe_difference(difference: DocumentDifference) -> str:
    """Return what changes in one sentence: `plans: pro changed, team added`."""
    parts = []
    for kind, changes in difference.summarise().items():
        texts = [f"{', '.join(_shorten_list(keys))} {change}" for change, keys in changes.items()]
        parts.append(f"{kind}: {'; '.join(texts)}")
    return ". ".join(part[:1].upper() + part[1:] for part in parts) + "." if parts else "Nothing differs."


def document_display(field: str = "document", *, description: str = "Document") -> Column:
    """Return a read-only field showing a document the way it is edited."""

    @admin.display(description=description)
    def column(*arguments: Any) -> SafeString:
        text = format_document(getattr(arguments[-1], field))
        return format_html('<pre class="ch-json" tabindex="0">{}</pre>', text)

    return column


def _list_rows(difference: DocumentDifference) -> Iterator[_Row]:
    for kind in difference.kinds:
        noun = _SINGULAR[kind.kind]
        for entry in kind.added:
            yield _Row("added", "good", f"{noun} {entry.key}", entry.pointer)
        for entry in kind.removed:
            yield _Row("becomes inactive", "warning", f"{noun} {entry.key}", entry.pointer)
        for entry in kind.changed:
            yield from _list_changes(f"{noun} {entry.key}", entry)


def _list_changes(name: str, entry: EntryChange) -> Iterator[_Row]:
    for change in entry.changes:
        yield _Row("changed", "info", name, change.pointer, change.field, _show(change.old), _show(change.new))


def _show(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else format_document(value).strip()
    return text if len(text) <= _SHOWN_TEXT else text[: _SHOWN_TEXT - 1] + "…"


def _shorten_list(keys: list[str], most: int = 6) -> list[str]:
    return keys if len(keys) <= most else [*keys[:most], f"and {len(keys) - most} more"]
