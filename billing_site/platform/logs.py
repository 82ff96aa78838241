"""
Logs: structlog's and the standard library's records through one formatter, JSON for machines or lines for people.

A secret that reaches a log line is hidden here, wherever it came from: message, field, traceback. This is the last
net, not permission to log one.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from billing_site.kernel.card_numbers import hide_card_numbers

REDACTED = "[redacted]"

_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    # header.payload.signature; the payload of a JWT always starts with eyJ too, a cut one is hidden all the same
    (re.compile(r"\beyJ[\w-]{8,}(?:\.[\w-]*){0,2}"), REDACTED),
    (re.compile(r"(?i)\b(bearer|basic)\s+(?!\[redacted\])[\w.~+/=-]{6,}"), rf"\1 {REDACTED}"),
    (re.compile(r"\b(sk|rk|whsec)_(?!\[)[\w+/=-]{6,}"), rf"\1_{REDACTED}"),
    # scheme://user:password@host: the password may hold anything up to the last @ before a slash or blank
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://[^\s:/@]*):[^\s/]+@"), rf"\1:{REDACTED}@"),
)
_SECRET_NAMES = re.compile(
    r"(?i)(password|passwd|secret|authorization|api_?key|access_?token|refresh_?token|private_?key|cookie|^token$)"
)
_MAX_DEPTH = 6


def redact_text(text: str) -> str:
    """Return `text` with bearer tokens, JWTs, provider keys, passwords in URLs and card numbers replaced."""
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return hide_card_numbers(text)


def redact(value: Any, depth: int = 0) -> Any:
    """
    Return `value` with every secret in it replaced; mappings and sequences are copied, never changed.

    A value under a name such as `password` or `authorization` is replaced whatever it looks like.
    """
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, bytes):
        return redact_text(value.decode("utf-8", "backslashreplace"))
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth >= _MAX_DEPTH:
        return redact_text(repr(value))
    if isinstance(value, Mapping):
        return {key: _redact_named(key, item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(item, depth + 1) for item in value]
    return redact_text(str(value))


def _redact_named(name: object, value: Any, depth: int = 0) -> Any:
    if value and isinstance(name, str) and _SECRET_NAMES.search(name) and not isinstance(value, bool | int | float):
        return REDACTED
    return redact(value, depth)


def redact_event(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    """The processor: hide secrets in every field of the record, structlog's own `_record` excepted."""
    return {
        name: value if name in {"_record", "_from_structlog"} else _redact_named(name, value)
        for name, value in event_dict.items()
    }


# What both structlog's own records and those of the standard library go through.
SHARED_PROCESSORS: tuple[Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.stdlib.ExtraAdder(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
)

structlog.configure(
    processors=[
        structlog.stdlib.filter_by_level,
        *SHARED_PROCESSORS[:3],
        structlog.stdlib.PositionalArgumentsFormatter(),
        *SHARED_PROCESSORS[4:],
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ],
    logger_factory=structlog.stdlib.LoggerFactory(),
    wrapper_class=structlog.stdlib.BoundLogger,
    cache_logger_on_first_use=True,
)


def make_formatter(json: bool) -> logging.Formatter:
    """Return the formatter of the console handler: one JSON object per line, or plain readable lines."""
    renderer: Processor = (
        structlog.processors.JSONRenderer(sort_keys=False)
        if json
        else structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=SHARED_PROCESSORS,
        processors=[
            # Tracebacks become text before the redaction, so that what they quote is hidden too.
            structlog.processors.format_exc_info,
            redact_event,
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            renderer,
        ],
    )
