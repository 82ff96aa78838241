"""
Buttons that one app puts on another app's pages: `register_page_link("catalog.plan", build, permission="…")`.

`build(obj)` returns where the button leads, or None where it does not belong. What the button opens checks its
permission itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db.models import Model
from django.http import HttpRequest


@dataclass(frozen=True, slots=True)
class PageLink:
    """A button above an object's page."""

    title: str
    url: str
    icon: str = ""


@dataclass(frozen=True, slots=True)
class _Registration:
    build: Callable[[Any], PageLink | None]
    permission: str


_registered: dict[str, dict[str, _Registration]] = {}


def register_page_link(model: str, build: Callable[[Any], PageLink | None], *, name: str, permission: str = "") -> None:
    """Show a button on the pages of `model` (`app.name`) to those who hold `permission`. The same name replaces."""
    _registered.setdefault(model, {})[name] = _Registration(build, permission)


def list_page_links(request: HttpRequest, obj: Model) -> list[PageLink]:
    """Return the buttons for an object that this person may see, in the order of their names."""
    found = sorted(_registered.get(obj._meta.label_lower, {}).items())
    return [
        link
        for _, registration in found
        if (not registration.permission or request.user.has_perm(registration.permission))
        and (link := registration.build(obj)) is not None
    ]
