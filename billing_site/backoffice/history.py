"""The story of one object and the story of one amount: plain data in, a readable block out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.contrib import admin
from django.template.loader import render_to_string
from django.utils.safestring import SafeString, mark_safe

from billing_site.backoffice.display import NOTHING, format_instant, format_money, instant, link_to_id
from billing_site.platform.models import Event

SHOWN_EVENTS = 30
_AMOUNTS = frozenset({"amount", "balance", "total", "remaining", "due", "paid", "credit", "budget", "threshold"})


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


def render_timeline(events: Sequence[Event], *, zone: str | None = None, links: bool = False) -> SafeString:
    """
    Return events, newest first, as a list that says what, who, why, when, and what was before and after.

    With `links` each leads to its object: for events of several.
    """
    entries = [
        {
            "title": event.type,
            "about": link_to_id(event.object_id, event.object_type.replace("_", " ")) if links else "",
            "who": event.actor_id,
            "kind": event.actor_type,
            "reason": event.reason,
            "when": instant(event.created_at, zone),
            "changes": _list_changes(event, zone),
        }
        for event in events
    ]
    return mark_safe(render_to_string("backoffice/timeline.html", {"entries": entries}))  # noqa: S308 — see above


def _list_changes(event: Event, zone: str | None) -> list[tuple[str, str, str]]:
    before = event.previous_data or {}
    currency = event.data.get("currency") or ""
    return [
        (
            _name(name),
            _show_value(name, value, currency=currency, zone=zone),
            _show_value(name, event.data.get(name), currency=currency, zone=zone),
        )
        for name, value in before.items()
        if value != event.data.get(name)
    ]


def _name(name: str) -> str:
    words = name.removesuffix("_id").removesuffix("_at").replace("_", " ")
    return words[:1].upper() + words[1:]


def _show_value(name: str, value: Any, *, currency: str, zone: str | None) -> str:
    """Return a stored value as people read it: local time, money with its currency, words for yes and no."""
    if value is None or value in ("", [], {}):
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        own = value.get("currency") or currency
        parts = (
            f"{_name(key).lower()} {_show_value(key, each, currency=own, zone=zone)}"
            for key, each in value.items()
            if key not in {"id", "currency"} and each not in (None, "", [], {})
        )
        return ", ".join(parts)
    if isinstance(value, list):
        return ", ".join(_show_value(name, each, currency=currency, zone=zone) for each in value)
    if isinstance(value, int) and currency and _is_amount(name):
        return format_money(value, currency)
    moment = _read_instant(value) if isinstance(value, str) else None
    return str(value) if moment is None else format_instant(moment, zone)


def _is_amount(name: str) -> bool:
    return any(word in name.split("_") for word in _AMOUNTS)


def _read_instant(text: str) -> datetime | None:
    if "T" not in text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None


def timeline_display(*, description: str = "History", zone: str = "timezone") -> Callable[..., SafeString]:
    """Return a read-only field with the newest events of the object."""

    @admin.display(description=description)
    def timeline(*arguments: Any) -> SafeString:
        obj = arguments[-1]
        events = Event.objects.filter(object_id=obj.public_id).order_by("-id")[:SHOWN_EVENTS]
        owner = getattr(obj, "account", None) or obj
        return render_timeline(list(events), zone=getattr(owner, zone, None))

    return timeline
