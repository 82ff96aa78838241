"""
The index page's registry: what a domain shows there, as plain data.

A domain's admin module calls `register_panel("invoicing.amounts", build, permission="invoicing.view_invoice")`;
`build(PanelContext)` returns panels made of the classes below. The page draws them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from django.http import HttpRequest

Tone = Literal["neutral", "good", "info", "warning", "bad"]


@dataclass(frozen=True, slots=True)
class PanelContext:
    """What a panel may look at: who asks, and the instant the page shows."""

    request: HttpRequest
    at: datetime


@dataclass(frozen=True, slots=True)
class EmptyState:
    """What stands where numbers will be: the next step, and where to take it."""

    title: str
    text: str
    action: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class Metric:
    """One number with a link to the rows behind it. `values` are formatted amounts, one per currency."""

    title: str
    values: Sequence[str]
    caption: str = ""
    url: str = ""
    tone: Tone = "neutral"
    icon: str = ""
    order: int = 100


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table panel; a bare string does for plain text."""

    text: str
    url: str = ""
    tone: Tone | None = None
    numeric: bool = False


@dataclass(frozen=True, slots=True)
class TablePanel:
    """A short list with a link to the full one. `numeric` are the indexes of right-aligned columns."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell | str]]
    url: str = ""
    empty: EmptyState | None = None
    numeric: Sequence[int] = ()
    order: int = 100
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Series:
    """One row of bars: whole numbers to draw, and the same as text to read."""

    name: str
    values: Sequence[int]
    labels: Sequence[str]


@dataclass(frozen=True, slots=True)
class ChartPanel:
    """Bars over categories, with the table of the same numbers behind it. At most three series."""

    title: str
    categories: Sequence[str]
    series: Sequence[Series]
    caption: str = ""
    url: str = ""
    empty: EmptyState | None = None
    order: int = 100


Panel = Metric | TablePanel | ChartPanel
PanelBuilder = Callable[[PanelContext], Iterable[Panel]]


@dataclass(frozen=True, slots=True)
class Registration:
    name: str
    build: PanelBuilder
    order: int
    permission: str


_registered: dict[str, Registration] = {}


def register_panel(name: str, build: PanelBuilder, *, order: int = 100, permission: str = "") -> None:
    """Show what `build` returns on the index page, to those who hold `permission`. The same name replaces."""
    _registered[name] = Registration(name, build, order, permission)


def build_panels(context: PanelContext) -> list[Panel]:
    """Return the panels the person may see, in order."""
    user = context.request.user
    panels: list[Panel] = []
    for registration in sorted(_registered.values(), key=lambda entry: (entry.order, entry.name)):
        if not registration.permission or user.has_perm(registration.permission):
            panels.extend(registration.build(context))
    return panels
