"""Durations as callers write them: `720h`, `90m`, or ISO 8601 such as `P30D`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any, Final

from rest_framework import serializers

from billing_site.api.fields import ContractField

_SHORT: Final = re.compile(r"(?=\d)(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?", re.ASCII)
_ISO: Final = re.compile(
    r"P(?=.)(?:(\d{1,7})W)?(?:(\d{1,7})D)?(?:T(?=\d)(?:(\d{1,9})H)?(?:(\d{1,9})M)?(?:(\d{1,9})S)?)?", re.ASCII
)
LONGEST: Final = timedelta(days=36_500)


def parse_duration(text: str) -> timedelta | None:
    """
    Return the duration `text` names, or None when it cannot be read.

    ISO months and years have no fixed length and are not read.
    """
    text = text.strip()
    if found := _SHORT.fullmatch(text.lower()):
        hours, minutes, seconds = (int(part or 0) for part in found.groups())
        return timedelta(hours=hours, minutes=minutes, seconds=seconds)
    if found := _ISO.fullmatch(text.upper()):
        weeks, days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
        return timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)
    return None


class DurationField(ContractField, serializers.Field[timedelta, Any, str, Any]):
    """A length of time above zero, at most a hundred years."""

    default_error_messages = {
        "invalid": "A duration is written like 720h, 90m or P30D.",
        "out_of_range": "A duration is above zero and at most 36,500 days.",
    }

    def to_internal_value(self, data: Any) -> timedelta:
        try:
            value = parse_duration(data) if isinstance(data, str) else None
        except OverflowError:
            self.fail("out_of_range")
        if value is None:
            self.fail("invalid")
        if not timedelta(0) < value <= LONGEST:
            self.fail("out_of_range")
        return value

    def get_openapi(self, *, output: bool) -> dict[str, Any]:
        return {"type": "string", "examples": ["720h", "90m", "P30D"]}
