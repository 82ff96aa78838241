"""
The base of every API view: scopes, problems, body limits, idempotency and the common headers.

A view declares, per action (ViewSet) or lower-case HTTP method (APIView): `scopes`, `problems` and `operation_ids`.
An action without scopes is refused.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final, Literal

from django.conf import settings
from django.db.models import QuerySet
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from rest_framework import exceptions, serializers
from rest_framework.pagination import BasePagination
from rest_framework.permissions import AllowAny
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import GenericViewSet

from billing_site.api import idempotency
from billing_site.api.card_data import refuse_card_data
from billing_site.api.dialect import CamelCaseParser, CamelCaseRenderer, ExactJSONParser, Negotiation
from billing_site.api.pagination import CursorPages
from billing_site.api.permissions import Scopes
from billing_site.api.problems import body_too_large
from billing_site.api.request_ids import HEADER, get_request_id
from billing_site.kernel.actors import Actor, Principal
from billing_site.kernel.errors import DomainError, ValidationFailed

_FORMS: Final = ("multipart/form-data", "application/x-www-form-urlencoded")


class BillingView(APIView):
    """
    What API views and ViewSets share. `idempotency = "own"` leaves keyed requests to the view itself.

    A body with a card number is refused before anything reads it; with `handles_payment_methods`, also one with digits
    that could be one, or with a security code.
    """

    scopes: ClassVar[dict[str, Scopes]] = {}
    problems: ClassVar[dict[str, list[type[DomainError] | str]]] = {}
    operation_ids: ClassVar[dict[str, str]] = {}
    idempotency: ClassVar[Literal["auto", "own"]] = "auto"
    max_body_bytes: ClassVar[int | None] = None
    handles_payment_methods: ClassVar[bool] = False
    # A signed body: nothing looks into it before the view has checked who sent it.
    takes_raw_body: ClassVar[bool] = False

    http_method_names = ["get", "post", "put", "patch", "delete", "head"]
    content_negotiation_class = Negotiation
    parser_classes = [ExactJSONParser, CamelCaseParser]
    pagination_class: type[BasePagination] | None = CursorPages

    @property
    def principal(self) -> Principal:
        """The verified caller. :raises TypeError: in a view that is open to anyone."""
        user = self.request.user
        if not isinstance(user, Principal):
            raise TypeError(f"{type(self).__name__} is open to anyone and has no caller")
        return user

    @property
    def actor(self) -> Actor:
        """The caller as events name it."""
        return self.principal.actor

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Like REST framework's, with keyed POSTs run once."""
        self.args, self.kwargs = args, kwargs
        wrapped = self.initialize_request(request, *args, **kwargs)
        self.request = wrapped
        self.headers = self.default_response_headers
        try:
            self.initial(wrapped, *args, **kwargs)
            handler = getattr(self, (wrapped.method or "").lower())
            response: HttpResponseBase
            if self.takes_idempotency_key(wrapped.method or ""):
                response = idempotency.run_once(self, wrapped, lambda: handler(wrapped, *args, **kwargs))
            else:
                response = handler(wrapped, *args, **kwargs)
        except Exception as error:
            response = self.handle_exception(error)
        self.response = self.finalize_response(wrapped, response, *args, **kwargs)
        return self.response

    def takes_idempotency_key(self, method: str) -> bool:
        """Tell whether requests with `method` are run once per key by this base."""
        return method == "POST" and self.idempotency == "auto" and not self.is_open()

    def is_open(self) -> bool:
        """Tell whether anyone may call, with no token."""
        return AllowAny in self.permission_classes

    @classmethod
    def get_body_limit(cls) -> int:
        """Return how many bytes a body may have."""
        return cls.max_body_bytes or settings.DATA_UPLOAD_MAX_MEMORY_SIZE or 0

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse what no handler should see, cheapest checks first."""
        method = (request.method or "").lower()
        if method not in self.http_method_names or not hasattr(self, method):
            raise exceptions.MethodNotAllowed(request.method or "")
        super().initial(request, *args, **kwargs)
        # PostgreSQL text cannot hold U+0000, so nothing stored can match it.
        if any("\x00" in value for value in kwargs.values() if isinstance(value, str)):
            raise Http404
        for name, values in request.query_params.lists():
            if any("\x00" in value for value in values):
                raise ValidationFailed.of(name, "invalid", "The character U+0000 is not allowed.")
        if method not in ("get", "head"):
            read_body(request._request, self.get_body_limit())
            if not self.takes_raw_body:
                refuse_card_data(request._request, strict=self.handles_payment_methods)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Render problems as JSON whatever the view renders, and name the request."""
        renderer = getattr(request, "accepted_renderer", None)
        if getattr(response, "exception", False) and not isinstance(renderer, CamelCaseRenderer):
            request.accepted_renderer, request.accepted_media_type = JSONRenderer(), "application/json"
        final = super().finalize_response(request, response, *args, **kwargs)
        final[HEADER] = get_request_id(request._request)
        final.setdefault("Cache-Control", "no-store")
        return final

    def page(
        self, queryset: QuerySet[Any], serializer: type[serializers.BaseSerializer[Any]], **context: Any
    ) -> Response:
        """Answer one page of `queryset` rendered by `serializer`."""
        paginator = (self.pagination_class or CursorPages)()
        rows = paginator.paginate_queryset(queryset, self.request, self)
        rendered = serializer(rows, many=True, context={"request": self.request, "view": self, **context})
        return paginator.get_paginated_response(rendered.data)


def read_body(request: HttpRequest, limit: int) -> None:
    """
    Read the body once, and never more of it than `limit` bytes; forms are left to their parser.

    :raises ValidationFailed: when it is larger.
    """
    length = request.META.get("CONTENT_LENGTH") or "0"
    if not length.isdigit() or int(length) > limit:
        raise body_too_large(limit)
    if (request.content_type or "") in _FORMS or hasattr(request, "_body"):
        return
    chunked = "chunked" in request.META.get("HTTP_TRANSFER_ENCODING", "").lower()
    # Django takes a body without a length for an empty one; the server in front ends a chunked stream itself.
    source = request.META.get("wsgi.input", request) if chunked else request
    body = source.read(limit + 1)
    if len(body) > limit:
        raise body_too_large(limit)
    request._body = body
    request._read_started = True  # type: ignore[attr-defined]
    if chunked:
        request.META["CONTENT_LENGTH"] = str(len(body))


class BillingAPIView(BillingView):
    """A view with one method per HTTP verb; declarations are keyed by the verb in lower case."""


class BillingViewSet(BillingView, GenericViewSet[Any]):
    """One noun; declarations are keyed by the action."""


class UnknownPathView(BillingAPIView):
    """Every other path of the API, so that the answer is a problem document even under DEBUG. It has no methods."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        raise Http404
