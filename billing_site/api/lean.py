"""
The short way into doors that machines call thousands of times a second.

A lean door is an ordinary API view: it declares scopes, problems and operation ids, is described in OpenAPI, and can
answer by itself. `lean_view` puts a short way in front of it for plain requests (a Bearer token that holds, JSON in one
of the two spellings, no idempotency key): the same checks by the same functions, without REST framework's request,
negotiation and response. Whatever is not plain, and whoever may not call, goes the long way through the view, so that
one place says no. To make a door lean, write what it does as a function and let the view's method call it:

    def record_one(call: LeanCall, account_id: str) -> HttpResponse:
        account = resolve_account(call.principal, account_id, write=True)
        ...READER.read_one(call.data)...
        return call.respond(record, status=201)

    class TenantUsageViewSet(BillingViewSet):
        @extend_schema(...)
        def create(self, request: Request, account_id: str) -> HttpResponse:
            return record_one(LeanCall.of(self, request), account_id=account_id)

    path(TENANT, lean_view(TenantUsageViewSet.as_view({"get": "list", "post": "create"}), post=record_one))

`call.data` is what the view's parser makes of the body. What the function raises is answered as the view would answer
it. A view with throttles, or with authentication of its own, cannot be lean. Keyed requests go the long way, where key
and effect commit together; a view with `idempotency = "own"` is called the same whether there is a key or not.
Source: ADR 0032.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

import msgspec
from django.http import HttpRequest, HttpResponse, QueryDict
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers
from rest_framework.authentication import get_authorization_header
from rest_framework.parsers import BaseParser
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request

from billing_site.api.auth import JWTAuthentication, TokenInvalid, authenticate_bearer
from billing_site.api.card_data import refuse_card_data
from billing_site.api.dialect import CAMEL_MEDIA_TYPE, PROBLEM_MEDIA_TYPE, CamelCaseRenderer
from billing_site.api.permissions import AudienceRejected, HasScope, ScopeMissing, require_scope
from billing_site.api.problems import describe_failure
from billing_site.api.request_ids import HEADER, get_request_id
from billing_site.api.views import BillingView, read_body
from billing_site.kernel.actors import Actor, Principal
from billing_site.kernel.errors import DomainError

Handler = Callable[..., HttpResponse]
View = Callable[..., HttpResponseBase]

_JSON: Final = JSONRenderer()
_CAMEL: Final = CamelCaseRenderer()
# What clients send when they take JSON; any other Accept header is weighed on the long way.
_RENDERERS: Final[Mapping[str, JSONRenderer]] = {
    "*/*": _JSON,
    "application/json": _JSON,
    "application/json, */*": _JSON,
    "application/json, text/plain, */*": _JSON,
    CAMEL_MEDIA_TYPE: _CAMEL,
}
_CHARSETS: Final = ("", "; charset=utf-8", ";charset=utf-8")
_UNREAD: Final[Any] = object()


class TakeLongWay(Exception):
    """Raised by a handler that has done nothing and leaves the request to the view, for instance to keep a refusal."""


class LeanCall:
    """A verified request, whichever way it came. `claims` are those of its token."""

    __slots__ = ("_data", "_parser", "accepted_renderer", "claims", "principal", "request")

    def __init__(
        self,
        request: HttpRequest,
        *,
        principal: Principal,
        claims: Mapping[str, Any],
        renderer: JSONRenderer,
        parser: BaseParser | None = None,
        data: Any = _UNREAD,
    ) -> None:
        self.request = request
        self.principal = principal
        self.claims = claims
        self.accepted_renderer = renderer
        self._parser = parser
        self._data = data

    @classmethod
    def of(cls, view: BillingView, request: Request) -> LeanCall:
        """Return the call that came the long way. :raises APIException: if its body cannot be read."""
        return cls(
            request._request,
            principal=view.principal,
            claims=request.auth if isinstance(request.auth, dict) else {},
            renderer=cast(JSONRenderer, request.accepted_renderer),
            data=None if request.method in ("GET", "HEAD") else request.data,
        )

    @property
    def actor(self) -> Actor:
        """The caller as events name it."""
        return self.principal.actor

    @property
    def method(self) -> str:
        return self.request.method or ""

    @property
    def query_params(self) -> QueryDict:
        return self.request.GET

    @property
    def data(self) -> Any:
        """The body as the view's parser reads it. :raises ParseError: if it cannot be read."""
        if self._data is _UNREAD:
            self._data = self._parser.parse(io.BytesIO(self.request.body), None, None) if self._parser else None
        return self._data

    def respond(self, answer: Any, *, status: int = 200) -> HttpResponse:
        """Return `answer` (a msgspec Struct, or plain data with snake_case keys) in the spelling that was asked for."""
        if isinstance(self.accepted_renderer, CamelCaseRenderer):
            content = _CAMEL.render(msgspec.to_builtins(answer))
            return HttpResponse(content, status=status, content_type=CAMEL_MEDIA_TYPE)
        return HttpResponse(msgspec.json.encode(answer), status=status, content_type="application/json")


