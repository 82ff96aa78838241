"""Cursor pages: newest first, stable while rows are added."""

from __future__ import annotations

import base64
import binascii
import uuid
from collections.abc import Callable
from typing import Any, Final

from django.db.models import Model, Q, QuerySet
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from billing_site.kernel.errors import ValidationFailed

_VERSION: Final = b"1"


def encode_cursor(value: uuid.UUID) -> str:
    """Return the opaque mark of a row."""
    return base64.urlsafe_b64encode(_VERSION + value.bytes).rstrip(b"=").decode()


def decode_cursor(text: str) -> uuid.UUID:
    """
    Return the key of the row a cursor marks.

    :raises ValidationFailed: when it is none of ours.
    """
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != 17 or raw[:1] != _VERSION:
        raise ValidationFailed.of("cursor", "invalid", "This cursor was not given by an earlier page.")
    return uuid.UUID(bytes=raw[1:])


class CursorPages(BasePagination):
    """
    Pages by primary key, newest first: keys are UUIDv7, so a later page never repeats a row of an earlier one.

    Answers `{items, next_cursor, has_more}`. Subclasses may set `max_limit` or list the oldest first.
    """

    default_limit = 50
    max_limit = 200
    newest_first = True

    def __init__(self) -> None:
        self.next_cursor: str | None = None

    def paginate_queryset(  # type: ignore[override]
        self, queryset: QuerySet[Any], request: Request, view: APIView | None = None
    ) -> list[Any]:
        """Return the rows of the page the request asks for."""
        limit = self.read_limit(request)
        if cursor := request.query_params.get("cursor"):
            key = decode_cursor(cursor)
            queryset = queryset.filter(pk__lt=key) if self.newest_first else queryset.filter(pk__gt=key)
        rows = list(queryset.order_by("-pk" if self.newest_first else "pk")[: limit + 1])
        page = rows[:limit]
        self.next_cursor = encode_cursor(page[-1].pk) if len(rows) > limit else None
        return page

    def read_limit(self, request: Request) -> int:
        """Return the page size asked for. :raises ValidationFailed: outside 1 to `max_limit`."""
        text = request.query_params.get("limit")
        if text is None or text == "":
            return self.default_limit
        limit = int(text) if text.isascii() and text.isdigit() and len(text) <= 6 else 0
        if not 1 <= limit <= self.max_limit:
            raise ValidationFailed.of("limit", "invalid", f"limit is a whole number from 1 to {self.max_limit}.")
        return limit

    def get_paginated_response(self, data: Any) -> Response:
        return Response({"items": data, "next_cursor": self.next_cursor, "has_more": self.next_cursor is not None})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": "object",
            "required": ["items", "next_cursor", "has_more"],
            "properties": {
                "items": schema,
                "next_cursor": {"type": ["string", "null"], "description": "Pass as `cursor` to get the next page."},
                "has_more": {"type": "boolean"},
            },
        }

    def get_schema_operation_parameters(self, view: APIView) -> list[dict[str, Any]]:
        return [
            {
                "name": "cursor",
                "in": "query",
                "required": False,
                "description": "The `next_cursor` of the page before.",
                "schema": {"type": "string"},
            },
            {
                "name": "limit",
                "in": "query",
                "required": False,
                "description": "Page size.",
                "schema": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": self.max_limit,
                    "default": self.default_limit,
                },
            },
        ]


class LeadingPages(CursorPages):
    """
    Pages with the rows for which the column `leading` is true in front, each part newest first.

    A row that moves to the front between two pages may be left out of the later one, or come twice.
    """

    leading = ""

    def paginate_queryset(  # type: ignore[override]
        self, queryset: QuerySet[Any], request: Request, view: APIView | None = None
    ) -> list[Any]:
        """Return the rows of the page the request asks for."""
        limit = self.read_limit(request)
        if cursor := request.query_params.get("cursor"):
            in_front, key = self._decode(cursor)
            after = Q(**{self.leading: in_front, "pk__lt": key})
            queryset = queryset.filter(after | Q(**{self.leading: False}) if in_front else after)
        rows = list(queryset.order_by(f"-{self.leading}", "-pk")[: limit + 1])
        page = rows[:limit]
        if len(rows) > limit:
            self.next_cursor = ("a" if getattr(page[-1], self.leading) else "b") + encode_cursor(page[-1].pk)
        return page

    def _decode(self, cursor: str) -> tuple[bool, uuid.UUID]:
        key = decode_cursor(cursor[1:] if cursor[:1] in ("a", "b") else "")
        return cursor[0] == "a", key


def build_page(
    queryset: QuerySet[Any], request: Request, render: Callable[[Model], Any], pages: type[CursorPages] = CursorPages
) -> Response:
    """Answer one page of `queryset`, each row rendered by `render`. For views without a serializer per row."""
    paginator = pages()
    rows = paginator.paginate_queryset(queryset, request)
    return paginator.get_paginated_response([render(row) for row in rows])
