"""Findings of serializers and models as the contract's field errors, each with a JSON pointer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from rest_framework.exceptions import ErrorDetail
from rest_framework.settings import api_settings

from billing_site.kernel.errors import FieldError

_WHOLE: Final = frozenset({api_settings.NON_FIELD_ERRORS_KEY, NON_FIELD_ERRORS})


def escape_segment(name: object) -> str:
    """Return one segment of a JSON pointer (RFC 6901)."""
    return str(name).replace("~", "~0").replace("/", "~1")


def read_detail(detail: Any) -> list[FieldError]:
    """Return the findings in the `detail` of a REST framework validation error, in the order of the fields."""
    return list(_walk(detail, ""))


def read_query_detail(detail: Any) -> list[FieldError]:
    """The same for query parameters: the pointer is the name of the parameter."""
    return [FieldError(found.pointer.removeprefix("/"), found.code, found.detail) for found in read_detail(detail)]


def read_model_errors(error: ValidationError) -> list[FieldError]:
    """Return the findings of a Django validation error."""
    by_field: Mapping[str, Sequence[ValidationError]] = (
        error.error_dict if hasattr(error, "error_dict") else {NON_FIELD_ERRORS: error.error_list}
    )
    return [
        FieldError("" if name in _WHOLE else f"/{escape_segment(name)}", finding.code or "invalid", message)
        for name, findings in by_field.items()
        for finding in findings
        for message in finding.messages
    ]


def _walk(detail: Any, pointer: str) -> Iterator[FieldError]:
    if isinstance(detail, Mapping):
        for name, inner in detail.items():
            yield from _walk(inner, pointer if name in _WHOLE else f"{pointer}/{escape_segment(name)}")
    elif isinstance(detail, list | tuple):
        for index, inner in enumerate(detail):
            # Texts are findings about this place; mappings are the items of a list, in order and empty when right.
            yield from _walk(inner, pointer if isinstance(inner, str) else f"{pointer}/{index}")
    else:
        code = detail.code if isinstance(detail, ErrorDetail) else "invalid"
        yield FieldError(pointer, code or "invalid", str(detail))
