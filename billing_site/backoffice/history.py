"""The story of one object and the story of one amount: plain data in, a readable block out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.contrib import admin
from django.template.loader import render_to_string
from django.utils.safestring import SafeString, mark_safe

from billing_site.backoffice.display import instant
from billing_site.platform.models import Event

SHOWN_EVENTS = 30


@dataclass(frozen=True, slots=True)
class Step:
    """One step of an explanation: the arithmetic as text, its result, and where it comes from."""

    title: str
    formula: str = ""
    value: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """How one amount came about: what it is, the amount as text, and the steps in order."""

    title: str
    value: str = ""
    subtitle: str = ""
    steps: Sequence[Step] = field(default_factory=tuple)


def render_explanations(explanations: Sequence[Explanation], *, intro: str = "") -> SafeString:
    """Return the block that answers "why this amount"."""
    return mark_safe(  # noqa: S308 — a template's output, escaped there
        render_to_string("backoffice/trace.html", {"explanations": explanations, "intro": intro})
    )


def render_timeline(events: Sequence[Event], *, zone: str | None = None) -> SafeString:
    """Return events, newest first, as a list that says what, who, why and when."""
    entries = [
        {
            "title": event.type,
            "who": event.actor_id,
            "kind": event.actor_type,
            "reason": event.reason,
            "when": instant(event.created_at, zone),
            "changes": _list_changes(event),
        }
        for event in events
    ]
    return mark_safe(render_to_string("backoffice/timeline.html", {"entries": entries}))  # noqa: S308 — see above


def _list_changes(event: Event) -> list[tuple[str, Any, Any]]:
    before = event.previous_data or {}
    return [
        (name.replace("_", " "), value, event.data.get(name))
        for name, value in before.items()
        if value != event.data.get(name)
    ]


def timeline_display(*, description: str = "History", zone: str = "timezone") -> Callable[..., SafeString]:
    """Return a read-only field with the newest events of the object."""

    @admin.display(description=description)
    def timeline(*arguments: Any) -> SafeString:
        obj = arguments[-1]
        events = Event.objects.filter(object_id=obj.public_id).order_by("-id")[:SHOWN_EVENTS]
        owner = getattr(obj, "account", None) or obj
        return render_timeline(list(events), zone=getattr(owner, zone, None))

    return timeline
