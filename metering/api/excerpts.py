"""What is kept of refused events: a bounded part of what was sent, without secrets and card numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from billing_site.platform.logs import REDACTED, redact, redact_text

MAX_EVENTS: Final = 5
MAX_CHARACTERS: Final = 1_000
CARD_CODES: Final = frozenset({"card_number_refused", "card_data_refused"})
_WITHHELD: Final = "[withheld: it held card data]"
_INDEX: Final = re.compile(r"(?:/events)?/(\d{1,6})(?=/|$)")
# A value behind a secret's name, in a text that is no JSON as a whole.
_NAMED_SECRET: Final = re.compile(
    r"""(?ix)
    ( "[^"]{0,100} (?: passw | secret | authorization | api_?key | token" | private_?key | cookie ) [^"]{0,100}"?
    \s* : \s* ) "[^"]* "? """
)


class _Batch(msgspec.Struct):
    events: list[msgspec.Raw]


_one_list: Final = msgspec.json.Decoder(list[msgspec.Raw])
_one_batch: Final = msgspec.json.Decoder(_Batch)


@dataclass(frozen=True, slots=True)
class SentEvents:
    """The events of a body as they were sent, not read. `is_batch`: whether findings point to them by number."""

    raws: Sequence[msgspec.Raw]
    is_batch: bool

    def find(self, pointer: str) -> int | None:
        """Return the number of the event that a finding points to; None for the request as a whole."""
        if not self.is_batch:
            return 0 if pointer else None
        found = _INDEX.match(pointer)
        index = int(found[1]) if found else None
        return index if index is not None and index < len(self.raws) else None

    def read(self, index: int) -> Any:
        """Return an event as plain values. Numbers are as JSON has them."""
        return json.loads(bytes(self.raws[index]))


def split_events(body: bytes) -> SentEvents | None:
    """Return the events of a body: of a list, of an object with `events`, or the body itself. None if it is no JSON."""
    body = body.removeprefix(b"\xef\xbb\xbf").strip()
    try:
        if body[:1] == b"[":
            return SentEvents(_one_list.decode(body), True)
        try:
            return SentEvents(_one_batch.decode(body).events, True)
        except msgspec.ValidationError:
            json.loads(body)
            return SentEvents([msgspec.Raw(body)], False)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None


def make_excerpt(
    body: bytes, sent: SentEvents | None, indexes: Sequence[int], codes: Collection[str]
) -> tuple[dict[str, Any], ...]:
    """
    Return `{index, content}` of the first offending events, or of the beginning of a body that cannot be read.

    Nothing is kept of a request that held card data.
    """
    if CARD_CODES & set(codes):
        return ({"index": None, "content": _WITHHELD},)
    if sent is None:
        text = body[: MAX_CHARACTERS * 4].decode("utf-8", "backslashreplace").replace("\0", "\\u0000")
        hidden = redact_text(_NAMED_SECRET.sub(rf'\1"{REDACTED}"', text))
        return ({"index": None, "content": _cut(hidden)},) if hidden else ()
    return tuple({"index": index, "content": _show(sent, index)} for index in indexes[:MAX_EVENTS])


def _show(sent: SentEvents, index: int) -> str:
    try:
        event = redact(sent.read(index))
    except (ValueError, RecursionError):
        return ""
    text = json.dumps(event, ensure_ascii=False, separators=(", ", ": "))
    # Half a surrogate pair is JSON but no text that can be stored.
    return _cut(redact_text(text.encode("utf-8", "backslashreplace").decode()).replace("\0", "\\u0000"))


def _cut(text: str) -> str:
    return text if len(text) <= MAX_CHARACTERS else text[: MAX_CHARACTERS - 1] + "…"
