"""Usage over time, divided: every sum is aggregated from its own events."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from billing_site.kernel.periods import Period
from catalog.models import Meter
from metering.stores import SeriesPoint, SeriesRequest, stream_series, sum_series
from tests.factories.cost_centers import make_cost_center
from tests.factories.metering import AT, make_account, make_meter, record

pytestmark = pytest.mark.django_db
DAY = Period(datetime(2026, 3, 15, tzinfo=UTC), datetime(2026, 3, 16, tzinfo=UTC))


def ask(account: Any, *meters: Meter, **values: Any) -> SeriesRequest:
    return SeriesRequest(
        **{
            "account_id": account.id,
            "meter_ids": tuple(meter.id for meter in meters),
            "period": DAY,
            "zone": "UTC",
            **values,
        }
    )


def show(points: list[SeriesPoint]) -> list[tuple[Any, ...]]:
    """Return the points without their meter: hour, group (`*` for all together), quantity, events."""
    return [
        (
            point.start.hour if point.start else None,
            "*" if point.is_whole else point.group,
            point.quantity,
            point.event_count,
        )
        for point in points
    ]


class TestSumSeries:
    def test_gives_the_whole_then_groups_then_buckets(self) -> None:
        account, meter = make_account(), make_meter("tokens", dimensions=["model"])
        record(account, "tokens", 5, dimensions={"model": "a"})
        record(account, "tokens", 2, dimensions={"model": "b"})
        record(account, "tokens", 1, at=AT + timedelta(hours=1), dimensions={"model": "a"})
        record(account, "tokens", 4, at=AT + timedelta(minutes=59))
        found = sum_series(ask(account, meter, dimension="model", bucket="hour"))
        assert show(found) == [
            (None, "*", 12, 4),  # 5 + 2 + 1 + 4
            (None, "a", 6, 2),
            (None, "b", 2, 1),
            (None, None, 4, 1),
            (12, "a", 5, 1),
            (12, "b", 2, 1),
            (12, None, 4, 1),
            (13, "a", 1, 1),
        ]

    @pytest.mark.parametrize(
        ("aggregation", "whole", "hours"),
        [("sum", 9, [4, 5]), ("count", 3, [2, 1]), ("max", 5, [3, 5]), ("last", 5, [1, 5]), ("unique", 2, [2, 1])],
    )
    def test_each_sum_is_aggregated_from_its_events(self, aggregation: str, whole: int, hours: list[int]) -> None:
        account, meter = make_account(), make_meter("m", aggregation=aggregation)
        record(account, "m", 3, actor_id="ann")
        record(account, "m", 1, at=AT + timedelta(minutes=1), actor_id="bob")
        record(account, "m", 5, at=AT + timedelta(hours=1), actor_id="ann")
        found = sum_series(ask(account, meter, bucket="hour"))
        assert show(found)[0] == (None, "*", whole, 3)
        assert [point.quantity for point in found if point.start] == hours

    def test_buckets_are_local(self) -> None:
        account, meter = make_account(), make_meter("m")
        record(account, "m", 1, at=datetime(2026, 3, 15, 18, 29, tzinfo=UTC))
        record(account, "m", 2, at=datetime(2026, 3, 15, 18, 30, tzinfo=UTC))
        # 18:30 UTC is midnight in Kolkata.
        days = [
            point.start
            for point in sum_series(ask(account, meter, bucket="day", zone="Asia/Kolkata"))
            if point.start is not None
        ]
        assert days == [datetime(2026, 3, 14, 18, 30, tzinfo=UTC), datetime(2026, 3, 15, 18, 30, tzinfo=UTC)]

    def test_the_hour_that_comes_twice_is_two_hours(self) -> None:
        account, meter = make_account(), make_meter("m")
        first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)  # 2:30 in Berlin, and an hour later again
        for hour in (0, 1):
            record(account, "m", 1, at=first + timedelta(hours=hour))
        period = Period(datetime(2026, 10, 24, tzinfo=UTC), datetime(2026, 10, 26, tzinfo=UTC))
        found = sum_series(ask(account, meter, bucket="hour", zone="Europe/Berlin", period=period))
        assert [point.quantity for point in found if point.start] == [1, 1]

    def test_divides_and_narrows_by_cost_center(self) -> None:
        account, meter = make_account(), make_meter("m")
        center = make_cost_center(account, "ops")
        record(account, "m", 3, cost_center="ops")
        record(account, "m", 4)
        divided = sum_series(ask(account, meter, by_center=True))
        assert show(divided) == [(None, "*", 7, 2), (None, str(center.pk), 3, 1), (None, None, 4, 1)]
        assert show(sum_series(ask(account, meter, center_id=center.pk)))[0] == (None, "*", 3, 1)
        assert show(sum_series(ask(account, meter, without_center=True)))[0] == (None, "*", 4, 1)

    def test_edges_within_an_hour_are_read_from_events(self) -> None:
        account, meter = make_account(), make_meter("m", dimensions=["model"])
        for minute in (0, 20, 40):
            for hour in (-1, 0, 1):
                record(account, "m", 1, at=AT + timedelta(hours=hour, minutes=minute), dimensions={"model": "a"})
        period = Period(AT - timedelta(minutes=40), AT + timedelta(hours=1, minutes=40))
        # 11:20 and 11:40, three at 12, 13:00 and 13:20.
        found = sum_series(ask(account, meter, period=period, bucket="hour", dimension="model"))
        assert show(found) == [
            (None, "*", 7, 7),
            (None, "a", 7, 7),
            (11, "a", 2, 2),
            (12, "a", 3, 3),
            (13, "a", 2, 2),
        ]
        within = Period(AT + timedelta(minutes=10), AT + timedelta(minutes=30))
        assert show(sum_series(ask(account, meter, period=within)))[0] == (None, "*", 1, 1)

    def test_leaves_out_other_accounts_meters_and_times(self) -> None:
        account, meter = make_account(), make_meter("m")
        make_meter("other")
        record(make_account(), "m", 1)
        record(account, "other", 1)
        record(account, "m", 1, at=DAY.start - timedelta(microseconds=1))
        record(account, "m", 1, at=DAY.end)
        assert sum_series(ask(account, meter)) == []
        record(account, "m", 8, at=DAY.start)
        assert show(sum_series(ask(account, meter)))[0] == (None, "*", 8, 1)

    def test_is_one_statement(self, django_assert_num_queries: Any) -> None:
        account, meters = make_account(), [make_meter("a"), make_meter("b")]
        for name in ("a", "b"):
            record(account, name)
        with django_assert_num_queries(1):
            assert len(sum_series(ask(account, *meters, bucket="day"))) == 6


def test_a_dimension_is_never_part_of_the_statement() -> None:
    name = "a' OR 1=1; %(x)s {y}"
    account, meter = make_account(), make_meter("m", dimensions=[name])
    record(account, "m", 2, dimensions={name: "v"})
    assert show(sum_series(ask(account, meter, dimension=name)))[1] == (None, "v", 2, 1)


class TestStreamSeries:
    def test_yields_buckets_only(self) -> None:
        account, meter = make_account(), make_meter("m", dimensions=["model"])
        record(account, "m", "1.5", dimensions={"model": "a"})
        record(account, "m", 2, at=AT + timedelta(hours=3), dimensions={"model": "a"})
        found = list(stream_series(ask(account, meter, dimension="model", bucket="hour")))
        assert show(found) == [(12, "a", Decimal("1.5"), 1), (15, "a", 2, 1)]
        assert {point.meter_id for point in found} == {UUID(str(meter.id))}