def lean_view(callback: View, **handlers: Handler) -> View:
    """
    Return a view that answers plain requests with `handlers` (by lower-case method) and all others with `callback`.

    `callback` is what `as_view` returned; everything that describes it describes the new view too.
    :raises TypeError: if the view does what the short way leaves out.
    """
    door = _Door(callback, frozenset(handlers))

    @functools.wraps(callback)
    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        handler = handlers.get((request.method or "").lower())
        if handler is None or (renderer := door.choose_renderer(request)) is None:
            return callback(request, *args, **kwargs)
        response: HttpResponse
        try:
            call = door.admit(request, renderer)
            if call is None:
                return callback(request, *args, **kwargs)
            response = handler(call, *args, **kwargs)
        except TakeLongWay:
            return callback(request, *args, **kwargs)
        except Exception as error:
            response = _refuse(request, renderer, error)
        return door.finish(request, response)

    return answer


class _Door:
    """What the short way needs to know of a view, read once."""

    def __init__(self, callback: Any, methods: frozenset[str]) -> None:
        self._view: type[BillingView] = callback.cls
        if self._view.permission_classes != [HasScope] or self._view.authentication_classes != [JWTAuthentication]:
            raise TypeError(f"{self._view.__name__} decides for itself who may call")
        if self._view.throttle_classes:
            raise TypeError(f"{self._view.__name__} counts its calls")
        instance = self._view(**callback.initkwargs)
        actions: Mapping[str, str] | None = getattr(callback, "actions", None)
        for method, action in (actions or {}).items():
            setattr(instance, method, getattr(instance, action))
        if hasattr(instance, "get") and not hasattr(instance, "head"):
            instance.head = instance.get
        self._allow = ", ".join(instance.allowed_methods)
        self._scopes = {
            method.upper(): self._view.scopes[method if actions is None else actions[method]] for method in methods
        }
        self._keyed = {method.upper() for method in methods if instance.takes_idempotency_key(method.upper())}
        self._parsers = {
            parser.media_type + charset: parser
            for parser in (parser_class() for parser_class in self._view.parser_classes)
            for charset in _CHARSETS
            if parser.media_type
        }

    def choose_renderer(self, request: HttpRequest) -> JSONRenderer | None:
        """Return what renders the answer, or None for a request that is not plain."""
        meta = request.META
        if request.method in self._keyed and "HTTP_IDEMPOTENCY_KEY" in meta:
            return None
        if "\x00" in request.path_info or "%00" in meta.get("QUERY_STRING", ""):
            return None
        return _RENDERERS.get(meta.get("HTTP_ACCEPT", "*/*"))

    def admit(self, request: HttpRequest, renderer: JSONRenderer) -> LeanCall | None:
        """Return the call of a caller who may make it; None where the long way has to look, or to refuse."""
        meta, method = request.META, request.method or ""
        try:
            found = authenticate_bearer(get_authorization_header(cast(Request, request)))
            if found is None:
                return None
            principal, claims = found
            require_scope(principal, self._scopes[method])
        except (TokenInvalid, AudienceRejected, ScopeMissing):
            return None
        parser = None
        if method != "GET":
            parser = self._parsers.get(meta.get("CONTENT_TYPE", "").lower())
            if parser is None or meta.get("CONTENT_LENGTH") in (None, "", "0") or "HTTP_TRANSFER_ENCODING" in meta:
                return None
            try:
                read_body(request, self._view.get_body_limit())
                refuse_card_data(request, strict=self._view.handles_payment_methods)
            except DomainError:
                return None
        request.user = principal  # type: ignore[assignment]
        return LeanCall(request, principal=principal, claims=claims, renderer=renderer, parser=parser)

    def finish(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        """Set the headers that every answer of the API has."""
        patch_vary_headers(response, ["Accept"])
        headers = response.headers
        headers["Allow"] = self._allow
        headers[HEADER] = get_request_id(request)
        headers.setdefault("Cache-Control", "no-store")
        return response


def _refuse(request: HttpRequest, renderer: JSONRenderer, error: Exception) -> HttpResponse:
    document, headers = describe_failure(request, error)
    return HttpResponse(
        renderer.render(document), status=document["status"], content_type=PROBLEM_MEDIA_TYPE, headers=headers
    )
