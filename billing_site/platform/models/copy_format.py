"""
Columns of rows in PostgreSQL's binary COPY format, and as the text of an array.

Written column by column, because most columns of a batch hold one value or few: what is the same is encoded once. In
binary the server has nothing to parse, and nothing needs escaping.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

from django.db import models

Values = Sequence[Any]
Encoder = Callable[[Values], list[bytes]]

SIGNATURE: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER: Final = b"\xff\xff"
_NULL: Final = b"\xff\xff\xff\xff"
_TRUE, _FALSE = b"\0\0\0\x01\x01", b"\0\0\0\x01\0"
_SIXTEEN: Final = b"\0\0\0\x10"
_length = struct.Struct(">i").pack
_count = struct.Struct(">h").pack
_small, _integer, _big = struct.Struct(">ih").pack, struct.Struct(">ii").pack, struct.Struct(">iq").pack
_number = struct.Struct(">ihhHH").pack
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_EPOCH_DAY: Final = date(2000, 1, 1).toordinal()


class JsonText(bytes):
    """The JSON text of a value, for columns of JSON: it is stored as it is."""


def encode_rows(fields: Sequence[models.Field[Any, Any]], rows: Sequence[Sequence[Any]]) -> bytes:
    """Return `rows`, values in the order of `fields`, as the body of a binary COPY."""
    columns = [encode_column(field, values) for field, values in zip(fields, zip(*rows, strict=True), strict=True)]
    head = _count(len(fields))
    return b"".join([head + b"".join(row) for row in zip(*columns, strict=True)])


def encode_column(field: models.Field[Any, Any], values: Values) -> list[bytes]:
    """
    Return the values of one column, each with its length.

    What Django would convert first (an id given as text, a whole number for a Decimal) is converted.
    :raises TypeError: for a kind of column that nobody has needed yet.
    """
    first = values[0]
    kind = _find_kind(field)
    encode = _ENCODERS.get(kind)
    if encode is None:
        raise TypeError(f"{field} is a {kind}, which cannot be copied yet")
    if kind == "JSONField":
        return _encode_json(field, values)
    if kind == "ArrayField":
        return _encode_arrays(field, values)
    if len(values) > 1 and first == values[-1] and values.count(first) == len(values):
        return _encode(field, encode, values[:1]) * len(values)
    return _encode(field, encode, values)


def _encode(field: models.Field[Any, Any], encode: Encoder, values: Values) -> list[bytes]:
    try:
        return encode(values)
    except (AttributeError, TypeError, struct.error):
        return encode([field.to_python(value) for value in values])


def _find_kind(field: models.Field[Any, Any]) -> str:
    while isinstance(field, models.ForeignKey):
        field = field.target_field
    return field.get_internal_type()


def _encode_uuids(values: Values) -> list[bytes]:
    return [_NULL if value is None else _SIXTEEN + value.bytes for value in values]


def _encode_texts(values: Values) -> list[bytes]:
    texts = [None if value is None else str.encode(value) for value in values]
    return [_NULL if text is None else _length(len(text)) + text for text in texts]


def _encode_smalls(values: Values) -> list[bytes]:
    return [_NULL if value is None else _small(2, value) for value in values]


def _encode_integers(values: Values) -> list[bytes]:
    return [_NULL if value is None else _integer(4, value) for value in values]


def _encode_bigs(values: Values) -> list[bytes]:
    return [_NULL if value is None else _big(8, value) for value in values]


def _encode_booleans(values: Values) -> list[bytes]:
    return [_NULL if value is None else _TRUE if value else _FALSE for value in values]


def _encode_bytes(values: Values) -> list[bytes]:
    return [_NULL if value is None else _length(len(value)) + bytes(value) for value in values]


def _encode_dates(values: Values) -> list[bytes]:
    return [_NULL if value is None else _integer(4, value.toordinal() - _EPOCH_DAY) for value in values]


def _encode_instants(values: Values) -> list[bytes]:
    known: dict[Any, bytes] = {None: _NULL}
    found = []
    for value in values:
        text = known.get(value)
        if text is None:
            since = value - _EPOCH
            moment = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
            text = known[value] = _big(8, moment)
        found.append(text)
    return found


def _encode_decimals(values: Values) -> list[bytes]:
    return [_NULL if value is None else _encode_decimal(value) for value in values]


def _encode_decimal(value: Decimal) -> bytes:
    """Four decimal digits at a time, counted from the point: what PostgreSQL keeps of a number itself."""
    if not value.is_finite():
        raise TypeError(f"{value} is not a number to store")
    whole, _, fraction = f"{abs(value):f}".partition(".")
    whole, scale = whole.lstrip("0"), len(fraction)
    whole = whole.rjust(-(-len(whole) // 4) * 4, "0")
    digits = whole + fraction.ljust(-(-scale // 4) * 4, "0")
    weight = len(whole) // 4 - 1
    groups = [int(digits[place : place + 4]) for place in range(0, len(digits), 4)]
    while groups and not groups[-1]:
        groups.pop()
    while groups and not groups[0]:
        del groups[0]
        weight -= 1
    head = _number(8 + 2 * len(groups), len(groups), weight if groups else 0, 0x4000 if value < 0 else 0, scale)
    return head + b"".join([_count(group) for group in groups])


def _encode_json(field: models.Field[Any, Any], values: Values) -> list[bytes]:
    encoder = getattr(field, "encoder", None)
    found, known, last = [], b"", object()
    for value in values:
        if value is not last:
            last = value
            if value is None:
                known = _NULL
            else:
                text = value if type(value) is JsonText else json.dumps(value, cls=encoder).encode()
                known = _length(len(text) + 1) + b"\x01" + text
        found.append(known)
    return found


def _encode_arrays(field: models.Field[Any, Any], values: Values) -> list[bytes]:
    """Arrays of one dimension: its length and lower bound, then the elements."""
    base = field.base_field  # type: ignore[attr-defined]
    number = _array(0, 0, _ELEMENTS[_find_kind(base)])
    found = []
    for value in values:
        if value is None:
            found.append(_NULL)
            continue
        text = number
        if value:
            text = b"\0\0\0\x01" + number[4:] + _length(len(value)) + b"\0\0\0\x01"
            text += b"".join(encode_column(base, list(value)))
        found.append(_length(len(text)) + text)
    return found


_array = struct.Struct(">iii").pack
# The numbers that PostgreSQL has for the types of elements.
_ELEMENTS: Final = {"BigIntegerField": 20, "IntegerField": 23, "TextField": 25, "CharField": 1043}
_ENCODERS: Final[dict[str, Encoder]] = {
    "UUIDField": _encode_uuids,
    "CharField": _encode_texts,
    "TextField": _encode_texts,
    "BooleanField": _encode_booleans,
    "SmallIntegerField": _encode_smalls,
    "PositiveSmallIntegerField": _encode_smalls,
    "IntegerField": _encode_integers,
    "PositiveIntegerField": _encode_integers,
    "BigIntegerField": _encode_bigs,
    "PositiveBigIntegerField": _encode_bigs,
    "BinaryField": _encode_bytes,
    "DateField": _encode_dates,
    "DateTimeField": _encode_instants,
    "DecimalField": _encode_decimals,
    "JSONField": lambda _: [],
    "ArrayField": lambda _: [],
}


def write_array(kind: str, values: Values) -> Any:
    """
    Return the values of an array of the PostgreSQL type `kind` as its text; as they are for types it does not know.

    Letting the driver adapt each value takes several times as long.
    """
    write = _WRITERS.get(kind)
    if write is None:
        return list(values)
    try:
        return "{" + ",".join(["NULL" if value is None else write(value) for value in values]) + "}"
    except (AttributeError, TypeError):
        return list(values)


def _quote(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


_WRITERS: Final[dict[str, Callable[[Any], str]]] = {
    "uuid": lambda value: value.hex,
    "text": _quote,
    "boolean": lambda value: "t" if value else "f",
    "bigint": int.__repr__,
    "integer": int.__repr__,
    "smallint": int.__repr__,
    "date": lambda value: value.isoformat(),
    "timestamptz": lambda value: value.isoformat(),
}
