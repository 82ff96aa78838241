"""Quantities by every aggregation, at the edges of periods, for many requests at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing_site.kernel.periods import Period
from metering.stores import (
    Quantity,
    QuantityRequest,
    insert_events,
    make_event_id,
    sum_buckets,
    sum_over_accounts,
    sum_quantities,
)
from tests.factories.metering import make_account, make_meter, make_row

pytestmark = pytest.mark.django_db
MARCH = Period(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC))
AGGREGATIONS = ("sum", "count", "max", "last", "unique")
STEP = timedelta(microseconds=1)


def at(day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(2026, 3, day, hour, minute, tzinfo=UTC)


class TestSumQuantities:
    @pytest.mark.parametrize(
        ("aggregation", "expected"),
        [("sum", "10.5"), ("count", "4"), ("max", "5"), ("last", "2.5"), ("unique", "3")],
    )
    def test_honours_the_aggregation(self, aggregation: str, expected: str) -> None:
        account, meter = make_account(), make_meter(aggregation=aggregation)
        # Of two events at the same time the one with the higher id is the last.
        earlier_key, later_key = sorted("ab", key=lambda key: make_event_id(account.id, meter.id, key))
        insert_events(
            [
                make_row(account, meter, "5", timestamp=at(2), actor_id="ada"),
                make_row(account, meter, "1", timestamp=at(9), actor_id="bob", recorded_at=at(30)),
                make_row(
                    account, meter, "2", timestamp=at(20), actor_id="ada", resource_id="x", idempotency_key=earlier_key
                ),
                make_row(account, meter, "2.5", timestamp=at(20), resource_id="machine", idempotency_key=later_key),
            ]
        )
        request = QuantityRequest(account.id, meter.id, MARCH)
        assert sum_quantities([request]) == {request: Quantity(Decimal(expected), 4, at(20), at(30))}

    def test_unique_counts_no_event_without_a_name(self) -> None:
        account, meter = make_account(), make_meter(aggregation="unique")
        insert_events([make_row(account, meter), make_row(account, meter, actor_id="ada")])
        request = QuantityRequest(account.id, meter.id, MARCH)
        assert sum_quantities([request])[request].quantity == 1

    @pytest.mark.parametrize("aggregation", AGGREGATIONS)
    def test_periods_are_half_open(self, aggregation: str) -> None:
        account, meter = make_account(), make_meter(aggregation=aggregation)
        moments = [MARCH.start - STEP, MARCH.start, MARCH.end - STEP, MARCH.end]
        insert_events([make_row(account, meter, timestamp=moment, actor_id=f"{moment}") for moment in moments])
        before = Period(MARCH.start - timedelta(days=31), MARCH.start)
        after = Period(MARCH.end, MARCH.end + timedelta(days=30))
        requests = [QuantityRequest(account.id, meter.id, period) for period in (before, MARCH, after)]
        assert [sum_quantities(requests)[request].event_count for request in requests] == [1, 2, 1]

    @pytest.mark.parametrize("aggregation", AGGREGATIONS)
    def test_is_zero_where_nothing_happened(self, aggregation: str) -> None:
        request = QuantityRequest(make_account().id, make_meter(aggregation=aggregation).id, MARCH)
        assert sum_quantities([request]) == {request: Quantity()}

    def test_keeps_twelve_decimals(self) -> None:
        account, meter = make_account(), make_meter()
        insert_events([make_row(account, meter, "0.000000000001"), make_row(account, meter, "99999999999999999999")])
        request = QuantityRequest(account.id, meter.id, MARCH)
        assert sum_quantities([request])[request].quantity == Decimal("99999999999999999999.000000000001")

    def test_answers_thousands_in_one_statement(self) -> None:
        meters = [make_meter(name, aggregation=name) for name in AGGREGATIONS]
        accounts = [make_account() for _ in range(3)]
        insert_events([make_row(account, meter, 7, actor_id="a") for account in accounts for meter in meters])
        days = [Period(at(1) + timedelta(hours=hour), at(1) + timedelta(hours=hour + 1)) for hour in range(24 * 20)]
        requests = [
            QuantityRequest(account.id, meter.id, day) for account in accounts for meter in meters for day in days
        ]
        with CaptureQueriesContext(connection) as queries:
            quantities = sum_quantities(requests)
        assert len(queries) == 1
        assert len(quantities) == 3 * 5 * 480
        assert sum(quantity.event_count for quantity in quantities.values()) == 15
        assert sum(quantity.quantity for quantity in quantities.values()) == 3 * (7 + 1 + 7 + 7 + 1)

    def test_asking_twice_for_the_same_is_asking_once(self) -> None:
        account, meter = make_account(), make_meter()
        insert_events([make_row(account, meter, 7)])
        request = QuantityRequest(account.id, meter.id, MARCH)
        assert sum_quantities([request, request])[request].quantity == 7
        assert sum_quantities([]) == {}


EVENTS = st.lists(
    st.tuples(
        st.integers(0, 40),  # key: repeats are wanted
        st.decimals(min_value=0, max_value=10**6, places=12),
        st.integers(0, 31 * 24 * 60 - 1),  # minute of March
    ),
    min_size=1,
    max_size=30,
)


class TestAnyOrder:
    @given(events=EVENTS, data=st.data())
    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_gives_the_same_sum(self, events: list[tuple[int, Decimal, int]], data: st.DataObject) -> None:
        """Events sent in any order, split anywhere and repeated count as if each had been sent once."""
        once = list({key: (key, value, minute) for key, value, minute in reversed(events)}.values())
        repeated = once + data.draw(st.lists(st.sampled_from(once), max_size=20))
        shuffled = data.draw(st.permutations(repeated))
        cuts = sorted(data.draw(st.lists(st.integers(0, len(shuffled)), max_size=4)))
        with transaction.atomic():
            account, meter = make_account(), make_meter()
            for start, end in zip([0, *cuts], [*cuts, len(shuffled)], strict=True):
                insert_events(
                    [
                        make_row(
                            account,
                            meter,
                            str(value),
                            idempotency_key=f"k{key}",
                            timestamp=MARCH.start + timedelta(minutes=minute),
                        )
                        for key, value, minute in shuffled[start:end]
                    ]
                )
            request = QuantityRequest(account.id, meter.id, MARCH)
            quantity = sum_quantities([request])[request]
            days = sum_buckets(account_id=account.id, meter_ids=[meter.id], period=MARCH, bucket="day")
            transaction.set_rollback(True)
        assert quantity.quantity == sum(value for _, value, _ in once)
        assert quantity.event_count == len(once)
        assert sum(day.quantity for day in days) == quantity.quantity


class TestSumBuckets:
    @pytest.mark.parametrize(
        ("aggregation", "expected"),
        [("sum", [3, 4]), ("count", [2, 1]), ("max", [2, 4]), ("last", [1, 4]), ("unique", [1, 1])],
    )
    def test_aggregates_each_utc_day(self, aggregation: str, expected: list[int]) -> None:
        account, meter = make_account(), make_meter(aggregation=aggregation)
        insert_events(
            [
                make_row(account, meter, 2, timestamp=at(5), actor_id="ada"),
                make_row(account, meter, 1, timestamp=at(6) - STEP, actor_id="ada"),
                make_row(account, meter, 4, timestamp=at(6), actor_id="ada"),
            ]
        )
        days = sum_buckets(account_id=account.id, meter_ids=[meter.id], period=MARCH, bucket="day")
        assert [(day.start, int(day.quantity)) for day in days] == [(at(5), expected[0]), (at(6), expected[1])]

    def test_aggregates_each_hour(self) -> None:
        account, meter = make_account(), make_meter()
        insert_events([make_row(account, meter, 2, timestamp=at(5, 3, minute)) for minute in (0, 59)])
        [hour] = sum_buckets(account_id=account.id, meter_ids=[meter.id], period=MARCH, bucket="hour")
        assert (hour.start, int(hour.quantity), hour.event_count) == (at(5, 3), 4, 2)


class TestSumOverAccounts:
    @pytest.mark.parametrize(
        ("aggregation", "expected"), [("sum", 6), ("count", 3), ("max", 3), ("last", 2), ("unique", 2)]
    )
    def test_takes_all_events_together(self, aggregation: str, expected: int) -> None:
        meter = make_meter(aggregation=aggregation)
        insert_events(
            [
                make_row(make_account(), meter, 1, timestamp=at(1), actor_id="ada"),
                make_row(make_account(), meter, 3, timestamp=at(2), actor_id="bob"),
                make_row(make_account(), meter, 2, timestamp=at(3), actor_id="ada"),
            ]
        )
        total = sum_over_accounts(meter_id=meter.id, period=MARCH)
        assert (int(total.quantity), total.event_count) == (expected, 3)

    def test_stays_within_one_organization(self) -> None:
        meter = make_meter()
        insert_events([make_row(make_account(org_id=org), meter, 1) for org in ("acme", "acme", "other")])
        assert sum_over_accounts(meter_id=meter.id, period=MARCH, org_id="acme").quantity == 2
        assert sum_over_accounts(meter_id=meter.id, period=MARCH, org_id="nobody").quantity == 0
