"""
JSON in and out, in two spellings.

`application/json` is snake_case; `application/vnd.billing.camel+json` in Accept or Content-Type switches to
camelCase. Keys inside free-form objects belong to the caller and are never renamed.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import IO, Any, Final

from djangorestframework_camel_case.util import camel_to_underscore, camelize, underscoreize
from rest_framework.exceptions import ParseError
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import JSONParser
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request

CAMEL_MEDIA_TYPE: Final = "application/vnd.billing.camel+json"
PROBLEM_MEDIA_TYPE: Final = "application/problem+json"
FREE_FORM: Final = ("metadata", "dimensions", "when", "data", "breakdown", "previous_data")
"""Members whose inner keys are never renamed."""

_MAX_NUMBER_TEXT: Final = 400
_OUT: Final[dict[str, Any]] = {"ignore_fields": FREE_FORM}
# `line1` and `last4` are one word each.
_IN: Final[dict[str, Any]] = {"ignore_fields": FREE_FORM, "no_underscore_before_number": True}


def to_snake(name: str) -> str:
    """Return `periodStart` as `period_start`; snake_case stays as it is."""
    return str(camel_to_underscore(name, no_underscore_before_number=True))


def to_camel(name: str) -> str:
    """Return `period_start` as `periodStart`."""
    return str(next(iter(camelize({name: None}))))


def pointer_to_camel(pointer: str) -> str:
    """Return a JSON pointer in camelCase, up to the first free-form member."""
    segments = pointer.split("/")
    for index, segment in enumerate(segments):
        segments[index] = to_camel(segment)
        if segment in FREE_FORM:
            break
    return "/".join(segments)


def _read_number(text: str) -> Decimal:
    if len(text) > _MAX_NUMBER_TEXT:
        raise ValueError("a number has too many digits")
    return Decimal(text)


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


class ExactJSONParser(JSONParser):
    """
    JSON without surprises: fractions become Decimal, never float; text PostgreSQL cannot keep is refused.
    """

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        raw = stream.read()
        try:
            text = codecs.decode(raw, "utf-8-sig") if isinstance(raw, bytes) else raw
            data = json.loads(text, parse_float=_read_number, parse_constant=_refuse_constant)
        except (ValueError, InvalidOperation) as error:
            raise ParseError(f"The body is not valid JSON: {error}") from error
        except RecursionError as error:
            raise ParseError("The body is nested too deeply.") from error
        if "\\u" in text and not _is_storable(data):
            raise ParseError("The body holds the character U+0000 or half of a surrogate pair.")
        return data


def _is_storable(data: object) -> bool:
    try:
        text = json.dumps(data, ensure_ascii=False, default=str)
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\\u0000" not in text.replace("\\\\", "")


class CamelCaseParser(ExactJSONParser):
    """The same body with camelCase keys."""

    media_type = CAMEL_MEDIA_TYPE

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        return underscoreize(super().parse(stream, media_type, parser_context), **_IN)


class CamelCaseRenderer(JSONRenderer):
    """The same answer with camelCase keys."""

    media_type = CAMEL_MEDIA_TYPE
    format = "camel"

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Mapping[str, Any] | None = None
    ) -> bytes:
        return super().render(camelize(data, **_OUT), accepted_media_type, renderer_context)


class Negotiation(DefaultContentNegotiation):
    """Accept as usual, without `?format=`; a client that asks for problem documents only gets plain JSON."""

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        offered = list(renderers)
        accepts = {entry.partition(";")[0].strip().lower() for entry in self.get_accept_list(request)}
        if accepts == {PROBLEM_MEDIA_TYPE}:
            return offered[0], offered[0].media_type or ""
        chosen: tuple[BaseRenderer, str] = super().select_renderer(request, offered, None)
        return chosen

    def filter_renderers(self, renderers: Iterable[BaseRenderer], format: str) -> list[BaseRenderer]:
        return list(renderers)
