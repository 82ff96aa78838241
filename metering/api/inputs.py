"""
What usage doors take, read by msgspec: one pass over the raw body.

A body that fits is decoded at once. Only when it does not is it read again, event by event and field by field, to name
everything that is wrong (and to take what the fast way does not, such as plain dates).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import IO, Annotated, Any, Final, Generic, TypeVar, cast

import msgspec
from msgspec import Meta, Struct
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser

from billing_site.api.dialect import CAMEL_MEDIA_TYPE
from billing_site.api.params import read_instant
from billing_site.kernel.errors import DomainError, FieldError, ValidationFailed

Instant = Annotated[datetime, Meta(tz=True)]
FreeForm = dict[str, Any]


class BatchTooLarge(DomainError):
    code, title, status = "batch_too_large", "More events than this door takes", 400

    def __init__(self, *, maximum: int, given: int) -> None:
        super().__init__(f"{given:,} events; this door takes at most {maximum:,} at once.", maximum=maximum)


class UsageEventInput(Struct, kw_only=True):
    """One usage event of an account."""

    metric_type: Annotated[str, Meta(description="One of the ten metric types, a service name or a meter event name.")]
    quantity: Annotated[Decimal, Meta(description="Zero or more, up to 12 decimals.")]
    unit: Annotated[str | None, Meta(description="Checked against the meter and converted when convertible.")] = None
    resource_id: str | None = None
    resource_type: str | None = None
    actor_id: Annotated[str | None, Meta(description="Person inside the account.")] = None
    user_id: Annotated[str | None, Meta(description="Another word for actor_id here.")] = None
    cost_center: Annotated[str | None, Meta(description="Id or code; metadata.cost_center is read too.")] = None
    timestamp: Annotated[Instant | None, Meta(description="Default now; at most 5 minutes ahead.")] = None
    idempotency_key: Annotated[str | None, Meta(description="Counts once per account and meter.")] = None
    metadata: Annotated[FreeForm | str | None, Meta(description="An object, or JSON text holding one.")] = None


class MeterEventInput(Struct, kw_only=True):
    """One event of any account."""

    meter_id: Annotated[str, Meta(description="Id or event name of the meter.")]
    value: Annotated[Decimal, Meta(description="Zero or more, up to 12 decimals.")]
    account: Annotated[str | None, Meta(description="Id or external id of the account; required.")] = None
    account_id: Annotated[str | None, Meta(description="Another word for account.")] = None
    user: Annotated[str | None, Meta(description="Another word for account.")] = None
    user_id: Annotated[str | None, Meta(description="Another word for account.")] = None
    customer_id: Annotated[str | None, Meta(description="Another word for account.")] = None
    tenant_id: Annotated[str | None, Meta(description="Another word for account.")] = None
    timestamp: Annotated[Instant | None, Meta(description="Default now; at most 5 minutes ahead.")] = None
    idempotency: Annotated[str | None, Meta(description="Counts once per account and meter.")] = None
    idempotency_key: Annotated[str | None, Meta(description="Another word for idempotency.")] = None
    dimensions: FreeForm | None = None


E = TypeVar("E", bound=Struct)
F = TypeVar("F")


@dataclass(frozen=True, slots=True)
class RawBody:
    """A body as it came: our own form in one of the two spellings, or CloudEvents (`form` is their media type)."""

    content: bytes
    camel: bool
    form: str = ""

    def __str__(self) -> str:
        """The body without its spelling and order of keys: what tells repeats of a keyed request apart from others."""
        try:
            return self.form + json.dumps(json.loads(self.content, parse_float=str), sort_keys=True)
        except (ValueError, RecursionError):
            return self.form + repr(self.content)


@dataclass(frozen=True, slots=True)
class ReadEvents(Generic[F]):
    """
    The events of a body in order, None where one cannot be read.

    `findings` say why, as `/events/<index>/<field>`. `root` is where the list stands in the body: `/events`, nothing
    for a bare list; None when the body is the event.
    """

    events: list[F | None]
    findings: list[FieldError]
    root: str | None


class RawParser(BaseParser):
    """Hands the body over unread."""

    media_type = "application/json"
    camel = False
    form = ""

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        content = stream.read().removeprefix(b"\xef\xbb\xbf")
        if b"\\u0000" in content.replace(b"\\\\", b""):
            raise ParseError("The body holds the character U+0000.")
        return RawBody(content, self.camel, self.form)


class CamelRawParser(RawParser):
    media_type = CAMEL_MEDIA_TYPE
    camel = True


class EventReader(Generic[E]):
    """Reads one kind of event, alone or in batches of up to `maximum`."""

    def __init__(self, kind: type[E], *, maximum: int) -> None:
        self.maximum = maximum
        self._kinds = {False: kind, True: _make_camel(kind)}
        self._batches = {camel: _make_batch(one) for camel, one in self._kinds.items()}

    def read_one(self, data: object) -> ReadEvents[E]:
        """
        Return the event that is the whole body, given as the request's data.

        :raises ParseError: if it is not JSON.
        """
        body = require_raw(data)
        kind = self._kinds[body.camel]
        try:
            return ReadEvents([get_decoder(kind).decode(body.content)], [], None)
        except msgspec.ValidationError:
            require_json(body.content)
            return read_slowly([msgspec.Raw(body.content)], kind, None)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ParseError(f"The body is not valid JSON: {error}") from error

    def read_batch(self, data: object) -> ReadEvents[E]:
        """
        Return the events of an object with `events`, or of a bare list, given as the request's data.

        :raises ParseError: if the body is not JSON.
        :raises BatchTooLarge: with more than `maximum` events.
        :raises ValidationFailed: without any event.
        """
        body = require_raw(data)
        kind = self._kinds[body.camel]
        bare = body.content.lstrip()[:1] == b"["
        root = "" if bare else "/events"
        try:
            if bare:
                events = get_decoder(list[kind]).decode(body.content)  # type: ignore[valid-type]
            else:
                events = get_decoder(self._batches[body.camel]).decode(body.content).events
        except msgspec.ValidationError:
            require_json(body.content)
            raws = split_batch(body.content, bare)
            check_count(len(raws), root, self.maximum)
            return read_slowly(raws, kind, root)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ParseError(f"The body is not valid JSON: {error}") from error
        check_count(len(events), root, self.maximum)
        return ReadEvents(events, [], root)


def check_count(given: int, root: str, maximum: int) -> None:
    """:raises BatchTooLarge: with more than `maximum` events. :raises ValidationFailed: without any."""
    if given > maximum:
        raise BatchTooLarge(maximum=maximum, given=given)
    if not given:
        raise ValidationFailed.of(root, "empty", "There is no event in it.")


def require_raw(data: object) -> RawBody:
    """Return a request's data as the body it is. :raises TypeError: in a view that reads bodies with another parser."""
    if isinstance(data, RawBody):
        return data
    if not data:  # REST framework calls no parser for an empty body
        return RawBody(b"", camel=False)
    raise TypeError("the view does not read bodies with RawParser")


