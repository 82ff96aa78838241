"""Buckets of quotas."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from billing_site.kernel.periods import Period
from metering.rating.windows import get_bucket

AT = datetime(2026, 3, 11, 17, 42, 33, 5, tzinfo=UTC)  # a Wednesday


class TestBucket:
    @pytest.mark.parametrize(
        ("window", "start", "end"),
        [
            ("minute", "2026-03-11T17:42", "2026-03-11T17:43"),
            ("hour", "2026-03-11T17:00", "2026-03-11T18:00"),
            ("day", "2026-03-11", "2026-03-12"),
            ("week", "2026-03-09", "2026-03-16"),
            ("month", "2026-03-01", "2026-04-01"),
            ("billing_period", "2026-03-01", "2026-04-01"),
        ],
    )
    def test_is_of_the_utc_calendar(self, window: str, start: str, end: str) -> None:
        expected = Period(*(datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (start, end)))
        assert get_bucket(window, at=AT) == expected
        elsewhere = AT.astimezone(timezone(timedelta(hours=9)))  # the next day there
        assert get_bucket(window, at=elsewhere) == expected

    @pytest.mark.parametrize("window", ["minute", "hour", "day", "week", "month", "total"])
    def test_begins_with_its_first_instant_and_ends_before_its_last(self, window: str) -> None:
        bucket = get_bucket(window, at=AT)
        assert get_bucket(window, at=bucket.start) == bucket
        assert bucket.start <= AT < bucket.end

    def test_of_the_billing_period_is_the_subscriptions(self) -> None:
        period = Period(datetime(2026, 2, 20, tzinfo=UTC), datetime(2026, 3, 20, tzinfo=UTC))
        assert get_bucket("billing_period", at=AT, billing_period=period) == period

    def test_crosses_the_year(self) -> None:
        last = datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC)
        assert get_bucket("month", at=last).end == datetime(2027, 1, 1, tzinfo=UTC)
        assert get_bucket("week", at=last).end == datetime(2027, 1, 4, tzinfo=UTC)

    def test_of_an_unknown_window_is_refused(self) -> None:
        with pytest.raises(ValueError, match="fortnight"):
            get_bucket("fortnight", at=AT)
