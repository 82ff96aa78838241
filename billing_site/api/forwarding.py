"""
Calling one operation from within another request of the same caller.

The operation's own view answers, so that scopes, account access, validation and problems are its own. The forwarded
request has the caller's token and no idempotency key: the request that came from outside has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

import msgspec
from django.http import HttpRequest, QueryDict
from django.urls import resolve

from billing_site.api.request_ids import get_request_id
from billing_site.kernel.errors import ValidationFailed

# Numbers keep the digits they came with.
_ENCODER = msgspec.json.Encoder(decimal_format="number")
_OWN_HEADERS = ("HTTP_IDEMPOTENCY_KEY", "HTTP_ACCEPT", "HTTP_PREFER", "CONTENT_TYPE", "CONTENT_LENGTH", "QUERY_STRING")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a view answered: its status, and its body as plain data with snake_case keys."""

    status: int
    data: Any

    @property
    def is_good(self) -> bool:
        return self.status < HTTPStatus.BAD_REQUEST


def forward(request: HttpRequest, *, method: str, path: str, fields: Mapping[str, Any]) -> Answer:
    """
    Call the view behind `method` and `path` as the caller of `request`, and return what it answers.

    `fields` are the query of a GET and the JSON body of anything else.
    :raises ValidationFailed: when a field cannot stand in a query.
    """
    made = HttpRequest()
    made.method, made.path, made.path_info = method, path, path
    made.META = {name: value for name, value in request.META.items() if name not in _OWN_HEADERS}
    made.META |= {"REQUEST_METHOD": method, "PATH_INFO": path, "HTTP_ACCEPT": "application/json"}
    body = b""
    if method == "GET":
        query = urlencode([(name, _to_text(name, value)) for name, value in fields.items() if value is not None])
        made.GET = QueryDict(query)
        made.META["QUERY_STRING"] = query
    else:
        body = _ENCODER.encode(fields)
        made.content_type = "application/json"
        made.META |= {"CONTENT_TYPE": "application/json", "CONTENT_LENGTH": str(len(body))}
    made._body, made._read_started = body, True  # type: ignore[attr-defined]
    made._billing_request_id = get_request_id(request)  # type: ignore[attr-defined]
    found = resolve(path)
    response = found.func(made, *found.args, **found.kwargs)
    # A view that takes the short way has written its answer already.
    data = response.data if hasattr(response, "data") else msgspec.json.decode(response.content)
    return Answer(response.status_code, data)


def _to_text(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int):
        return str(value)
    raise ValidationFailed.of(f"/params/{name}", "invalid", "This must be a text or a whole number.")
