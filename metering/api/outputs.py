"""What usage doors answer, written by msgspec in either spelling. Field by field the contract's UsageRecord and kin."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import msgspec
from django.http import HttpResponse
from drf_spectacular.utils import OpenApiParameter
from msgspec import Meta, Struct
from rest_framework.request import Request

from accounts.models import CostCenter
from billing_site.api.dialect import CAMEL_MEDIA_TYPE, CamelCaseRenderer
from billing_site.api.fields import format_plain
from billing_site.api.lean import LeanCall
from billing_site.kernel.ids import encode_id, encode_number
from metering.models import UsageEvent
from metering.services.ingest import RecordedUsage
from metering.stores import hash_claims

PREFER: Final = OpenApiParameter(
    "Prefer",
    str,
    OpenApiParameter.HEADER,
    description="`return=minimal`: the answer says how many events were created and how many were known, no more.",
)
_MINIMAL: Final = re.compile(r'return\s*=\s*"?minimal"?\s*(;.*)?')
EventStatus = Literal["created", "duplicate"]


class UsageRecord(Struct, kw_only=True):
    """One stored usage event. `quantity` is in `unit`, the meter's own."""

    id: str
    account_id: str
    metric_type: Annotated[str, Meta(description="The meter's event name.")]
    meter_id: str
    quantity: Annotated[str, Meta(description="Exact decimal.")]
    unit: str
    resource_id: str | None
    resource_type: str | None
    actor_id: Annotated[str | None, Meta(description="Person inside the account.")]
    cost_center_id: str | None
    idempotency_key: str
    metadata: dict[str, Any]
    timestamp: datetime
    recorded_at: datetime
    status: Annotated[
        EventStatus, Meta(description="duplicate: the key was known, nothing changed, and this is the first event.")
    ]


class UsageBatchResult(Struct, kw_only=True):
    """What a batch came to, in request order."""

    items: list[UsageRecord]
    created: int
    duplicates: int


class UsageRecordPage(Struct, kw_only=True):
    """One page of usage records, newest first."""

    items: list[UsageRecord]
    next_cursor: str | None
    has_more: bool


class MeterEventStatus(Struct, kw_only=True):
    """What became of one meter event."""

    id: str
    status: EventStatus


class MeterEventResult(Struct, kw_only=True):
    """What became of the events, in request order."""

    events: list[MeterEventStatus]
    count: int
    created: int
    duplicates: int


class UsageCounts(Struct, kw_only=True):
    """What a batch came to, in numbers; for `Prefer: return=minimal`."""

    count: int
    created: int
    duplicates: int


def render_recorded(recorded: Sequence[RecordedUsage]) -> list[UsageRecord]:
    """Return the answers for events that were just sent."""
    known: dict[UUID, str] = {}
    for entry in recorded:
        if entry.account.id not in known:
            known[entry.account.id] = entry.account.public_id
        if entry.meter.id not in known:
            known[entry.meter.id] = entry.meter.public_id
    ids = hash_claims([entry.row[:3] for entry in recorded])
    name_center = lru_cache(_name_center)
    return [
        UsageRecord(
            id=encode_number(UsageEvent.id_prefix, int(id_, 16)),
            account_id=known[account.id],
            metric_type=meter.event_name,
            meter_id=known[meter.id],
            quantity=format_plain(row.value),
            unit=meter.unit,
            resource_id=row.resource_id or None,
            resource_type=row.resource_type or None,
            actor_id=row.actor_id or None,
            cost_center_id=name_center(row.cost_center_id),
            idempotency_key=row.idempotency_key,
            metadata=row.metadata,
            timestamp=row.timestamp,
            recorded_at=row.recorded_at,
            status="created" if created else "duplicate",
        )
        for id_, (account, meter, row, created) in zip(ids, recorded, strict=True)
    ]


def render_stored(event: UsageEvent, *, account_id: str) -> UsageRecord:
    """Return the answer for one event read back. The meter must be loaded."""
    return UsageRecord(
        id=event.public_id,
        account_id=account_id,
        metric_type=event.meter.event_name,
        meter_id=event.meter.public_id,
        quantity=format_plain(event.value),
        unit=event.meter.unit,
        resource_id=event.resource_id or None,
        resource_type=event.resource_type or None,
        actor_id=event.actor_id or None,
        cost_center_id=_name_center(event.cost_center_id),
        idempotency_key=event.idempotency_key,
        metadata=event.metadata,
        timestamp=event.timestamp,
        recorded_at=event.recorded_at,
        status="created",
    )


def _name_center(center_id: UUID | None) -> str | None:
    return None if center_id is None else encode_id(CostCenter.id_prefix, center_id)


def render_statuses(recorded: Sequence[RecordedUsage]) -> MeterEventResult:
    """Return the short answer for events that were just sent."""
    return MeterEventResult(
        events=[
            MeterEventStatus(
                id=encode_id(UsageEvent.id_prefix, entry.row.id), status="created" if entry.created else "duplicate"
            )
            for entry in recorded
        ],
        count=len(recorded),
        created=(created := sum(entry.created for entry in recorded)),
        duplicates=len(recorded) - created,
    )


def render_batch(recorded: Sequence[RecordedUsage]) -> UsageBatchResult:
    """Return the answer for a batch that was just sent, record by record."""
    created = sum(entry.created for entry in recorded)
    return UsageBatchResult(items=render_recorded(recorded), created=created, duplicates=len(recorded) - created)


def render_counts(recorded: Sequence[RecordedUsage]) -> UsageCounts:
    """Return the numbers of a batch that was just sent."""
    created = sum(entry.created for entry in recorded)
    return UsageCounts(count=len(recorded), created=created, duplicates=len(recorded) - created)


def wants_minimal(meta: Mapping[str, Any]) -> bool:
    """Tell whether a request, by its headers as WSGI has them, prefers an answer without what it sent (RFC 7240)."""
    preferences = (each.strip().lower() for each in str(meta.get("HTTP_PREFER", "")).split(","))
    return any(_MINIMAL.fullmatch(each) for each in preferences)


def respond_to_batch(
    request: Request | LeanCall, recorded: Sequence[RecordedUsage], render: Callable[[Sequence[RecordedUsage]], Struct]
) -> HttpResponse:
    """Return the answer to a batch: what `render` makes of it, or the numbers alone where that is preferred."""
    if not wants_minimal(request.request.META if isinstance(request, LeanCall) else request.META):
        return respond(request, render(recorded), status=201)
    response = respond(request, render_counts(recorded), status=201)
    response["Preference-Applied"] = "return=minimal"
    return response


def respond(request: Request | LeanCall, answer: Struct, *, status: int = 200) -> HttpResponse:
    """Return `answer` in the spelling that was asked for."""
    if isinstance(request.accepted_renderer, CamelCaseRenderer):
        content = request.accepted_renderer.render(msgspec.to_builtins(answer))
        return HttpResponse(content, status=status, content_type=CAMEL_MEDIA_TYPE)
    return HttpResponse(msgspec.json.encode(answer), status=status, content_type="application/json")
