"""
Every refusal as one document: `application/problem+json` (RFC 9457) with the contract's codes.

`handle_exception` is the exception handler of all API views; `handle_*` at the end answer for Django where no view
was found or a view outside the API failed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.core.exceptions import ValidationError as ModelValidationError
from django.db import DatabaseError, IntegrityError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, UnreadablePostError
from django.views import defaults
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.response import Response

from billing_site.api.auth import TokenInvalid, TokenMissing
from billing_site.api.dialect import CAMEL_MEDIA_TYPE, PROBLEM_MEDIA_TYPE, pointer_to_camel
from billing_site.api.findings import read_detail, read_model_errors
from billing_site.api.permissions import ScopeMissing
from billing_site.api.request_ids import HEADER, get_request_id
from billing_site.kernel.errors import (
    AmountNotPositive,
    CurrencyUnsupported,
    DomainError,
    FieldError,
    NotFound,
    PeriodNotValid,
    StorageUnavailable,
    ValidationFailed,
)

logger = logging.getLogger(__name__)


class MalformedBody(DomainError):
    code, title, status = "malformed_body", "The body is not valid JSON of the announced type", 400


class MethodNotAllowed(DomainError):
    code, title, status = "method_not_allowed", "No such method on this path", 405


class NotAcceptable(DomainError):
    code, title, status = "not_acceptable", "No representation for the Accept header", 406


class UnsupportedMediaType(DomainError):
    code, title, status = "unsupported_media_type", "The Content-Type cannot be read", 415


class RateLimited(DomainError):
    code, title, status, retryable = "rate_limited", "Too many requests", 429, True


class InternalError(DomainError):
    code, title, status, retryable = "internal_error", "Unexpected failure", 500, True


COMMON_PROBLEMS: Final[tuple[type[DomainError], ...]] = (
    MalformedBody,
    MethodNotAllowed,
    NotAcceptable,
    UnsupportedMediaType,
    ValidationFailed,
    RateLimited,
    InternalError,
    StorageUnavailable,
)
"""What every endpoint may answer besides its own codes."""

# A request wrong in this one way only is named after it, instead of validation_failed.
_NAMED_FINDINGS: Final[dict[str, type[DomainError]]] = {
    error.code: error for error in (AmountNotPositive, CurrencyUnsupported, PeriodNotValid)
}
_constraints: dict[str, Callable[[], DomainError]] = {}


def map_constraint(name: str, error: Callable[[], DomainError]) -> None:
    """Answer violations of the database constraint `name` with `error()`; an error class without arguments will do."""
    _constraints[name] = error


def body_too_large(limit: int) -> DomainError:
    """The refusal of a body above `limit` bytes."""
    return ValidationFailed.of("", "body_too_large", f"The body is larger than {limit:,} bytes.")


def validation_problem(findings: list[FieldError]) -> DomainError:
    """Return the error for findings about a request: one with a code of its own keeps it."""
    detail = findings[0].detail if len(findings) == 1 else f"{len(findings)} fields are wrong."
    codes = {finding.code for finding in findings}
    error = _NAMED_FINDINGS.get(codes.pop(), ValidationFailed) if len(codes) == 1 else ValidationFailed
    return error(detail, errors=findings)


def to_domain_error(error: Exception) -> DomainError | None:
    """Return what `error` means to a caller, or None when nobody foresaw it."""
    match error:
        case DomainError():
            return error
        case exceptions.ValidationError():
            return validation_problem(read_detail(error.detail))
        case ModelValidationError():
            return validation_problem(read_model_errors(error))
        case IntegrityError() if (name := _constraint_of(error)) in _constraints:
            return _constraints[name]()
        case OperationalError() | InterfaceError():
            logger.error("the database failed: %s", type(error.__cause__ or error).__name__, exc_info=error)
            return StorageUnavailable("The database cannot be reached right now.")
        case RequestDataTooBig():
            return ValidationFailed.of("", "body_too_large", "The body is too large.")
        case SuspiciousOperation():
            return ValidationFailed("The request is not valid.")
    return _translate_framework_error(error)


def _translate_framework_error(error: Exception) -> DomainError | None:
    match error:
        case Http404() | exceptions.NotFound():
            return NotFound("resource", "There is nothing at this address, or it is not visible to you.")
        case exceptions.ParseError():
            return MalformedBody(str(error.detail))
        case UnreadablePostError():
            return MalformedBody("The body ended before it was complete.")
        case exceptions.UnsupportedMediaType():
            return UnsupportedMediaType(str(error.detail))
        case exceptions.NotAcceptable():
            return NotAcceptable(f"Answers come as application/json or {CAMEL_MEDIA_TYPE}.")
        case exceptions.MethodNotAllowed():
            return MethodNotAllowed(str(error.detail))
        case exceptions.Throttled():
            return RateLimited("Too many requests; wait before the next one.")
        case exceptions.NotAuthenticated():
            return TokenMissing()
        case exceptions.AuthenticationFailed():
            return TokenInvalid(str(error.detail))
        case PermissionDenied() | exceptions.PermissionDenied():
            return ScopeMissing("This is not open to you.", required_scope=None)
    return None


def _constraint_of(error: DatabaseError) -> str:
    diagnosis = getattr(error.__cause__, "diag", None)
    return getattr(diagnosis, "constraint_name", None) or ""


def render_problem(error: DomainError, *, request_id: str, camel: bool = False) -> dict[str, Any]:
    """Return the problem document of `error`. Extra members never replace the standard ones."""
    errors = [finding.as_dict() for finding in error.errors]
    if camel:
        errors = [{**finding, "pointer": pointer_to_camel(finding["pointer"])} for finding in errors]
    return {
        **error.members,
        "type": f"/problems/{error.code}",
        "title": error.title,
        "status": error.status,
        "code": error.code,
        "detail": error.detail,
        "instance": request_id,
        "retryable": error.retryable,
        **({"errors": errors} if errors else {}),
    }


def handle_exception(error: Exception, context: Mapping[str, Any]) -> Response:
    """Answer any exception of an API view with a problem document; what nobody foresaw is logged and named internal."""
    request: Request = context["request"]
    document, headers = describe_failure(request._request, error)
    response = Response(document, status=document["status"], content_type=PROBLEM_MEDIA_TYPE, headers=headers)
    response.exception = True
    return response


def describe_failure(request: HttpRequest, error: Exception) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the problem document of what a handler of `request` raised, and its headers; log what nobody foresaw."""
    known = to_domain_error(error)
    if known is None:
        logger.error("unexpected failure of %s %s", request.method, request.path, exc_info=error)
        known = InternalError("The request failed unexpectedly. Name the instance when you report it.")
    sent_camel = request.META.get("CONTENT_TYPE", "").startswith(CAMEL_MEDIA_TYPE)
    document = render_problem(known, request_id=get_request_id(request), camel=sent_camel)
    return document, _headers_of(known, error)


