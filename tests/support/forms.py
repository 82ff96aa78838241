"""What a browser would post: the fields of a form on a page, in their order, with what they hold."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

_VOID = frozenset({"input", "br", "hr", "img", "link", "meta"})


class _FormParser(HTMLParser):
    """Collects the controls of the form with an id; what stands in `<template>` belongs to nobody."""

    def __init__(self, form_id: str) -> None:
        super().__init__(convert_charrefs=True)
        self.form_id = form_id
        self.fields: dict[str, str] = {}
        self._inside = False
        self._disabled = 0
        self._templates = 0
        self._select = ""
        self._textarea = ""
        self._text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given: dict[str, Any] = dict(attrs)
        if tag == "form":
            self._inside = given.get("id") == self.form_id
        self._templates += tag == "template"
        if not self._inside or self._templates:
            return
        if tag == "fieldset" and "disabled" in given:
            self._disabled += 1
        name = given.get("name")
        if not name or self._disabled:
            return
        if tag == "input" and (given.get("type") != "checkbox" or "checked" in given):
            self.fields[name] = given.get("value") or ""
        elif tag == "select":
            self._select = name
            self.fields[name] = ""
        elif tag == "textarea":
            self._textarea, self._text = name, []

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        self._templates -= tag == "template"
        if tag == "form":
            self._inside = False
        elif tag == "select":
            self._select = ""
        elif tag == "textarea" and self._textarea:
            # A browser leaves out the line end right behind the tag, and sends the others its own way.
            text = "".join(self._text).removeprefix("\n").replace("\n", "\r\n")
            self.fields[self._textarea], self._textarea = text, ""

    def handle_data(self, data: str) -> None:
        if self._textarea:
            self._text.append(data)

    def choose(self, attrs: list[tuple[str, str | None]]) -> None:
        """Take a selected option of the open select."""
        given = dict(attrs)
        if self._select and "selected" in given:
            self.fields[self._select] = given.get("value") or ""


class _PageParser(_FormParser):
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "option":
            self.choose(attrs)
        else:
            super().handle_starttag(tag, attrs)


def read_form(page: str, form_id: str) -> dict[str, str]:
    """Return the fields of a form, names to values; without the buttons, which are pressed one at a time."""
    parser = _PageParser(form_id)
    parser.feed(page)
    return parser.fields
