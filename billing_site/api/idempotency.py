"""
A repeat of a keyed POST gets the first answer instead of a second effect.

Everything happens in one transaction: the key is claimed, the view runs in a savepoint, the answer is stored, and all
of it commits together. A refusal rolls the view's writes back and is stored; a failure of the server, or a refusal
that asks to be retried, leaves nothing behind. Source: contract conventions, idempotency.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from django.db import transaction
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.exceptions import APIException, ParseError, UnsupportedMediaType
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from billing_site.api.params import query_values
from billing_site.kernel import clock
from billing_site.kernel.actors import Principal
from billing_site.kernel.errors import DomainError, ValidationFailed
from billing_site.platform.models import IdempotencyKey
from billing_site.platform.services import idempotency as answers

if TYPE_CHECKING:
    from billing_site.api.views import BillingView

HEADER: Final = "Idempotency-Key"
REPLAYED: Final = "Idempotent-Replayed"
_RAW: Final = "raw"
_MAX_PATH: Final = 500


class IdempotencyInProgress(DomainError):
    code, title, status, retryable = "idempotency_in_progress", "The first request with this key is running", 409, True


class IdempotencyKeyReused(DomainError):
    code, title, status = "idempotency_key_reused", "This key came with a different request", 422


def read_key(request: Request) -> str | None:
    """Return the key of the request, or None without one. :raises ValidationFailed: for an unusable key."""
    key = request.headers.get(HEADER)
    if key is not None and not (1 <= len(key) <= 255 and key.isascii() and key.isprintable()):
        raise ValidationFailed.of(HEADER, "invalid", f"{HEADER} is 1 to 255 printable ASCII characters.")
    return key


def mark_request(request: Request, principal: Principal) -> tuple[str, str]:
    """
    Return digests of the keyed request and of its body, for views whose own rows recognise a repeat; empty without key.

    :raises ValidationFailed: for an unusable key.
    """
    key = read_key(request)
    if key is None:
        return "", ""
    parts = (principal.audience, principal.subject, request.path, key)
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest(), hash_request(request)[0]


def run_once(view: BillingView, request: Request, call: Callable[[], HttpResponseBase]) -> HttpResponseBase:
    """Run `call`, or answer as the first time when the request's key was used before."""
    key = read_key(request)
    if key is None:
        return call()
    request_key = _make_request_key(request, key)
    request_hash, unreadable = hash_request(request)
    at = clock.now()
    with transaction.atomic():
        if not answers.claim_key(request_key):
            raise IdempotencyInProgress("The first request with this key is still running; try again shortly.")
        if stored := answers.get_answer(request_key, at=at):
            if stored.request_hash != request_hash:
                raise IdempotencyKeyReused("Use a new key for a different request.")
            return replay(stored)
        try:
            with transaction.atomic():
                if unreadable is not None:
                    raise unreadable
                response = call()
                if response.status_code >= 400:
                    transaction.set_rollback(True)
        except Exception as error:
            response = view.handle_exception(error)
        if not _is_final(response):
            transaction.set_rollback(True)
            return response
        answers.store_answer(
            request_key,
            request_hash=request_hash,
            status=response.status_code,
            headers=_own_headers(response),
            body=_read_content(response),
            at=at,
        )
    return response


def hash_request(request: Request) -> tuple[str, APIException | None]:
    """
    Return a digest of query and body that does not depend on key order, spacing or spelling of the JSON.

    The second value is why the body cannot be read: REST framework says so once only, then shows an empty body.
    """
    unreadable: APIException | None = None
    try:
        body = json.dumps(request.data, sort_keys=True, separators=(",", ":"), default=str).encode()
    except (ParseError, UnsupportedMediaType) as error:
        body, unreadable = request._request.body, error
    query = json.dumps(query_values(request), sort_keys=True).encode()
    return hashlib.sha256(query + b"\n" + body).hexdigest(), unreadable


def replay(stored: IdempotencyKey) -> HttpResponseBase:
    """Return the stored answer again, marked as such."""
    headers: dict[str, str] = dict(stored.response_headers)
    content_type, raw = headers.pop("Content-Type", None), headers.pop(_RAW, None)
    body = bytes(stored.response_body)
    response: HttpResponse
    if raw:
        response = HttpResponse(body, status=stored.response_status, content_type=content_type)
    else:
        data: Any = json.loads(body) if body else None
        response = Response(data, status=stored.response_status, content_type=content_type)
    for name, value in headers.items():
        response[name] = value
    response[REPLAYED] = "true"
    return response


def _make_request_key(request: Request, key: str) -> answers.RequestKey:
    principal = request.user
    caller = f"{principal.audience}:{principal.subject}" if isinstance(principal, Principal) else "anonymous:"
    path = request.path
    if len(path) > _MAX_PATH:
        digest = hashlib.sha256(path.encode()).hexdigest()
        path = path[: _MAX_PATH - len(digest)] + digest
    return answers.RequestKey(caller=caller, method=request.method or "", path=path, key=key)


def _is_final(response: HttpResponseBase) -> bool:
    """Tell whether the same request could not get a better answer later."""
    if response.status_code >= 500:
        return False
    data = getattr(response, "data", None)
    return not (response.status_code >= 400 and isinstance(data, dict) and data.get("retryable"))


def _own_headers(response: HttpResponseBase) -> dict[str, str]:
    headers = {
        name: value for name, value in response.items() if name.lower() not in ("content-length", "vary", "allow")
    }
    if isinstance(response, Response):
        headers.pop("Content-Type", None)
        if response.content_type:
            headers["Content-Type"] = response.content_type
    else:
        headers[_RAW] = "true"
    return headers


def _read_content(response: HttpResponseBase) -> bytes:
    """Return what is stored of an answer. Rendering it here makes a failing answer roll the effect back."""
    if isinstance(response, Response):
        return bytes(JSONRenderer().render(response.data))
    if isinstance(response, HttpResponse):
        return bytes(response.content)
    raise TypeError("a streamed answer cannot be stored; let the view handle its own idempotency")
