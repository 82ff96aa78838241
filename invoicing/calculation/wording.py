"""
The words that the engine writes on lines, in English; documents translate them (`documents.engine_words`).

Plain Python: no Django, no I/O, no clock. Source: ADR 0045.
"""

from __future__ import annotations

from typing import Final

SEPARATOR: Final = " · "
MINIMUM: Final = "minimum"
UNUSED_TIME: Final = "unused time"
REMAINING_TIME: Final = "remaining time"
SO_FAR: Final = "so far"
LATE_USAGE: Final = "late usage"
LATE_USAGE_OF: Final = "late usage of {invoice}"

# What may stand behind the names of a plan and a meter.
ENDINGS: Final = (MINIMUM, UNUSED_TIME, REMAINING_TIME, SO_FAR, LATE_USAGE, LATE_USAGE_OF)


def join_words(*parts: str) -> str:
    """Return names and words as the description of a line: `Team · API calls · minimum`."""
    return SEPARATOR.join(parts)
