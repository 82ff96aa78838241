"""
Serializers made from the msgspec types of the usage doors, so that the published schema cannot differ from them.

They only describe; nothing is parsed or written with them.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any

import msgspec
from msgspec import Meta, Struct
from rest_framework import serializers

from billing_site.api.fields import DecimalStringField, MetadataField, TimestampField

AnyField = serializers.Field[Any, Any, Any, Any]

_FIELDS: dict[Any, Callable[..., Any]] = {
    str: serializers.CharField,
    int: serializers.IntegerField,
    bool: serializers.BooleanField,
    Decimal: DecimalStringField,
    datetime: TimestampField,
}


@cache
def describe(kind: type[Struct], name: str = "") -> type[serializers.Serializer[Any]]:
    """Return a serializer with the fields, types and meanings of `kind`; `name` is the component's."""
    members: dict[str, Any] = {field.name: _make_field(field) for field in msgspec.structs.fields(kind)}
    return type(f"{name or kind.__name__}Serializer", (serializers.Serializer,), members | {"__doc__": kind.__doc__})


def describe_batch(kind: type[Struct], *, name: str, maximum: int) -> type[serializers.Serializer[Any]]:
    """Return the serializer of an object holding 1 to `maximum` events of `kind`."""
    events = serializers.ListField(child=describe(kind)(), min_length=1, max_length=maximum)
    return type(f"{name}Serializer", (serializers.Serializer,), {"events": events})


def _make_field(field: msgspec.structs.FieldInfo) -> AnyField:
    kind: Any = field.type
    options: dict[str, Any] = {}
    if typing.get_origin(kind) is typing.Annotated:
        kind, *notes = typing.get_args(kind)
        texts = [note.description for note in notes if isinstance(note, Meta) and note.description]
        options = {"help_text": " ".join(texts)} if texts else {}
    parts = [_bare(part) for part in _alternatives(kind)]
    nullable = type(None) in parts
    made = _make_plain(next(part for part in parts if part is not type(None)), options)
    made.required, made.allow_null = field.required, nullable
    return made


def _make_plain(kind: Any, options: dict[str, Any]) -> AnyField:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return serializers.ChoiceField(choices=list(arguments), **options)
    if origin is dict:
        return MetadataField(**options)
    if origin is list:
        return serializers.ListField(child=_make_plain(_bare(arguments[0]), {}), **options)
    if isinstance(kind, type) and issubclass(kind, Struct):
        return describe(kind)(**options)
    return typing.cast(AnyField, _FIELDS[kind](**options))


def _alternatives(kind: Any) -> tuple[Any, ...]:
    return typing.get_args(kind) if typing.get_origin(kind) in (typing.Union, types.UnionType) else (kind,)


def _bare(kind: Any) -> Any:
    return typing.get_args(kind)[0] if typing.get_origin(kind) is typing.Annotated else kind
