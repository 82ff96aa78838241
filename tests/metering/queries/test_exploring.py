"""What an account used, divided and beside the stretch before; in two statements."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from billing_site.kernel.periods import Period
from metering.queries.exploring import View, explore_usage, list_buckets
from tests.factories.metering import AT, make_account, make_meter, record

pytestmark = pytest.mark.django_db
DAY = Period(datetime(2026, 3, 15, tzinfo=UTC), datetime(2026, 3, 16, tzinfo=UTC))
BEFORE = Period(datetime(2026, 3, 14, tzinfo=UTC), datetime(2026, 3, 15, tzinfo=UTC))


class TestExploreUsage:
    def test_divides_the_largest_first_and_the_unnamed_last(self) -> None:
        account, meter = make_account(), make_meter("tokens", dimensions=["model"])
        record(account, "tokens", 100)
        record(account, "tokens", 1, dimensions={"model": "small"})
        record(account, "tokens", 9, dimensions={"model": "large"})
        record(account, "tokens", 4, at=AT - timedelta(days=1), dimensions={"model": "large"})
        found = explore_usage(account=account, view=View((meter,), DAY, "hour", dimension="model"), before=BEFORE)
        [series] = found.series
        assert (series.quantity, series.event_count, series.earlier) == (Decimal(110), 3, Decimal(4))
        assert [(group.value, group.quantity, group.earlier) for group in series.groups] == [
            ("large", Decimal(9), Decimal(4)),
            ("small", Decimal(1), Decimal(0)),
            (None, Decimal(100), Decimal(0)),
        ]
        assert series.groups[0].buckets == {AT: 9}
        assert len(found.starts) == 24

    def test_leaves_out_meters_without_usage_and_keeps_the_order_of_the_view(self) -> None:
        account = make_account()
        meters = tuple(make_meter(name) for name in ("b", "unused", "a"))
        for name in ("a", "b"):
            record(account, name)
        found = explore_usage(account=account, view=View(meters, DAY, "day"), before=BEFORE)
        assert [series.meter.event_name for series in found.series] == ["b", "a"]

    def test_counts_members_of_the_whole_once(self) -> None:
        account, meter = make_account(), make_meter("people", aggregation="unique", dimensions=["team"])
        for team in ("x", "y"):
            record(account, "people", dimensions={"team": team}, actor_id="ann")
        [series] = explore_usage(
            account=account, view=View((meter,), DAY, "day", dimension="team"), before=BEFORE
        ).series
        assert series.quantity == 1
        assert [group.quantity for group in series.groups] == [1, 1]
        assert not series.is_additive

    def test_is_two_statements(self, django_assert_num_queries: Any) -> None:
        account, meters = make_account(), tuple(make_meter(name) for name in ("a", "b", "c"))
        for name in ("a", "b", "c"):
            record(account, name)
        with django_assert_num_queries(2):
            explore_usage(account=account, view=View(meters, DAY, "hour"), before=BEFORE)


class TestListBuckets:
    def test_a_day_of_the_change_has_23_or_25_hours(self) -> None:
        zone = ZoneInfo("Europe/Berlin")
        for day, hours in ((29, 23), (30, 24)):  # clocks go forward on 29 March 2026
            start = datetime(2026, 3, day, tzinfo=zone)
            end = datetime(2026, 3, day + 1, tzinfo=zone)
            assert len(list(list_buckets(Period(start, end), "hour", zone))) == hours

    def test_the_first_bucket_may_begin_before_the_period(self) -> None:
        period = Period(datetime(2026, 3, 1, 10, 45, tzinfo=UTC), datetime(2026, 3, 2, 1, tzinfo=UTC))
        assert list(list_buckets(period, "day", ZoneInfo("UTC"))) == [
            datetime(2026, 3, 1, tzinfo=UTC),
            datetime(2026, 3, 2, tzinfo=UTC),
        ]
        assert next(list_buckets(period, "hour", ZoneInfo("UTC"))).minute == 0
        assert next(list_buckets(period, "hour", ZoneInfo("Asia/Kolkata"))).minute == 30
