"""Pages of raw usage: newest first by event time, which is what an account's list is indexed by."""

from __future__ import annotations

import base64
import binascii
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.db.models import Q, QuerySet
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from billing_site.api.pagination import CursorPages, decode_cursor, encode_cursor
from billing_site.kernel.errors import ValidationFailed
from metering.models import UsageEvent

_VERSION: Final = b"u"
_EPOCH: Final = datetime(1, 1, 1, tzinfo=UTC)
_STEP: Final = timedelta(microseconds=1)


def encode_position(event: UsageEvent) -> str:
    """Return the opaque mark of an event: its time and key."""
    moment = ((event.timestamp - _EPOCH) // _STEP).to_bytes(8, "big")
    return base64.urlsafe_b64encode(_VERSION + moment + event.id.bytes).rstrip(b"=").decode()


def decode_position(text: str) -> tuple[datetime, uuid.UUID]:
    """
    Return time and key of the event a cursor marks.

    :raises ValidationFailed: when it is none of ours.
    """
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        if len(raw) != 25 or raw[:1] != _VERSION:
            raise ValueError
        return _EPOCH + int.from_bytes(raw[1:9], "big") * _STEP, uuid.UUID(bytes=raw[9:])
    except (binascii.Error, ValueError, OverflowError) as error:
        raise ValidationFailed.of("cursor", "invalid", "This cursor was not given by an earlier page.") from error


class UsagePages(CursorPages):
    """Cursor pages by (timestamp, id)."""

    def paginate_queryset(  # type: ignore[override]
        self, queryset: QuerySet[Any], request: Request, view: APIView | None = None
    ) -> list[Any]:
        limit = self.read_limit(request)
        if cursor := request.query_params.get("cursor"):
            moment, key = decode_position(cursor)
            queryset = queryset.filter(Q(timestamp__lt=moment) | Q(id__lt=key), timestamp__lte=moment)
        rows = list(queryset.order_by("-timestamp", "-id")[: limit + 1])
        self.next_cursor = encode_position(rows[limit - 1]) if len(rows) > limit else None
        return rows[:limit]


class SequencePages(CursorPages):
    """Cursor pages of what is computed and not one table: all of it is at hand, the newest key first."""

    def answer(
        self, items: Sequence[Any], request: Request, *, key: Callable[[Any], uuid.UUID], render: Callable[[Any], Any]
    ) -> Response:
        """Answer the page the request asks for, each item rendered. Keys must differ."""
        limit = self.read_limit(request)
        ordered = sorted(items, key=key, reverse=True)
        if cursor := request.query_params.get("cursor"):
            last = decode_cursor(cursor)
            ordered = [item for item in ordered if key(item) < last]
        page = ordered[:limit]
        self.next_cursor = encode_cursor(key(page[-1])) if len(ordered) > limit else None
        return self.get_paginated_response([render(item) for item in page])
