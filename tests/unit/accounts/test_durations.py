"""Durations as callers write them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from accounts.api.serializers.durations import parse_duration


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("720h", timedelta(days=30)),
        ("90m", timedelta(minutes=90)),
        ("1h30m5s", timedelta(hours=1, minutes=30, seconds=5)),
        (" 2H ", timedelta(hours=2)),
        ("P30D", timedelta(days=30)),
        ("p2w", timedelta(weeks=2)),
        ("P1DT12H30M", timedelta(days=1, hours=12, minutes=30)),
        ("PT90S", timedelta(seconds=90)),
        ("P0D", timedelta(0)),
        ("P1M", None),  # months have no fixed length
        ("P1Y", None),
        ("30", None),
        ("30d", None),
        ("", None),
        ("h", None),
        ("P", None),
        ("PT", None),
        ("P1DT", None),
        ("-5h", None),
        ("1.5h", None),
        ("٣h", None),
    ],
)
def test_reads_hours_and_minutes_and_iso(text: str, expected: timedelta | None) -> None:
    assert parse_duration(text) == expected
