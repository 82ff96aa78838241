"""
CloudEvents 1.0 as usage: one event (structured, or binary with `ce-` headers) or a batch.

`type` is the meter, `subject` the account, `time` the event time, `source` and `id` together the idempotency key, and
`data` holds the quantity; whatever else stands in `data` are dimensions. Source: docs/usage-import.md; CloudEvents 1.0,
JSON format and HTTP binding.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, NamedTuple
from urllib.parse import unquote

import msgspec
from msgspec import Meta, Struct
from rest_framework.exceptions import ParseError, UnsupportedMediaType

from billing_site.kernel.errors import FieldError
from metering.api.inputs import (
    FreeForm,
    Instant,
    RawBody,
    RawParser,
    ReadEvents,
    check_count,
    get_decoder,
    read_object_of,
    read_slowly,
    require_json,
    require_raw,
    split_batch,
)

ONE: Final = "application/cloudevents+json"
BATCH: Final = "application/cloudevents-batch+json"
HEADER_PREFIX: Final = "HTTP_CE_"
_MAX_KEY: Final = 255
_BLANK: Final = re.compile(r"\s")


class UsageData(Struct, kw_only=True):
    """
    What a CloudEvent says about usage. Members that are not named here are dimensions.

    Without a quantity an event on a meter that counts events, or who used it, stands for one.
    """

    quantity: Annotated[Decimal | None, Meta(description="Zero or more, up to 12 decimals.")] = None
    value: Annotated[Decimal | None, Meta(description="Another word for quantity.")] = None
    meter: Annotated[str | None, Meta(description="Where `type` is not the meter.")] = None
    unit: Annotated[str | None, Meta(description="Checked against the meter and converted when convertible.")] = None
    resource_id: str | None = None
    resource_type: str | None = None
    actor_id: Annotated[str | None, Meta(description="Person inside the account.")] = None
    cost_center: Annotated[str | None, Meta(description="Id or code; metadata.cost_center is read too.")] = None
    metadata: FreeForm | None = None


class CloudEvent(Struct, kw_only=True):
    """A CloudEvents 1.0 event about usage. Further attributes are passed over."""

    specversion: Literal["1.0"]
    id: Annotated[str, Meta(description="With `source` the idempotency key: counts once per account and meter.")]
    source: Annotated[str, Meta(description="A URI reference: no blanks.")]
    type: Annotated[str, Meta(description="Event name or id of the meter.")]
    subject: Annotated[str | None, Meta(description="Id or external id of the account.")] = None
    time: Annotated[Instant | None, Meta(description="Default now; at most 5 minutes ahead.")] = None
    datacontenttype: Annotated[str | None, Meta(description="JSON, where it is given.")] = None
    data: UsageData | None = None


_NO_DATA: Final = msgspec.Raw(b"{}")


class _Envelope(Struct, kw_only=True):
    """A CloudEvent whose data is not read yet."""

    specversion: Literal["1.0"]
    id: str
    source: str
    type: str
    subject: str | None = None
    time: Instant | None = None
    datacontenttype: str | None = None
    data: msgspec.Raw = _NO_DATA
    data_base64: str | None = None


_DATA_FIELDS: Final = frozenset(UsageData.__struct_fields__)


class CloudUsage(NamedTuple):
    """A CloudEvent as usage. `quantity` is None where the event does not say one."""

    meter: str
    quantity: Decimal | None
    key: str
    subject: str
    timestamp: datetime | None
    unit: str
    resource_id: str
    resource_type: str
    actor_id: str
    cost_center: str
    dimensions: FreeForm
    metadata: FreeForm


class CloudEventParser(RawParser):
    media_type = ONE
    form = ONE


class CloudEventBatchParser(RawParser):
    media_type = BATCH
    form = BATCH


def is_cloud_event(data: object, meta: Mapping[str, Any]) -> bool:
    """Tell whether a request is CloudEvents, by the data its parser made and its headers as WSGI has them."""
    return (isinstance(data, RawBody) and bool(data.form)) or f"{HEADER_PREFIX}SPECVERSION" in meta


def read_cloud_events(data: object, meta: Mapping[str, Any], *, maximum: int) -> ReadEvents[CloudUsage]:
    """
    Return the events of a body, given as the request's data; a single event is read wherever a batch is.

    Where attributes come as headers, findings point to where they would stand in the structured form.
    :raises ParseError: if it is no JSON. :raises BatchTooLarge: with more than `maximum` events.
    :raises ValidationFailed: for a batch without any event. :raises UnsupportedMediaType: for a batch where `maximum`
        is one.
    """
    body = require_raw(data)
    content = body.content
    batch = body.form == BATCH
    if batch and maximum == 1:
        raise UnsupportedMediaType(BATCH, detail=f"This door takes one event, as {ONE}.")
    if not body.form:
        content = _build_structured(content, meta)
    root = "" if batch else None
    try:
        envelopes: Sequence[_Envelope | None]
        envelopes = get_decoder(list[_Envelope]).decode(content) if batch else [get_decoder(_Envelope).decode(content)]
        findings: list[FieldError] = []
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        require_json(content)
        raws = split_batch(content, True) if batch else [msgspec.Raw(content)]
        if batch:
            check_count(len(raws), "", maximum)
        read = read_slowly(raws, _Envelope, root)
        envelopes, findings = read.events, read.findings
    if batch:
        check_count(len(envelopes), "", maximum)
    events = [
        None if envelope is None else _read_usage(envelope, f"/events/{index}", findings)
        for index, envelope in enumerate(envelopes)
    ]
    return ReadEvents(events, findings, root)


def _build_structured(content: bytes, meta: Mapping[str, Any]) -> bytes:
    """Return the structured form of an event with its attributes in headers. :raises ParseError: if data is no JSON."""
    attributes: dict[str, Any] = {
        name.removeprefix(HEADER_PREFIX).lower(): unquote(str(value))
        for name, value in meta.items()
        if name.startswith(HEADER_PREFIX)
    }
    attributes.pop("data", None)
    if any("\0" in value for value in attributes.values()):
        raise ParseError("A ce- header holds the character U+0000.")
    if content.strip():
        require_json(content)
        attributes["data"] = msgspec.Raw(content)
    return msgspec.json.encode(attributes)


def _read_usage(envelope: _Envelope, pointer: str, findings: list[FieldError]) -> CloudUsage | None:
    """Return what the event says about usage, or None after adding what is wrong with it to `findings`."""
    before = len(findings)
    _check_envelope(envelope, pointer, findings)
    data = envelope.data if bytes(envelope.data) != b"null" else _NO_DATA
    try:
        known = get_decoder(UsageData).decode(data)
        everything: FreeForm = get_decoder(FreeForm).decode(data)
    except msgspec.ValidationError:
        if read_object_of(data, UsageData, f"{pointer}/data", findings) is not None:
            findings.append(FieldError(f"{pointer}/data", "invalid", "The data holds a number that is out of range."))
        return None
    if len(findings) > before:
        return None
    if known.quantity is not None and known.value is not None and known.quantity != known.value:
        findings.append(FieldError(f"{pointer}/data/value", "ambiguous", "quantity and value differ."))
        return None
    return CloudUsage(
        known.meter or envelope.type,
        known.value if known.quantity is None else known.quantity,
        make_key(envelope.source, envelope.id),
        (envelope.subject or "").strip().lower(),
        envelope.time,
        known.unit or "",
        known.resource_id or "",
        known.resource_type or "",
        known.actor_id or "",
        known.cost_center or "",
        {name: value for name, value in everything.items() if name not in _DATA_FIELDS},
        known.metadata or {},
    )


def _check_envelope(envelope: _Envelope, pointer: str, findings: list[FieldError]) -> None:
    for name in ("id", "source", "type"):
        if not getattr(envelope, name):
            findings.append(FieldError(f"{pointer}/{name}", "blank", "This must not be empty."))
    if _BLANK.search(envelope.source):
        findings.append(FieldError(f"{pointer}/source", "invalid", "A source is a URI reference: it has no blanks."))
    kind = (envelope.datacontenttype or "application/json").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        findings.append(FieldError(f"{pointer}/datacontenttype", "invalid", "The data of usage is JSON."))
    if envelope.data_base64 is not None:
        findings.append(FieldError(f"{pointer}/data_base64", "invalid", "The data of usage is JSON, in data."))


def make_key(source: str, event_id: str) -> str:
    """
    Return the idempotency key of an event: source and id with a blank between them, which a source cannot hold.

    What is longer than a key may be is its SHA-256.
    """
    key = f"{source} {event_id}"
    return key if len(key) <= _MAX_KEY else f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"
