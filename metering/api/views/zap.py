"""One door for service callers who prefer a method envelope over REST."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import ParseError
from rest_framework.request import Request
from rest_framework.response import Response

from billing_site.api.forwarding import forward
from billing_site.api.permissions import internal
from billing_site.api.problems import MalformedBody
from billing_site.api.views import BillingAPIView
from billing_site.kernel.errors import ValidationFailed
from metering.api.serializers.zap import METHODS, RpcEnvelopeSerializer, RpcRequestSerializer

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
FAILURE: Final = -32000
# The caller may not do it, or nobody can say what became of it: the answer is that of the REST operation.
_PASSED_ON: Final = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


class ZapView(BillingAPIView):
    """Methods that are REST operations under another name."""

    scopes = {"post": internal("billing:read")}
    problems = {"post": [MalformedBody]}
    operation_ids = {"post": "zap_dispatch"}

    @extend_schema(request=RpcRequestSerializer, responses=RpcEnvelopeSerializer)
    def post(self, request: Request) -> Response:
        """
        Call a method: balance, usage, a charge, a deposit.

        `params` are the fields of its REST operation, and its scope is needed too. A refusal answers 200 with `error`;
        a missing scope answers 403.
        """
        envelope = request.data
        if not isinstance(envelope, Mapping):
            raise _invalid("The body is a JSON object with a method.")
        call_id, method, params = envelope.get("id"), envelope.get("method"), envelope.get("params")
        if isinstance(call_id, bool) or not isinstance(call_id, str | int | None):
            raise _invalid("An id is a text or a whole number.")
        if not isinstance(method, str) or not method:
            raise _invalid("The body names no method.")
        if method not in METHODS:
            return _refuse(call_id, METHOD_NOT_FOUND, f"There is no method {method[:100]!r}.")
        if not isinstance(params, Mapping | None):
            return _refuse(call_id, INVALID_PARAMS, "params is a JSON object.")
        verb, path = METHODS[method]
        try:
            answer = forward(request._request, method=verb, path=path, fields=params or {})
        except ValidationFailed as error:
            return _refuse(call_id, INVALID_PARAMS, error.detail)
        if answer.is_good:
            return Response({"id": call_id, "result": answer.data})
        if answer.status in _PASSED_ON or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            # Marked as a refusal, so that nothing of it is kept under an idempotency key that could do better later.
            passed_on = Response(answer.data, status=answer.status, content_type="application/problem+json")
            passed_on.exception = True
            return passed_on
        code = INVALID_PARAMS if answer.status == HTTPStatus.BAD_REQUEST else FAILURE
        return _refuse(call_id, code, str(answer.data["detail"]), answer.data)

    def handle_exception(self, exc: Exception) -> Response:
        """Say in the envelope's words that the body cannot be read."""
        if isinstance(exc, ParseError):
            exc = MalformedBody(str(exc.detail), id=None, error={"code": PARSE_ERROR, "message": str(exc.detail)})
        return super().handle_exception(exc)


def _invalid(message: str) -> MalformedBody:
    return MalformedBody(message, id=None, error={"code": INVALID_REQUEST, "message": message})


def _refuse(call_id: str | int | None, code: int, message: str, problem: Mapping[str, Any] | None = None) -> Response:
    error = {"code": code, "message": message, **({"data": problem} if problem else {})}
    return Response({"id": call_id, "error": error})