def _headers_of(known: DomainError, error: Exception) -> dict[str, str]:
    headers = dict(getattr(known, "headers", {}))
    wait = getattr(error, "wait", None)
    if wait is not None:
        headers["Retry-After"] = str(int(wait))
    elif known.status == 503:
        headers["Retry-After"] = "5"
    return headers


def _is_api(request: HttpRequest) -> bool:
    return request.path.startswith("/api/") or request.path == "/readyz"


def problem_response(request: HttpRequest, error: DomainError) -> JsonResponse:
    """Answer a plain Django request with a problem document."""
    request_id = get_request_id(request)
    response = JsonResponse(
        render_problem(error, request_id=request_id), status=error.status, content_type=PROBLEM_MEDIA_TYPE
    )
    response[HEADER] = request_id
    return response


def handle_bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """`handler400`: a request Django refused before any view."""
    if _is_api(request):
        return problem_response(request, to_domain_error(exception) or ValidationFailed("The request is not valid."))
    return defaults.bad_request(request, exception)


def handle_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """`handler404`: no such path."""
    if _is_api(request):
        return problem_response(request, NotFound("resource", "There is nothing at this address."))
    return defaults.page_not_found(request, exception)


def handle_server_error(request: HttpRequest) -> HttpResponse:
    """`handler500`: a failure outside the API views, which Django has logged."""
    if _is_api(request):
        return problem_response(request, InternalError("The request failed unexpectedly."))
    return defaults.server_error(request)