def _make_camel(kind: type[E]) -> type[E]:
    """Return a type with the same fields under their camelCase names. Inherited fields would keep theirs."""
    required: list[Any] = [(field.name, field.type) for field in msgspec.structs.fields(kind) if field.required]
    optional: list[Any] = [
        (field.name, field.type, field.default) for field in msgspec.structs.fields(kind) if not field.required
    ]
    made: Any = msgspec.defstruct(f"Camel{kind.__name__}", required + optional, rename="camel", kw_only=True)
    return cast(type[E], made)


def _make_batch(kind: type[E]) -> type[Any]:
    return msgspec.defstruct(f"{kind.__name__}Batch", [("events", list[kind])])  # type: ignore[valid-type]


_decoders: Final[dict[Any, msgspec.json.Decoder[Any]]] = {}


def get_decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    """Return the one decoder of a type."""
    if kind not in _decoders:
        _decoders[kind] = msgspec.json.Decoder(kind)
    return _decoders[kind]


class _RawBatch(Struct):
    events: list[msgspec.Raw]


_raw_list: Final = msgspec.json.Decoder(list[msgspec.Raw])
_raw_batch: Final = msgspec.json.Decoder(_RawBatch)
_raw_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def require_json(content: bytes) -> None:
    """:raises ParseError: where a misfit hid that the rest of the body is no JSON at all."""
    try:
        msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ParseError(f"The body is not valid JSON: {error}") from error


def split_batch(content: bytes, bare: bool) -> list[msgspec.Raw]:
    """Return the events of a list, or of an object with `events`, unread. :raises ValidationFailed: for others."""
    try:
        return _raw_list.decode(content) if bare else _raw_batch.decode(content).events
    except msgspec.ValidationError as error:
        pointer = "/events" if "events" in str(error) else ""
        raise ValidationFailed.of(pointer, "invalid", "The body is an object with a list of events.") from error


def read_slowly(raws: Sequence[msgspec.Raw], kind: type[E], root: str | None) -> ReadEvents[E]:
    """Read events field by field, and name everything that is wrong with them."""
    findings: list[FieldError] = []
    events = [read_object_of(raw, kind, f"/events/{index}", findings) for index, raw in enumerate(raws)]
    return ReadEvents(events, findings, root)


def read_object_of(raw: msgspec.Raw, kind: type[E], pointer: str, findings: list[FieldError]) -> E | None:
    """Return the object that stands at `pointer`, or None after adding everything wrong with it to `findings`."""
    try:
        given = _raw_object.decode(raw)
    except msgspec.ValidationError:
        findings.append(FieldError(pointer, "invalid", "This must be a JSON object."))
        return None
    before = len(findings)
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        if field.encode_name not in given:
            if field.required:
                findings.append(FieldError(f"{pointer}/{field.name}", "required", "This field is required."))
            continue
        try:
            values[field.name] = _read_field(given[field.encode_name], field.name, field.type)
        except (msgspec.ValidationError, ValueError):
            findings.append(FieldError(f"{pointer}/{field.name}", "invalid", _EXPECTED.get(field.name, _A_TEXT)))
    return kind(**values) if len(findings) == before else None


_A_TEXT: Final = "This must be a text."
_TIMES: Final = ("timestamp", "time")
_EXPECTED: Final[dict[str, str]] = {
    "quantity": "A quantity is a decimal number.",
    "value": "A value is a decimal number.",
    "timestamp": "A time is RFC 3339 with offset, such as 2026-03-01T00:00:00Z, or a plain date.",
    "time": "A time is RFC 3339 with offset, such as 2026-03-01T00:00:00Z.",
    "specversion": 'This must be "1.0".',
    "metadata": "This must be a JSON object.",
    "dimensions": "This must be a JSON object.",
}


def _read_field(raw: msgspec.Raw, name: str, kind: Any) -> Any:
    if name not in _TIMES:
        return get_decoder(kind).decode(raw)
    text = get_decoder(str | None).decode(raw)
    if text is None:
        return None
    instant = read_instant(text)
    if instant is None:
        raise ValueError(text)
    return instant


def read_object(value: FreeForm | str | None) -> FreeForm | None:
    """Return a free-form object; a JSON text holding one is taken too, and None answers any other text."""
    if not isinstance(value, str):
        return value or {}
    try:
        read: FreeForm = get_decoder(FreeForm).decode(value)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return None
    return read
