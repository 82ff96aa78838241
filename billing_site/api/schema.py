"""
The published OpenAPI 3.1 document.

Each operation names the audiences it takes and the one scope each needs as security requirements `public` and
`internal`, and every problem it may answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from drf_spectacular.drainage import warn
from drf_spectacular.extensions import OpenApiSerializerFieldExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent, build_parameter_type
from drf_spectacular.utils import Direction
from rest_framework import serializers
from rest_framework.permissions import AllowAny

from billing_site.api import idempotency, problems
from billing_site.api.auth import TokenInvalid, TokenMissing
from billing_site.api.dialect import PROBLEM_MEDIA_TYPE
from billing_site.api.permissions import AudienceRejected, ScopeMissing, get_action, get_scopes
from billing_site.api.views import BillingView
from billing_site.kernel.errors import DomainError, StorageUnavailable, ValidationFailed
from billing_site.platform.services.tokens import SCOPE_MEANINGS, SCOPES

_TAG: Final = re.compile(r"^/api/(?:v1/)?(?:internal/)?billing/([a-z0-9-]+)")
_ALWAYS: Final[tuple[type[DomainError], ...]] = (
    ValidationFailed,
    problems.NotAcceptable,
    problems.InternalError,
    StorageUnavailable,
)

FIELD_ERROR_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["pointer", "code", "detail"],
    "properties": {
        "pointer": {"type": "string", "description": "JSON pointer into the body, or the name of a query parameter."},
        "code": {"type": "string"},
        "detail": {"type": "string"},
    },
}
PROBLEM_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "description": "A refusal (RFC 9457). Some codes carry further members.",
    "required": ["type", "title", "status", "code", "detail", "instance", "retryable"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference", "description": "Names the class of the problem."},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "Stable and machine readable."},
        "detail": {"type": "string", "description": "What was wrong this time."},
        "instance": {"type": "string", "description": "The id of the request."},
        "errors": {"type": "array", "items": {"$ref": "#/components/schemas/FieldError"}},
        "retryable": {"type": "boolean", "description": "Whether the same request can succeed later."},
    },
    "additionalProperties": True,
}


def list_of(serializer: type[serializers.Serializer[Any]]) -> serializers.BaseSerializer[Any]:
    """Return what `extend_schema(responses=...)` takes for one page of `serializer`."""
    return serializer(many=True)


class BillingSchema(AutoSchema):
    """Reads scopes, problems and operation ids from the view's declarations."""

    @property
    def action(self) -> str:
        return get_action(self.view, self.method)

    def get_operation_id(self) -> str:
        declared: dict[str, str] = getattr(self.view, "operation_ids", {})
        return declared.get(self.action) or super().get_operation_id()

    def get_tags(self) -> list[str]:
        matched = _TAG.match(self.path)
        return [matched.group(1) if matched else "service"]

    def get_auth(self) -> list[dict[str, list[str]]]:
        if AllowAny in self.view.permission_classes:
            return [{}]
        return [{audience: [scope]} for audience, scope in get_scopes(self.view, self.action).items()]

    def get_extensions(self) -> dict[str, Any]:
        scopes = get_scopes(self.view, self.action)
        return {"x-required-scopes": dict(scopes)} if scopes else {}

    def get_paginated_name(self, serializer_name: str) -> str:
        return f"{serializer_name}List"

    def _get_format_parameters(self) -> list[dict[str, Any]]:
        return []  # representations are chosen by Accept only

    def _get_parameters(self) -> list[dict[str, Any]]:
        parameters: list[dict[str, Any]] = super()._get_parameters()
        if self._is_keyed():
            parameters.append(
                build_parameter_type(
                    name=idempotency.HEADER,
                    location="header",
                    schema={"type": "string", "minLength": 1, "maxLength": 255},
                    description="Repeats with the same key get the first answer; kept 7 days.",
                )
            )
        return parameters

    def _is_keyed(self) -> bool:
        return (
            self.method == "POST"
            and isinstance(self.view, BillingView)
            and not self.view.is_open()
            and bool(get_scopes(self.view, self.action))
        )

    def _get_response_bodies(self, direction: Direction = "response") -> dict[str, Any]:
        responses: dict[str, Any] = super()._get_response_bodies(direction)
        if direction == "response" and isinstance(self.view, BillingView):
            self._register_problem_components()
            by_status: dict[int, dict[str, str]] = {}
            for code, title, status in self._list_problems():
                by_status.setdefault(status, {})[code] = title
            for status, codes in sorted(by_status.items()):
                responses.setdefault(str(status), _describe_problems(codes))
        return responses

    def _list_problems(self) -> Iterator[tuple[str, str, int]]:
        errors: list[type[DomainError] | str] = list(_ALWAYS)
        if self.method not in ("GET", "HEAD", "DELETE"):
            errors += [problems.MalformedBody, problems.UnsupportedMediaType]
        if get_scopes(self.view, self.action):
            errors += [TokenMissing, TokenInvalid, AudienceRejected, ScopeMissing]
        if self._is_keyed():
            errors += [idempotency.IdempotencyInProgress, idempotency.IdempotencyKeyReused]
        declared: dict[str, list[type[DomainError] | str]] = getattr(self.view, "problems", {})
        errors += declared.get(self.action, [])
        for error in errors:
            found = _find_error(error) if isinstance(error, str) else error
            if found is None:
                warn(f"problem {error!r} of {self.method} {self.path} is the code of no DomainError")
            else:
                yield found.code, found.title, found.status

    def _register_problem_components(self) -> None:
        for name, schema in (("Problem", PROBLEM_SCHEMA), ("FieldError", FIELD_ERROR_SCHEMA)):
            component = ResolvedComponent(  # type: ignore[no-untyped-call]
                name=name, type=ResolvedComponent.SCHEMA, schema=schema, object=f"billing_site.api.problems.{name}"
            )
            self.registry.register_on_missing(component)


def _find_error(code: str) -> type[DomainError] | None:
    pending: list[type[DomainError]] = [DomainError]
    while pending:
        error = pending.pop()
        if error is not DomainError and error.code == code:
            return error
        pending.extend(error.__subclasses__())
    return None


def _describe_problems(codes: dict[str, str]) -> dict[str, Any]:
    schema = {
        "allOf": [{"$ref": "#/components/schemas/Problem"}],
        "properties": {"code": {"type": "string", "enum": sorted(codes)}},
    }
    return {
        "description": "; ".join(f"`{code}`: {title}" for code, title in sorted(codes.items())),
        "content": {PROBLEM_MEDIA_TYPE: {"schema": schema}},
    }


def add_security_schemes(result: dict[str, Any], **_context: Any) -> dict[str, Any]:
    """Postprocessing hook: describe the two kinds of token and the scopes each may hold."""
    schemes = result.setdefault("components", {}).setdefault("securitySchemes", {})
    for audience in ("public", "internal"):
        scopes = {scope: SCOPE_MEANINGS[scope] for scope, audiences in SCOPES.items() if audience in audiences}
        listing = "\n".join(f"- `{scope}`: {meaning}" for scope, meaning in scopes.items())
        who = "people and their own accounts" if audience == "public" else "services, for any account"
        schemes[audience] = {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": f"Tokens of the {audience} audience, for {who}. Scopes:\n\n{listing}",
        }
    return result


class _ContractFieldExtension(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]
    """The fields of the contract's types describe themselves."""

    target_class = "billing_site.api.fields.ContractField"
    match_subclasses = True

    def map_serializer_field(self, auto_schema: AutoSchema, direction: Direction) -> dict[str, Any]:
        description: dict[str, Any] = self.target.get_openapi(output=direction == "response")
        return description
