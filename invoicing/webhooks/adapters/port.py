"""What differs between providers at the door, and the envelope they share."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from billing_site.kernel.errors import ValidationFailed
from invoicing.services.inbound_events import NewEvent
from invoicing.webhooks.neutral import name_neutrally

# Lengths of the columns.
_EVENT_ID: Final = 255
_TYPE: Final = 100
_OBJECT_TYPE: Final = 60
_OBJECT_ID: Final = 255
_VERSION: Final = 40


@dataclass(frozen=True, slots=True)
class WebhookDoor:
    """One provider: the header with the signature, the secrets that may have made it, and how a body is read."""

    provider: str
    header: str
    secrets: tuple[str, ...]
    read: Callable[[bytes], NewEvent]


def read_envelope(body: bytes, *, provider: str) -> NewEvent:
    """
    Return the event of a body in Stripe's form: id, type, created, livemode, api_version, data.object.

    :raises ValidationFailed: when it is no such thing.
    """
    try:
        event = json.loads(body)
    except (ValueError, RecursionError):
        raise ValidationFailed.of("", "malformed_body", "The body is not valid JSON.") from None
    if not isinstance(event, Mapping):
        raise ValidationFailed.of("", "invalid", "The body is no event.")
    kind = _text(event, "type", _TYPE)
    about = _find_object(event)
    return NewEvent(
        provider=provider,
        event_id=_text(event, "id", _EVENT_ID),
        type=kind,
        neutral_type=name_neutrally(kind),
        object_kind=str(about.get("object") or about.get("type") or "")[:_OBJECT_TYPE],
        object_id=_clean(str(about.get("id") or ""))[:_OBJECT_ID],
        livemode=event.get("livemode") is True,
        api_version=str(event.get("api_version") or "")[:_VERSION],
        occurred_at=_instant(event.get("created")),
        body=body,
    )


def _find_object(event: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what an event is about; events without a snapshot only name it."""
    data = event.get("data")
    found = data.get("object") if isinstance(data, Mapping) else None
    if not isinstance(found, Mapping):
        found = event.get("related_object")
    return found if isinstance(found, Mapping) else {}


def _text(event: Mapping[str, Any], name: str, longest: int) -> str:
    value = event.get(name)
    if not isinstance(value, str) or not value or len(value) > longest or "\x00" in value:
        raise ValidationFailed.of(f"/{name}", "invalid", f"The event has no usable {name}.")
    return value


def _clean(text: str) -> str:
    return text.replace("\x00", "")


def _instant(value: object) -> datetime:
    """Return the time of an event: Unix seconds, or RFC 3339 as newer events have it."""
    try:
        if isinstance(value, int) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
        if isinstance(value, str):
            moment = datetime.fromisoformat(value)
            return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError, OSError):
        pass
    raise ValidationFailed.of("/created", "invalid", "The event has no usable time.")
