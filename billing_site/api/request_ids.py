"""The id of a request: in its log lines, in the `Request-Id` header and as `instance` of problems."""

from __future__ import annotations

import uuid

import structlog
from django.http import HttpRequest

HEADER = "Request-Id"
_ATTRIBUTE = "_billing_request_id"


def get_request_id(request: HttpRequest) -> str:
    """Return the id the request's log lines carry, or a new one where no middleware gave it any."""
    known: str | None = getattr(request, _ATTRIBUTE, None)
    if known is None:
        bound = structlog.contextvars.get_contextvars().get("request_id")
        known = str(bound) if bound else str(uuid.uuid4())
        setattr(request, _ATTRIBUTE, known)
    return known
